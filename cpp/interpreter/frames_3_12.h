// Reached from a visit of a thread. CPython 3.12: innermost frame as in 3.11, shims on the C stack.
#pragma once

#include "interpreter/c_frames.h"
#include "interpreter/shim_frames.h"

namespace spprof::interpreter {

struct Version312 : CFrames, ShimFrames {
    static bool shim(const _PyInterpreterFrame& frame) noexcept {
        return frame.owner == FRAME_OWNED_BY_CSTACK;
    }
};

using Layout = DataStackLayout<Version312>;

}  // namespace spprof::interpreter
