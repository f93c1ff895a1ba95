// A timer that samples a thread while it runs, kept going by the thread's own signal handler.
//
// A signal that another thread sends takes microseconds to arrive and is met at the next system
// call, which then looks busier than it is. An interrupt of the processor the thread runs on comes
// exactly where the thread is, so the ticker only starts this timer; it ends when it finds its
// thread asleep for good.
#pragma once

#include <atomic>
#include <cstdint>

#include "platform/platform.h"

namespace spprof::sampling {

class LocalTimer {
public:
    // --- engine: guarded by the registry's mutex
    // -------------------------------------------------

    // Does nothing where the system refuses: the ticker's own signals are samples then.
    void allow(platform::Tid tid, platform::Cookie cookie) noexcept;
    // From now on no handler starts it. One that is running already may still do so: disarm() when
    // it is done.
    void forbid() noexcept { allowed_.store(false, std::memory_order_seq_cst); }
    void disarm() noexcept;
    void destroy() noexcept;
    void forget_after_fork() noexcept;

    bool running() const noexcept { return running_.load(std::memory_order_seq_cst); }
    // Once after each time it ended by itself.
    bool take_ended() noexcept { return ended_.exchange(false, std::memory_order_relaxed); }

    // --- the thread's handler
    // --------------------------------------------------------------------

    bool allowed() const noexcept { return allowed_.load(std::memory_order_seq_cst); }
    // Whether a sample of a thread whose CPU clock says so is due: it may have had less CPU time
    // than time passed.
    bool take_due(std::int64_t cpu_ns, std::int64_t interval_ns) noexcept;
    // Starts it at these times of the two clocks; the first signal comes within `first_ns`.
    void start(std::int64_t now_ns, std::int64_t cpu_ns, std::int64_t first_ns,
               std::int64_t interval_ns) noexcept;
    // The signal that came now comes once more, within `first_ns`.
    void repeat(std::int64_t now_ns, std::int64_t first_ns) noexcept;
    // How long ago the signal that came now was sent.
    std::int64_t take_expiry(std::int64_t now_ns) noexcept;
    // After each signal: a program that works in step with the interval must not always be met at
    // the same place.
    void vary_pace(std::int64_t now_ns, std::int64_t interval_ns) noexcept;
    void end() noexcept;

private:
    bool arm(std::int64_t now_ns, std::int64_t first_ns, std::int64_t period_ns) noexcept;
    std::int64_t random_below(std::int64_t limit) noexcept;

    platform::ThreadTimer timer_;
    std::atomic<bool> allowed_{false};
    std::atomic<bool> running_{false};
    std::atomic<bool> ended_{false};
    // The handler's.
    std::uint32_t random_ = 1;
    int signals_at_this_pace_ = 0;
    int pace_ = 0;            // by how many fractions of an interval the period differs from it
    bool turned_ = true;      // the pace makes up for the one before
    std::int64_t phase_ = 0;  // of the signals, within a grid of intervals
    std::int64_t period_ = 1;
    std::int64_t next_ = 0;     // when it fires, on the monotonic clock
    std::int64_t due_cpu_ = 0;  // the thread's CPU clock at its next sample; 0: not started yet
};

}  // namespace spprof::sampling
