// macOS behind wake_up.h: the call by which its own libraries wait for a word of memory. Partly
// reached while a thread is being visited.
#include "platform/wake_up.h"

#include <algorithm>

#include "platform/clocks.h"

// Not in a header of the system; libc++ and other runtimes declare it the same way.
extern "C" int __ulock_wait(std::uint32_t operation, void* address, std::uint64_t value,
                            std::uint32_t timeout_us);
extern "C" int __ulock_wake(std::uint32_t operation, void* address, std::uint64_t value);

namespace spprof::platform {

namespace {

constexpr std::uint32_t kCompareAndWait = 1;
constexpr std::uint32_t kNoErrno = 0x01000000;

}  // namespace

void WakeUp::post() noexcept {
    static_assert(sizeof posted_ == sizeof(std::uint32_t), "it is waited for as a plain word");
    if (posted_.exchange(1, std::memory_order_release) == 0) {
        __ulock_wake(kCompareAndWait | kNoErrno, &posted_, 0);
    }
}

void WakeUp::wait_until(std::int64_t deadline_ns) noexcept {
    constexpr std::int64_t kMicrosecond = 1'000, kLongest = 3'600'000'000;
    while (posted_.exchange(0, std::memory_order_acquire) == 0) {
        const std::int64_t left = (deadline_ns - monotonic_ns()) / kMicrosecond;
        if (left <= 0) {
            return;
        }
        // Zero would mean for ever. Whatever ends the wait, the word is looked at again; where the
        // system refuses to wait, any other way of waiting will do.
        const int waiters = __ulock_wait(kCompareAndWait | kNoErrno, &posted_, 0,
                                         static_cast<std::uint32_t>(std::min(left, kLongest)));
        constexpr int kTimedOut = -60, kInterrupted = -4, kFault = -14;
        if (waiters < 0 && waiters != kTimedOut && waiters != kInterrupted && waiters != kFault) {
            sleep_until(std::min(deadline_ns, monotonic_ns() + 1'000'000));
        }
    }
}

}  // namespace spprof::platform
