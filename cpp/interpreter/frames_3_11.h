// Reached from the signal handler. CPython 3.11: the innermost frame is found through the thread's
// innermost C frame of the eval loop; `is_entry` marks the first frame of each such call.
#pragma once

#include "interpreter/data_stack.h"

namespace spprof::interpreter {

struct Version311 {
    // cframe->current_frame is set a few instructions after tstate->cframe: where it is not to be
    // trusted, the C frame before it tells the caller.
    static constexpr int kAttempts = 2;
    static constexpr bool kFirstIsCertain = false;
    // prev_instr is the code unit before the next instruction.
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
    static bool shim(const _PyInterpreterFrame&) noexcept { return false; }
    static bool bottom(PyThreadState*, std::uintptr_t) noexcept { return false; }
    static bool entry(const _PyInterpreterFrame& frame) noexcept { return frame.is_entry; }

    // A generator resumed by C code, with no Python around it.
    template <class Memory>
    static bool may_be_outermost(const Memory& memory, PyThreadState* thread) noexcept {
        std::uintptr_t outer = 1;
        return first(memory, thread, 1, outer) && outer == 0;
    }

    template <class Memory>
    static bool bytecode(const Memory&, const _PyInterpreterFrame& frame,
                         std::uintptr_t& start) noexcept {
        start = code(frame) + offsetof(PyCodeObject, co_code_adaptive);
        return true;
    }

    template <class Memory>
    static bool words(const Memory& memory, std::uintptr_t code, std::uintptr_t& words) noexcept;
};

template <class Memory>
bool Version311::words(const Memory& memory, std::uintptr_t code, std::uintptr_t& words) noexcept {
    std::uintptr_t locals = 0, stack = 0;
    if (!load_int(memory, code + offsetof(PyCodeObject, co_nlocalsplus), locals) ||
        !load_int(memory, code + offsetof(PyCodeObject, co_stacksize), stack)) {
        return false;
    }
    words = locals + stack + FRAME_SPECIALS_SIZE;
    return true;
}

using Layout = DataStackLayout<Version311>;

}  // namespace spprof::interpreter
