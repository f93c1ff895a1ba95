// Learns of every code object before it is freed, and keeps it readable until its samples have been
// named. Knows how CPython tells (code watcher from 3.12, the type's dealloc slot before); knows
// nothing of samples: whoever installs it says what to do. Code objects are addresses here, without
// Python.h.
#pragma once

#include <cstddef>
#include <cstdint>

namespace spprof::interpreter {

class CodeLifetime {
public:
    // Called on an attached thread, with an internal lock held that only uninstall() waits for, and
    // before any of these code objects is freed: drain and name what was sampled of them. They are
    // alive. Whatever it waits for, it waits for detached (attached_lock.h), and it neither runs
    // Python code nor touches the exception that may be on its way.
    using Farewell = void (*)(const std::uintptr_t* dying, std::size_t count) noexcept;

    // From now on code objects that lose their last reference are parked, and freed in batches
    // after the farewell. False where the interpreter cannot tell (all its code watchers are
    // taken). One caller at a time, attached; so is uninstall().
    //
    // `same_process`: whether this is still the process that installed it, and not a child that
    // nobody was told of, where locks may be held by threads that are not there.
    using SameProcess = bool (*)() noexcept;
    static bool install(Farewell farewell, SameProcess same_process);

    // No farewell is called any more when this returns, and the interpreter is as it was; but for
    // free-threaded builds, where a watcher that is taken back while another thread's code object
    // dies would be called through a null pointer: there it stays until the process ends, and does
    // nothing.
    static void uninstall();

    // Frees what was still parked at uninstall(): everything sampled must have been named. May run
    // Python code (weak reference callbacks), so no lock may be held.
    static void free_parked();

    // Around fork(), so that the child does not inherit a lock that nobody will release. The lock
    // is never held where a thread detaches, so that it is to be had even while the world is
    // stopped.
    static void lock_for_fork();
    static void unlock_after_fork();
    static void unlock_after_fork_in_child();  // whoever was naming or freeing is not there
    // In a child that nobody was told of: what was parked stays parked.
    static void abandon_after_raw_fork() noexcept;
};

}  // namespace spprof::interpreter
