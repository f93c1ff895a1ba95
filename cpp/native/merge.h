// Owns the merge of the Python and the native stack of one sample into one. Pure: knows neither
// what a Python frame is nor whose code an address is, only their roles.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "native/unwind_rule.h"

namespace spprof::native {

// What a native frame is to the merged stack.
enum class Role : uint8_t {
    shown,       // stays where it is
    generated,   // the same, in code of which nothing is known
    jit_entry,   // where the eval loop enters code that the interpreter's own JIT made
    hidden,      // the interpreter's call machinery
    eval_loop,   // one C call of the eval loop: stands for a run of Python frames
    outermost,   // start-up code of a thread or program: hidden unless something shown called it
    stack_base,  // the first function of a coroutine's own stack: what is beyond is another's
};

struct PythonFrame {
    bool entry;    // the C call of the eval loop that runs this frame began with it
    bool visible;  // false: only carries the mark of a call whose frames are gone or not there yet
};

struct PythonStack {
    const PythonFrame* frames;  // innermost first
    size_t count;
    bool truncated;  // outer frames are missing
};

struct NativeStack {
    const Role* roles;  // innermost first
    size_t count;
    End end;
};

struct MergedFrame {
    bool native;
    uint32_t index;  // into the frames of its kind
};

// Code that the interpreter's own JIT made is part of the eval loop. It is known by how the eval
// loop entered it: through a function for that, or through a piece of such code.
void hide_jit(std::vector<Role>& roles);

// Fills `out`, innermost first. Every visible Python frame is in it, in order, whatever happens.
// False when the two stacks do not fit together; then `out` holds the Python frames and, where the
// native walk ended early, the native frames that are certain.
bool merge(const PythonStack& python, const NativeStack& native, std::vector<MergedFrame>& out);

}  // namespace spprof::native
