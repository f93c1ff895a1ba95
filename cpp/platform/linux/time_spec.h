// How Linux writes times and names clocks. Reached from the signal handler, too.
#pragma once

#include <time.h>

#include <cstdint>

#include "platform/threads.h"

namespace spprof::platform {

constexpr std::int64_t kSecond = 1'000'000'000;

inline timespec to_timespec(std::int64_t ns) noexcept {
    timespec result;
    result.tv_sec = static_cast<time_t>(ns / kSecond);
    result.tv_nsec = static_cast<long>(ns % kSecond);
    return result;
}

inline std::int64_t to_ns(const timespec& time) noexcept {
    return time.tv_sec * kSecond + time.tv_nsec;
}

// The kernel's own encoding of "CPU clock of thread tid" (CPUCLOCK_SCHED | CPUCLOCK_PERTHREAD).
inline clockid_t thread_cpu_clock(Tid tid) noexcept {
    return static_cast<clockid_t>((~static_cast<unsigned>(tid) << 3) | 6u);
}

}  // namespace spprof::platform
