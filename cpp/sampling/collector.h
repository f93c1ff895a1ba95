// The collector thread: turns records into interned stacks and sample rows, finds threads that come
// and go, and keeps our signal handlers in place. Never takes the interpreter's lock.
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <mutex>
#include <thread>
#include <vector>

#include "platform/platform.h"
#include "profile/recording.h"
#include "sampling/native_stacks.h"
#include "sampling/thread_registry.h"
#include "sampling/ticker.h"

namespace spprof::sampling {

struct Settings {
    std::int64_t interval_ns = 10'000'000;
    Mode mode = Mode::cpu;
    std::size_t memory_limit_bytes = 100u << 20;
    bool native = false;
    bool aggregate = false;
};

class Collector {
public:
    // How threads get their signals; the session implements it.
    class Engine {
    public:
        virtual ~Engine() = default;
        // Both with the registry's mutex held.
        virtual void watch(ThreadRecord& thread) = 0;
        virtual void mute(ThreadRecord& thread) = 0;
        virtual bool is_own_thread(platform::Tid tid) const = 0;
    };

    Collector(const Settings& settings, Engine& engine, std::int64_t start_ns);
    ~Collector();  // stops and joins
    Collector(const Collector&) = delete;
    Collector& operator=(const Collector&) = delete;

    void start();
    void stop();
    void abandon_after_fork();
    platform::Tid tid() const noexcept { return tid_.load(std::memory_order_acquire); }
    std::int64_t cpu_ns() const noexcept { return cpu_ns_.load(std::memory_order_relaxed); }
    platform::WakeUp& wake_up() noexcept { return wake_up_; }

    // Guards the recording. Taken before the registry's mutex where both are needed.
    std::mutex& mutex() noexcept { return mutex_; }

    // --- with the mutex held
    // ------------------------------------------------------------------------
    void drain();
    // Credits what each thread used since its last sample, up to `now_ns`, and starts measuring
    // afresh from here: at a pause and at the end.
    void settle(std::int64_t now_ns);
    void settle(ThreadRecord& thread, std::int64_t now_ns);  // the registry's mutex is held, too
    // The latest names of the threads that are alive go into the recording.
    void keep_names();
    // Nothing up to now counts: measuring starts here (after a pause).
    void rebase(std::int64_t now_ns);
    void rebase(ThreadRecord& thread, std::int64_t now_ns);  // the registry's mutex is held, too
    // It was dormant: there may be Python now. The registry's mutex is held, too.
    void awaken(ThreadRecord& thread, std::int64_t now_ns);
    // After code addresses changed their meaning.
    void forget_seen_frames() noexcept { ++epoch_; }
    // Starts watching the threads of the process that are not watched yet.
    void scan_threads();
    profile::Recording& recording() noexcept { return recording_; }
    // CPU time of threads that ended (or were settled) before their first sample: no stack has it.
    std::int64_t unsampled_ns() const noexcept { return unsampled_ns_; }
    // Null where only Python frames are sampled.
    NativeStacks* native() noexcept { return native_.get(); }
    std::uint64_t mismatched_count() const noexcept { return mismatched_count_; }

private:
    void run() noexcept;
    void take(ThreadRecord& thread, const SampleRecord& record);
    std::uint32_t stack_of(ThreadRecord& thread, const SampleRecord& record, bool& mismatched);
    void close(ThreadRecord& thread);
    void credit(ThreadRecord& thread, std::int64_t now_ns, std::int64_t cpu_ns);
    void probe_dormant(std::int64_t now_ns);

    const Settings settings_;
    Engine& engine_;
    const std::int64_t start_ns_;
    std::mutex mutex_;
    profile::Recording recording_;
    std::unique_ptr<NativeStacks> native_;
    std::uint64_t mismatched_count_ = 0;
    std::vector<ThreadRecord::SeenFrame> frames_;  // of the record at hand, innermost first
    std::vector<NativeStacks::Frame> merged_;
    platform::ThreadList thread_list_;
    platform::WakeUp wake_up_;
    std::uint64_t epoch_ = 0;
    std::int64_t unsampled_ns_ = 0;
    std::vector<platform::Tid> known_threads_;  // in order
    std::int64_t next_full_scan_ = 0;
    std::atomic<bool> stop_{false};
    std::atomic<platform::Tid> tid_{0};
    std::atomic<std::int64_t> cpu_ns_{0};
    std::thread thread_;
};

}  // namespace spprof::sampling
