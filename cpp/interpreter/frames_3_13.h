// Reached from a visit of a thread. CPython 3.13, both builds: shims on the C stack.
#pragma once

#include "interpreter/thread_frames.h"

namespace spprof::interpreter {

struct Version313 : ThreadFrames {
    static std::uintptr_t code(const _PyInterpreterFrame& frame) noexcept {
        return reinterpret_cast<std::uintptr_t>(frame.f_executable);
    }
    static bool shim(const _PyInterpreterFrame& frame) noexcept {
        return frame.owner == FRAME_OWNED_BY_CSTACK || executes_none(code(frame));
    }
};

using Layout = DataStackLayout<Version313>;

}  // namespace spprof::interpreter
