// Reached from a visit of a thread. What is recorded of one Python frame, and how a walk over them
// ended: plain data. Knows nothing of CPython.
#pragma once

#include <cstddef>
#include <cstdint>

namespace spprof::interpreter {

struct PyFrameRecord {
    std::uintptr_t code;   // PyCodeObject*, an opaque key to everybody else; 0: a hidden frame
    std::uint32_t offset;  // bytes from the start of the bytecode; kNotStarted before the first
    std::uint32_t flags;

    // A new C call of the eval loop begins with this frame: the next one out was on the C stack.
    static constexpr std::uint32_t kEntry = 1;
    static constexpr std::uint32_t kNotStarted = 0xFFFFFFFFu;
};

enum class WalkEnd : std::uint8_t {
    complete,
    truncated,  // more frames than there was room for, or than the interpreter knows of
    torn,       // the chain could not be trusted: drop the sample
    gone,       // only from outside: the thread state is not, or no longer, that thread's
};

struct WalkResult {
    std::size_t count = 0;
    WalkEnd end = WalkEnd::complete;
    std::uint8_t collecting = 0;  // garbage: which generation, counted from 1; 0: it is not
    // Frames that the collection called: so many of the innermost. The next is whoever set it off.
    std::uint16_t collecting_at = 0;
};

}  // namespace spprof::interpreter
