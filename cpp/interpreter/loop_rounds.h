// How a loop of asyncio's spends its rounds: what stands for two of its methods while tasks are
// looked at, and asks the clock when the loop asks for them. In every round of every loop, so it
// takes little time. What a look is, is `spprof._session.tasks`' business.
#pragma once

struct _object;  // NOLINT(bugprone-reserved-identifier): a PyObject

namespace spprof::interpreter {

// New references to types to derive from; nullptr with an exception.
//
// Of one loop: `waits_since`, `idle`, `due_idle` and `due`, in ns; `look(fair)` is for the
// deriving.
_object* loop_watch_type();
// A descriptor, LoopHook(original, watches, met, after_waiting): hands out `original`, a method. On
// the way it tells the watch of the loop that asks, watches[id(loop)] or met(loop, since or None),
// that the loop is about to wait or, `after_waiting`, has waited; and has it look where that is
// due.
_object* loop_hook_type();

}  // namespace spprof::interpreter
