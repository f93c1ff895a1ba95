// The one place that opens the headers of Windows, without what they define over other names.
#pragma once

#ifndef WIN32_LEAN_AND_MEAN
#define WIN32_LEAN_AND_MEAN
#endif
#ifndef NOMINMAX
#define NOMINMAX
#endif
#include <windows.h>

#include <cstdint>

namespace spprof::platform {

// CPU time behind a handle; -1 where it cannot be had. System calls only: visit-safe.
std::int64_t handle_cpu_ns(HANDLE thread) noexcept;

// A timer that waits as exactly as this version of Windows can; nullptr where there is none.
HANDLE create_exact_timer() noexcept;
// Has it fire at that time of the monotonic clock.
bool arm_timer(HANDLE timer, std::int64_t deadline_ns) noexcept;

}  // namespace spprof::platform
