// See interrupting_observer.h. Its life: beginning and end, pause, fork, report. Followed threads
// are in interrupting_observer_threads.cpp, the ticker's loop in interrupting_observer_ticker.cpp,
// its looks at threads that stand still in interrupting_observer_waiting.cpp; what runs on the
// threads themselves is in sampling_signal.cpp.
#include "platform/linux/interrupting_observer.h"

#include <errno.h>

#include <algorithm>
#include <new>
#include <stdexcept>

#include "platform/clocks.h"
#include "platform/linux/fault_guard.h"
#include "platform/linux/handler_side.h"
#include "platform/linux/time_spec.h"

namespace spprof::platform {

namespace {

// How often it is asked whether threads can be reached by signals at all.
constexpr std::int64_t kReachPeriod = 200'000'000;

}  // namespace

std::unique_ptr<Observer> make_observer(const Plan& plan, const Visitor& visitor) {
    return std::make_unique<InterruptingObserver>(plan, visitor);
}

InterruptingObserver::InterruptingObserver(const Plan& plan, const Visitor& visitor)
    : plan_(plan), visitor_(visitor) {
    constexpr std::size_t kMostGlances = 256;
    glances_.reserve(kMostGlances);
    rhythm_.interval_ns = plan.interval_ns;
}

InterruptingObserver::~InterruptingObserver() {
    HandlerSide& side = handler_side;
    side.visiting.store(false, std::memory_order_seq_cst);
    stop_ticker();
    {
        const std::lock_guard<std::mutex> lock(mutex_);
        wait_for_visits();
        for (Watch* watch : live_) {
            watch->tid.store(0, std::memory_order_seq_cst);
            watch->await_visit();
            watch->alarm.destroy();
            watch->timer.destroy();
            side.watches.give_back(watch);
        }
        live_.clear();
        awake_.changed();
    }
    if (began_) {
        sampling_signal.flush_pending();
        sampling_signal.restore();
        side.signals_threads.store(false, std::memory_order_relaxed);
        FaultGuard::restore();
    }
}

void InterruptingObserver::begin() {
    {
        ThreadTimer probe;
        constexpr std::int64_t kNotSoon = 3600 * kSecond;
        errno = 0;
        timers_ = probe.create(TimerClock::thread_cpu, current_tid(), 0) && probe.arm(kNotSoon, 0);
    }
    const bool used_up = !timers_ && errno == EAGAIN;
    // CPU timers fire on the kernel's tick. The first tick of a burst stands for what was used
    // since the last one of the burst before, too: of bursts of one or two ticks the first
    // half of a tick would get half of its samples. But they never disturb a thread that sleeps, as
    // those timers do that serve where the ticker is not prompt.
    timers_are_engine_ =
        timers_ && plan_.interval_ns >= kernel_tick_ns() && !threads_can_wake_promptly();
    if (!can_signal_threads() && !timers_are_engine_) {
        if (timers_) {
            timers_are_engine_ = true;
            note(
                "signals to threads are refused here (seccomp?): samples come on the kernel's "
                "tick");
        } else if (plan_.mode == Mode::wall) {
            note(
                "neither CPU timers nor signals to threads can be had here (seccomp?): threads "
                "are not seen while they run");
        } else {
            throw std::runtime_error(
                "spprof can neither set timers nor signal threads here (seccomp?): nothing can be "
                "sampled in cpu mode");
        }
    }
    if (!timers_) {
        note(used_up ? "no CPU timer is left here (RLIMIT_SIGPENDING): the ticker thread samples "
                       "instead"
                     : "CPU timers are refused here (seccomp?): the ticker thread samples instead");
    }
    HandlerSide& side = handler_side;
    side.interval_ns = plan_.interval_ns;
    side.prompt = true;
    side.visitor = visitor_;
    side.registers = plan_.registers;
    side.wall = plan_.mode == Mode::wall;
    side.calls.continued = 0;
    side.calls.cut_short = 0;
    FaultGuard::install();
    sampling_signal.install();
    began_ = true;
    ticker_wanted_ = !timers_are_engine_ || plan_.mode == Mode::wall;
    if (ticker_wanted_ && !start_ticker()) {
        ticker_wanted_ = false;
        if (!timers_) {
            throw std::runtime_error(
                "spprof can neither set timers nor start a thread here: nothing can be sampled");
        }
        timers_are_engine_ = true;
        note(
            "no thread could be started to keep the time: samples come on the kernel's tick, and "
            "what waits is not seen");
    }
    side.visiting.store(true, std::memory_order_seq_cst);
    side.ticker.post();
}

void InterruptingObserver::note(const char* text) noexcept {
    try {
        if (std::find(notes_.begin(), notes_.end(), text) == notes_.end()) {
            notes_.emplace_back(text);
        }
    } catch (const std::bad_alloc&) {
        return;  // no memory for words
    }
}

// --- pause, keep, fork --------------------------------------------------------------------------

void InterruptingObserver::pause() noexcept {
    handler_side.visiting.store(false, std::memory_order_seq_cst);
    const std::lock_guard<std::mutex> lock(mutex_);
    paused_ = true;
    for (Watch* watch : live_) {
        disarm(*watch);
    }
}

void InterruptingObserver::resume() noexcept {
    const std::lock_guard<std::mutex> lock(mutex_);
    FaultGuard::reinstall_if_taken();
    sampling_signal.reinstall_if_taken();
    paused_ = false;
    awake_.look_at_all();
    handler_side.visiting.store(true, std::memory_order_seq_cst);
    for (Watch* watch : live_) {
        watch->waiting = {};
        watch->own.stopped.store(false, std::memory_order_relaxed);
        arm(*watch);
    }
    handler_side.ticker.post();
}

void InterruptingObserver::keep() noexcept {
    const std::lock_guard<std::mutex> lock(mutex_);
    if (paused_) {
        return;  // the signals may be somebody else's
    }
    FaultGuard::reinstall_if_taken();
    sampling_signal.reinstall_if_taken();
    const std::int64_t now = monotonic_ns();
    const bool all = now >= next_reach_check_;
    if (all) {
        next_reach_check_ = now + kReachPeriod;
    }
    for (Watch* watch : live_) {
        const bool at_rest = watch->seek.state == pacing::Seeking::asleep || watch->waiting.asleep;
        if (watch->reach.blocked || (all && !at_rest)) {
            check_reach(*watch);
        }
    }
}

void InterruptingObserver::give_back() noexcept {
    const std::lock_guard<std::mutex> lock(mutex_);
    // What threads that have not run since were sent, the default action would end the process for.
    // Timers go before: since Linux 6.13 what is discarded of one that exists is sent once more.
    for (Watch* watch : live_) {
        watch->alarm.destroy();
        watch->timer.destroy();
    }
    sampling_signal.flush_pending();
    sampling_signal.restore();
}

void InterruptingObserver::take_again() { sampling_signal.install(); }

void InterruptingObserver::abandon_after_fork() noexcept {
    HandlerSide& side = handler_side;
    side.visiting.store(false, std::memory_order_seq_cst);
    side.ticker_parked.store(false, std::memory_order_relaxed);
    ticker_.abandon_after_fork();
    ticker_wanted_ = false;
    for (Watch* watch : live_) {
        watch->alarm.forget();
        watch->timer.forget();
        watch->visited_now.store(false, std::memory_order_relaxed);
    }
}

Observer::Report InterruptingObserver::report() const {
    Report result;
    const std::lock_guard<std::mutex> lock(mutex_);
    result.engine = timers_are_engine_ ? "timer" : "ticker";
    result.notes = notes_;
    result.cpu_ns = ended_tickers_cpu_ + (ticker_.running() ? ticker_.cpu_ns() : 0);
    result.calls_continued = handler_side.calls.continued;
    result.calls_cut_short = handler_side.calls.cut_short;
    return result;
}

}  // namespace spprof::platform
