// See session.h.
#include "sampling/session.h"

#include <algorithm>
#include <random>
#include <thread>
#include <utility>

#include "interpreter/code_lifetime.h"
#include "interpreter/code_names.h"
#include "platform/platform.h"
#include "sampling/signal_handler.h"

namespace spprof::sampling {

struct Session::Run {
    Run(const Settings& wanted, Collector::Engine& engine)
        : settings(wanted),
          start_ns(platform::monotonic_ns()),
          start_realtime_ns(platform::realtime_ns()),
          start_process_cpu(platform::process_cpu_ns()),
          collector(wanted, engine, start_ns) {}

    Settings settings;
    std::int64_t start_ns;
    std::int64_t start_realtime_ns;
    std::int64_t start_process_cpu;
    std::int64_t paused_since = -1;
    std::int64_t paused_ns = 0;
    bool timers = false;  // CPU timers can be had at all
    bool timers_are_engine = false;
    std::vector<std::string> notes;
    std::minstd_rand random{std::random_device{}()};
    Collector collector;
    std::unique_ptr<Ticker> ticker;
};

Session& Session::instance() {
    static auto* session = new Session;  // never destroyed: hooks may call late
    return *session;
}

Session::Session() {
    platform::on_fork(before_fork, after_fork_in_parent, after_fork_in_child_unlocked);
}

Session::Run& Session::running() {
    if (!run_) {
        throw std::runtime_error("Profiler not running");
    }
    return *run_;
}

// --- engine
// ---------------------------------------------------------------------------------------

void Session::start_ticker() {
    if (!run_->ticker) {
        run_->ticker =
            std::make_unique<Ticker>(run_->settings.interval_ns, run_->settings.mode, run_->timers);
        HandlerControl& control = handler_control();
        control.ticker_parked.store(false, std::memory_order_relaxed);
        control.ticker.store(&run_->ticker->wake_up(), std::memory_order_release);
        run_->ticker->start();
    }
}

void Session::watch(ThreadRecord& thread) {
    Run& run = *run_;
    if (thread.muted) {
        return;
    }
    if (run.timers_are_engine && !thread.by_ticker) {
        if (thread.timer.exists() ||
            thread.timer.create(platform::TimerClock::thread_cpu, thread.os_tid, thread.cookie())) {
            if (run.paused_since < 0) {
                // The first signal comes at a random moment of the first interval.
                std::uniform_int_distribution<std::int64_t> phase(1, run.settings.interval_ns);
                thread.timer.arm(phase(run.random), run.settings.interval_ns);
            }
            return;
        }
        if (platform::thread_cpu_ns(thread.os_tid) < 0) {
            return;  // it ended meanwhile
        }
        // Timers can run out (RLIMIT_SIGPENDING): the ticker takes the rest.
        start_ticker();
    }
    if (run.timers) {
        thread.local_timer.allow(thread.os_tid, thread.cookie());
    }
    thread.by_ticker = true;
    thread.idle = false;
    thread.quiet_ticks = 0;
    call_ticker();
}

namespace {

// Only the handler of the thread itself could still arm one.
void wait_for_handler(const ThreadRecord& thread) {
    while (thread.in_handler.load(std::memory_order_seq_cst)) {
        std::this_thread::yield();
    }
}

void disarm_timers(ThreadRecord& thread) {
    wait_for_handler(thread);
    thread.timer.disarm();
    thread.local_timer.disarm();
}

}  // namespace

void Session::mute(ThreadRecord& thread) {
    thread.local_timer.forbid();
    disarm_timers(thread);
}

bool Session::is_own_thread(platform::Tid tid) const {
    return tid == run_->collector.tid() || (run_->ticker && tid == run_->ticker->tid());
}

std::string Session::start(const Settings& settings, const ThreadNames& names) {
    const std::lock_guard<std::mutex> session_lock(mutex_);
    if (run_) {
        throw std::runtime_error("Profiler already running");
    }
    run_ = std::make_unique<Run>(settings, *this);
    Run& run = *run_;
    {
        platform::ThreadTimer probe;
        run.timers = probe.create(platform::TimerClock::thread_cpu, platform::current_tid(), 0);
    }
    run.timers_are_engine = run.timers && settings.mode == Mode::cpu &&
                            settings.interval_ns >= platform::kernel_tick_ns();
    if (!run.timers && settings.mode == Mode::cpu) {
        run.notes.push_back(
            "CPU timers are refused here (seccomp?): the ticker thread samples instead");
    }
    if (!interpreter::CodeLifetime::install(farewell)) {
        PyErr_Clear();
        run_.reset();
        throw std::runtime_error(
            "spprof cannot learn of dying code objects: all code watchers of this interpreter "
            "are taken (PyCode_AddWatcher); stop another profiler or debugger and try again");
    }
    HandlerControl& control = handler_control();
    try {
        platform::FaultGuard::install();
        platform::SamplingSignal::install(on_sampling_signal);
        control.collector.store(&run.collector.wake_up(), std::memory_order_release);
        control.code_map.store(settings.native ? &code_map() : nullptr, std::memory_order_release);
        control.running_only.store(settings.mode == Mode::cpu, std::memory_order_relaxed);
        control.interval_ns.store(settings.interval_ns, std::memory_order_relaxed);
        const std::lock_guard<std::mutex> lock(run.collector.mutex());
        run.collector.start();
        if (!run.timers_are_engine) {
            start_ticker();
        }
        run.collector.scan_threads();
        name_threads(names);
        {
            ThreadRegistry& registry = ThreadRegistry::instance();
            const std::lock_guard<std::mutex> registry_lock(registry.mutex());
            for (ThreadRecord* thread : registry.live()) {
                thread->has_begun = true;
            }
        }
        // Our own start is no part of the profile.
        run.collector.rebase(platform::monotonic_ns());
        control.sampling.store(true, std::memory_order_seq_cst);
    } catch (...) {
        quiesce();
        interpreter::CodeLifetime::uninstall();
        run_.reset();
        throw;
    }
    return run.timers_are_engine ? "timer" : "ticker";
}

// No handler runs any more, and none will: engine, timers and our threads are gone, signals are
// given back.
void Session::quiesce() {
    HandlerControl& control = handler_control();
    control.sampling.store(false, std::memory_order_seq_cst);
    ThreadRegistry& registry = ThreadRegistry::instance();
    {
        const std::lock_guard<std::mutex> lock(registry.mutex());
        for (const ThreadRecord* thread : registry.live()) {
            wait_for_handler(*thread);
        }
    }
    if (run_) {
        run_->collector.stop();
        control.ticker.store(nullptr, std::memory_order_release);
        run_->ticker.reset();
    }
    const std::lock_guard<std::mutex> lock(registry.mutex());
    for (ThreadRecord* thread : registry.live()) {
        thread->timer.destroy();
        thread->local_timer.destroy();
    }
    control.collector.store(nullptr, std::memory_order_release);
    control.code_map.store(nullptr, std::memory_order_release);
    platform::SamplingSignal::restore();
    platform::FaultGuard::restore();
}

Outcome Session::stop(const ThreadNames& names) {
    Outcome outcome;
    bool native = false;
    {
        const std::lock_guard<std::mutex> session_lock(mutex_);
        Run& run = running();
        const std::int64_t now = platform::monotonic_ns();
        outcome.end_realtime_ns = platform::realtime_ns();
        handler_control().sampling.store(false, std::memory_order_seq_cst);
        name_threads(names);
        {
            const std::lock_guard<std::mutex> lock(run.collector.mutex());
            run.collector.drain();
            if (run.paused_since < 0) {
                run.collector.settle(now);
            }
            run.collector.keep_names();
        }
        outcome.figures = figures_of(run);
        native = run.collector.native() != nullptr;
    }
    if (native) {
        learn_known_functions();
    }
    {
        const std::lock_guard<std::mutex> session_lock(mutex_);
        Run& run = running();  // another thread may have stopped it meanwhile
        quiesce();
        {
            const std::lock_guard<std::mutex> lock(run.collector.mutex());
            profile::Recording& recording = run.collector.recording();
            run.collector.drain();
            const std::vector<profile::ResolvedFrame> frames =
                resolve(recording, run.collector.native());
            outcome.figures.samples = recording.sample_count();
            outcome.tables = profile::finish(recording, frames);
            name_modules(outcome.tables, run.collector.native());
            outcome.start_realtime_ns = run.start_realtime_ns;
            outcome.timestamps_until_ns = recording.timestamps_until_ns();
            outcome.unsampled_ns = run.collector.unsampled_ns();
            outcome.stacks_were_cut = recording.stacks_were_cut();
            outcome.engine = run.timers_are_engine ? "timer" : "ticker";
            outcome.notes = run.notes;
            outcome.settings = run.settings;
        }
        {
            ThreadRegistry& registry = ThreadRegistry::instance();
            const std::lock_guard<std::mutex> lock(registry.mutex());
            registry.clear();
        }
        interpreter::CodeLifetime::uninstall();
        run_.reset();
    }
    interpreter::CodeLifetime::free_parked();
    return outcome;
}

// --- figures
// ----------------------------------------------------------------------------------------

bool Session::active() {
    const std::lock_guard<std::mutex> session_lock(mutex_);
    return run_ != nullptr;
}

Figures Session::figures() {
    const std::lock_guard<std::mutex> session_lock(mutex_);
    return figures_of(running());
}

Figures Session::figures_of(Run& run) {
    Figures result;
    const std::int64_t now = platform::monotonic_ns();
    result.paused = run.paused_since >= 0;
    result.duration_ns = (result.paused ? run.paused_since : now) - run.start_ns - run.paused_ns;
    result.process_cpu_ns = platform::process_cpu_ns() - run.start_process_cpu;
    result.background_cpu_ns = run.collector.cpu_ns() + (run.ticker ? run.ticker->cpu_ns() : 0);
    const std::lock_guard<std::mutex> lock(run.collector.mutex());
    run.collector.drain();
    result.samples = run.collector.recording().sample_count();
    result.mismatched = run.collector.mismatched_count();
    result.memory_bytes = run.collector.recording().bytes();
    ThreadRegistry& registry = ThreadRegistry::instance();
    const std::lock_guard<std::mutex> registry_lock(registry.mutex());
    const HandlerTotals totals = registry.totals();
    result.dropped = totals.dropped;
    result.torn = totals.torn;
    result.handler_calls = totals.handler_calls;
    result.handler_ns = totals.handler_ns;
    result.handler_worst_ns = totals.handler_worst_ns;
    result.threads = static_cast<std::size_t>(
        std::count_if(registry.live().begin(), registry.live().end(),
                      [](const ThreadRecord* t) { return !t->dormant && !t->muted; }));
    return result;
}

std::vector<std::string> Session::notes() {
    const std::lock_guard<std::mutex> session_lock(mutex_);
    return running().notes;
}

// --- pause
// ------------------------------------------------------------------------------------------

bool Session::pause() {
    const std::lock_guard<std::mutex> session_lock(mutex_);
    Run& run = running();
    if (run.paused_since >= 0) {
        return false;
    }
    handler_control().sampling.store(false, std::memory_order_seq_cst);
    const std::int64_t now = platform::monotonic_ns();
    const std::lock_guard<std::mutex> lock(run.collector.mutex());
    {
        ThreadRegistry& registry = ThreadRegistry::instance();
        const std::lock_guard<std::mutex> registry_lock(registry.mutex());
        for (ThreadRecord* thread : registry.live()) {
            disarm_timers(*thread);
        }
        run.paused_since = now;
    }
    if (run.ticker) {
        run.ticker->pause();
    }
    run.collector.drain();
    run.collector.settle(now);
    return true;
}

void Session::resume() {
    const std::lock_guard<std::mutex> session_lock(mutex_);
    Run& run = running();
    if (run.paused_since < 0) {
        return;
    }
    const std::int64_t now = platform::monotonic_ns();
    const std::lock_guard<std::mutex> lock(run.collector.mutex());
    run.collector.rebase(now);
    ThreadRegistry& registry = ThreadRegistry::instance();
    const std::lock_guard<std::mutex> registry_lock(registry.mutex());
    run.paused_ns += now - run.paused_since;
    run.paused_since = -1;
    platform::FaultGuard::reinstall_if_taken();
    platform::SamplingSignal::reinstall_if_taken();
    handler_control().sampling.store(true, std::memory_order_seq_cst);
    for (ThreadRecord* thread : registry.live()) {
        if (!thread->dormant) {
            watch(*thread);
        }
    }
    if (run.ticker) {
        run.ticker->resume();
    }
}

void Session::give_signal_back() {
    const std::lock_guard<std::mutex> session_lock(mutex_);
    running();
    platform::SamplingSignal::restore();
}

void Session::take_signal_again() {
    const std::lock_guard<std::mutex> session_lock(mutex_);
    running();
    platform::SamplingSignal::install(on_sampling_signal);
}

// --- threads
// ----------------------------------------------------------------------------------------

bool Session::register_current_thread(const std::string& name) {
    const std::lock_guard<std::mutex> session_lock(mutex_);
    if (!run_) {
        return false;
    }
    ThreadRegistry& registry = ThreadRegistry::instance();
    const std::lock_guard<std::mutex> lock(registry.mutex());
    ThreadRecord* thread = registry.find(platform::current_tid());
    if (thread == nullptr) {
        thread = registry.add(platform::current_tid());
        if (thread == nullptr) {
            return false;
        }
    } else if (!thread->muted && !thread->dormant) {
        if (!name.empty()) {
            thread->name = name;
        }
        return true;
    } else {
        run_->collector.rebase(*thread, platform::monotonic_ns());
    }
    thread->muted = false;
    thread->dormant = false;
    if (!name.empty()) {
        thread->name = name;
    }
    watch(*thread);
    return true;
}

bool Session::current_thread_begins() {
    const std::lock_guard<std::mutex> session_lock(mutex_);
    if (!run_) {
        return false;
    }
    ThreadRegistry& registry = ThreadRegistry::instance();
    const std::lock_guard<std::mutex> lock(registry.mutex());
    ThreadRecord* thread = registry.find(platform::current_tid());
    if (thread != nullptr) {
        // The collector found it earlier, perhaps even before it had a thread state.
        if (thread->dormant) {
            run_->collector.awaken(*thread, platform::monotonic_ns());
        }
        return !std::exchange(thread->has_begun, true);
    }
    thread = registry.add(platform::current_tid());
    if (thread == nullptr) {
        return false;
    }
    thread->has_begun = true;
    watch(*thread);
    return true;
}

void Session::settle_current_thread(const std::string& name) {
    const std::lock_guard<std::mutex> session_lock(mutex_);
    if (!run_ || run_->paused_since >= 0) {
        return;
    }
    Collector& collector = run_->collector;
    const std::lock_guard<std::mutex> collector_lock(collector.mutex());
    collector.drain();
    ThreadRegistry& registry = ThreadRegistry::instance();
    const std::lock_guard<std::mutex> lock(registry.mutex());
    if (ThreadRecord* thread = registry.find(platform::current_tid())) {
        thread->name = name;
        collector.settle(*thread, platform::monotonic_ns());
    }
}

bool Session::unregister_current_thread() {
    const std::lock_guard<std::mutex> session_lock(mutex_);
    if (!run_) {
        return false;
    }
    Collector& collector = run_->collector;
    const std::lock_guard<std::mutex> collector_lock(collector.mutex());
    collector.drain();
    ThreadRegistry& registry = ThreadRegistry::instance();
    const std::lock_guard<std::mutex> lock(registry.mutex());
    ThreadRecord* thread = registry.find(platform::current_tid());
    if (thread == nullptr || thread->muted) {
        return false;
    }
    mute(*thread);
    if (run_->paused_since < 0) {
        collector.settle(*thread, platform::monotonic_ns());
    }
    thread->muted = true;
    return true;
}

bool Session::current_thread_is_registered() {
    const std::lock_guard<std::mutex> session_lock(mutex_);
    if (!run_) {
        return false;
    }
    ThreadRegistry& registry = ThreadRegistry::instance();
    const std::lock_guard<std::mutex> lock(registry.mutex());
    const ThreadRecord* thread = registry.find(platform::current_tid());
    return thread != nullptr && !thread->muted && !thread->dormant;
}

void Session::current_thread_ends(const std::string& name) {
    const std::lock_guard<std::mutex> session_lock(mutex_);
    if (!run_) {
        return;
    }
    ThreadRegistry& registry = ThreadRegistry::instance();
    const std::lock_guard<std::mutex> lock(registry.mutex());
    ThreadRecord* thread = registry.find(platform::current_tid());
    if (thread != nullptr) {
        if (!name.empty()) {
            thread->name = name;
        }
        if (!thread->muted && run_->paused_since < 0) {
            thread->final_cpu = platform::current_thread_cpu_ns();
        }
        registry.say_farewell(thread);
    }
}

void Session::name_threads(const ThreadNames& names) {
    ThreadRegistry& registry = ThreadRegistry::instance();
    const std::lock_guard<std::mutex> lock(registry.mutex());
    for (const auto& [tid, name] : names) {
        if (ThreadRecord* thread = registry.find(tid)) {
            thread->name = name;
        }
    }
}

// --- names
// ------------------------------------------------------------------------------------------

// The code object is alive: it has a reference, or it is parked.
void Session::name_code(profile::Recording& recording, std::uint32_t row) {
    profile::Recording::Code& code = recording.codes()[row];
    auto* object = reinterpret_cast<PyCodeObject*>(code.address);
    const interpreter::CodeDescription description = interpreter::describe(object);
    code.name = {recording.strings().intern(description.name),
                 recording.strings().intern(description.file), description.first_line};
    recording.each_frame_of(row, [&](std::uint32_t frame, std::uint32_t offset) {
        recording.frames()[frame].line = interpreter::line_at(object, offset);
    });
}

void Session::farewell(PyCodeObject* const* dying, std::size_t count) noexcept {
    Session& session = instance();
    if (!session.run_) {
        return;
    }
    Collector& collector = session.run_->collector;
    const std::lock_guard<std::mutex> lock(collector.mutex());
    collector.drain();
    bool sampled = false;
    for (std::size_t i = 0; i < count; ++i) {
        const auto address = reinterpret_cast<std::uint64_t>(dying[i]);
        const std::uint32_t row = collector.recording().find_code(address);
        if (row != profile::kNone) {
            session.name_code(collector.recording(), row);
            collector.recording().forget_code(address);
            sampled = true;
        }
    }
    if (sampled) {
        collector.forget_seen_frames();
    }
}

std::vector<profile::ResolvedFrame> Session::resolve(profile::Recording& recording,
                                                     NativeStacks* native) {
    for (std::uint32_t row = 0; row < recording.codes().size(); ++row) {
        if (!recording.codes()[row].name.known()) {
            name_code(recording, row);
        }
    }
    const std::uint32_t no_file = recording.strings().intern("");
    const std::uint32_t special[] = {recording.strings().intern("[truncated]"),
                                     recording.strings().intern("[memory limit]")};
    if (native != nullptr) {
        native->finish_names();
    }
    std::vector<profile::ResolvedFrame> frames;
    frames.reserve(recording.frames().size());
    for (const profile::Recording::FrameRow& row : recording.frames()) {
        profile::ResolvedFrame frame;
        switch (row.kind) {
            case profile::FrameKind::python: {
                const profile::CodeName& name = recording.codes()[row.value].name;
                frame.name = name.name;
                frame.file = name.file;
                frame.first_line = name.first_line;
                frame.line = row.line;
                break;
            }
            case profile::FrameKind::native: {
                const auto [symbol, hidden] = native->name(row.value);
                frame.native = true;
                frame.hidden = hidden;
                frame.address = symbol.module_offset;
                frame.name = recording.strings().intern(symbol.name);
                frame.file = recording.strings().intern(symbol.module);
                break;
            }
            case profile::FrameKind::special:
                frame.name = special[row.value];
                frame.file = no_file;
                break;
        }
        frames.push_back(frame);
    }
    return frames;
}

void Session::name_modules(profile::Tables& tables, NativeStacks* native) {
    std::vector<bool> listed(tables.strings.size(), false);
    for (std::size_t i = 0; i < tables.func_file.size(); ++i) {
        const std::uint32_t file = tables.func_file[i];
        if (tables.func_flags[i] == profile::Tables::kNativeFunction && !listed[file]) {
            listed[file] = true;
            const std::string& path = tables.strings[file];
            tables.modules.push_back({path, native->build_id(path)});
        }
    }
}

// --- fork
// -------------------------------------------------------------------------------------------

// All our locks are held across the fork, so that the child finds everything consistent.
void Session::before_fork() {
    Session& session = instance();
    session.mutex_.lock();
    interpreter::CodeLifetime::lock_for_fork();
    if (session.run_) {
        session.run_->collector.mutex().lock();
    }
    ThreadRegistry::instance().mutex().lock();
    native_before_fork();
}

void Session::after_fork_in_parent() {
    native_after_fork_in_parent();
    release_locks_after_fork();
}

void Session::release_locks_after_fork() {
    Session& session = instance();
    ThreadRegistry::instance().mutex().unlock();
    if (session.run_) {
        session.run_->collector.mutex().unlock();
    }
    interpreter::CodeLifetime::unlock_after_fork();
    session.mutex_.unlock();
}

void Session::after_fork_in_child_unlocked() {
    Session& session = instance();
    platform::forget_cached_tid();
    native_after_fork_in_child();
    release_locks_after_fork();
    if (!session.run_) {
        return;
    }
    HandlerControl& control = handler_control();
    control.sampling.store(false, std::memory_order_seq_cst);
    control.collector.store(nullptr, std::memory_order_release);
    control.ticker.store(nullptr, std::memory_order_release);
    control.code_map.store(nullptr, std::memory_order_release);
    ThreadRegistry::instance().clear_after_fork();
    session.run_->collector.abandon_after_fork();
    if (session.run_->ticker) {
        session.run_->ticker->abandon_after_fork();
    }
    session.run_.reset();
    platform::SamplingSignal::restore();
    platform::FaultGuard::restore();
}

void Session::after_fork_in_child() {
    if (!active()) {
        interpreter::CodeLifetime::uninstall();
        interpreter::CodeLifetime::free_parked();
    }
}

}  // namespace spprof::sampling
