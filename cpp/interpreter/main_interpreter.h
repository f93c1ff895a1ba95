// Reached from a visit of a thread. Which interpreter is sampled frame by frame, and what stands
// for the others. Knows nothing of frames.
#pragma once

#include <cstdint>

#include "interpreter/python_internals.h"

namespace spprof::interpreter {

// Code objects are watched in each interpreter of its own from 3.12 on, and only in the main one we
// are asked to. A code object of another could be freed unnoticed, so none is recorded: one of our
// own, which never dies, stands for whatever runs there. Until 3.11 all code is watched at once.
struct MainInterpreter {
    static constexpr bool kWatchesAllCode = PY_VERSION_HEX < 0x030C0000;

    PyInterpreterState* state = nullptr;
    std::uintptr_t stand_in = 0;  // PyCodeObject*, named "[subinterpreter]"

    bool must_not_show(std::uintptr_t interpreter) const noexcept {
        return !kWatchesAllCode && interpreter != reinterpret_cast<std::uintptr_t>(state);
    }
};

inline MainInterpreter main_interpreter;

}  // namespace spprof::interpreter
