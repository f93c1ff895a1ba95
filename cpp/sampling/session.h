// One profiling session of this process: start, stop, pause, threads, figures, fork. All calls are
// made by threads attached to the interpreter, but for those around a fork.
//
// Locks are taken in this order: the session's, CodeLifetime's, the collector's, the registry's,
// the observer's. Who waits for the session's is detached from the interpreter meanwhile
// (AttachedLock). Whoever holds one of the others waits neither for the interpreter nor for long,
// so these may be waited for attached. No Python code runs with any of them held.
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "profile/tables.h"
#include "sampling/collector.h"
#include "sampling/settings.h"
#include "sampling/thread_registry.h"

namespace spprof::sampling {

struct Figures {
    std::uint64_t samples = 0, dropped = 0, torn = 0, mismatched = 0;
    std::uint64_t handler_calls = 0, handler_ns = 0, handler_worst_ns = 0;
    std::uint64_t calls_continued = 0, calls_cut_short = 0;
    std::int64_t duration_ns = 0;        // without pauses
    std::int64_t process_cpu_ns = 0;     // of the whole process since the start
    std::int64_t background_cpu_ns = 0;  // of our own threads
    std::size_t threads = 0;             // followed now
    std::size_t memory_bytes = 0;
    bool paused = false;
};

struct Outcome {
    profile::Tables tables;
    Figures figures;
    std::int64_t start_realtime_ns = 0, end_realtime_ns = 0;
    std::int64_t timestamps_until_ns = -1;
    std::int64_t unsampled_ns = 0;  // CPU time that no stack has: see Collector
    std::vector<Collector::OutOfReach> out_of_reach;
    std::vector<Collector::HardlyMet> hardly_met;
    bool stacks_were_cut = false;
    std::string engine;
    std::vector<std::string> notes;
    Settings settings;
};

// A thread as Python knows it.
struct ThreadName {
    platform::Tid tid;
    std::string name;
    std::uintptr_t ident;
};

class Session {
public:
    // One at a time: signals, hooks and a fork have one process.
    Session();
    ~Session();
    Session(const Session&) = delete;
    Session& operator=(const Session&) = delete;

    // The engine in use. Throws std::runtime_error when already running, or where nothing can be
    // sampled.
    std::string start(const Settings& settings, const std::vector<ThreadName>& names);
    Outcome stop(const std::vector<ThreadName>& names);
    // What stop() would return, up to each thread's last sample; the session goes on as if nobody
    // had looked. Machine code goes by the names that are known by now.
    Outcome snapshot(const std::vector<ThreadName>& names);
    bool active() const noexcept {
        return active_.load(std::memory_order_acquire) && pid_ == platform::current_pid();
    }
    Figures figures();
    std::vector<std::string> notes();

    bool pause();  // false: it was paused already
    void resume();
    // Somebody is about to give our signal a handler of their own: while the session is paused, it
    // is as it was before us in between.
    void give_signal_back();
    void take_signal_again();

    // The calling thread. False when no session is running / it was not followed.
    bool register_current_thread(const std::string& name, std::uintptr_t ident);
    bool unregister_current_thread();
    bool current_thread_is_registered();
    // The calling thread is about to block our signal.
    void current_thread_closes_itself();
    // Gives the calling thread's last stack what it used since then.
    void settle_current_thread(const std::string& name);
    // What the hooks on threads call at their first and last moment.
    ThreadRegistry& registry() noexcept {
        notice_raw_fork();
        return registry_;
    }

    // Around a fork by Python, which counts the threads of the process: ours end and begin anew.
    void end_threads();
    void begin_threads();
    // In a forked child, with the interpreter's lock: undo what only the lock's owner may undo.
    void after_fork_in_child();

private:
    struct Run;

    static void name_dying(const std::uintptr_t* dying, std::size_t count) noexcept;
    static void before_fork();
    static void after_fork_in_parent();
    static void after_fork_in_child_unlocked();

    Outcome finish(const std::vector<ThreadName>& names);
    static void describe(Run& run, Outcome& outcome);  // the collector's mutex is held
    static bool is_same_process() noexcept;
    static Session* in_force() noexcept;
    Run& running();
    Figures figures_of(Run& run);
    void follow_named(const std::vector<ThreadName>& names);
    void name_threads(const std::vector<ThreadName>& names);
    void tear_down() noexcept;
    void release_locks_after_fork();
    // Called before any lock is taken.
    void notice_raw_fork() noexcept;

    std::mutex mutex_;
    ThreadRegistry registry_;
    std::unique_ptr<Run> run_;
    std::atomic<bool> active_{false};
    std::atomic<bool> native_{false};  // of the running session
    std::atomic<int> pid_{0};          // of the process whose session it is
    int forks_ = 0;                    // that are under way
    bool locked_for_fork_ = false;
};

}  // namespace spprof::sampling
