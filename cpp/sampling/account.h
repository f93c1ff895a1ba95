// What a thread's clocks say, from one sample to the next, and which stack each part of that time
// belongs to. Pure: it reads no clock and knows no stack.
//
// In cpu time a sample weighs what the thread's CPU clock advanced. In wall time that clock splits
// what passed exactly into what the thread ran, which belongs to a stack that is met running, and
// what it waited:
//
//     time ->    ---- known to stand still ----|------ unseen ------|
//              waiting                                            met again
//              at this stack                                      at another
//
// What it is known to have stood still belongs to the stack where it did. What was unseen belongs
// to the next stack that is met waiting; unless the thread has not slept meanwhile: then it was
// kept from the processors, and that is where it is met running.
#pragma once

#include <cstdint>

#include "sampling/settings.h"

namespace spprof::sampling {

// What a record tells of time.
struct Met {
    std::int64_t time_ns = 0;               // monotonic clock
    std::int64_t cpu_ns = 0;                // the thread's CPU clock
    std::int64_t stood_still_until_ns = 0;  // where it was met waiting before; 0: not known
    bool waiting = false;                   // it stands still here
    bool outside = false;                   // no Python was found: the time until now is nobody's
    bool never_slept = false;               // since the record before
    bool could_run = false;                 // it waits for a processor only
};

// So many samples, and the time they stand for.
struct Share {
    std::int64_t time_ns = 0;  // the last of them
    std::uint32_t count = 0;
    std::int64_t weight_ns = 0;
};

struct Shares {
    Share where_it_waited;  // more of the last row in which it waited
    Share kept_waiting;     // kept from the processors where it is met now, running
    Share here;             // the sample itself; no count: there is none, the thread is outside
};

class Account {
public:
    Shares take(const Met& met, const Settings& settings) noexcept;

    // What has come together until a moment at which the thread was not met: for its last rows.
    struct Rest {
        std::int64_t time_ns = 0;  // that moment
        std::int64_t ran_ns = 0;   // for the last row in which it ran
        Share waited;              // for the last row in which it waited
    };
    Rest rest(std::int64_t now_ns, std::int64_t cpu_ns, const Settings& settings) noexcept;

    // Nothing up to now counts: measuring starts here.
    void rebase(std::int64_t now_ns, std::int64_t cpu_ns) noexcept;
    // Up to now it counts, and measuring goes on from here.
    void settle(std::int64_t now_ns, std::int64_t cpu_ns) noexcept;

    // The thread ended now; the clock is told by itself, if at all.
    void end(std::int64_t now_ns) noexcept { final_time_ns_ = now_ns; }
    // It left Python for good when the clock said `left_python_ns`: where it was met outside since,
    // it was on its way to its end, and what passed until then is not nobody's.
    void end_cpu(std::int64_t cpu_ns, std::int64_t left_python_ns) noexcept;
    Rest rest_at_end(const Settings& settings) noexcept {
        return rest(final_time_ns_, final_cpu_ns_, settings);
    }

    bool outside() const noexcept { return outside_; }
    // How often the thread was met running, and how often its CPU time asks for.
    std::int64_t met_running() const noexcept { return met_running_; }
    std::int64_t due_running(const Settings& settings) const noexcept {
        return ran_ns_ / settings.interval_ns;
    }

private:
    bool is_on_its_way_out(std::int64_t cpu_ns) const noexcept {
        return left_python_ns_ >= 0 && cpu_ns >= left_python_ns_;
    }
    std::uint32_t count_waiting(std::int64_t waited_ns, const Settings& settings) noexcept;

    std::int64_t time_ns_ = 0;  // the two clocks at the last sample
    std::int64_t cpu_ns_ = 0;
    bool waiting_ = false;  // it was met waiting there
    bool outside_ = false;  // no Python was found there
    // Wall mode: time that has passed and belongs to the next stack that is met doing the same.
    std::int64_t owed_running_ns_ = 0;
    std::int64_t owed_waiting_ns_ = 0;
    std::int64_t kept_waiting_ns_ = 0;  // kept from the processors where it runs; no sample yet
    std::int64_t uncounted_waiting_ns_ = 0;  // waiting that has not made up a whole sample yet
    // What is nobody's since it was first met outside, and its CPU clock there.
    std::int64_t nobodys_running_ns_ = 0;
    std::int64_t nobodys_waiting_ns_ = 0;
    std::int64_t outside_since_cpu_ns_ = 0;
    std::int64_t ran_ns_ = 0;           // CPU time that its stacks have...
    std::int64_t met_running_ = 0;      // ...from so many samples
    std::int64_t final_time_ns_ = -1;   // when it ended...
    std::int64_t final_cpu_ns_ = -1;    // ...and its CPU clock then; -1: nobody told
    std::int64_t left_python_ns_ = -1;  // ...and when it left Python; -1: nobody told
};

}  // namespace spprof::sampling
