// See session.h. Start, stop and snapshots; figures are in session_figures.cpp, pauses in
// session_pause.cpp, what threads ask for in session_threads.cpp, what it hooks into the process
// (dying code, forks) in session_hooks.cpp.
#include "sampling/session.h"

#include <new>
#include <stdexcept>
#include <utility>

#include "interpreter/attached_lock.h"
#include "interpreter/code_lifetime.h"
#include "interpreter/gil.h"
#include "interpreter/regions.h"
#include "native/capture.h"
#include "platform/clocks.h"
#include "sampling/capture.h"
#include "sampling/naming.h"
#include "sampling/session_run.h"

namespace spprof::sampling {

using interpreter::AttachedLock;

Session::Run::Run(const Settings& wanted, ThreadRegistry& registry,
                  std::unique_ptr<NativeStacks> native)
    : settings(wanted),
      start_ns(platform::monotonic_ns()),
      start_realtime_ns(platform::realtime_ns()),
      start_process_cpu(platform::process_cpu_ns()),
      observer(platform::make_observer({wanted.interval_ns, wanted.mode, wanted.native},
                                       capturing_visitor(wanted.native ? &code_map() : nullptr))),
      collector(wanted, registry, *observer, std::move(native), start_ns) {}

Session::Run& Session::running() {
    if (!run_) {
        throw std::runtime_error("Profiler not running");
    }
    return *run_;
}

std::string Session::start(const Settings& settings, const std::vector<ThreadName>& names) {
    notice_raw_fork();
    if (active()) {
        throw std::runtime_error("Profiler already running");
    }
    // Before any lock of ours: this may run Python code.
    auto native = settings.native ? std::make_unique<NativeStacks>() : nullptr;
    const AttachedLock session_lock(mutex_);
    if (run_) {
        throw std::runtime_error("Profiler already running");
    }
    run_ = std::make_unique<Run>(settings, registry_, std::move(native));
    Run& run = *run_;
    pid_ = platform::current_pid();
    bool watches = false;
    try {
        watches = interpreter::CodeLifetime::install(name_dying, is_same_process);
    } catch (...) {
        run_.reset();
        throw;
    }
    if (!watches) {
        run_.reset();
        throw std::runtime_error(
            "spprof cannot learn of dying code objects: all code watchers of this interpreter "
            "are taken (PyCode_AddWatcher); stop another profiler or debugger and try again");
    }
    interpreter::find_runtime_memory();
    try {
        if (settings.native) {
            // How to unwind what is on this stack is found out here, and not by the first sample.
            native::capture_here(code_map());
        }
        const std::lock_guard<std::mutex> lock(run.collector.mutex());
        interpreter::forget_left_regions();
        if (!interpreter::regions_can_be_read()) {
            run.notes.push_back(
                "regions are not seen in this Python: its contexts are not as spprof knows them");
        }
        run.observer->begin();
        // Our own start is no part of the profile.
        run.observer->pause();
        {
            const std::lock_guard<std::mutex> registry_lock(registry_.mutex());
            registry_.open(*run.observer);
        }
        if (!run.collector.begin_thread()) {
            run.notes.push_back(
                "no thread could be started to collect samples: they are collected at the end, and "
                "what does not fit until then is dropped");
        }
        run.collector.scan_threads();
        if (!run.collector.lists_threads()) {
            follow_named(names);
            run.notes.push_back(
                "the threads of this process cannot be listed (no /proc, or no descriptor left): "
                "those that C or C++ code made may be missing, and what waits may count as "
                "running");
        }
        name_threads(names);
        run.collector.find_thread_states();  // by their identifiers, which have just been told
        run.collector.rebase(platform::monotonic_ns());
        run.observer->resume();
    } catch (...) {
        tear_down();
        throw;
    }
    native_.store(settings.native, std::memory_order_relaxed);
    active_.store(true, std::memory_order_release);
    return run.observer->report().engine;
}

// The one way out of a session: no visit runs any more, and none will; signals, hooks and threads
// are as before.
void Session::tear_down() noexcept {
    active_.store(false, std::memory_order_release);
    run_->collector.end_thread();
    {
        const std::lock_guard<std::mutex> lock(registry_.mutex());
        registry_.close();
    }
    run_->observer.reset();
    interpreter::CodeLifetime::uninstall();
    run_.reset();
}

Outcome Session::stop(const std::vector<ThreadName>& names) {
    notice_raw_fork();
    try {
        return finish(names);
    } catch (const std::bad_alloc&) {
        // The profile is lost; the session has ended all the same.
        {
            const AttachedLock session_lock(mutex_);
            if (run_) {
                tear_down();
            }
        }
        interpreter::CodeLifetime::free_parked();
        throw;
    }
}

Outcome Session::finish(const std::vector<ThreadName>& names) {
    Outcome outcome;
    {
        const AttachedLock session_lock(mutex_);
        Run& run = running();
        const std::int64_t now = platform::monotonic_ns();
        outcome.end_realtime_ns = platform::realtime_ns();
        const bool was_paused = run.paused_since >= 0;
        run.observer->pause();
        name_threads(names);
        run.collector.end_thread();
        {
            const std::lock_guard<std::mutex> lock(run.collector.mutex());
            Collector& collector = run.collector;
            collector.drain();
            if (!was_paused) {
                collector.settle(now);
            }
            collector.keep_names();
            collector.judge_living();
        }
        outcome.figures = figures_of(run);
    }
    bool no_memory_for_names = false;
    if (native_.load(std::memory_order_relaxed)) {
        try {
            learn_known_functions();  // with no lock of ours held: Python code may run
        } catch (const std::bad_alloc&) {
            no_memory_for_names = true;
        }
    }
    {
        const AttachedLock session_lock(mutex_);
        Run& run = running();  // another thread may have stopped it meanwhile
        {
            const std::lock_guard<std::mutex> lock(run.collector.mutex());
            profile::Recording& recording = run.collector.recording();
            NativeStacks* native = run.collector.native();
            if (native != nullptr) {
                try {
                    native->finish_names();
                } catch (const std::bad_alloc&) {
                    no_memory_for_names = true;
                }
            }
            outcome.tables = profile::finish(recording, name_all(recording, native));
            if (no_memory_for_names) {
                run.collector.out_of_memory();
            }
            describe(run, outcome);
        }
        tear_down();
    }
    interpreter::CodeLifetime::free_parked();
    return outcome;
}

void Session::describe(Run& run, Outcome& outcome) {
    const profile::Recording& recording = run.collector.recording();
    name_modules(outcome.tables, run.collector.native());
    outcome.start_ns = run.start_ns;
    outcome.start_realtime_ns = run.start_realtime_ns;
    outcome.timestamps_until_ns = recording.timestamps_until_ns();
    outcome.unsampled_ns = run.collector.unsampled_ns();
    outcome.out_of_reach = run.collector.out_of_reach();
    outcome.hardly_met = run.collector.hardly_met();
    outcome.stacks_were_cut = recording.stacks_were_cut();
    outcome.settings = run.settings;
    const platform::Observer::Report report = run.observer->report();
    outcome.engine = report.engine;
    outcome.notes = run.notes;
    if (run.collector.ran_out_of_memory()) {
        outcome.notes.push_back(
            "the program ran out of memory: samples for which there was none are among those "
            "dropped, and some threads and names may be missing");
    }
    outcome.notes.insert(outcome.notes.end(), report.notes.begin(), report.notes.end());
}

Outcome Session::snapshot(const std::vector<ThreadName>& names) {
    notice_raw_fork();
    Outcome outcome;
    const AttachedLock session_lock(mutex_);
    Run& run = running();
    name_threads(names);
    outcome.figures = figures_of(run);
    outcome.end_realtime_ns = platform::realtime_ns();
    const std::lock_guard<std::mutex> lock(run.collector.mutex());
    run.collector.drain();
    run.collector.keep_names();
    profile::Recording& recording = run.collector.recording();
    outcome.tables = profile::snapshot(recording, name_all(recording, run.collector.native()));
    describe(run, outcome);
    return outcome;
}

}  // namespace spprof::sampling
