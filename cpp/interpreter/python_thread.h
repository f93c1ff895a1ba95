// Reached from a visit of a thread. Everything that the rest of spprof asks of CPython's thread
// states: who is where, and what do its frames look like. Does not drag Python.h along; knows no
// signal and no clock.
#pragma once

#include <cstddef>
#include <cstdint>

#include "interpreter/frame_record.h"

namespace spprof::interpreter {

// A PyThreadState, to everybody but this room. Never dereferenced outside of it.
struct ThreadState;

// The thread state of the calling thread: the one that is running, or, while the thread has let go
// of the interpreter, the one it will come back with. nullptr: not a Python thread. Only makes the
// calls that faulthandler makes in a signal handler, too.
ThreadState* thread_state_here() noexcept;

// The frames of the calling thread, innermost first; to be called from its signal handler.
WalkResult walk_here(ThreadState* thread, PyFrameRecord* out, std::size_t room) noexcept;

// The frames of another thread, which must stand still meanwhile: the caller makes sure, by its CPU
// clock before and after. Where it did not, the result means nothing, but nothing else is amiss:
// `thread` may be freed memory, or any address at all. `ident` is Python's thread identifier,
// `native_id` the system's (known to Python from 3.11 on); 0: not compared. WalkEnd::gone where
// `thread` is not theirs.
WalkResult walk_from_outside(ThreadState* thread, std::uintptr_t ident, std::int32_t native_id,
                             PyFrameRecord* out, std::size_t room) noexcept;

enum class GilHolding : std::uint8_t { unknown, not_held, held };

// Whether the thread holds the GIL; unknown on free-threaded builds. The first for the calling
// thread, the second for any, with the same care as walk_from_outside().
GilHolding gil_here(ThreadState* thread) noexcept;
GilHolding gil_from_outside(ThreadState* thread) noexcept;

struct ThreadStateEntry {
    ThreadState* state;
    std::uintptr_t ident;
    std::int32_t native_id;  // 0 where Python does not keep it (before 3.11)
};

// The thread states of the main interpreter, newest first; how many were written to `out`. Needs
// neither the GIL nor a thread state, so the list may change under the reader: an entry may be out
// of date, and where the list was just being changed its older end may be missing once. One thread
// may have several states: C code may make them, and until 3.12 a thread that is being started
// carries its parent's identifiers until it runs. The oldest is the one that a thread began with.
std::size_t list_thread_states(ThreadStateEntry* out, std::size_t room) noexcept;

}  // namespace spprof::interpreter
