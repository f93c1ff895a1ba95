// Reached from the signal handler. CPython 3.13, both builds: the thread state has the innermost
// frame itself, and instr_ptr is the instruction being executed.
#pragma once

#include "interpreter/data_stack.h"

namespace spprof::interpreter {

struct Version313 {
    static constexpr int kAttempts = 1;
    static constexpr bool kFirstIsCertain = true;
    static constexpr std::int64_t kFreshOffset = 0;

    template <class Memory>
    static bool first(const Memory&, PyThreadState* thread, int, std::uintptr_t& frame) noexcept {
        frame = reinterpret_cast<std::uintptr_t>(thread->current_frame);
        return true;
    }

    static std::uintptr_t code(const _PyInterpreterFrame& frame) noexcept {
        return reinterpret_cast<std::uintptr_t>(frame.f_executable);
    }
    static std::uintptr_t next(const _PyInterpreterFrame& frame) noexcept {
        return reinterpret_cast<std::uintptr_t>(frame.instr_ptr);
    }
    static bool shim(const _PyInterpreterFrame& frame) noexcept {
        // The compiler may link a shim before its owner is stored; what it executes is set first.
        return frame.owner == FRAME_OWNED_BY_CSTACK ||
               code(frame) == reinterpret_cast<std::uintptr_t>(Py_None);
    }
    static bool bottom(PyThreadState*, std::uintptr_t) noexcept { return false; }
    static bool entry(const _PyInterpreterFrame&) noexcept { return false; }

    // There is always a shim around it.
    template <class Memory>
    static bool may_be_outermost(const Memory&, PyThreadState*) noexcept {
        return false;
    }

    template <class Memory>
    static bool bytecode(const Memory&, const _PyInterpreterFrame& frame,
                         std::uintptr_t& start) noexcept {
        start = code(frame) + offsetof(PyCodeObject, co_code_adaptive);
        return true;
    }

    template <class Memory>
    static bool words(const Memory& memory, std::uintptr_t code, std::uintptr_t& words) noexcept {
        return load_int(memory, code + offsetof(PyCodeObject, co_framesize), words);
    }
};

using Layout = DataStackLayout<Version313>;

}  // namespace spprof::interpreter
