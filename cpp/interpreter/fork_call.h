// The call of os.fork() that is under way on the main thread, and what is to be done when it has
// returned.
//
// Python warns where a process that forks has several threads. 3.13 counts them in the parent after
// all hooks have run, so that a thread which a hook has begun again makes it warn; versions before
// and after look earlier. There, threads are begun when the call has returned.
#pragma once

namespace spprof::interpreter {

// A fork begins on the calling thread: told by a hook that is a Python function.
void fork_begins() noexcept;
// Have `begin` called once on this thread when the call has returned. False where that is not
// needed, or cannot be: it is for the caller to do now.
bool call_when_fork_has_returned(void (*begin)() noexcept) noexcept;
// In the child.
void forget_fork() noexcept;

}  // namespace spprof::interpreter
