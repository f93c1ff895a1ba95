// See interrupting_observer.h. Wall time of threads that stand still: who woke up, and looks from
// outside at those that did not.
#include <algorithm>

#include "platform/clocks.h"
#include "platform/linux/fault_guard.h"
#include "platform/linux/handler_side.h"
#include "platform/linux/interrupting_observer.h"

namespace spprof::platform {

namespace {

// For so long a thread that could run gets the ticker's processor, if that is what it waits for.
constexpr std::int64_t kGlance = 60'000;

}  // namespace

void InterruptingObserver::meet_waiting(Watch& watch, std::int64_t cpu_ns,
                                        bool could_run) noexcept {
    const Tid tid = watch.tid.load(std::memory_order_relaxed);
    if (!FaultGuard::armed() || watch.visited_now.exchange(true, std::memory_order_seq_cst)) {
        return;  // nothing can be read, or it visits itself
    }
    Moment moment;
    // Not when the tick began: the thread may have visited itself since, and gone to sleep.
    moment.time_ns = monotonic_ns();
    moment.cpu_ns = cpu_ns;
    moment.doing = Doing::waiting;
    moment.could_run = could_run;
    moment.stood_still_until_ns = watch.stood_still_until_ns.load(std::memory_order_relaxed);
    MachineRegisters registers;
    WaitingCall call;
    if (waiting_call(tid, call)) {
        moment.wait = call.wait;
        moment.waits_at = call.word;
    }
    if (plan_.registers && call.program_counter != 0) {
        registers.pc = call.program_counter;
        registers.value[MachineRegisters::kStackPointer] = call.stack_pointer;
        moment.registers = &registers;
    }
    const Visited visited = visitor_.record(watch.subject, moment);
    // What was read is believed if the thread has not run meanwhile.
    if (visited != Visited::torn && thread_cpu_ns(tid) == cpu_ns) {
        if (visited == Visited::recorded) {
            visitor_.keep(watch.subject);
        }
        watch.waiting.met_cpu = cpu_ns;
        watch.stood_still_until_ns.store(moment.time_ns, std::memory_order_relaxed);
    }
    watch.visited_now.store(false, std::memory_order_release);
}

// A thread that could run may be kept from it by this very thread: whether it waits for a
// processor shows when this one has let go of its own for a moment.
void InterruptingObserver::look_twice() noexcept {
    if (glances_.empty()) {
        return;
    }
    sleep_until(monotonic_ns() + kGlance);
    const std::lock_guard<std::mutex> lock(mutex_);
    if (handler_side.visiting.load(std::memory_order_acquire)) {
        for (const Glance& glance : glances_) {
            const Tid tid = glance.watch->tid.load(std::memory_order_relaxed);
            if (tid != 0 && glance.watch->generation == glance.generation &&
                thread_cpu_ns(tid) == glance.cpu_ns) {
                meet_waiting(*glance.watch, glance.cpu_ns, true);
            }
        }
    }
    glances_.clear();
}

void InterruptingObserver::find_awake() noexcept {
    awake_.clear();
    asleep_cpu_ns_ = 0;
    for (Watch* watch : live_) {
        if (watch->waiting.asleep) {
            asleep_cpu_ns_ += watch->waiting.seen_cpu;
        } else {
            awake_.push_back(watch);  // follow() has seen to the room
        }
    }
    awake_known_ = true;
}

bool InterruptingObserver::tick_wall(std::int64_t now_ns) noexcept {
    if (!awake_known_) {
        find_awake();
    }
    // First, so that what runs meanwhile looks explained rather than not. The system adds up all
    // threads for it: among a thousand of them it is asked less often.
    const bool asks = awake_.size() < live_.size() && sleepers_.clock.grants(now_ns);
    const std::int64_t process = asks ? process_cpu_ns() : 0;
    std::int64_t explained = asleep_cpu_ns_;
    if (asks) {
        sleepers_.clock.take(monotonic_ns() - now_ns);
        explained += current_thread_cpu_ns();
        const Tid companion = companion_.load(std::memory_order_relaxed);
        explained += companion == 0 ? 0 : std::max<std::int64_t>(0, thread_cpu_ns(companion));
    }
    const auto look_at = [&](Watch& watch) {
        const Tid tid = watch.tid.load(std::memory_order_relaxed);
        const std::int64_t cpu = thread_cpu_ns(tid);
        if (cpu < 0) {
            return;  // gone; the collector will notice
        }
        explained += cpu;
        if (watch.by_ticker && !watch.reach.blocked) {
            seek(watch, now_ns, cpu);
        }
        if (!pacing::wants_meeting(watch.waiting, cpu)) {
            watch.stood_still_until_ns.store(now_ns, std::memory_order_relaxed);
            awake_known_ &= !watch.waiting.asleep;
        } else if (thread_cpu_ns(tid) == cpu) {
            if (is_runnable(tid)) {
                if (glances_.size() < glances_.capacity()) {
                    glances_.push_back({&watch, watch.generation, cpu});
                }
            } else {
                meet_waiting(watch, cpu, false);
            }
        }
    };
    for (Watch* watch : awake_) {
        look_at(*watch);
    }
    if (asks && pacing::somebody_woke(sleepers_, now_ns, process - explained)) {
        const std::int64_t begin = monotonic_ns();
        const std::int64_t quiet = sleepers_.quiet_until;
        for (Watch* watch : live_) {
            if (watch->waiting.asleep) {
                explained -= watch->waiting.seen_cpu;
                watch->stood_still_until_ns.store(quiet, std::memory_order_relaxed);
                look_at(*watch);
            }
        }
        awake_known_ = false;
        const std::int64_t end = monotonic_ns();
        pacing::looked_at_all(sleepers_, end, end - begin, process - explained);
    }
    return true;
}

}  // namespace spprof::platform
