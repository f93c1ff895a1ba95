// The collector: turns records into interned stacks and sample rows, and finds threads that come
// and go. Has a thread of its own, which never takes the interpreter's lock.
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <mutex>
#include <vector>

#include "interpreter/python_thread.h"
#include "platform/threads.h"
#include "profile/recording.h"
#include "sampling/native_stacks.h"
#include "sampling/settings.h"
#include "sampling/thread_registry.h"

namespace spprof::sampling {

class Collector {
public:
    // `native`: null where only Python frames are sampled.
    Collector(const Settings& settings, ThreadRegistry& registry, platform::Observer& observer,
              std::unique_ptr<NativeStacks> native, std::int64_t start_ns);
    ~Collector() { end_thread(); }
    Collector(const Collector&) = delete;
    Collector& operator=(const Collector&) = delete;

    // False where no thread is to be had: then rings are only drained where somebody asks.
    bool begin_thread() noexcept;
    void end_thread() noexcept;
    void abandon_after_fork() noexcept { thread_.abandon_after_fork(); }
    platform::Tid tid() const noexcept { return thread_.running() ? thread_.tid() : 0; }
    std::int64_t cpu_ns() const noexcept { return ended_cpu_ns_ + thread_.cpu_ns(); }

    // Guards the recording. Taken before the registry's mutex where both are needed.
    std::mutex& mutex() noexcept { return mutex_; }

    // --- with the mutex held --------------------------------------------------------------------
    // A record for which there is no memory is dropped.
    void drain() noexcept;
    // Gives each thread's last stack what the thread used since its last sample, up to `now_ns`,
    // and measures afresh from here: at a pause and at the end.
    void settle(std::int64_t now_ns);
    void settle(Subject& subject, std::int64_t now_ns);  // the registry's mutex is held, too
    // The latest names of the threads that are alive go into the recording.
    void keep_names();
    // At the end: which of the threads that are alive were not sampled as they should have been.
    void judge_living();
    // Nothing up to now counts: measuring starts here (after a pause).
    void rebase(std::int64_t now_ns);
    // After code addresses changed their meaning.
    void forget_seen_frames() noexcept { ++epoch_; }
    // Starts following the threads of the process that are not followed yet.
    void scan_threads();
    // Whether the system told which there are, the last time.
    bool lists_threads() const noexcept { return !known_threads_.empty(); }
    // Where threads that were never visited have their Python frames: what stands still is read
    // from outside.
    void find_thread_states();
    profile::Recording& recording() noexcept { return recording_; }
    // CPU time of threads that ended (or were settled) before their first sample: no stack has it.
    std::int64_t unsampled_ns() const noexcept { return unsampled_ns_; }
    // CPU time that threads used while they could not be reached, by their names.
    struct OutOfReach {
        std::string thread;
        std::int64_t cpu_ns;
    };
    const std::vector<OutOfReach>& out_of_reach() const noexcept { return out_of_reach_; }
    // Threads that were met running much less often than their CPU time asks for.
    struct HardlyMet {
        std::string thread;
        std::int64_t samples, due;
    };
    const std::vector<HardlyMet>& hardly_met() const noexcept { return hardly_met_; }
    NativeStacks* native() noexcept { return native_.get(); }
    std::uint64_t mismatched_count() const noexcept { return mismatched_count_; }
    // Whether the program ran out of memory meanwhile, and samples that were dropped for it.
    bool ran_out_of_memory() const noexcept { return ran_out_of_memory_; }
    std::uint64_t lost_samples() const noexcept { return lost_samples_; }
    void out_of_memory() noexcept { ran_out_of_memory_ = true; }

private:
    void run() noexcept;
    void take(Subject& subject, const SampleRecord& record);
    std::uint32_t stack_of(Written& written, const SampleRecord& record, bool& mismatched);
    void pay_out(Subject& subject, const Account::Rest& rest);
    void close(Subject& subject);
    void judge(const Subject& subject, const platform::VisitFigures& figures);
    void probe_dormant(std::int64_t now_ns);  // the registry's mutex is held

    const Settings settings_;
    ThreadRegistry& registry_;
    platform::Observer& observer_;
    const std::int64_t start_ns_;
    std::mutex mutex_;
    profile::Recording recording_;
    std::unique_ptr<NativeStacks> native_;
    std::uint64_t mismatched_count_ = 0;
    std::atomic<bool> ran_out_of_memory_{false};
    std::uint64_t lost_samples_ = 0;
    std::vector<Written::SeenFrame> frames_;  // of the record at hand, innermost first
    std::vector<NativeStacks::Frame> merged_;
    std::uint64_t epoch_ = 0;
    std::int64_t unsampled_ns_ = 0;
    std::vector<OutOfReach> out_of_reach_;
    std::vector<HardlyMet> hardly_met_;
    std::vector<platform::Tid> known_threads_;  // in order
    std::int64_t next_full_scan_ = 0;
    std::vector<interpreter::ThreadStateEntry> states_;
    std::int64_t ended_cpu_ns_ = 0;
    std::atomic<bool> stop_{false};
    platform::OwnThread thread_;
};

}  // namespace spprof::sampling
