// The clocks of the system. Knows nothing of threads' names, signals or Python.
// What is marked "visit-safe" may be called while a thread is being visited (observer.h).
#pragma once

#include <cstdint>

#include "platform/threads.h"

namespace spprof::platform {

std::int64_t monotonic_ns() noexcept;           // visit-safe
std::int64_t realtime_ns() noexcept;            // visit-safe
std::int64_t current_thread_cpu_ns() noexcept;  // visit-safe
std::int64_t process_cpu_ns() noexcept;

// CPU time of any thread of this process; -1 once the thread is gone. Visit-safe.
std::int64_t thread_cpu_ns(Tid tid) noexcept;

// Resolution of the kernel's CPU timers: below it they silently fire late.
std::int64_t kernel_tick_ns() noexcept;

// Sleeps until the monotonic clock reaches `deadline_ns`.
void sleep_until(std::int64_t deadline_ns) noexcept;

}  // namespace spprof::platform
