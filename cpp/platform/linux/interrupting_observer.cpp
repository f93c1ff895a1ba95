// See interrupting_observer.h.
//
// The first part is reached from the signal handler: no allocation, no lock, no lazily bound
// symbols.
#include "platform/linux/interrupting_observer.h"

#include <errno.h>
#include <sched.h>
#include <signal.h>
#include <ucontext.h>

#include <algorithm>
#include <cstring>
#include <new>
#include <stdexcept>

#include "platform/clocks.h"
#include "platform/linux/fault_guard.h"
#include "platform/linux/interrupted_call.h"
#include "platform/linux/machine_context.h"
#include "platform/linux/shared_signal.h"
#include "platform/linux/time_spec.h"
#include "platform/wake_up.h"

namespace spprof::platform {

namespace {

// All watches there have ever been: a signal carries the number of its watch.
class WatchTable {
public:
    // nullptr when it has a new owner by now: only the thread itself visits itself.
    Watch* resolve(Cookie cookie) const noexcept {
        const std::size_t index = cookie & 0xFFFFFF;
        Watch* block = index / kBlock < kBlocks
                           ? blocks_[index / kBlock].load(std::memory_order_acquire)
                           : nullptr;
        Watch* watch = block == nullptr ? nullptr : &block[index % kBlock];
        return watch != nullptr && watch->tid.load(std::memory_order_acquire) == current_tid() &&
                       watch->cookie() == cookie
                   ? watch
                   : nullptr;
    }

    // Of the calling thread; nullptr: it is not followed. For the rare signal that cannot say.
    Watch* of_current_thread() const noexcept {
        const Tid tid = current_tid();
        for (const auto& each : blocks_) {
            Watch* block = each.load(std::memory_order_acquire);
            if (block == nullptr) {
                break;
            }
            for (std::size_t i = 0; i < kBlock; ++i) {
                if (block[i].tid.load(std::memory_order_acquire) == tid) {
                    return &block[i];
                }
            }
        }
        return nullptr;
    }

    // Under the observer's mutex.
    Watch* take() noexcept {
        if (free_ == nullptr && !grow()) {
            return nullptr;
        }
        Watch* watch = free_;
        free_ = static_cast<Watch*>(watch->subject);
        return watch;
    }
    void give_back(Watch* watch) noexcept {
        ++watch->generation;
        watch->subject = free_;
        free_ = watch;
    }

private:
    static constexpr std::size_t kBlock = 64;
    static constexpr std::size_t kBlocks = 4096;

    bool grow() noexcept {
        auto* block = count_ == kBlocks ? nullptr : new (std::nothrow) Watch[kBlock];
        if (block == nullptr) {
            return false;
        }
        for (std::size_t i = kBlock; i-- > 0;) {
            block[i].index = static_cast<std::uint32_t>(count_ * kBlock + i);
            block[i].subject = free_;
            free_ = &block[i];
        }
        blocks_[count_++].store(block, std::memory_order_release);
        return true;
    }

    std::atomic<Watch*> blocks_[kBlocks] = {};
    std::size_t count_ = 0;
    Watch* free_ = nullptr;  // linked by their subjects
};

// What a handler needs of the observer in force. It outlives every observer: signals may come late.
struct HandlerSide {
    std::atomic<bool> visiting{false};  // off: signals are taken and ignored (none, or paused)
    std::atomic<bool> do_nothing{false};
    std::int64_t interval_ns = 0;
    std::atomic<bool> prompt{true};
    Visitor visitor;
    bool registers = false;
    bool wall = false;
    WatchTable watches;
    CallFigures calls;
    WakeUp ticker;
    std::atomic<bool> ticker_parked{false};    // nobody needs it; see call_ticker()
    std::atomic<bool> signals_threads{false};  // the ticker may have sent signals of its own

    pacing::Rhythm rhythm() const noexcept {
        return {interval_ns, prompt.load(std::memory_order_relaxed)};
    }
};

HandlerSide handler_side;  // trivially constructed and never destroyed

HandlerSide& shared() noexcept { return handler_side; }

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

// Somebody needs the ticker (again).
void call_ticker() noexcept {
    if (shared().ticker_parked.exchange(false, std::memory_order_seq_cst)) {
        shared().ticker.post();
    }
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
    arrival.from = sender == Sender::thread                             ? pacing::From::ticker
                   : watch.own.time.state() == pacing::Keeping::nothing ? pacing::From::alarm
                                                                        : pacing::From::own_timer;
    arrival.now_ns = now;
    arrival.cpu_ns = cpu;
    arrival.visited_ns = watch.own.visited_ns.load(std::memory_order_relaxed);
    arrival.visited_cpu_ns = watch.own.visited_cpu_ns.load(std::memory_order_relaxed);
    arrival.in_call = site.in_call();
    arrival.just_left_call = site.just_left;
    arrival.may_keep_own_time = watch.may_keep_own_time.load(std::memory_order_relaxed);
    const pacing::ArrivalDecision decision = watch.own.time.next(arrival, shared().rhythm());
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
    const HandlerSide& side = shared();
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

void take_signal(Cookie cookie, Sender sender, const ucontext_t& context) noexcept {
    HandlerSide& side = shared();
    // The ticker's own signals start the timers that keep the rate.
    if (sender == Sender::timer && side.do_nothing.load(std::memory_order_relaxed)) {
        return;
    }
    const std::int64_t begin = monotonic_ns();
    Watch* watch = side.watches.resolve(cookie);
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
        // Somebody may have taken SIGSEGV over ours: then nothing is read until keep() has put it
        // right, not even the interrupted instruction.
        if (!FaultGuard::armed()) {
            increase(watch->own.torn);
            if (side.visitor.call_keeper != nullptr) {
                side.visitor.call_keeper();
            }
        } else if (wants_visit(*watch, sender, call_site(context), begin, cpu)) {
            visit_own_thread(*watch, context, begin, cpu);
        }
        Watch::Own& own = watch->own;
        const bool steady = own.time.state() == pacing::Keeping::steady;
        if (own.steady.load(std::memory_order_relaxed) && !steady) {
            own.stopped.store(true, std::memory_order_relaxed);
        }
        own.steady.store(steady, std::memory_order_seq_cst);
        own.woke.store(true, std::memory_order_relaxed);
        if (!steady && watch->by_ticker.load(std::memory_order_relaxed)) {
            call_ticker();
        }
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

void on_signal(int, siginfo_t* info, void* raw_context);

SharedSignal sampling_signal(SIGPROF, 0, on_signal, false);

// Whether it is for this thread's watch: sent by us, as far as can be known.
bool is_for_us(const siginfo_t& info, Sender& sender, Cookie& cookie) noexcept {
    if (is_ours(info, sender, cookie)) {
        return true;
    }
    const Watch* watch = carries_nothing(info) && shared().signals_threads.load()
                             ? shared().watches.of_current_thread()
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
    const std::uintptr_t visit = shared().registers ? kNativeVisit : kVisit;
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
            take_signal(cookie, sender, context);
            errno = saved_errno;
            continue_interrupted_call(context, shared().calls);
            loads_by_system_call = false;
        } else if (Watch* watch = shared().watches.resolve(cookie)) {
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

// --- a watch ------------------------------------------------------------------------------------

void Watch::begin(Tid thread, void* whose) noexcept {
    subject = whose;
    visited_now.store(false, std::memory_order_relaxed);
    own.time = {};
    own.time.seed(static_cast<std::uint32_t>(thread) * 2654435761u ^
                  static_cast<std::uint32_t>(monotonic_ns()));
    own.steady = false;
    own.stopped = false;
    own.woke = false;
    own.visited_ns = monotonic_ns();
    own.visited_cpu_ns = std::max<std::int64_t>(0, thread_cpu_ns(thread));
    own.sleeps = -1;
    own.slept = true;
    own.visits = 0;
    own.spent_ns = 0;
    own.worst_ns = 0;
    own.torn = 0;
    by_ticker = false;
    has_timer = false;
    stood_still_until_ns = 0;
    may_keep_own_time = false;
    seek = {};
    waiting = {};
    reach = {};
    tid.store(thread, std::memory_order_release);
}

VisitFigures Watch::figures() const noexcept {
    VisitFigures result;
    result.visits = own.visits.load(std::memory_order_relaxed);
    result.spent_ns = own.spent_ns.load(std::memory_order_relaxed);
    result.worst_ns = own.worst_ns.load(std::memory_order_relaxed);
    result.torn = own.torn.load(std::memory_order_relaxed);
    result.unreachable_ns = reach.lost_ns;
    return result;
}

// --- the observer -------------------------------------------------------------------------------

namespace {

// Whoever needs the ticker wakes it: this bounds nothing but its sleep.
constexpr std::int64_t kPausedSleep = 1'000'000'000;

// For so long a thread that could run gets the ticker's processor, if that is what it waits for.
constexpr std::int64_t kGlance = 60'000;

// How often it is asked whether threads can be reached by signals at all.
constexpr std::int64_t kReachPeriod = 200'000'000;

// What handlers of older sessions may still be doing: only these could arm a timer.
void wait_for(const Watch& watch) noexcept {
    while (watch.visited_now.load(std::memory_order_seq_cst)) {
        sched_yield();
    }
}

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
    HandlerSide& side = shared();
    side.visiting.store(false, std::memory_order_seq_cst);
    stop_ticker();
    {
        const std::lock_guard<std::mutex> lock(mutex_);
        wait_for_visits();
        for (Watch* watch : live_) {
            watch->tid.store(0, std::memory_order_seq_cst);
            wait_for(*watch);
            watch->alarm.destroy();
            watch->timer.destroy();
            side.watches.give_back(watch);
        }
        live_.clear();
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
    timers_are_engine_ = timers_ && plan_.interval_ns >= kernel_tick_ns();
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
    HandlerSide& side = shared();
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

// --- threads ------------------------------------------------------------------------------------

void InterruptingObserver::arm(Watch& watch) noexcept {
    if (watch.reach.blocked || paused_) {
        return;
    }
    const Tid tid = watch.tid.load(std::memory_order_relaxed);
    if (timers_are_engine_ && !watch.by_ticker) {
        if (watch.alarm.exists() ||
            watch.alarm.create(TimerClock::thread_cpu, tid, watch.cookie())) {
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
        if (watch.timer.exists() ||
            watch.timer.create(TimerClock::monotonic, tid, watch.cookie())) {
            watch.has_timer.store(true, std::memory_order_seq_cst);
        } else if (errno == EAGAIN) {
            note(
                "no timer is left here for some threads (RLIMIT_SIGPENDING): the ticker thread "
                "samples them instead");
        }
    }
    watch.by_ticker = true;
    pacing::begin_seeking(watch.seek, monotonic_ns(), -1);
    call_ticker();
}

void InterruptingObserver::disarm(Watch& watch) noexcept {
    // From now on no handler sets the timer; one that runs already may still do so.
    watch.has_timer.store(false, std::memory_order_seq_cst);
    wait_for(watch);
    watch.alarm.disarm();
    watch.timer.disarm();
    watch.own.time.stopped();
    watch.own.steady.store(false, std::memory_order_seq_cst);
}

Watch* InterruptingObserver::follow(Tid tid, void* subject) noexcept {
    const std::lock_guard<std::mutex> lock(mutex_);
    Watch* watch = shared().watches.take();
    if (watch == nullptr) {
        return nullptr;
    }
    try {
        live_.push_back(watch);
    } catch (const std::bad_alloc&) {
        shared().watches.give_back(watch);
        return nullptr;
    }
    watch->begin(tid, subject);
    watch->place = live_.size() - 1;
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
    wait_for(*watch);
    watch->alarm.destroy();
    watch->timer.destroy();
    const VisitFigures figures = watch->figures();
    live_[watch->place] = live_.back();
    live_[watch->place]->place = watch->place;
    live_.pop_back();
    sleepers_.known = false;
    shared().watches.give_back(watch);
    return figures;
}

VisitFigures InterruptingObserver::figures(const Watch* watch) const noexcept {
    return watch->figures();
}

void InterruptingObserver::look_again(Watch* watch) noexcept {
    const std::lock_guard<std::mutex> lock(mutex_);
    watch->waiting = {};
}

void InterruptingObserver::about_to_close(Watch* watch) noexcept {
    const std::lock_guard<std::mutex> lock(mutex_);
    Watch::Reach& reach = watch->reach;
    if (!reach.blocked) {
        disarm(*watch);
        reach.blocked = true;
        reach.seemed_open = false;
        reach.cpu_ns = current_thread_cpu_ns();
    }
}

void InterruptingObserver::wait_for_visits() const noexcept {
    for (const Watch* watch : live_) {
        wait_for(*watch);
    }
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
        // One that has just been woken up in sigwait() may look open, once.
        const bool open = tid != 0 && moved && !blocks_signal(tid);
        if (open && reach.seemed_open) {
            reach.blocked = false;
            arm(watch);
        }
        reach.seemed_open = open;
    }
}

// --- pause, keep, fork --------------------------------------------------------------------------

void InterruptingObserver::pause() noexcept {
    shared().visiting.store(false, std::memory_order_seq_cst);
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
    sleepers_.known = false;
    shared().visiting.store(true, std::memory_order_seq_cst);
    for (Watch* watch : live_) {
        watch->waiting = {};
        watch->own.stopped.store(false, std::memory_order_relaxed);
        arm(*watch);
    }
    shared().ticker.post();
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

void InterruptingObserver::give_back() noexcept { sampling_signal.restore(); }

void InterruptingObserver::take_again() { sampling_signal.install(); }

void InterruptingObserver::abandon_after_fork() noexcept {
    HandlerSide& side = shared();
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

// --- the ticker ---------------------------------------------------------------------------------

bool InterruptingObserver::start_ticker() noexcept {
    if (!ticker_.running()) {
        stop_ticker_.store(false, std::memory_order_relaxed);
        shared().ticker_parked.store(false, std::memory_order_relaxed);
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
        shared().ticker.post();
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

Observer::Report InterruptingObserver::report() const {
    Report result;
    const std::lock_guard<std::mutex> lock(mutex_);
    result.engine = timers_are_engine_ ? "timer" : "ticker";
    result.notes = notes_;
    result.cpu_ns = ended_tickers_cpu_ + (ticker_.running() ? ticker_.cpu_ns() : 0);
    result.calls_continued = shared().calls.continued;
    result.calls_cut_short = shared().calls.cut_short;
    return result;
}

void InterruptingObserver::run_ticker() noexcept {
    rhythm_.prompt = wake_current_thread_promptly();
    shared().prompt = rhythm_.prompt;
    // A program whose period is a multiple of ours must not be sampled in lockstep: each tick comes
    // at a random moment of its own slot, so the rate is exact and the phase is not.
    std::minstd_rand random(static_cast<std::uint32_t>(monotonic_ns()));
    const std::int64_t interval = plan_.interval_ns;
    std::uniform_int_distribution<std::int64_t> jitter(0, interval - 1);
    std::int64_t slot = monotonic_ns();
    while (!stop_ticker_.load(std::memory_order_acquire)) {
        if (!shared().visiting.load(std::memory_order_acquire)) {
            shared().ticker.wait_until(monotonic_ns() + kPausedSleep);
            slot = monotonic_ns();
            continue;
        }
        slot += interval;
        const std::int64_t now = monotonic_ns();
        if (slot < now - 10 * interval) {
            slot = now;  // the machine slept or was overloaded: measured weights make up for it
        }
        const std::int64_t deadline = slot + jitter(random);
        if (interval > pacing::kIdleLook) {
            // So that stopping is prompt.
            shared().ticker.wait_until(deadline);
        } else {
            sleep_until(deadline);
        }
        if (!tick(monotonic_ns())) {
            park();
            // The next tick comes after one interval, on average.
            slot = monotonic_ns() - interval / 2;
        }
        look_twice();
    }
}

void InterruptingObserver::park() noexcept {
    // Announce, then look again: whoever needs the ticker from now on calls it.
    std::atomic<bool>& parked = shared().ticker_parked;
    parked.store(true, std::memory_order_seq_cst);
    if (!tick(monotonic_ns()) && !stop_ticker_.load(std::memory_order_acquire)) {
        shared().ticker.wait_until(monotonic_ns() + kPausedSleep);
    }
    parked.store(false, std::memory_order_seq_cst);
}

bool InterruptingObserver::tick(std::int64_t now_ns) noexcept {
    const std::lock_guard<std::mutex> lock(mutex_);
    // Under the lock: whoever ended visits may rely on it that no signal is sent any more.
    if (!shared().visiting.load(std::memory_order_acquire)) {
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
    look.alarm = watch.alarm.exists();
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
        shared().signals_threads.store(true, std::memory_order_relaxed);
        signal_thread(tid, watch.cookie());
    }
    if (decision.set_alarm && plan_.mode == Mode::cpu) {
        watch.own.woke.store(false, std::memory_order_relaxed);
        if (timers_ && (watch.alarm.exists() ||
                        watch.alarm.create(TimerClock::thread_cpu, tid, watch.cookie()))) {
            watch.alarm.arm(plan_.interval_ns, 0);
            return false;
        }
    }
    return decision.look_again;
}

// Reads a thread from outside that has not moved since its CPU clock said so.
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
    if (shared().visiting.load(std::memory_order_acquire)) {
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
    // First, so that what runs meanwhile looks explained rather than not. The system adds up all
    // threads for it: among a thousand of them it is asked less often.
    const bool asks = sleepers_.clock.grants(now_ns);
    const std::int64_t process = asks ? process_cpu_ns() : 0;
    if (asks) {
        sleepers_.clock.take(monotonic_ns() - now_ns);
    }
    std::int64_t explained = current_thread_cpu_ns();
    std::size_t asleep = 0;
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
    for (Watch* watch : live_) {
        if (watch->waiting.asleep) {
            ++asleep;
            explained += watch->waiting.seen_cpu;
        } else {
            look_at(*watch);
        }
    }
    if (asks && asleep > 0 && pacing::somebody_woke(sleepers_, now_ns, process - explained)) {
        const std::int64_t begin = monotonic_ns();
        const std::int64_t quiet = sleepers_.quiet_until;
        for (Watch* watch : live_) {
            if (watch->waiting.asleep) {
                explained -= watch->waiting.seen_cpu;
                watch->stood_still_until_ns.store(quiet, std::memory_order_relaxed);
                look_at(*watch);
            }
        }
        const std::int64_t end = monotonic_ns();
        pacing::looked_at_all(sleepers_, end, end - begin, process - explained);
    }
    return true;
}

// --- for benchmarks -----------------------------------------------------------------------------

void set_visits_do_nothing(bool nothing) noexcept { shared().do_nothing = nothing; }

}  // namespace spprof::platform
