// See local_timer.h. Partly reached from the signal handler: no allocation, no lock.
#include "sampling/local_timer.h"

#include <algorithm>
#include <iterator>

namespace spprof::sampling {

namespace {

// For so many signals the period differs from the interval by a few fractions of it, so that they
// meet each of as many phases of a program that repeats itself once an interval; then for as many
// by the opposite, which keeps the rate. Setting a timer anew may cost as much as a sample.
constexpr int kSignalsAtOnePace = 16;
constexpr int kPaces[] = {1, 3, -1, -3};

// How many samples may be ahead of their rate or make up for it. Whether a signal meets a thread
// that runs now and then is chance.
constexpr std::int64_t kMostAhead = 8;

}  // namespace

void LocalTimer::allow(platform::Tid tid, platform::Cookie cookie) noexcept {
    if (!timer_.exists()) {
        if (!timer_.create(platform::TimerClock::monotonic, tid, cookie)) {
            return;
        }
        due_cpu_ = 0;
        random_ = static_cast<std::uint32_t>(tid * 2654435761u ^ platform::monotonic_ns()) | 1;
    }
    allowed_.store(true, std::memory_order_seq_cst);
}

void LocalTimer::disarm() noexcept {
    timer_.disarm();
    running_.store(false, std::memory_order_seq_cst);
    ended_.store(false, std::memory_order_relaxed);
}

void LocalTimer::destroy() noexcept {
    forbid();
    timer_.destroy();
    running_.store(false, std::memory_order_seq_cst);
    ended_.store(false, std::memory_order_relaxed);
}

void LocalTimer::forget_after_fork() noexcept {
    timer_.forget();
    destroy();
}

std::int64_t LocalTimer::random_below(std::int64_t limit) noexcept {
    random_ ^= random_ << 13;
    random_ ^= random_ >> 17;
    random_ ^= random_ << 5;
    return static_cast<std::int64_t>(random_) * limit >> 32;
}

bool LocalTimer::take_due(std::int64_t cpu_ns, std::int64_t interval_ns) noexcept {
    if (cpu_ns + kMostAhead * interval_ns < due_cpu_) {
        return false;
    }
    due_cpu_ = std::max(due_cpu_, cpu_ns - kMostAhead * interval_ns) + interval_ns;
    return true;
}

bool LocalTimer::arm(std::int64_t now_ns, std::int64_t first_ns, std::int64_t period_ns) noexcept {
    period_ = period_ns;
    next_ = now_ns + first_ns;
    return timer_.arm(first_ns, period_ns);
}

void LocalTimer::start(std::int64_t now_ns, std::int64_t cpu_ns, std::int64_t first_ns,
                       std::int64_t interval_ns) noexcept {
    // What it was ahead or behind when it ended last, it still is.
    if (due_cpu_ == 0) {
        due_cpu_ = cpu_ns;
    }
    phase_ = random_below(interval_ns);
    turned_ = true;
    signals_at_this_pace_ = kSignalsAtOnePace - 1;  // the next signal sets the pace
    if (arm(now_ns, 1 + random_below(first_ns), interval_ns)) {
        running_.store(true, std::memory_order_seq_cst);
    }
}

void LocalTimer::repeat(std::int64_t now_ns, std::int64_t first_ns) noexcept {
    arm(now_ns, 1 + random_below(first_ns), period_);
}

std::int64_t LocalTimer::take_expiry(std::int64_t now_ns) noexcept {
    const std::int64_t late = std::max<std::int64_t>(0, now_ns - next_);
    // Signals of the same timer that are not taken in time become one.
    next_ += (1 + late / period_) * period_;
    return late;
}

void LocalTimer::vary_pace(std::int64_t now_ns, std::int64_t interval_ns) noexcept {
    if (++signals_at_this_pace_ < kSignalsAtOnePace) {
        return;
    }
    signals_at_this_pace_ = 0;
    turned_ = !turned_;
    std::int64_t shift = 0;
    if (turned_) {
        pace_ = -pace_;
    } else {
        pace_ = kPaces[random_below(std::size(kPaces))];
        const std::int64_t phase = random_below(interval_ns);
        shift = phase - phase_;
        phase_ = phase;
    }
    const std::int64_t period = interval_ns + pace_ * interval_ns / kSignalsAtOnePace;
    arm(now_ns, std::max(interval_ns / 16, period + shift), period);
}

void LocalTimer::end() noexcept {
    timer_.disarm();
    ended_.store(true, std::memory_order_relaxed);
    running_.store(false, std::memory_order_seq_cst);
}

}  // namespace spprof::sampling
