// The handler of the signal that samples: what a followed thread does when it is interrupted.
// Reached from the signal handler: no allocation, no lock, no lazily bound symbols.
#include <errno.h>
#include <signal.h>
#include <ucontext.h>

#include <cstring>

#include "platform/clocks.h"
#include "platform/linux/fault_guard.h"
#include "platform/linux/handler_side.h"
#include "platform/linux/machine_context.h"

namespace spprof::platform {

HandlerSide handler_side;

namespace {

void on_signal(int, siginfo_t* info, void* raw_context);

}  // namespace

SharedSignal sampling_signal(SIGPROF, 0, on_signal, false);

namespace {

template <class T>
void increase(std::atomic<T>& counter, T by = 1) noexcept {
    // Only the handler of one thread writes it: no locked instruction is needed.
    counter.store(counter.load(std::memory_order_relaxed) + by, std::memory_order_relaxed);
}

// What a visit has cost so far. The CPU clock costs as much as all the rest (a system call that
// takes the scheduler's lock), so it is only asked again where the thread may have been kept off
// the processor meanwhile.
std::int64_t time_since(std::int64_t begin, std::int64_t cpu_at_begin) noexcept {
    constexpr std::int64_t kUnlikelyLong = 20'000;
    const std::int64_t elapsed = monotonic_ns() - begin;
    return elapsed < kUnlikelyLong ? elapsed : current_thread_cpu_ns() - cpu_at_begin;
}

void carry_out(Watch& watch, const pacing::Arm& arm) noexcept {
    switch (arm.what) {
        case pacing::Arm::What::leave:
            break;
        case pacing::Arm::What::set:
            if (!watch.timer.arm(arm.first_ns, arm.period_ns)) {
                watch.own.time.stopped();
            }
            break;
        case pacing::Arm::What::stop:
            watch.timer.disarm();
            break;
    }
}

// What the thread decides about the signal that has just come; whether it is visited now.
bool wants_visit(Watch& watch, Sender sender, const CallSite& site, std::int64_t now,
                 std::int64_t cpu) noexcept {
    if (!watch.by_ticker.load(std::memory_order_relaxed)) {
        return true;  // a CPU timer fires on a thread that runs
    }
    if (!watch.has_timer.load(std::memory_order_acquire)) {
        return !site.in_call();  // the ticker's own signals have to do
    }
    pacing::Arrival arrival;
    arrival.from = sender == Sender::thread  ? pacing::From::ticker
                   : sender == Sender::timer ? pacing::From::own_timer
                                             : pacing::From::alarm;
    arrival.now_ns = now;
    arrival.cpu_ns = cpu;
    arrival.visited_ns = watch.own.visited_ns.load(std::memory_order_relaxed);
    arrival.visited_cpu_ns = watch.own.visited_cpu_ns.load(std::memory_order_relaxed);
    arrival.slept = !watch.own.woke.load(std::memory_order_relaxed);
    arrival.in_call = site.in_call();
    arrival.just_left_call = site.just_left;
    arrival.may_keep_own_time = watch.may_keep_own_time.load(std::memory_order_relaxed);
    const pacing::ArrivalDecision decision = watch.own.time.next(arrival, handler_side.rhythm());
    carry_out(watch, decision.timer);
    return decision.visit;
}

// Whether the thread has slept since the visit before; only asked where it was off the processor.
void learn_whether_it_slept(Watch& watch, std::int64_t now, std::int64_t cpu) noexcept {
    constexpr std::int64_t kInterrupts = 50'000;
    const std::int64_t passed = now - watch.own.visited_ns.load(std::memory_order_relaxed);
    const std::int64_t used = cpu - watch.own.visited_cpu_ns.load(std::memory_order_relaxed);
    if (passed - used > kInterrupts) {
        const long sleeps = current_thread_sleeps();
        watch.own.slept = watch.own.slept || sleeps < 0 || sleeps != watch.own.sleeps;
        watch.own.sleeps = sleeps;
    }
}

void visit_own_thread(Watch& watch, const ucontext_t& context, std::int64_t now,
                      std::int64_t cpu) noexcept {
    const HandlerSide& side = handler_side;
    Moment moment;
    moment.time_ns = now;
    moment.cpu_ns = cpu;
    moment.on_own_thread = true;
    moment.never_slept = side.wall && !watch.own.slept;
    moment.stood_still_until_ns = watch.stood_still_until_ns.load(std::memory_order_relaxed);
    MachineRegisters registers;
    if (side.registers) {
        fill(registers, context);
        moment.registers = &registers;
        moment.all_registers = true;
    }
    switch (side.visitor.record(watch.subject, moment)) {
        case Visited::recorded:
            side.visitor.keep(watch.subject);
            watch.own.slept = false;
            watch.own.time.sound();
            break;
        case Visited::refused:
            watch.own.time.sound();
            break;
        case Visited::torn: {
            pacing::Arm again;
            if (watch.by_ticker.load(std::memory_order_relaxed) &&
                watch.has_timer.load(std::memory_order_acquire)) {
                again = watch.own.time.torn(now, side.rhythm());
            }
            if (again.what == pacing::Arm::What::leave) {
                increase(watch.own.torn);
            }
            carry_out(watch, again);
            break;
        }
    }
}

// It runs: the ticker looks at it again, where it does not keep its own time.
void has_woken(Watch& watch) noexcept {
    watch.own.woke.store(true, std::memory_order_relaxed);
    if (!watch.own.steady.load(std::memory_order_relaxed) &&
        watch.by_ticker.load(std::memory_order_relaxed)) {
        handler_side.call_ticker();
    }
}

void put_off_visit(Watch& watch) noexcept {
    increase(watch.own.torn);
    if (handler_side.visitor.call_keeper != nullptr) {
        handler_side.visitor.call_keeper();
    }
    has_woken(watch);
}

void take_signal(Cookie cookie, Sender sender, const ucontext_t& context) noexcept {
    HandlerSide& side = handler_side;
    // The ticker's own signals start the timers that keep the rate.
    if (sender != Sender::thread && side.do_nothing.load(std::memory_order_relaxed)) {
        return;
    }
    const std::int64_t begin = monotonic_ns();
    Watch* watch = side.watches.resolve(cookie);
    // Somebody may have taken SIGSEGV over ours: then nothing is read until keep() has put it
    // right, not even the interrupted instruction. Nor is a visit begun: their handler may leave.
    if (watch != nullptr && !FaultGuard::armed()) {
        put_off_visit(*watch);
        return;
    }
    // Announce, then look: whoever ends visits looks for announced ones afterwards. Where the
    // thread is being read from outside at this moment, that is its visit.
    if (watch == nullptr || watch->visited_now.exchange(true, std::memory_order_seq_cst)) {
        return;
    }
    if (side.visiting.load(std::memory_order_seq_cst) && side.watches.resolve(cookie) == watch) {
        const std::int64_t cpu = current_thread_cpu_ns();
        if (side.wall) {
            learn_whether_it_slept(*watch, begin, cpu);
        }
        if (wants_visit(*watch, sender, call_site(context), begin, cpu)) {
            visit_own_thread(*watch, context, begin, cpu);
        }
        Watch::Own& own = watch->own;
        const bool steady = own.time.state() == pacing::Keeping::steady;
        if (own.steady.load(std::memory_order_relaxed) && !steady) {
            own.stopped.store(true, std::memory_order_relaxed);
        }
        own.steady.store(steady, std::memory_order_seq_cst);
        has_woken(*watch);
        const auto spent = static_cast<std::uint64_t>(time_since(begin, cpu));
        own.visited_cpu_ns.store(cpu + static_cast<std::int64_t>(spent), std::memory_order_relaxed);
        own.visited_ns.store(begin + static_cast<std::int64_t>(spent), std::memory_order_relaxed);
        increase(own.visits);
        increase(own.spent_ns, spent);
        if (spent > own.worst_ns.load(std::memory_order_relaxed)) {
            own.worst_ns.store(spent, std::memory_order_relaxed);
        }
    }
    watch->visited_now.store(false, std::memory_order_release);
}

// Whether it is for this thread's watch: sent by us, as far as can be known.
bool is_for_us(const siginfo_t& info, Sender& sender, Cookie& cookie) noexcept {
    if (is_ours(info, sender, cookie)) {
        return true;
    }
    const Watch* watch = carries_nothing(info) && handler_side.signals_threads.load()
                             ? handler_side.watches.of_current_thread()
                             : nullptr;
    if (watch != nullptr) {
        sender = Sender::thread;
        cookie = watch->cookie();
    }
    return watch != nullptr;
}

// Whether this thread can take a visit here, and how: one that has SIGSEGV blocked would be ended
// by a fault, and a signal stack of its own may have no room for another signal's frame.
enum class Footing : std::uint8_t { firm, no_faults, none };

Footing footing(const ucontext_t& context) noexcept {
    // What a visit takes at most, measured: 1.6 KB, and 3.1 KB with native frames.
    constexpr std::uintptr_t kVisit = 2048, kNativeVisit = 4096, kFaultHandler = 1024;
    const std::uintptr_t visit = handler_side.registers ? kNativeVisit : kVisit;
    const auto bottom = reinterpret_cast<std::uintptr_t>(context.uc_stack.ss_sp);
    const auto here = reinterpret_cast<std::uintptr_t>(__builtin_frame_address(0));
    const std::uintptr_t room = here - bottom;
    if (room < context.uc_stack.ss_size) {
        // The frame of this signal tells how large the next one would be.
        const std::uintptr_t frame = context.uc_stack.ss_size - room;
        if (room < visit) {
            return Footing::none;
        }
        if (room < visit + frame + kFaultHandler) {
            return Footing::no_faults;
        }
    }
    // The first word is all that Linux has of a set; sigismember() would be a call.
    unsigned long blocked_word = 0;
    std::memcpy(&blocked_word, &context.uc_sigmask, sizeof blocked_word);
    const bool blocked = (blocked_word & (1ul << (SIGSEGV - 1) | 1ul << (SIGBUS - 1))) != 0;
    return blocked ? Footing::no_faults : Footing::firm;
}

// No noexcept and no destructors: a call that is gone on with may be left by pthread_exit or
// siglongjmp.
void on_signal(int, siginfo_t* info, void* raw_context) {
    const int saved_errno = errno;
    auto& context = *static_cast<ucontext_t*>(raw_context);
    Sender sender;
    Cookie cookie;
    if (is_for_us(*info, sender, cookie)) {
        const Footing stands = footing(context);
        if (stands != Footing::none) {
            loads_by_system_call = stands == Footing::no_faults;
            FaultGuard::begin_visit();
            take_signal(cookie, sender, context);
            const bool awaits_fault = FaultGuard::end_visit();
            errno = saved_errno;
            if (!awaits_fault) {  // which interrupts a call that would be gone on with
                continue_interrupted_call(context, handler_side.calls);
            }
            loads_by_system_call = false;
        } else if (Watch* watch = handler_side.watches.resolve(cookie)) {
            increase(watch->own.torn);
        }
        errno = saved_errno;
        return;
    }
    if (!sampling_signal.pass_on(info, raw_context, [] { return true; }) &&
        !carries_nothing(*info)) {
        sampling_signal.default_action(info);
    }
    errno = saved_errno;
}

}  // namespace

// --- for benchmarks -----------------------------------------------------------------------------

void set_visits_do_nothing(bool nothing) noexcept { handler_side.do_nothing = nothing; }

}  // namespace spprof::platform
