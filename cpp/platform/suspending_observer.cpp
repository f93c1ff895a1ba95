// See suspending_observer.h.
#include "platform/suspending_observer.h"

#include <algorithm>
#include <new>
#include <random>
#include <stdexcept>
#include <utility>

#include "platform/clocks.h"

namespace spprof::platform {

namespace {

// Whoever needs the loop wakes it: this bounds nothing but its sleep.
constexpr std::int64_t kLongSleep = 1'000'000'000;

// A chain of frames that is being changed is in order again a few instructions later: a thread that
// was frozen in between goes on until its CPU clock has moved, or for so long.
constexpr std::int64_t kGoesOn = 100'000;
constexpr std::int64_t kFewInstructions = 10'000;

}  // namespace

SuspendingObserver::SuspendingObserver(const Plan& plan, const Visitor& visitor,
                                       std::unique_ptr<ThreadFreezer> freezer)
    : plan_(plan), visitor_(visitor), freezer_(std::move(freezer)) {
    rhythm_.interval_ns = plan.interval_ns;
}

SuspendingObserver::~SuspendingObserver() {
    stop_loop();
    for (const auto& thread : live_) {
        if (thread->handle != 0) {
            freezer_->close(thread->handle);
        }
    }
}

void SuspendingObserver::begin() {
    {
        const std::lock_guard<std::mutex> lock(mutex_);
        visiting_ = true;
        wanted_ = true;
    }
    if (!start_loop()) {
        throw std::runtime_error("spprof cannot start a thread here: nothing can be sampled");
    }
}

void SuspendingObserver::note(const char* text) noexcept {
    try {
        if (std::find(notes_.begin(), notes_.end(), text) == notes_.end()) {
            notes_.emplace_back(text);
        }
    } catch (const std::bad_alloc&) {
        return;  // no memory for words
    }
}

// --- threads ------------------------------------------------------------------------------------

SuspendingObserver::Followed& SuspendingObserver::followed(Watch* watch) noexcept {
    return *reinterpret_cast<Followed*>(watch);
}

const SuspendingObserver::Followed& SuspendingObserver::followed(const Watch* watch) noexcept {
    return *reinterpret_cast<const Followed*>(watch);
}

Watch* SuspendingObserver::follow(Tid tid, void* subject) noexcept {
    std::unique_ptr<Followed> thread(new (std::nothrow) Followed);
    if (thread == nullptr) {
        return nullptr;
    }
    thread->tid = tid;
    thread->subject = subject;
    Followed* const raw = thread.get();
    {
        const std::lock_guard<std::mutex> lock(mutex_);
        const ThreadHandle handle = freezer_->open(tid);
        const std::int64_t cpu = handle == 0 ? -1 : freezer_->cpu_ns(handle);
        thread->handle = handle;
        thread->place = live_.size();
        bool followed = cpu >= 0;
        if (followed) {
            pacing::begin_seeking(thread->seek, monotonic_ns(), cpu);
            try {
                awake_.reserve(live_.size() + 1);
                live_.push_back(std::move(thread));
            } catch (const std::bad_alloc&) {
                followed = false;
            }
        }
        if (!followed) {
            if (handle != 0) {
                freezer_->close(handle);
            }
            return nullptr;
        }
        awake_.look_at_all();
    }
    wake_up_.post();
    return reinterpret_cast<Watch*>(raw);
}

VisitFigures SuspendingObserver::leave(Watch* watch) noexcept {
    Followed& thread = followed(watch);
    std::unique_ptr<Followed> gone;  // its memory is given back without the mutex
    const std::lock_guard<std::mutex> lock(mutex_);
    const std::size_t place = thread.place;
    gone = std::move(live_[place]);
    if (place + 1 != live_.size()) {
        live_[place] = std::move(live_.back());
        live_[place]->place = place;
    }
    live_.pop_back();
    awake_.look_at_all();
    if (gone->handle != 0) {
        freezer_->close(gone->handle);
    }
    return gone->figures;
}

VisitFigures SuspendingObserver::figures(const Watch* watch) const noexcept {
    const std::lock_guard<std::mutex> lock(mutex_);
    return followed(watch).figures;
}

void SuspendingObserver::look_again(Watch* watch) noexcept {
    const std::lock_guard<std::mutex> lock(mutex_);
    followed(watch).waiting = {};
    awake_.changed();
}

bool SuspendingObserver::owns(Tid tid) const noexcept {
    return loop_.running() && tid == loop_.tid();
}

// --- pause, fork --------------------------------------------------------------------------------

void SuspendingObserver::pause() noexcept {
    const std::lock_guard<std::mutex> lock(mutex_);
    visiting_ = false;
}

void SuspendingObserver::resume() noexcept {
    {
        const std::lock_guard<std::mutex> lock(mutex_);
        visiting_ = true;
        awake_.look_at_all();
        const std::int64_t now = monotonic_ns();
        for (const auto& thread : live_) {
            // What they used while paused is nobody's.
            pacing::begin_seeking(thread->seek, now, -1);
            thread->waiting = {};
            thread->stood_still_until_ns = 0;
        }
    }
    wake_up_.post();
}

void SuspendingObserver::abandon_after_fork() noexcept {
    loop_.abandon_after_fork();
    for (const auto& thread : live_) {
        thread->handle = 0;  // what it stands for was left behind in the parent
    }
    visiting_ = false;
    wanted_ = false;
}

void SuspendingObserver::end_threads() noexcept { stop_loop(); }

void SuspendingObserver::begin_threads() noexcept {
    bool wanted = false;
    {
        const std::lock_guard<std::mutex> lock(mutex_);
        wanted = wanted_;
    }
    if (wanted && !start_loop()) {
        const std::lock_guard<std::mutex> lock(mutex_);
        note("no thread could be started again after a fork: from there on nothing was sampled");
    }
}

Observer::Report SuspendingObserver::report() const {
    Report result;
    const std::lock_guard<std::mutex> lock(mutex_);
    result.engine = "ticker";
    result.notes = notes_;
    result.cpu_ns = ended_loops_cpu_ + (loop_.running() ? loop_.cpu_ns() : 0);
    return result;
}

// --- the loop -----------------------------------------------------------------------------------

bool SuspendingObserver::start_loop() noexcept {
    if (loop_.running()) {
        return true;
    }
    stop_.store(false, std::memory_order_relaxed);
    return loop_.start(
        "spprof-ticker", [](void* self) noexcept { static_cast<SuspendingObserver*>(self)->run(); },
        this);
}

void SuspendingObserver::stop_loop() noexcept {
    if (loop_.running()) {
        stop_.store(true, std::memory_order_release);
        wake_up_.post();
        loop_.join();
        ended_loops_cpu_ += loop_.cpu_ns();
    }
}

void SuspendingObserver::run() noexcept {
    rhythm_.prompt = wake_current_thread_promptly();
    // A program whose period is a multiple of ours must not be visited in lockstep: each tick comes
    // at a random moment of its own slot, so the rate is exact and the phase is not.
    std::minstd_rand random(static_cast<std::uint32_t>(monotonic_ns()));
    const std::int64_t interval = plan_.interval_ns;
    std::uniform_int_distribution<std::int64_t> jitter(0, interval - 1);
    std::int64_t slot = monotonic_ns();
    while (!stop_.load(std::memory_order_acquire)) {
        slot += interval;
        const std::int64_t now = monotonic_ns();
        if (slot < now - 10 * interval) {
            slot = now;  // the machine slept or was overloaded: measured weights make up for it
        }
        const std::int64_t deadline = slot + jitter(random);
        if (interval > pacing::kIdleLook) {
            // So that stopping is prompt.
            wake_up_.wait_until(deadline);
        } else {
            sleep_until(deadline);
        }
        const std::int64_t next = tick(monotonic_ns());
        if (next != 0) {
            wake_up_.wait_until(next);
            // The next tick comes after one interval, on average.
            slot = monotonic_ns() - interval / 2;
        }
    }
}

std::int64_t SuspendingObserver::tick(std::int64_t now_ns) noexcept {
    const std::lock_guard<std::mutex> lock(mutex_);
    // Under the lock: whoever has paused may rely on it that no visit begins any more.
    if (!visiting_ || live_.empty()) {
        return now_ns + kLongSleep;
    }
    if (plan_.mode == Mode::wall) {
        tick_wall(now_ns);
        return 0;
    }
    std::int64_t next = now_ns + kLongSleep;
    for (const auto& thread : live_) {
        pacing::Seek& state = thread->seek;
        if (state.state == pacing::Seeking::sought || now_ns >= state.next_look) {
            const std::int64_t cpu = freezer_->cpu_ns(thread->handle);
            if (cpu >= 0) {  // the collector notices who is gone
                seek(*thread, now_ns, cpu);
            }
        }
        next = std::min(next, state.state == pacing::Seeking::sought ? 0 : state.next_look);
    }
    return next;
}

void SuspendingObserver::seek(Followed& thread, std::int64_t now_ns, std::int64_t cpu_ns) noexcept {
    pacing::Look look;
    look.now_ns = now_ns;
    look.cpu_ns = cpu_ns;
    const pacing::SeekDecision decision = pacing::next(thread.seek, look, rhythm_, [&]() noexcept {
        // Now its clock moves still, or it waits for a processor, perhaps for this very one.
        return freezer_->cpu_ns(thread.handle) > cpu_ns || freezer_->is_runnable(thread.handle);
    });
    if (decision.signal) {
        visit_running(thread);
    }
}

void SuspendingObserver::tick_wall(std::int64_t now_ns) noexcept {
    awake_.tick(
        live_, now_ns,
        [&](Followed& thread) noexcept {
            const std::int64_t cpu = freezer_->cpu_ns(thread.handle);
            if (cpu >= 0) {
                if (cpu != thread.seek.cpu_ns) {
                    thread.seek.next_look = 0;  // it is known to have moved
                }
                seek(thread, now_ns, cpu);
                look_for_waiting(thread, now_ns, cpu);
            }
            return cpu;
        },
        [](Followed& thread, std::int64_t time_ns) noexcept {
            thread.stood_still_until_ns = time_ns;
        });
}

void SuspendingObserver::look_for_waiting(Followed& thread, std::int64_t now_ns,
                                          std::int64_t cpu_ns) noexcept {
    if (!pacing::wants_meeting(thread.waiting, cpu_ns)) {
        thread.stood_still_until_ns = now_ns;
    } else if (freezer_->cpu_ns(thread.handle) == cpu_ns) {
        meet_waiting(thread, cpu_ns);
    }
}

// --- visits -------------------------------------------------------------------------------------

// Until the thread is thawed nothing here may take a lock or allocate.
void SuspendingObserver::visit_running(Followed& thread) noexcept {
    for (int attempt = 0; attempt <= pacing::kTriesAgain; ++attempt) {
        if (!freezer_->freeze(thread.handle)) {
            return;
        }
        Moment moment;
        moment.time_ns = monotonic_ns();
        moment.cpu_ns = freezer_->cpu_ns(thread.handle);
        moment.doing = Doing::running;
        const Visited visited = visit(thread, moment, true);
        if (visited == Visited::recorded) {
            visitor_.keep(thread.subject);
        }
        freezer_->thaw(thread.handle);
        const std::int64_t end = monotonic_ns();
        const auto spent = static_cast<std::uint64_t>(end - moment.time_ns);
        VisitFigures one;
        one.visits = 1;
        one.spent_ns = spent;
        one.worst_ns = spent;
        thread.figures.add(one);
        if (visited != Visited::torn) {
            return;
        }
        do {
            sleep_until(monotonic_ns() + kFewInstructions);
        } while (freezer_->cpu_ns(thread.handle) == moment.cpu_ns &&
                 monotonic_ns() < end + kGoesOn);
    }
    ++thread.figures.torn;
}

// A thread that has not moved since its CPU clock said so.
void SuspendingObserver::meet_waiting(Followed& thread, std::int64_t cpu_ns) noexcept {
    const bool may_be_frozen = freezer_->spares_waits();
    if (may_be_frozen && !freezer_->freeze(thread.handle)) {
        return;
    }
    Moment moment;
    moment.time_ns = monotonic_ns();
    moment.cpu_ns = cpu_ns;
    moment.doing = Doing::waiting;
    moment.stood_still_until_ns = thread.stood_still_until_ns;
    // What was read is believed if the thread has not run meanwhile, nor on its way to being
    // frozen.
    if (!may_be_frozen || freezer_->cpu_ns(thread.handle) == cpu_ns) {
        const Visited visited = visit(thread, moment, may_be_frozen);
        if (visited != Visited::torn && freezer_->cpu_ns(thread.handle) == cpu_ns) {
            if (visited == Visited::recorded) {
                visitor_.keep(thread.subject);
            }
            thread.waiting.met_cpu = cpu_ns;
            thread.stood_still_until_ns = moment.time_ns;
        }
    }
    if (may_be_frozen) {
        freezer_->thaw(thread.handle);
    }
}

Visited SuspendingObserver::visit(Followed& thread, Moment& moment, bool frozen) noexcept {
    MachineRegisters registers;
    if (plan_.registers && frozen && freezer_->registers(thread.handle, registers)) {
        moment.registers = &registers;
        moment.all_registers = true;
    } else if (WaitingCall call; plan_.registers && !frozen && waiting_call(thread.tid, call)) {
        registers.pc = call.program_counter;
        registers.value[MachineRegisters::kStackPointer] = call.stack_pointer;
        moment.registers = &registers;
    }
    const Visited visited = visitor_.record(thread.subject, moment);
    moment.registers = nullptr;
    return visited;
}

}  // namespace spprof::platform
