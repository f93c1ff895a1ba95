// macOS behind clocks.h. A thread's CPU time is what Mach says of its port, for the calling thread,
// too: one clock, whoever asks.
#include "platform/clocks.h"

#include <mach/mach.h>
#include <mach/mach_time.h>
#include <pthread.h>
#include <time.h>

#include "platform/macos/thread_ports.h"

namespace spprof::platform {

namespace {

mach_timebase_info_data_t read_timebase() noexcept {
    mach_timebase_info_data_t timebase = {1, 1};
    mach_timebase_info(&timebase);
    return timebase;
}

// Set when the module is loaded: a visit finds it there.
const mach_timebase_info_data_t timebase = read_timebase();

std::uint64_t to_ticks(std::int64_t ns) noexcept {
    return static_cast<std::uint64_t>(static_cast<unsigned __int128>(ns) * timebase.denom /
                                      timebase.numer);
}

}  // namespace

std::int64_t monotonic_ns() noexcept {
    return static_cast<std::int64_t>(static_cast<unsigned __int128>(mach_absolute_time()) *
                                     timebase.numer / timebase.denom);
}

std::int64_t realtime_ns() noexcept {
    return static_cast<std::int64_t>(clock_gettime_nsec_np(CLOCK_REALTIME));
}

std::int64_t current_thread_cpu_ns() noexcept {
    return port_cpu_ns(pthread_mach_thread_np(pthread_self()));
}

std::int64_t process_cpu_ns() noexcept {
    return static_cast<std::int64_t>(clock_gettime_nsec_np(CLOCK_PROCESS_CPUTIME_ID));
}

std::int64_t thread_cpu_ns(Tid tid) noexcept { return known_ports().cpu_ns(tid); }

// Nothing here is timed by the kernel's tick.
std::int64_t kernel_tick_ns() noexcept { return 0; }

void sleep_until(std::int64_t deadline_ns) noexcept {
    if (deadline_ns <= 0) {
        return;
    }
    const std::uint64_t deadline = to_ticks(deadline_ns);
    while (mach_wait_until(deadline) == KERN_ABORTED) {
    }
}

}  // namespace spprof::platform
