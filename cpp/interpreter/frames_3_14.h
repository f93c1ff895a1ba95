// Reached from the signal handler. CPython 3.14 and 3.15, both builds: tagged references, shims
// owned by the interpreter, and on free-threaded builds a copy of the bytecode for each thread.
#pragma once

#include "interpreter/data_stack.h"

namespace spprof::interpreter {

struct Version314 {
    static constexpr int kAttempts = 1;
    static constexpr bool kFirstIsCertain = true;
    static constexpr std::int64_t kFreshOffset = 0;

    template <class Memory>
    static bool first(const Memory&, PyThreadState* thread, int, std::uintptr_t& frame) noexcept {
        frame = reinterpret_cast<std::uintptr_t>(thread->current_frame);
        return true;
    }

    static std::uintptr_t code(const _PyInterpreterFrame& frame) noexcept {
        // Tags are in the two lowest bits, whatever they say: nothing but objects is kept here.
        return frame.f_executable.bits & ~std::uintptr_t{3};
    }
    static std::uintptr_t next(const _PyInterpreterFrame& frame) noexcept {
        return reinterpret_cast<std::uintptr_t>(frame.instr_ptr);
    }
    static bool shim(const _PyInterpreterFrame& frame) noexcept {
        // The compiler may link a shim before its owner is stored; what it executes is set first.
        return frame.owner >= FRAME_OWNED_BY_INTERPRETER ||
               code(frame) == reinterpret_cast<std::uintptr_t>(Py_None);
    }

    // 3.15 ends every chain with a frame in the thread state that no C call stands for.
    static bool bottom([[maybe_unused]] PyThreadState* thread,
                       [[maybe_unused]] std::uintptr_t frame) noexcept {
#if PY_VERSION_HEX >= 0x030F0000
        return frame == reinterpret_cast<std::uintptr_t>(thread->base_frame);
#else
        return false;
#endif
    }
    static bool entry(const _PyInterpreterFrame&) noexcept { return false; }

    // There is always a shim around it.
    template <class Memory>
    static bool may_be_outermost(const Memory&, PyThreadState*) noexcept {
        return false;
    }

    template <class Memory>
    static bool bytecode([[maybe_unused]] const Memory& memory, const _PyInterpreterFrame& frame,
                         std::uintptr_t& start) noexcept {
#ifdef Py_GIL_DISABLED
        std::uintptr_t copies = 0, count = 0;
        const auto index =
            static_cast<std::uintptr_t>(static_cast<std::intptr_t>(frame.tlbc_index));
        return memory.load(code(frame) + offsetof(PyCodeObject, co_tlbc), copies) &&
               memory.load(copies + offsetof(_PyCodeArray, size), count) && index < count &&
               memory.load(copies + offsetof(_PyCodeArray, entries) + index * sizeof(char*), start);
#else
        start = code(frame) + offsetof(PyCodeObject, co_code_adaptive);
        return true;
#endif
    }

    template <class Memory>
    static bool words(const Memory& memory, std::uintptr_t code, std::uintptr_t& words) noexcept {
        return load_int(memory, code + offsetof(PyCodeObject, co_framesize), words);
    }
};

using Layout = DataStackLayout<Version314>;

}  // namespace spprof::interpreter
