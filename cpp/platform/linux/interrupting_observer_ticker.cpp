// See interrupting_observer.h. The ticker: a thread of ours that looks once an interval, at a
// random moment, which threads are due for a signal.
#include <random>

#include "platform/clocks.h"
#include "platform/linux/handler_side.h"
#include "platform/linux/interrupting_observer.h"

namespace spprof::platform {

namespace {

// Whoever needs the ticker wakes it: this bounds nothing but its sleep.
constexpr std::int64_t kPausedSleep = 1'000'000'000;
// Who stops the ticker, or forks, waits until it wakes up: from this interval on it is woken.
constexpr std::int64_t kWaitsForTicker = 2'000'000;

}  // namespace

// --- its thread ---------------------------------------------------------------------------------

bool InterruptingObserver::start_ticker() noexcept {
    if (!ticker_.running()) {
        stop_ticker_.store(false, std::memory_order_relaxed);
        handler_side.ticker_parked.store(false, std::memory_order_relaxed);
        return ticker_.start(
            "spprof-ticker",
            [](void* self) noexcept { static_cast<InterruptingObserver*>(self)->run_ticker(); },
            this);
    }
    return true;
}

void InterruptingObserver::stop_ticker() noexcept {
    if (ticker_.running()) {
        stop_ticker_.store(true, std::memory_order_release);
        handler_side.ticker.post();
        ticker_.join();
        ended_tickers_cpu_ += ticker_.cpu_ns();
    }
}

void InterruptingObserver::end_threads() noexcept { stop_ticker(); }

void InterruptingObserver::begin_threads() noexcept {
    const std::lock_guard<std::mutex> lock(mutex_);
    if (ticker_wanted_ && !start_ticker()) {
        note(
            "no thread could be started again after a fork: from there on nothing was sampled "
            "that needs one");
    }
}

bool InterruptingObserver::owns(Tid tid) const noexcept {
    return ticker_.running() && tid == ticker_.tid();
}

void InterruptingObserver::run_ticker() noexcept {
    rhythm_.prompt = wake_current_thread_promptly();
    handler_side.prompt = rhythm_.prompt;
    // A program whose period is a multiple of ours must not be sampled in lockstep: each tick comes
    // at a random moment of its own slot, so the rate is exact and the phase is not.
    std::minstd_rand random(static_cast<std::uint32_t>(monotonic_ns()));
    const std::int64_t interval = plan_.interval_ns;
    std::uniform_int_distribution<std::int64_t> jitter(0, interval - 1);
    std::int64_t slot = monotonic_ns();
    while (!stop_ticker_.load(std::memory_order_acquire)) {
        if (!handler_side.visiting.load(std::memory_order_acquire)) {
            handler_side.ticker.wait_until(monotonic_ns() + kPausedSleep);
            slot = monotonic_ns();
            continue;
        }
        slot += interval;
        const std::int64_t now = monotonic_ns();
        if (slot < now - 10 * interval) {
            slot = now;  // the machine slept or was overloaded: measured weights make up for it
        }
        const std::int64_t deadline = slot + jitter(random);
        if (interval >= kWaitsForTicker) {
            handler_side.ticker.wait_until(deadline);
        } else {
            sleep_until(deadline);
        }
        if (!tick(monotonic_ns())) {
            park();
            // Whoever woke it may be gone before long: the next tick comes at a random moment of
            // the first interval.
            slot = monotonic_ns() - interval;
        }
        look_twice();
    }
}

void InterruptingObserver::park() noexcept {
    // Announce, then look again: whoever needs the ticker from now on calls it.
    std::atomic<bool>& parked = handler_side.ticker_parked;
    parked.store(true, std::memory_order_seq_cst);
    if (!tick(monotonic_ns()) && !stop_ticker_.load(std::memory_order_acquire)) {
        handler_side.ticker.wait_until(monotonic_ns() + kPausedSleep);
    }
    parked.store(false, std::memory_order_seq_cst);
}

// --- a tick -------------------------------------------------------------------------------------

bool InterruptingObserver::tick(std::int64_t now_ns) noexcept {
    const std::lock_guard<std::mutex> lock(mutex_);
    // Under the lock: whoever ended visits may rely on it that no signal is sent any more.
    if (!handler_side.visiting.load(std::memory_order_acquire)) {
        return true;
    }
    if (plan_.mode == Mode::wall) {
        return tick_wall(now_ns);
    }
    bool needed = false;
    for (Watch* watch : live_) {
        if (watch->by_ticker && !watch->reach.blocked) {
            const bool at_rest =
                watch->own.steady.load(std::memory_order_seq_cst) ||
                (watch->seek.state == pacing::Seeking::asleep && watch->alarm.exists() &&
                 !watch->own.woke.load(std::memory_order_relaxed));
            if (at_rest) {
                continue;
            }
            const std::int64_t cpu = thread_cpu_ns(watch->tid.load(std::memory_order_relaxed));
            needed |= cpu >= 0 && seek(*watch, now_ns, cpu);
        }
    }
    return needed;
}

// Whether the next tick must look at it, too.
bool InterruptingObserver::seek(Watch& watch, std::int64_t now_ns, std::int64_t cpu_ns) noexcept {
    const Tid tid = watch.tid.load(std::memory_order_relaxed);
    pacing::Look look;
    look.now_ns = now_ns;
    look.cpu_ns = cpu_ns;
    look.keeps_own_time = watch.own.steady.load(std::memory_order_seq_cst);
    look.stopped_own_time =
        !look.keeps_own_time && watch.own.stopped.exchange(false, std::memory_order_relaxed);
    look.visited_cpu_ns = watch.own.visited_cpu_ns.load(std::memory_order_relaxed);
    look.alarm = plan_.mode == Mode::cpu && watch.alarm.exists();
    look.woke = watch.own.woke.load(std::memory_order_relaxed);
    if (plan_.mode == Mode::wall && cpu_ns != watch.seek.cpu_ns) {
        watch.seek.next_look = 0;  // it is known to have moved
    }
    const pacing::SeekDecision decision = pacing::next(watch.seek, look, rhythm_, [&]() noexcept {
        // Now its clock moves still, or it waits for a processor, perhaps for this very one.
        return thread_cpu_ns(tid) > cpu_ns || is_runnable(tid);
    });
    if (decision.signal) {
        watch.may_keep_own_time.store(decision.may_keep_own_time, std::memory_order_relaxed);
        handler_side.signals_threads.store(true, std::memory_order_relaxed);
        signal_thread(tid, watch.cookie());
    }
    if (decision.set_alarm && plan_.mode == Mode::cpu) {
        watch.own.woke.store(false, std::memory_order_relaxed);
        if (timers_ && watch.alarm.ensure(TimerClock::thread_cpu, tid, watch.cookie())) {
            // Without a timer of its own it is sampled by the ticker's signals, once it has woken.
            const bool goes_on = watch.has_timer.load(std::memory_order_relaxed);
            watch.alarm.arm(plan_.interval_ns, goes_on ? plan_.interval_ns : 0);
            return false;
        }
    }
    return decision.look_again;
}

}  // namespace spprof::platform
