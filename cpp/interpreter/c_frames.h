// Reached from a visit of a thread. What CPython 3.11 and 3.12 have in common on top of
// data_stack.h: the innermost frame is found through the thread's innermost C frame of the eval
// loop.
#pragma once

#include "interpreter/data_stack.h"

namespace spprof::interpreter {

struct CFrames : OneBytecode {
    // cframe->current_frame is set a few instructions after tstate->cframe: where it is not to be
    // trusted, the C frame before it tells the caller.
    static constexpr int kAttempts = 2;
    static constexpr bool kFirstIsCertain = false;
    // prev_instr is the code unit before the next instruction.
    static constexpr std::int64_t kFreshOffset = -2;

    template <class Memory>
    static bool read_thread(const Memory& memory, std::uintptr_t thread,
                            ThreadView& view) noexcept {
        return memory.load(thread + offsetof(PyThreadState, cframe), view.innermost);
    }

    template <class Memory>
    static bool first(const Memory& memory, const ThreadView& thread, int attempt,
                      std::uintptr_t& frame) noexcept {
        std::uintptr_t cframe = thread.innermost;
        for (; attempt > 0; --attempt) {
            if (cframe == 0 || !memory.load(cframe + offsetof(_PyCFrame, previous), cframe)) {
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
};

}  // namespace spprof::interpreter
