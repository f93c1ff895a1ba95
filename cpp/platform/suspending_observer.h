// Observes threads on systems that can freeze one from outside: a thread of ours looks at all of
// them at random moments, freezes those that run, and visits them while they stand still. Knows no
// system: how a thread is frozen is told by a ThreadFreezer. Partly reached while a thread is
// frozen.
//
// Lock order: the observer's mutex is a leaf. Visits run with it held.
#pragma once

#include <atomic>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "platform/awake_threads.h"
#include "platform/clocks.h"
#include "platform/observer.h"
#include "platform/pacing.h"
#include "platform/wake_up.h"

namespace spprof::platform {

// By what a freezer knows a thread: where numbers of threads are soon used again, something that
// keeps this one from that.
using ThreadHandle = std::uintptr_t;

// How this system makes one thread stand still. One thread at a time is frozen, by the observer's
// own thread, which is never asked for itself. None of it may take a lock or allocate between
// freeze() and thaw(): the frozen thread may hold any lock. All of it is called with the observer's
// mutex held, so a frozen thread is in none of these calls.
class ThreadFreezer {
public:
    virtual ~ThreadFreezer() = default;

    // 0 where the thread is gone. Where nothing else is said, a thread is known by its number.
    virtual ThreadHandle open(Tid tid) noexcept {
        return thread_cpu_ns(tid) < 0 ? 0 : static_cast<ThreadHandle>(tid);
    }
    virtual void close(ThreadHandle) noexcept {}
    // -1 once it is gone. Also asked while it is frozen.
    virtual std::int64_t cpu_ns(ThreadHandle thread) noexcept {
        return thread_cpu_ns(static_cast<Tid>(thread));
    }
    virtual bool is_runnable(ThreadHandle thread) noexcept {
        return platform::is_runnable(static_cast<Tid>(thread));
    }

    // The thread has stopped when this returns. False where it is gone, or cannot be had now; then
    // it is not thawed.
    virtual bool freeze(ThreadHandle thread) noexcept = 0;
    // Of a frozen thread; false where they cannot be had.
    virtual bool registers(ThreadHandle thread, MachineRegisters& registers) noexcept = 0;
    virtual void thaw(ThreadHandle thread) noexcept = 0;

    // Whether a thread that is frozen in the middle of a system call goes on waiting there
    // afterwards. Where it does not, threads that wait are read without being frozen.
    virtual bool spares_waits() const noexcept = 0;
};

class SuspendingObserver final : public Observer {
public:
    SuspendingObserver(const Plan& plan, const Visitor& visitor,
                       std::unique_ptr<ThreadFreezer> freezer);
    ~SuspendingObserver() override;

    void begin() override;
    Watch* follow(Tid tid, void* subject) noexcept override;
    VisitFigures leave(Watch* watch) noexcept override;
    VisitFigures figures(const Watch* watch) const noexcept override;
    void look_again(Watch* watch) noexcept override;
    void pause() noexcept override;
    void resume() noexcept override;
    // Nothing is changed of what others could change.
    void keep() noexcept override {}
    void give_back() noexcept override {}
    void take_again() override {}
    void lock_for_fork() noexcept override { mutex_.lock(); }
    void unlock_after_fork() noexcept override { mutex_.unlock(); }
    void abandon_after_fork() noexcept override;
    void end_threads() noexcept override;
    void begin_threads() noexcept override;
    Report report() const override;
    bool owns(Tid tid) const noexcept override;
    void accompanied_by(Tid tid) noexcept override { awake_.accompanied_by(tid); }
    bool only_from_outside() const noexcept override { return true; }

private:
    // One followed thread. Watch* stands for a pointer to it.
    struct Followed {
        Tid tid = 0;
        ThreadHandle handle = 0;
        void* subject = nullptr;
        std::size_t place = 0;  // among the live ones
        pacing::Seek seek;
        pacing::Waiting waiting;
        std::int64_t stood_still_until_ns = 0;
        VisitFigures figures;
    };
    static Followed& followed(Watch* watch) noexcept;
    static const Followed& followed(const Watch* watch) noexcept;

    bool start_loop() noexcept;
    void stop_loop() noexcept;
    void run() noexcept;
    // When the next tick is needed; 0: in the next slot.
    std::int64_t tick(std::int64_t now_ns) noexcept;
    void tick_wall(std::int64_t now_ns) noexcept;
    void seek(Followed& thread, std::int64_t now_ns, std::int64_t cpu_ns) noexcept;
    void look_for_waiting(Followed& thread, std::int64_t now_ns, std::int64_t cpu_ns) noexcept;
    void visit_running(Followed& thread) noexcept;
    void meet_waiting(Followed& thread, std::int64_t cpu_ns) noexcept;
    Visited visit(Followed& thread, Moment& moment, bool frozen) noexcept;
    void note(const char* text) noexcept;

    const Plan plan_;
    const Visitor visitor_;
    const std::unique_ptr<ThreadFreezer> freezer_;
    pacing::Rhythm rhythm_;  // the loop's

    mutable std::mutex mutex_;
    std::vector<std::unique_ptr<Followed>> live_;
    std::vector<std::string> notes_;
    AwakeThreads<Followed> awake_;  // in wall mode
    bool wanted_ = false;           // begun, and not left behind in a fork's parent
    bool visiting_ = false;         // not paused

    OwnThread loop_;
    WakeUp wake_up_;
    std::atomic<bool> stop_{false};
    std::atomic<std::int64_t> ended_loops_cpu_{0};
};

}  // namespace spprof::platform
