// Reached from a visit of a thread. What CPython 3.12 and later have in common on top of
// data_stack.h: each call of the eval loop puts a shim frame around what it runs.
#pragma once

#include "interpreter/data_stack.h"

namespace spprof::interpreter {

struct ShimFrames {
    static bool entry(const _PyInterpreterFrame&) noexcept { return false; }
    static bool bottom(const ThreadView&, std::uintptr_t) noexcept { return false; }

    template <class Memory>
    static bool words(const Memory& memory, std::uintptr_t code, std::uintptr_t& words) noexcept {
        return load_int(memory, code + offsetof(PyCodeObject, co_framesize), words);
    }
};

}  // namespace spprof::interpreter
