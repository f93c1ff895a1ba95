// See interrupting_observer.h. Threads that are followed: their timers, and whether signals reach
// them at all.
#include <errno.h>
#include <sys/syscall.h>

#include <algorithm>
#include <new>

#include "platform/clocks.h"
#include "platform/linux/handler_side.h"
#include "platform/linux/interrupting_observer.h"

namespace spprof::platform {

void InterruptingObserver::arm(Watch& watch) noexcept {
    if (watch.reach.blocked || paused_) {
        return;
    }
    const Tid tid = watch.tid.load(std::memory_order_relaxed);
    if (timers_are_engine_ && !watch.by_ticker) {
        if (watch.alarm.ensure(TimerClock::thread_cpu, tid, watch.cookie())) {
            // The first signal comes at a random moment of the first interval.
            std::uniform_int_distribution<std::int64_t> phase(1, plan_.interval_ns);
            watch.alarm.arm(phase(random_), plan_.interval_ns);
            return;
        }
        if (thread_cpu_ns(tid) < 0) {
            return;  // it ended meanwhile
        }
        // Timers can run out (RLIMIT_SIGPENDING): the ticker takes the rest.
        ticker_wanted_ = true;
        if (!start_ticker()) {
            note(
                "neither a timer nor a thread was to be had for some threads: they are not "
                "sampled while they run");
            return;
        }
    }
    if (timers_) {
        errno = 0;
        if (watch.timer.ensure(TimerClock::monotonic, tid, watch.cookie())) {
            watch.has_timer.store(true, std::memory_order_seq_cst);
            if (watch.alarm.ensure(TimerClock::thread_cpu, tid, watch.cookie())) {
                watch.alarm.arm(plan_.interval_ns, plan_.interval_ns);
            }
        } else if (errno == EAGAIN) {
            note(
                "no timer is left here for some threads (RLIMIT_SIGPENDING): the ticker thread "
                "samples them instead");
        }
    }
    watch.by_ticker = true;
    pacing::begin_seeking(watch.seek, monotonic_ns(), thread_cpu_ns(tid));
    handler_side.call_ticker();
}

void InterruptingObserver::disarm(Watch& watch) noexcept {
    // From now on no handler sets the timer; one that runs already may still do so.
    watch.has_timer.store(false, std::memory_order_seq_cst);
    watch.await_visit();
    watch.alarm.disarm();
    watch.timer.disarm();
    watch.own.time.stopped();
    watch.own.steady.store(false, std::memory_order_seq_cst);
}

Watch* InterruptingObserver::follow(Tid tid, void* subject) noexcept {
    const std::lock_guard<std::mutex> lock(mutex_);
    Watch* watch = handler_side.watches.take();
    if (watch == nullptr) {
        return nullptr;
    }
    try {
        awake_.reserve(live_.size() + 1);
        live_.push_back(watch);
    } catch (const std::bad_alloc&) {
        handler_side.watches.give_back(watch);
        return nullptr;
    }
    watch->begin(tid, subject);
    watch->place = live_.size() - 1;
    awake_.changed();
    watch->reach.blocked = blocks_signal(tid);
    watch->reach.cpu_ns = watch->own.visited_cpu_ns.load(std::memory_order_relaxed);
    arm(*watch);
    return watch;
}

VisitFigures InterruptingObserver::leave(Watch* watch) noexcept {
    const std::lock_guard<std::mutex> lock(mutex_);
    if (watch->reach.blocked) {
        check_reach(*watch);
    }
    // A signal that comes late finds a watch that is not its own.
    watch->tid.store(0, std::memory_order_seq_cst);
    watch->await_visit();
    watch->alarm.destroy();
    watch->timer.destroy();
    const VisitFigures figures = watch->figures();
    live_[watch->place] = live_.back();
    live_[watch->place]->place = watch->place;
    live_.pop_back();
    awake_.look_at_all();
    handler_side.watches.give_back(watch);
    return figures;
}

VisitFigures InterruptingObserver::figures(const Watch* watch) const noexcept {
    return watch->figures();
}

void InterruptingObserver::look_again(Watch* watch) noexcept {
    const std::lock_guard<std::mutex> lock(mutex_);
    watch->waiting = {};
    awake_.changed();
}

void InterruptingObserver::about_to_close(Watch* watch) noexcept {
    const std::lock_guard<std::mutex> lock(mutex_);
    Watch::Reach& reach = watch->reach;
    if (!reach.blocked) {
        disarm(*watch);
        reach.blocked = true;
        reach.open_sleeps = -1;
        reach.cpu_ns = current_thread_cpu_ns();
    }
}

void InterruptingObserver::wait_for_visits() const noexcept {
    for (const Watch* watch : live_) {
        watch->await_visit();
    }
}

// Whether a thread that looks open is so. One that was woken up in sigwait() looks so, too, until
// it runs, and where threads queue for the processors that takes long. Not in sigwait() is who
// sleeps in another call, and who was seen open, has run, and has not slept since.
bool InterruptingObserver::has_opened(Watch::Reach& reach, Tid tid, std::int64_t cpu_ns) noexcept {
    constexpr std::int64_t kWayOutOfCall = 100'000;  // of CPU time, and far more
    const long sleeps = thread_sleeps(tid);
    const bool ran_on = reach.open_sleeps >= 0 && sleeps == reach.open_sleeps &&
                        cpu_ns - reach.open_cpu_ns > kWayOutOfCall;
    WaitingCall call;
    const bool elsewhere = waiting_call(tid, call) && call.number != SYS_rt_sigtimedwait &&
                           !blocks_signal(tid) && thread_sleeps(tid) == sleeps;
    reach.open_sleeps = sleeps;
    reach.open_cpu_ns = thread_cpu_ns(tid);
    return sleeps >= 0 && (ran_on || elsewhere);
}

// Signals to a thread that has blocked them would lie there until it takes them itself
// (sigwait()).
void InterruptingObserver::check_reach(Watch& watch) noexcept {
    Watch::Reach& reach = watch.reach;
    const Tid tid = watch.tid.load(std::memory_order_relaxed);
    const std::uint64_t visits = watch.own.visits.load(std::memory_order_relaxed);
    if (!reach.blocked && visits != reach.visits) {
        reach.visits = visits;
        reach.cpu_ns = watch.own.visited_cpu_ns.load(std::memory_order_relaxed);
        return;
    }
    const std::int64_t cpu = thread_cpu_ns(tid);
    if (cpu < 0) {
        return;
    }
    // It should have been met by now.
    const std::int64_t due = std::max<std::int64_t>(3 * plan_.interval_ns, 12'000'000);
    if (!reach.blocked) {
        if (cpu - reach.cpu_ns <= due) {
            return;
        }
        disarm(watch);
        if (blocks_signal(tid)) {
            watch.waiting = {};
            awake_.changed();
            sampling_signal.flush_pending();
            reach.blocked = true;
        } else {
            // Its timer's signal was lost, and with it the timer: older kernels forget one whose
            // signal is discarded.
            reach.cpu_ns = cpu;
            arm(watch);
        }
    } else {
        const bool moved = cpu != reach.cpu_ns;
        reach.lost_ns += cpu - reach.cpu_ns;
        reach.cpu_ns = cpu;
        if (tid == 0 || !moved || blocks_signal(tid)) {
            reach.open_sleeps = -1;
        } else if (has_opened(reach, tid, cpu)) {
            reach.blocked = false;
            arm(watch);
        }
    }
}

}  // namespace spprof::platform
