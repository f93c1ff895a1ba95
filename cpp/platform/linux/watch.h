// What the interrupting observer keeps of one followed thread, by who writes it. Watches are never
// freed, only reused: a late signal always finds memory that is a watch. Reached from the signal
// handler.
#pragma once

#include <atomic>
#include <cstdint>

#include "platform/linux/thread_timer.h"
#include "platform/observer.h"
#include "platform/pacing.h"

namespace spprof::platform {

class Watch {
public:
    // --- identity; changes only while no visit can run ------------------------------------------
    std::uint32_t index = 0;
    std::atomic<std::uint32_t> generation{0};  // a handler that comes late may look at it
    std::atomic<Tid> tid{0};                   // whose signals are taken; 0: nobody's (any more)
    void* subject = nullptr;
    std::size_t place = 0;  // among the live ones

    // --- taken by whoever visits, the thread's own handler or the ticker ------------------------
    std::atomic<bool> visited_now{false};

    // --- written by the handler -----------------------------------------------------------------
    struct Own {
        pacing::OwnTime time;
        std::atomic<bool> steady{false};   // its timer goes on by itself
        std::atomic<bool> stopped{false};  // it did until now
        std::atomic<bool> woke{true};      // it has been signalled since it fell asleep
        std::atomic<std::int64_t> visited_ns{0};
        std::atomic<std::int64_t> visited_cpu_ns{-1};
        long sleeps = -1;    // how often it has given up a processor by itself; -1: not known
        bool slept = false;  // it has since the last visit that recorded something
        std::atomic<std::uint64_t> visits{0};
        std::atomic<std::uint64_t> spent_ns{0};
        std::atomic<std::uint64_t> worst_ns{0};
        std::atomic<std::uint64_t> torn{0};
    } own;

    // --- the observer's, under its mutex --------------------------------------------------------
    ThreadTimer alarm;  // on its CPU clock: tells that it moves again, visits it where it is behind
    ThreadTimer timer;  // of its own, on the monotonic clock: visits it while it runs
    // Read by the handler, too.
    std::atomic<bool> by_ticker{false};
    std::atomic<bool> has_timer{false};
    std::atomic<bool> may_keep_own_time{false};
    std::atomic<std::int64_t> stood_still_until_ns{0};
    pacing::Seek seek;
    pacing::Waiting waiting;
    // Whether it can be reached by signals at all.
    struct Reach {
        bool blocked = false;
        // When it seemed open at the last check, while it was blocked; else -1.
        long open_sleeps = -1;
        std::int64_t open_cpu_ns = 0;
        std::uint64_t visits = 0;  // at the last check
        std::int64_t cpu_ns = 0;   // then
        std::int64_t lost_ns = 0;  // used while blocked
    } reach;

    Cookie cookie() const noexcept {
        const Cookie current = generation.load(std::memory_order_relaxed);
        return (current & 0xFFFFFF) << 24 | index;
    }

    // For a new thread. No visit can run.
    void begin(Tid thread, void* whose) noexcept;
    // Until the visit that runs is over, perhaps one of an older session's handler.
    void await_visit() const noexcept;
    VisitFigures figures() const noexcept;
};

}  // namespace spprof::platform
