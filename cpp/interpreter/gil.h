// Reached from a visit of a thread. Tells the word that a thread sleeps at while it waits for the
// GIL from that of any other lock.
#pragma once

#include <cstdint>

namespace spprof::interpreter {

// The interpreter's one global struct. The GIL is in it, and no other lock that Python code waits
// for: those are in objects, or on the stack of whoever waits.
struct RuntimeMemory {
    std::uintptr_t begin = 0, end = 0;  // nothing where it was not found
};

inline RuntimeMemory runtime_memory;

inline bool belongs_to_gil(std::uintptr_t word) noexcept {
    return word >= runtime_memory.begin && word < runtime_memory.end;
}

// Before the first visit. Asks the loader.
void find_runtime_memory() noexcept;

}  // namespace spprof::interpreter
