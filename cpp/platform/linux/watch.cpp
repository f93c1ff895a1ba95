// See watch.h: its beginning and its end, outside of the handler.
#include "platform/linux/watch.h"

#include <sched.h>

#include <algorithm>

#include "platform/clocks.h"

namespace spprof::platform {

void Watch::begin(Tid thread, void* whose) noexcept {
    subject = whose;
    visited_now.store(false, std::memory_order_relaxed);
    own.time = {};
    own.time.seed(static_cast<std::uint32_t>(thread) * 2654435761u ^
                  static_cast<std::uint32_t>(monotonic_ns()));
    own.steady = false;
    own.stopped = false;
    own.woke = true;
    own.visited_ns = monotonic_ns();
    own.visited_cpu_ns = std::max<std::int64_t>(0, thread_cpu_ns(thread));
    own.sleeps = -1;
    own.slept = true;
    own.visits = 0;
    own.spent_ns = 0;
    own.worst_ns = 0;
    own.torn = 0;
    by_ticker = false;
    has_timer = false;
    stood_still_until_ns = 0;
    may_keep_own_time = false;
    seek = {};
    waiting = {};
    reach = {};
    tid.store(thread, std::memory_order_release);
}

VisitFigures Watch::figures() const noexcept {
    VisitFigures result;
    result.visits = own.visits.load(std::memory_order_relaxed);
    result.spent_ns = own.spent_ns.load(std::memory_order_relaxed);
    result.worst_ns = own.worst_ns.load(std::memory_order_relaxed);
    result.torn = own.torn.load(std::memory_order_relaxed);
    result.unreachable_ns = reach.lost_ns;
    return result;
}

void Watch::await_visit() const noexcept {
    while (visited_now.load(std::memory_order_seq_cst)) {
        sched_yield();
    }
}

}  // namespace spprof::platform
