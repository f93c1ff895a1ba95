// Reached from a visit of a thread. What CPython 3.13 and later have in common, both builds: the
// thread state has the innermost frame itself, and instr_ptr is the instruction being executed.
#pragma once

#include "interpreter/shim_frames.h"

namespace spprof::interpreter {

struct ThreadFrames : ShimFrames, OneBytecode {
    static constexpr int kAttempts = 1;
    static constexpr bool kFirstIsCertain = true;
    static constexpr std::int64_t kFreshOffset = 0;

    template <class Memory>
    static bool read_thread(const Memory& memory, std::uintptr_t thread,
                            ThreadView& view) noexcept {
        return memory.load(thread + offsetof(PyThreadState, current_frame), view.innermost);
    }

    template <class Memory>
    static bool first(const Memory&, const ThreadView& thread, int,
                      std::uintptr_t& frame) noexcept {
        frame = thread.innermost;
        return true;
    }

    template <class Memory>
    static bool called_from(const Memory&, const ThreadView&, int, std::uintptr_t) noexcept {
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
