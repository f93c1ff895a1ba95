// Reached from a visit of a thread. Which thread is collecting garbage, and what it was doing when
// that began. The interpreter tells by its `gc.callbacks`, in which collection.cpp puts a function.
#pragma once

#include <atomic>
#include <cstdint>

struct _object;  // NOLINT(bugprone-reserved-identifier): a PyObject

namespace spprof::interpreter {

struct Collection {
    // Who does it: there is one collection at a time. The other two are set before.
    std::atomic<std::uintptr_t> thread{0};  // PyThreadState*; 0: nobody
    std::uintptr_t frame = 0;               // the innermost one when it began; 0: none
    std::uint8_t generation = 0;
};

inline Collection collection;

// A new reference to what is to be called by `gc.callbacks`; nullptr with an exception. It begins
// as if nothing was being collected.
_object* collection_callback();

}  // namespace spprof::interpreter
