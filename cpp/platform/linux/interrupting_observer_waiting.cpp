// See interrupting_observer.h. Wall time of threads that stand still: who woke up, and looks from
// outside at those that did not.
#include "platform/clocks.h"
#include "platform/linux/fault_guard.h"
#include "platform/linux/handler_side.h"
#include "platform/linux/interrupting_observer.h"
#include "platform/safe_memory.h"

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
    Visited visited;
    {
        const ManyLoads loads;
        visited = visitor_.record(watch.subject, moment);
    }
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

bool InterruptingObserver::tick_wall(std::int64_t now_ns) noexcept {
    awake_.tick(
        live_, now_ns,
        [&](Watch& watch) noexcept {
            const Tid tid = watch.tid.load(std::memory_order_relaxed);
            const std::int64_t cpu = thread_cpu_ns(tid);
            if (cpu < 0) {
                return cpu;  // gone; the collector will notice
            }
            if (watch.by_ticker && !watch.reach.blocked) {
                seek(watch, now_ns, cpu);
            }
            if (!pacing::wants_meeting(watch.waiting, cpu)) {
                watch.stood_still_until_ns.store(now_ns, std::memory_order_relaxed);
            } else if (thread_cpu_ns(tid) == cpu) {
                if (!is_runnable(tid)) {
                    meet_waiting(watch, cpu, false);
                } else if (glances_.size() < glances_.capacity()) {
                    glances_.push_back({&watch, watch.generation, cpu});
                }
            }
            return cpu;
        },
        [](Watch& watch, std::int64_t time_ns) noexcept {
            watch.stood_still_until_ns.store(time_ns, std::memory_order_relaxed);
        });
    return true;
}

}  // namespace spprof::platform
