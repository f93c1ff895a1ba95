// Keeps the handlers of SIGSEGV and SIGBUS in force that let fault-safe loads fail (safe_memory.h),
// chained: every other fault goes to whoever had the signals before.
#pragma once

namespace spprof::platform {

class FaultGuard {
public:
    static void install();
    static bool reinstall_if_taken() noexcept;
    // The calling thread is one of ours: faults are blocked in it but for ManyLoads, and what is
    // sent to the process then goes to the main thread instead.
    static void begin_own_thread() noexcept;
    // Between these the calling thread is being visited, in the handler of a signal that blocks all
    // but faults: a fault that somebody sends comes only when that handler has returned. Whether
    // one did; nothing may be read after that.
    static void begin_visit() noexcept;
    static bool end_visit() noexcept;
    static bool armed() noexcept;  // visit-safe: is the guard in force right now?
    static void restore() noexcept;
};

}  // namespace spprof::platform
