// Windows behind clocks.h. CPU time is counted in cycles, which are exact, and told in the unit of
// the performance counter; where the system does not count them, by GetThreadTimes, whose step is
// that of the scheduler's clock.
#include "platform/clocks.h"

#include "platform/windows/system.h"

#if defined(_MSC_VER)
#include <intrin.h>
#else
#include <x86intrin.h>
#endif

namespace spprof::platform {

namespace {

constexpr std::int64_t kSecond = 1'000'000'000;
constexpr std::int64_t kHundredNanoseconds = 100;

std::int64_t counter_frequency() noexcept {
    LARGE_INTEGER frequency;
    QueryPerformanceFrequency(&frequency);
    return frequency.QuadPart;
}

// Set when the module is loaded: a visit finds it there.
const std::int64_t ticks_a_second = counter_frequency();

std::int64_t in_hundred_ns(const FILETIME& time) noexcept {
    return static_cast<std::int64_t>(std::uint64_t{time.dwHighDateTime} << 32 | time.dwLowDateTime);
}

// How long a cycle takes, from the time between the loading of the module and its first use.
class Cycles {
public:
    Cycles() noexcept : begin_ns_(monotonic_ns()), begin_(__rdtsc()) {
        ULONG64 cycles = 0;
        counted_ = QueryThreadCycleTime(GetCurrentThread(), &cycles) != 0 && cycles != 0;
        if (counted_) {
            // The counter's steps matter less the longer it is watched.
            constexpr std::int64_t kLongEnough = 5'000'000;
            std::int64_t now_ns = 0;
            do {
                now_ns = monotonic_ns();
            } while (now_ns - begin_ns_ < kLongEnough);
            ns_per_cycle_ =
                static_cast<double>(now_ns - begin_ns_) / static_cast<double>(__rdtsc() - begin_);
        }
    }

    bool counted() const noexcept { return counted_; }
    std::int64_t in_ns(ULONG64 cycles) const noexcept {
        return static_cast<std::int64_t>(static_cast<double>(cycles) * ns_per_cycle_);
    }

private:
    std::int64_t begin_ns_;
    std::uint64_t begin_;
    bool counted_ = false;
    double ns_per_cycle_ = 0;
};

const Cycles cycles;

}  // namespace

std::int64_t monotonic_ns() noexcept {
    LARGE_INTEGER now;
    QueryPerformanceCounter(&now);
    const std::int64_t seconds = now.QuadPart / ticks_a_second;
    const std::int64_t rest = now.QuadPart % ticks_a_second;
    return seconds * kSecond + rest * kSecond / ticks_a_second;
}

std::int64_t realtime_ns() noexcept {
    FILETIME now;
    GetSystemTimePreciseAsFileTime(&now);
    constexpr std::int64_t kFrom1601To1970 = 116'444'736'000'000'000;
    return (in_hundred_ns(now) - kFrom1601To1970) * kHundredNanoseconds;
}

std::int64_t handle_cpu_ns(HANDLE thread) noexcept {
    if (cycles.counted()) {
        ULONG64 used = 0;
        return QueryThreadCycleTime(thread, &used) != 0 ? cycles.in_ns(used) : -1;
    }
    FILETIME created, ended, in_kernel, in_user;
    if (GetThreadTimes(thread, &created, &ended, &in_kernel, &in_user) == 0) {
        return -1;
    }
    return (in_hundred_ns(in_kernel) + in_hundred_ns(in_user)) * kHundredNanoseconds;
}

std::int64_t current_thread_cpu_ns() noexcept { return handle_cpu_ns(GetCurrentThread()); }

std::int64_t process_cpu_ns() noexcept {
    if (cycles.counted()) {
        ULONG64 used = 0;
        return QueryProcessCycleTime(GetCurrentProcess(), &used) != 0 ? cycles.in_ns(used) : -1;
    }
    FILETIME created, ended, in_kernel, in_user;
    if (GetProcessTimes(GetCurrentProcess(), &created, &ended, &in_kernel, &in_user) == 0) {
        return -1;
    }
    return (in_hundred_ns(in_kernel) + in_hundred_ns(in_user)) * kHundredNanoseconds;
}

std::int64_t thread_cpu_ns(Tid tid) noexcept {
    const HANDLE thread =
        OpenThread(THREAD_QUERY_LIMITED_INFORMATION | SYNCHRONIZE, FALSE, static_cast<DWORD>(tid));
    if (thread == nullptr) {
        return -1;
    }
    // Whoever holds a handle keeps one that has ended.
    const bool lives = GetProcessIdOfThread(thread) == GetCurrentProcessId() &&
                       WaitForSingleObject(thread, 0) == WAIT_TIMEOUT;
    const std::int64_t used = lives ? handle_cpu_ns(thread) : -1;
    CloseHandle(thread);
    return used;
}

// Nothing here is timed by the scheduler's clock.
std::int64_t kernel_tick_ns() noexcept { return 0; }

HANDLE create_exact_timer() noexcept {
    constexpr DWORD kHighResolution = 2;  // from Windows 10 1803 on
    HANDLE timer = CreateWaitableTimerExW(nullptr, nullptr, kHighResolution, TIMER_ALL_ACCESS);
    return timer != nullptr ? timer : CreateWaitableTimerExW(nullptr, nullptr, 0, TIMER_ALL_ACCESS);
}

bool arm_timer(HANDLE timer, std::int64_t deadline_ns) noexcept {
    const std::int64_t left = deadline_ns - monotonic_ns();
    LARGE_INTEGER due;
    due.QuadPart = left > 0 ? -(left + kHundredNanoseconds - 1) / kHundredNanoseconds : 0;
    return SetWaitableTimer(timer, &due, 0, nullptr, nullptr, FALSE) != 0;
}

void sleep_until(std::int64_t deadline_ns) noexcept {
    constexpr std::int64_t kMillisecond = 1'000'000;
    while (monotonic_ns() < deadline_ns) {
        const HANDLE timer = create_exact_timer();
        if (timer == nullptr || !arm_timer(timer, deadline_ns) ||
            WaitForSingleObject(timer, INFINITE) != WAIT_OBJECT_0) {
            const std::int64_t left = (deadline_ns - monotonic_ns()) / kMillisecond;
            Sleep(left > 0 ? static_cast<DWORD>(left) : 1);
        }
        if (timer != nullptr) {
            CloseHandle(timer);
        }
    }
}

}  // namespace spprof::platform
