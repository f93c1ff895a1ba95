// See session.h. What a running session says of itself.
#include <algorithm>

#include "interpreter/attached_lock.h"
#include "platform/clocks.h"
#include "sampling/session_run.h"

namespace spprof::sampling {

using interpreter::AttachedLock;

Figures Session::figures() {
    notice_raw_fork();
    const AttachedLock session_lock(mutex_);
    return figures_of(running());
}

Figures Session::figures_of(Run& run) {
    Figures result;
    const std::int64_t now = platform::monotonic_ns();
    const platform::Observer::Report report = run.observer->report();
    result.paused = run.paused_since >= 0;
    result.duration_ns = (result.paused ? run.paused_since : now) - run.start_ns - run.paused_ns;
    result.process_cpu_ns = platform::process_cpu_ns() - run.start_process_cpu;
    result.background_cpu_ns = run.collector.cpu_ns() + report.cpu_ns;
    result.calls_continued = report.calls_continued;
    result.calls_cut_short = report.calls_cut_short;
    const std::lock_guard<std::mutex> lock(run.collector.mutex());
    run.collector.drain();
    result.samples = run.collector.recording().sample_count();
    result.mismatched = run.collector.mismatched_count();
    result.memory_bytes = run.collector.recording().bytes();
    const std::lock_guard<std::mutex> registry_lock(registry_.mutex());
    const ThreadRegistry::Totals totals = registry_.totals();
    result.dropped = totals.dropped + run.collector.lost_samples();
    result.torn = totals.visits.torn;
    result.handler_calls = totals.visits.visits;
    result.handler_ns = totals.visits.spent_ns;
    result.handler_worst_ns = totals.visits.worst_ns;
    result.threads = static_cast<std::size_t>(
        std::count_if(registry_.live().begin(), registry_.live().end(),
                      [](const Subject* subject) { return subject->watch != nullptr; }));
    return result;
}

std::vector<std::string> Session::notes() {
    notice_raw_fork();
    const AttachedLock session_lock(mutex_);
    std::vector<std::string> all = running().notes;
    const platform::Observer::Report report = run_->observer->report();
    all.insert(all.end(), report.notes.begin(), report.notes.end());
    return all;
}

}  // namespace spprof::sampling
