// Linux behind clocks.h.
#include "platform/clocks.h"

#include <errno.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "platform/linux/time_spec.h"

namespace spprof::platform {

namespace {

std::int64_t read_clock(clockid_t clock) noexcept {
    timespec now;
    return clock_gettime(clock, &now) == 0 ? to_ns(now) : -1;
}

}  // namespace

std::int64_t monotonic_ns() noexcept { return read_clock(CLOCK_MONOTONIC); }
std::int64_t realtime_ns() noexcept { return read_clock(CLOCK_REALTIME); }
std::int64_t current_thread_cpu_ns() noexcept { return read_clock(CLOCK_THREAD_CPUTIME_ID); }
std::int64_t process_cpu_ns() noexcept { return read_clock(CLOCK_PROCESS_CPUTIME_ID); }

std::int64_t thread_cpu_ns(Tid tid) noexcept {
    timespec now;
    return syscall(SYS_clock_gettime, thread_cpu_clock(tid), &now) == 0 ? to_ns(now) : -1;
}

std::int64_t kernel_tick_ns() noexcept {
    timespec resolution;
    return clock_getres(CLOCK_MONOTONIC_COARSE, &resolution) == 0 ? to_ns(resolution) : 10'000'000;
}

void sleep_until(std::int64_t deadline_ns) noexcept {
    const timespec deadline = to_timespec(deadline_ns);
    // Where a filter refuses the call this must not spin: any other way of waiting will do.
    while (true) {
        const int error = clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &deadline, nullptr);
        if (error == 0) {
            return;
        }
        if (error != EINTR) {
            const std::int64_t left = deadline_ns - monotonic_ns();
            const timespec rest = to_timespec(left > 0 ? left : 0);
            if (left > 0) {
                syscall(SYS_pselect6, 0, nullptr, nullptr, nullptr, &rest, nullptr);
            }
            return;
        }
    }
}

}  // namespace spprof::platform
