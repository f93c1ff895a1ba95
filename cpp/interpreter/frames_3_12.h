// Reached from the signal handler. CPython 3.12: as 3.11, but a shim frame on the C stack marks
// each call of the eval loop.
#pragma once

#include "interpreter/data_stack.h"

namespace spprof::interpreter {

struct Version312 {
    // See 3.11: cframe->current_frame is set after tstate->cframe.
    static constexpr int kAttempts = 2;
    static constexpr bool kFirstIsCertain = false;
    static constexpr std::int64_t kFreshOffset = -2;

    template <class Memory>
    static bool first(const Memory& memory, PyThreadState* thread, int attempt,
                      std::uintptr_t& frame) noexcept {
        auto cframe = reinterpret_cast<std::uintptr_t>(thread->cframe);
        for (; attempt > 0; --attempt) {
            if (!memory.load(cframe + offsetof(_PyCFrame, previous), cframe)) {
                return false;
            }
        }
        return cframe != 0 && memory.load(cframe + offsetof(_PyCFrame, current_frame), frame);
    }

    static std::uintptr_t code(const _PyInterpreterFrame& frame) noexcept {
        return reinterpret_cast<std::uintptr_t>(frame.f_code);
    }
    static std::uintptr_t next(const _PyInterpreterFrame& frame) noexcept {
        return reinterpret_cast<std::uintptr_t>(frame.prev_instr);
    }
    static bool shim(const _PyInterpreterFrame& frame) noexcept {
        return frame.owner == FRAME_OWNED_BY_CSTACK;
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

using Layout = DataStackLayout<Version312>;

}  // namespace spprof::interpreter
