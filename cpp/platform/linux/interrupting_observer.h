// Observes threads on Linux by interrupting them: timers and signals for those that run, a look
// from outside for those that stand still. What runs in the signal handler is in
// interrupting_observer.cpp and says so.
//
// Lock order: the observer's mutex is a leaf. Visits from outside run with it held.
#pragma once

#include <memory>
#include <mutex>
#include <random>
#include <vector>

#include "platform/awake_threads.h"
#include "platform/linux/watch.h"
#include "platform/observer.h"

namespace spprof::platform {

class InterruptingObserver final : public Observer {
public:
    InterruptingObserver(const Plan& plan, const Visitor& visitor);
    ~InterruptingObserver() override;

    void begin() override;
    Watch* follow(Tid tid, void* subject) noexcept override;
    VisitFigures leave(Watch* watch) noexcept override;
    VisitFigures figures(const Watch* watch) const noexcept override;
    void look_again(Watch* watch) noexcept override;
    void about_to_close(Watch* watch) noexcept override;
    void pause() noexcept override;
    void resume() noexcept override;
    void keep() noexcept override;
    void give_back() noexcept override;
    void take_again() override;
    void lock_for_fork() noexcept override { mutex_.lock(); }
    void unlock_after_fork() noexcept override { mutex_.unlock(); }
    void abandon_after_fork() noexcept override;
    void end_threads() noexcept override;
    void begin_threads() noexcept override;
    Report report() const override;
    bool owns(Tid tid) const noexcept override;
    void accompanied_by(Tid tid) noexcept override { awake_.accompanied_by(tid); }
    bool only_from_outside() const noexcept override { return false; }

private:
    bool start_ticker() noexcept;
    void stop_ticker() noexcept;
    void run_ticker() noexcept;
    // Whether any thread needs another tick.
    bool tick(std::int64_t now_ns) noexcept;
    void park() noexcept;
    bool seek(Watch& watch, std::int64_t now_ns, std::int64_t cpu_ns) noexcept;
    void meet_waiting(Watch& watch, std::int64_t cpu_ns, bool could_run) noexcept;
    bool tick_wall(std::int64_t now_ns) noexcept;
    void look_twice() noexcept;
    // Both with the mutex held.
    void arm(Watch& watch) noexcept;
    void disarm(Watch& watch) noexcept;
    void check_reach(Watch& watch) noexcept;
    static bool has_opened(Watch::Reach& reach, Tid tid, std::int64_t cpu_ns) noexcept;
    void wait_for_visits() const noexcept;
    void note(const char* text) noexcept;

    const Plan plan_;
    const Visitor visitor_;
    pacing::Rhythm rhythm_;
    bool timers_ = false;             // timers can be had at all
    bool timers_are_engine_ = false;  // the kernel's CPU timers keep the rate
    bool began_ = false;
    bool paused_ = false;

    mutable std::mutex mutex_;
    std::vector<Watch*> live_;
    std::vector<std::string> notes_;
    std::minstd_rand random_{std::random_device{}()};
    AwakeThreads<Watch> awake_;  // in wall mode
    std::int64_t next_reach_check_ = 0;

    struct Glance {
        Watch* watch;
        std::uint32_t generation;
        std::int64_t cpu_ns;
    };
    std::vector<Glance> glances_;  // the ticker's

    OwnThread ticker_;
    bool ticker_wanted_ = false;
    std::atomic<bool> stop_ticker_{false};
    std::atomic<std::int64_t> ended_tickers_cpu_{0};
};

}  // namespace spprof::platform
