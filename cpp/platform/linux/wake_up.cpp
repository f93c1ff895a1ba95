// Linux behind wake_up.h: a futex. Partly reached while a thread is being visited.
#include "platform/wake_up.h"

#include <errno.h>
#include <linux/futex.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "platform/clocks.h"
#include "platform/linux/time_spec.h"

namespace spprof::platform {

void WakeUp::post() noexcept {
    static_assert(sizeof posted_ == sizeof(std::uint32_t), "a futex is a plain word");
    if (posted_.exchange(1, std::memory_order_release) == 0) {
        syscall(SYS_futex, &posted_, FUTEX_WAKE_PRIVATE, 1, nullptr, nullptr, 0);
    }
}

void WakeUp::wait_until(std::int64_t deadline_ns) noexcept {
    const timespec deadline = to_timespec(deadline_ns);
    while (posted_.exchange(0, std::memory_order_acquire) == 0) {
        // The deadline is on the monotonic clock where nothing else is said.
        if (syscall(SYS_futex, &posted_, FUTEX_WAIT_BITSET_PRIVATE, 0, &deadline, nullptr,
                    FUTEX_BITSET_MATCH_ANY) != 0 &&
            errno != EINTR && errno != EAGAIN) {
            posted_.store(0, std::memory_order_relaxed);
            return;  // the deadline, or a system that refuses to wait
        }
    }
}

}  // namespace spprof::platform
