// See ticker.h.
#include "sampling/ticker.h"

#include <algorithm>
#include <random>

#include "platform/platform.h"
#include "sampling/signal_handler.h"
#include "sampling/thread_registry.h"

namespace spprof::sampling {

namespace {

// A thread that did not move for so long is left to a CPU timer, which costs nothing while it
// sleeps and interrupts it only when it runs. Waiting for the GIL among a few threads takes less.
constexpr std::int64_t kQuietTime = 100'000'000;
constexpr int kQuietTicks = 8;

// Ticks come at random moments of their slots, or late, and find a thread that hardly runs rarely:
// so many intervals of CPU time may be made up for.
constexpr std::int64_t kMostCredit = 4;

// How often a thread that sleeps is looked at where no timer watches it.
constexpr std::int64_t kIdleLook = 10'000'000;

// Whoever needs the ticker wakes it: this bounds nothing but its sleep.
constexpr std::int64_t kPausedSleep = 1'000'000'000;

// What the way back into an interrupted system call may cost: CPU time that is the capture's own
// and no sign that the thread went on.
constexpr std::int64_t kReturnCost = 200'000;

// A thread whose clock moved since the last look. Now the clock moves still, or the thread waits
// for a processor, perhaps for the very one this runs on.
bool wants_to_run(const ThreadRecord& thread, std::int64_t cpu_just_now) noexcept {
    return platform::thread_cpu_ns(thread.os_tid) > cpu_just_now ||
           platform::is_runnable(thread.os_tid);
}

// A thread gets a signal where a tick finds it running, so it gets them at the rate of its CPU time
// however short its bursts are; no more than it used intervals of it. One that sleeps is not woken.
// Whether the next tick must look at it, too.
bool tick_cpu(ThreadRecord& thread, std::int64_t now, std::int64_t interval,
              bool timers_allowed) noexcept {
    if (thread.local_timer.running()) {
        return false;
    }
    if (thread.local_timer.take_ended()) {
        thread.idle = false;
        thread.quiet_ticks = 0;
        thread.ticked_cpu = thread.sampled_cpu.load(std::memory_order_relaxed);
        thread.credit = 0;
    }
    const bool watched = thread.timer.exists();
    if (thread.idle) {
        if (watched ? !thread.awake.load(std::memory_order_relaxed) : now < thread.next_look) {
            return !watched;
        }
        thread.idle = false;
        thread.quiet_ticks = 0;
        if (watched) {
            thread.ticked_cpu = platform::thread_cpu_ns(thread.os_tid);
            thread.credit = 0;
            return true;  // its timer has just had it sampled
        }
    }
    const std::int64_t cpu = platform::thread_cpu_ns(thread.os_tid);
    if (cpu < 0) {
        return false;  // gone; the collector will notice
    }
    const std::int64_t used = thread.ticked_cpu < 0 ? 0 : cpu - thread.ticked_cpu;
    thread.ticked_cpu = cpu;
    thread.credit = std::min(thread.credit + used, kMostCredit * interval);
    if (used > 0 && thread.credit >= 0 && wants_to_run(thread, cpu)) {
        thread.credit -= interval;
        platform::signal_thread(thread.os_tid, thread.cookie());
    }
    if (used >= kStandingStill) {
        thread.quiet_ticks = 0;
        return true;
    }
    if (++thread.quiet_ticks >= std::max<std::int64_t>(kQuietTicks, kQuietTime / interval)) {
        thread.idle = true;
        thread.next_look = now + std::max(interval, kIdleLook);
        thread.awake.store(false, std::memory_order_relaxed);
        if (timers_allowed && (watched || thread.timer.create(platform::TimerClock::thread_cpu,
                                                              thread.os_tid, thread.cookie()))) {
            thread.timer.arm(interval, 0);
            return false;
        }
    }
    return true;
}

// Wall mode: a thread that runs is sampled; one that stands still is captured once where it
// waits, and then left alone until its CPU clock moves.
void tick_wall(ThreadRecord& thread, std::int64_t now, std::int64_t interval) noexcept {
    if (thread.local_timer.running()) {
        thread.idle = false;
        return;
    }
    if (thread.idle && now < thread.next_look) {
        return;
    }
    const std::int64_t cpu = platform::thread_cpu_ns(thread.os_tid);
    if (cpu < 0) {
        return;
    }
    thread.next_look = now + std::max(interval, kIdleLook);
    if (thread.capture_pending) {
        if (thread.handler_calls.load(std::memory_order_relaxed) == thread.calls_before_capture) {
            return;  // blocked or not scheduled: the signal is still on its way
        }
        thread.capture_pending = false;
        thread.settling = thread.sampled_waiting.load(std::memory_order_relaxed);
    }
    if (thread.settling) {
        // The way back to sleep may take a while (the GIL, a processor): until it sleeps, what it
        // used is the capture's own cost.
        thread.settling = cpu != thread.settled_cpu || platform::is_runnable(thread.os_tid);
        if (cpu - thread.sampled_cpu.load(std::memory_order_relaxed) < kReturnCost) {
            thread.settled_cpu = cpu;
        }
    }
    thread.idle = cpu == thread.settled_cpu;
    if (!thread.idle) {
        thread.capture_pending = true;
        thread.calls_before_capture = thread.handler_calls.load(std::memory_order_relaxed);
        platform::signal_thread(thread.os_tid, thread.cookie());
    }
}

}  // namespace

Ticker::Ticker(std::int64_t interval_ns, Mode mode, bool timers_allowed)
    : interval_(interval_ns), mode_(mode), timers_allowed_(timers_allowed) {}

Ticker::~Ticker() {
    stop_.store(true, std::memory_order_release);
    woken_.post();
    if (thread_.joinable()) {
        thread_.join();
    }
}

void Ticker::start() {
    const platform::SignalFreeZone zone;
    thread_ = std::thread([this] { run(); });
    while (tid() == 0) {
        std::this_thread::yield();
    }
}

void Ticker::resume() noexcept {
    paused_.store(false, std::memory_order_release);
    woken_.post();
}

void Ticker::abandon_after_fork() {
    // Never joined or destroyed: the thread it stands for does not exist here.
    static_cast<void>(new std::thread(std::move(thread_)));
}

void Ticker::run() noexcept {
    tid_.store(platform::current_tid(), std::memory_order_release);
    platform::name_current_thread("spprof-ticker");
    platform::wake_current_thread_promptly();
    // A program whose period is a multiple of ours must not be sampled in lockstep: each tick comes
    // at a random moment of its own slot, so the rate is exact and the phase is not.
    std::minstd_rand random{std::random_device{}()};
    std::uniform_int_distribution<std::int64_t> jitter(0, interval_ - 1);
    std::int64_t slot = platform::monotonic_ns();
    while (!stop_.load(std::memory_order_acquire)) {
        if (paused_.load(std::memory_order_acquire)) {
            woken_.wait_until(platform::monotonic_ns() + kPausedSleep);
            slot = platform::monotonic_ns();
            continue;
        }
        slot += interval_;
        const std::int64_t now = platform::monotonic_ns();
        if (slot < now - 10 * interval_) {
            slot = now;  // the machine slept or was overloaded: measured weights make up for it
        }
        // Long slots are slept in pieces, so that stopping is prompt.
        const std::int64_t deadline = slot + jitter(random);
        for (std::int64_t left = deadline - now; left > kIdleLook;
             left = deadline - platform::monotonic_ns()) {
            platform::sleep_until(platform::monotonic_ns() + kIdleLook);
            if (stop_.load(std::memory_order_acquire)) {
                return;
            }
        }
        platform::sleep_until(deadline);
        if (!tick(platform::monotonic_ns())) {
            park();
            // The next tick comes after one interval, on average.
            slot = platform::monotonic_ns() - interval_ / 2;
        }
        cpu_ns_.store(platform::current_thread_cpu_ns(), std::memory_order_relaxed);
    }
}

void Ticker::park() noexcept {
    // Announce, then look again: whoever needs the ticker from now on calls it.
    std::atomic<bool>& parked = handler_control().ticker_parked;
    parked.store(true, std::memory_order_seq_cst);
    if (!tick(platform::monotonic_ns())) {
        woken_.wait_until(platform::monotonic_ns() + kPausedSleep);
    }
    parked.store(false, std::memory_order_seq_cst);
}

bool Ticker::tick(std::int64_t now) noexcept {
    ThreadRegistry& registry = ThreadRegistry::instance();
    const std::lock_guard<std::mutex> lock(registry.mutex());
    // Under the lock: whoever turned sampling off may rely on it that no signal is sent any more.
    if (!handler_control().sampling.load(std::memory_order_acquire)) {
        return true;
    }
    bool needed = false;
    for (ThreadRecord* thread : registry.live()) {
        if (!thread->by_ticker || thread->muted || thread->dormant) {
            continue;
        }
        if (mode_ == Mode::wall) {
            tick_wall(*thread, now, interval_);
            needed = true;
        } else {
            needed |= tick_cpu(*thread, now, interval_, timers_allowed_);
        }
    }
    return needed;
}

}  // namespace spprof::sampling
