// Reached from a visit of a thread. CPython 3.14 and 3.15, both builds: tagged references, shims
// owned by the interpreter, and on free-threaded builds a copy of the bytecode for each thread.
#pragma once

#include "interpreter/thread_frames.h"

namespace spprof::interpreter {

struct Version314 : ThreadFrames {
    static std::uintptr_t code(const _PyInterpreterFrame& frame) noexcept {
        // Tags are in the two lowest bits, whatever they say: nothing but objects is kept here.
        return frame.f_executable.bits & ~std::uintptr_t{3};
    }
    static bool shim(const _PyInterpreterFrame& frame) noexcept {
        return frame.owner >= FRAME_OWNED_BY_INTERPRETER || executes_none(code(frame));
    }

#if PY_VERSION_HEX >= 0x030F0000
    // 3.15 ends every chain with a frame in the thread state that no C call stands for.
    template <class Memory>
    static bool read_thread(const Memory& memory, std::uintptr_t thread,
                            ThreadView& view) noexcept {
        return ThreadFrames::read_thread(memory, thread, view) &&
               memory.load(thread + offsetof(PyThreadState, base_frame), view.base);
    }
    static bool bottom(const ThreadView& thread, std::uintptr_t frame) noexcept {
        return frame == thread.base;
    }
#endif

#ifdef Py_GIL_DISABLED
    template <class Memory>
    static bool bytecode(const Memory& memory, const _PyInterpreterFrame& frame,
                         std::uintptr_t code, std::uintptr_t& start) noexcept {
        std::uintptr_t copies = 0, count = 0;
        const auto index =
            static_cast<std::uintptr_t>(static_cast<std::intptr_t>(frame.tlbc_index));
        return memory.load(code + offsetof(PyCodeObject, co_tlbc), copies) &&
               memory.load(copies + offsetof(_PyCodeArray, size), count) && index < count &&
               memory.load(copies + offsetof(_PyCodeArray, entries) + index * sizeof(char*), start);
    }
#endif
};

using Layout = DataStackLayout<Version314>;

}  // namespace spprof::interpreter
