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
        view.base = thread + offsetof(PyThreadState, root_cframe);
        return memory.load(thread + offsetof(PyThreadState, cframe), view.innermost);
    }

    template <class Memory>
    static bool first(const Memory& memory, const ThreadView& thread, int attempt,
                      std::uintptr_t& frame) noexcept {
        std::uintptr_t cframe = 0;
        // Only the one in the thread state stands for no call of the eval loop, and may be empty;
        // so is one whose call is not made from Python, until it is filled in.
        return c_frame(memory, thread, attempt, cframe) && cframe != 0 &&
               memory.load(cframe + offsetof(_PyCFrame, current_frame), frame) &&
               (frame != 0 || cframe == thread.base || called_from(memory, thread, attempt, 0));
    }

    // A C frame that has not been filled in may, by chance, hold a frame that runs, but further
    // out: an earlier call left it there. Then the calls of the eval loop do not fit each other.
    template <class Memory>
    static bool called_from(const Memory& memory, const ThreadView& thread, int attempt,
                            std::uintptr_t caller) noexcept {
        std::uintptr_t cframe = 0, current = 0;
        return c_frame(memory, thread, attempt + 1, cframe) && cframe != 0 &&
               memory.load(cframe + offsetof(_PyCFrame, current_frame), current) &&
               current == caller;
    }

    static std::uintptr_t code(const _PyInterpreterFrame& frame) noexcept {
        return reinterpret_cast<std::uintptr_t>(frame.f_code);
    }
    static std::uintptr_t next(const _PyInterpreterFrame& frame) noexcept {
        return reinterpret_cast<std::uintptr_t>(frame.prev_instr);
    }

private:
    template <class Memory>
    static bool c_frame(const Memory& memory, const ThreadView& thread, int outward,
                        std::uintptr_t& cframe) noexcept {
        cframe = thread.innermost;
        for (; outward > 0; --outward) {
            if (cframe == 0 || !memory.load(cframe + offsetof(_PyCFrame, previous), cframe)) {
                return false;
            }
        }
        return true;
    }
};

}  // namespace spprof::interpreter
