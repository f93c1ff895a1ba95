// One profiling session of this process: start, stop, pause, threads, figures. All calls are made
// by threads attached to the interpreter.
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <mutex>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include "profile/tables.h"
#include "sampling/collector.h"

namespace spprof::sampling {

struct Figures {
    std::uint64_t samples = 0, dropped = 0, torn = 0, mismatched = 0;
    std::uint64_t handler_calls = 0, handler_ns = 0, handler_worst_ns = 0;
    std::int64_t duration_ns = 0;        // without pauses
    std::int64_t process_cpu_ns = 0;     // of the whole process since the start
    std::int64_t background_cpu_ns = 0;  // of our own threads
    std::size_t threads = 0;             // watched now
    std::size_t memory_bytes = 0;
    bool paused = false;
};

struct Outcome {
    profile::Tables tables;
    Figures figures;
    std::int64_t start_realtime_ns = 0, end_realtime_ns = 0;
    std::int64_t timestamps_until_ns = -1;
    std::int64_t unsampled_ns = 0;  // CPU time that no stack has: see Collector
    bool stacks_were_cut = false;
    std::string engine;
    std::vector<std::string> notes;
    Settings settings;
};

class Session final : public Collector::Engine {
public:
    static Session& instance();

    using ThreadNames = std::vector<std::pair<platform::Tid, std::string>>;

    // The engine in use: "timer" or "ticker". Throws std::runtime_error when already running.
    std::string start(const Settings& settings, const ThreadNames& names);
    Outcome stop(const ThreadNames& names);
    bool active();
    Figures figures();
    std::vector<std::string> notes();

    bool pause();  // false: it was paused already
    void resume();

    // Somebody is about to give SIGPROF a handler of their own: while the session is paused, the
    // signal is as it was before us in between.
    void give_signal_back();
    void take_signal_again();

    // The calling thread. False when no session is running / it was not watched.
    bool register_current_thread(const std::string& name);
    bool unregister_current_thread();
    bool current_thread_is_registered();
    // The calling thread has just begun; false when it is known already, or no session is running.
    bool current_thread_begins();
    // Credits what the calling thread used since its last sample.
    void settle_current_thread(const std::string& name);
    // The calling thread is about to end: its last CPU time is credited, its ring released.
    void current_thread_ends(const std::string& name);

    // In a forked child, with the interpreter's lock: undo what only the lock's owner may undo.
    void after_fork_in_child();

    // Collector::Engine
    void watch(ThreadRecord& thread) override;
    void mute(ThreadRecord& thread) override;
    bool is_own_thread(platform::Tid tid) const override;

private:
    struct Run;

    Session();
    void start_ticker();
    void quiesce();
    void name_threads(const ThreadNames& names);
    std::vector<profile::ResolvedFrame> resolve(profile::Recording& recording,
                                                NativeStacks* native);
    void name_code(profile::Recording& recording, std::uint32_t code);

    static void farewell(const std::uintptr_t* dying, std::size_t count) noexcept;
    static void before_fork();
    static void after_fork_in_parent();
    static void after_fork_in_child_unlocked();
    static void release_locks_after_fork();
    static void name_modules(profile::Tables& tables, NativeStacks* native);

    Run& running();
    Figures figures_of(Run& run);

    // Locks are taken in this order: this one, CodeLifetime's, the collector's, the registry's.
    std::mutex mutex_;
    std::unique_ptr<Run> run_;
};

}  // namespace spprof::sampling
