// Learns of every code object before it is freed, and keeps it readable until its samples have been
// named. Knows how CPython tells (code watcher from 3.12, the type's dealloc slot before); knows
// nothing of samples: whoever installs it says what to do.
#pragma once

#include "interpreter/python_internals.h"

namespace spprof::interpreter {

class CodeLifetime {
public:
    // Called with the interpreter's lock (or, on free-threaded builds, with an internal one) and
    // before any of these objects is freed: drain and name what was sampled of them. The
    // objects are alive. Must not run Python code.
    using Farewell = void (*)(PyCodeObject* const* dying, std::size_t count) noexcept;

    // From now on code objects that lose their last reference are parked, and freed in batches
    // after the farewell. Raises RuntimeError (returns false with the exception set).
    static bool install(Farewell farewell);

    // No farewell is called any more when this returns, and the interpreter is as it was.
    static void uninstall();

    // Frees what was still parked at uninstall(): everything sampled must have been named. May run
    // Python code (weak reference callbacks), so no lock may be held.
    static void free_parked();

    // Held across fork(), so that the child does not inherit a lock that nobody will release.
    static void lock_for_fork();
    static void unlock_after_fork();
};

}  // namespace spprof::interpreter
