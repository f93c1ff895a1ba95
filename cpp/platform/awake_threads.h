// Wall time of many threads: who is awake is looked at in each tick, and who sleeps is left alone
// until the process's CPU clock says that somebody ran whom nobody knew to run. So a tick in a
// program of a thousand threads that sleep costs as in one without them. Knows no observer's way of
// looking. Its caller keeps it from being used by two threads at once.
#pragma once

#include <algorithm>
#include <atomic>
#include <cstdint>
#include <vector>

#include "platform/clocks.h"
#include "platform/pacing.h"
#include "platform/threads.h"

namespace spprof::platform {

// A Thread has a `pacing::Waiting waiting`, which says whether it sleeps.
template <class Thread>
class AwakeThreads {
public:
    // Before there are so many. Throws where there is no memory.
    void reserve(std::size_t threads) { awake_.reserve(threads); }
    // Somebody came, went, fell asleep or was woken: who is awake is to be found out anew.
    void changed() noexcept { known_ = false; }
    // Nothing is known of who slept meanwhile: all are looked at once.
    void look_at_all() noexcept {
        known_ = false;
        sleepers_.known = false;
    }
    // A thread of ours that runs beside; 0: none. From any thread.
    void accompanied_by(Tid tid) noexcept { companion_.store(tid, std::memory_order_relaxed); }

    // `look_at(thread)` looks, and returns its CPU clock, -1 where it is gone. Before it is called
    // for one that slept, `slept_until(thread, time)` tells up to when it is known to have.
    template <class Live, class LookAt, class SleptUntil>
    void tick(const Live& live, std::int64_t now_ns, LookAt look_at,
              SleptUntil slept_until) noexcept {
        if (!known_) {
            find_awake(live);
        }
        // First, so that what runs meanwhile looks explained rather than not. The system adds up
        // all threads for it: among a thousand of them it is asked less often.
        const bool asks = awake_.size() < live.size() && sleepers_.clock.grants(now_ns);
        const std::int64_t process = asks ? process_cpu_ns() : 0;
        std::int64_t explained = asleep_cpu_ns_;
        if (asks) {
            sleepers_.clock.take(monotonic_ns() - now_ns);
            const Tid companion = companion_.load(std::memory_order_relaxed);
            explained += current_thread_cpu_ns();
            explained += companion == 0 ? 0 : std::max<std::int64_t>(0, thread_cpu_ns(companion));
        }
        for (Thread* thread : awake_) {
            explained += std::max<std::int64_t>(0, look_at(*thread));
            known_ &= !thread->waiting.asleep;
        }
        if (!asks || !pacing::somebody_woke(sleepers_, now_ns, process - explained)) {
            return;
        }
        const std::int64_t begin = monotonic_ns();
        const std::int64_t quiet = sleepers_.quiet_until;
        for (const auto& thread : live) {
            if (thread->waiting.asleep) {
                explained -= thread->waiting.seen_cpu;
                slept_until(*thread, quiet);
                explained += std::max<std::int64_t>(0, look_at(*thread));
            }
        }
        known_ = false;
        const std::int64_t end = monotonic_ns();
        pacing::looked_at_all(sleepers_, end, end - begin, process - explained);
    }

private:
    template <class Live>
    void find_awake(const Live& live) noexcept {
        awake_.clear();
        asleep_cpu_ns_ = 0;
        for (const auto& thread : live) {
            if (thread->waiting.asleep) {
                asleep_cpu_ns_ += thread->waiting.seen_cpu;
            } else {
                awake_.push_back(&*thread);  // reserve() has seen to the room
            }
        }
        known_ = true;
    }

    pacing::Sleepers sleepers_;
    std::vector<Thread*> awake_;      // the others are as many as there are more
    std::int64_t asleep_cpu_ns_ = 0;  // theirs
    bool known_ = false;
    std::atomic<Tid> companion_{0};
};

}  // namespace spprof::platform
