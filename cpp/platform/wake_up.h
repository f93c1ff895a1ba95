// A semaphore that may be posted while a thread is being visited. It is a word of memory and no
// descriptor, whose number the program could close and reuse.
#pragma once

#include <atomic>
#include <cstdint>

namespace spprof::platform {

class WakeUp {
public:
    void post() noexcept;  // visit-safe
    // Returns when posted, or when the monotonic clock reaches the deadline.
    void wait_until(std::int64_t deadline_ns) noexcept;

private:
    std::atomic<std::uint32_t> posted_{0};
};

}  // namespace spprof::platform
