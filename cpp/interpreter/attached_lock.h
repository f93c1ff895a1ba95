// A lock on a mutex of ours for threads that may be attached to the interpreter (that hold the GIL,
// or on free-threaded builds can be stopped for the world). Rule of the house: who waits for a lock
// of ours is detached. Knows nothing of what the mutexes guard; without Python.h.
#pragma once

#include <mutex>

namespace spprof::interpreter {

// Locks `mutex`; a calling thread that is attached and would have to wait is detached meanwhile, so
// other Python code runs then. Must not be called from a signal handler.
//
// Why: the holder of the mutex may itself need the interpreter before it lets go (to come back
// after it waited for another lock, or to reach a safe point while the world is stopped). And the
// mutex is never held while the thread attaches again, which may take long, or for ever: at the
// interpreter's end the call does not return for any thread but the last one (it ends the thread,
// or from 3.14 on leaves it hanging), and nobody would unlock. Other locks that the thread holds
// are another matter: a thread that may wait here for an inner lock while it holds an outer one
// counts as waiting for the interpreter with the outer one, so whoever stops the world must take
// the outer one before.
void lock_detached(std::mutex& mutex);

// Before a fork. True when it is locked now. Without a GIL the world is stopped then: whoever holds
// the mutex and is about to attach will not let go, so after a while this gives up, and the child
// must make the mutex anew.
bool lock_for_fork(std::mutex& mutex);
// In the child: whoever waited is not there.
void forget_waiting_after_fork();

class AttachedLock {
public:
    explicit AttachedLock(std::mutex& mutex) : mutex_(mutex) { lock_detached(mutex); }
    ~AttachedLock() { mutex_.unlock(); }
    AttachedLock(const AttachedLock&) = delete;
    AttachedLock& operator=(const AttachedLock&) = delete;

private:
    std::mutex& mutex_;
};

}  // namespace spprof::interpreter
