// A semaphore that may be posted while a thread is being visited. It is a word of memory and no
// descriptor, whose number the program could close and reuse; Windows needs a handle all the same.
#pragma once

#include <atomic>
#include <cstdint>

namespace spprof::platform {

class WakeUp {
public:
#if defined(_WIN32)
    WakeUp() = default;
    ~WakeUp();
    WakeUp(const WakeUp&) = delete;
    WakeUp& operator=(const WakeUp&) = delete;
#endif
    void post() noexcept;  // visit-safe
    // Returns when posted, or when the monotonic clock reaches the deadline.
    void wait_until(std::int64_t deadline_ns) noexcept;

private:
    std::atomic<std::uint32_t> posted_{0};
#if defined(_WIN32)
    std::atomic<void*> event_{nullptr};  // made by the first that waits, which is always the same
#endif
};

}  // namespace spprof::platform
