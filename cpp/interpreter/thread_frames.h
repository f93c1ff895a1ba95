// Reached from the signal handler. What CPython 3.13 and later have in common, both builds: the
// thread state has the innermost frame itself, and instr_ptr is the instruction being executed.
#pragma once

#include "interpreter/shim_frames.h"

namespace spprof::interpreter {

struct ThreadFrames : ShimFrames, OneBytecode {
    static constexpr int kAttempts = 1;
    static constexpr bool kFirstIsCertain = true;
    static constexpr std::int64_t kFreshOffset = 0;

    template <class Memory>
    static bool first(const Memory&, PyThreadState* thread, int, std::uintptr_t& frame) noexcept {
        frame = reinterpret_cast<std::uintptr_t>(thread->current_frame);
        return true;
    }

    static std::uintptr_t next(const _PyInterpreterFrame& frame) noexcept {
        return reinterpret_cast<std::uintptr_t>(frame.instr_ptr);
    }

    // The compiler may link a shim before its owner is stored; what it executes is set first.
    static bool executes_none(std::uintptr_t code) noexcept {
        return code == reinterpret_cast<std::uintptr_t>(Py_None);
    }
};

}  // namespace spprof::interpreter
