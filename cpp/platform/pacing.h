// When a thread gets a signal: pure policy over explicit state. Knows no clock, no timer and no
// signal: it is told what time it is and what was found, and says what to do. Reached from the
// signal handler.
//
// Two parties decide, each over a state of its own. The *ticker*, a thread of ours, looks at
// threads at random moments. The *thread itself* decides in the handler of each of its signals.
//
// The states of a thread whose samples are closer together than the kernel's tick:
//
//                    met running throughout for a while
//        +---------+ ----------------------------------> +--------+
//   ---> | sought  |                                     | steady |
//        +---------+ <---------------------------------- +--------+
//          |     ^       its timer met it in a system
//          |     |       call, where it sleeps
//          |     | it moved again (its CPU timer, or the
//          v     | process's CPU clock, told)
//        +---------+
//        | asleep  |   stood still for 100 ms
//        +---------+
//
//   sought: the ticker looks at it once an interval, at a random moment, and signals it where it
//           runs at that moment. The signal comes from another processor, takes some microseconds,
//           and is met at the next system call, which would look several times busier than it is:
//           so it is no sample. It aims a timer of the thread's own, whose interrupt comes on the
//           processor the thread runs on within some 50 us, and meets it where it is.
//   steady: that timer goes on by itself, once an interval, and the ticker may sleep. What is met
//           asleep is disturbed, so this is for threads that run on and on: each time that one was
//           found asleep, it takes longer until its timer goes on by itself again.
//   asleep: nobody looks. Costs nothing.
//
// Beside that a timer on the thread's CPU clock, which fires on the kernel's tick, tells that a
// thread that was asleep moves, and meets one that is behind its rate: in bursts of 100 us a signal
// hardly ever finds it where the ticker saw it. Not more than that: the first tick of a burst
// stands for what was used since the last one of the burst before, too, so of bursts of a tick or
// two the first half of a tick would get half of its samples.
#pragma once

#include <cstdint>

namespace spprof::platform::pacing {

// --- what both need -----------------------------------------------------------------------------

struct Rhythm {
    std::int64_t interval_ns = 1'000'000;
    // The ticker gets a processor as soon as it wakes up. Where it does not, it hardly meets a
    // thread in a short burst, and timers go on through short naps.
    bool prompt = true;
};

// Within this time a thread is met after a signal that may have been taken at a system call only:
// long enough that the moment has nothing to do with it.
constexpr std::int64_t kSoon = 50'000;
std::int64_t soon(const Rhythm& rhythm) noexcept;

// --- the ticker's side --------------------------------------------------------------------------

// What the ticker knows of a thread when it looks.
struct Look {
    std::int64_t now_ns = 0;
    std::int64_t cpu_ns = 0;          // the thread's CPU clock
    bool keeps_own_time = false;      // it is steady
    bool stopped_own_time = false;    // it was until now: once after each time
    std::int64_t visited_cpu_ns = 0;  // its CPU clock at the end of the last visit
    bool woke = false;                // asleep: its CPU timer has fired since
    bool alarm = false;               // asleep: there is a CPU timer that tells
};

enum class Seeking : std::uint8_t { sought, asleep };

struct Seek {
    Seeking state = Seeking::sought;
    std::int64_t cpu_ns = -1;           // at the last look; -1: none yet
    std::int64_t looked_ns = 0;         // when that was
    std::int64_t credit_ns = 0;         // CPU time used and not yet asked for by a signal
    std::int64_t still_since = 0;       // it has not moved since
    std::int64_t throughout_since = 0;  // it has run without a pause since
    std::int64_t steady_since = 0;
    std::int64_t patience_ns = 0;  // how long it must run throughout to be left to itself; 0: new
    std::int64_t next_look = 0;    // asleep without an alarm
};

struct SeekDecision {
    bool signal = false;             // aim at it
    bool may_keep_own_time = false;  // with this signal
    bool set_alarm = false;          // it fell asleep: have its CPU timer tell when it moves
    bool look_again = false;         // at the next tick
};

// `runs_now()` is asked only where it matters: it costs two system calls.
template <class RunsNow>
SeekDecision next(Seek& seek, const Look& look, const Rhythm& rhythm, RunsNow runs_now) noexcept;

// --- the thread's own side ----------------------------------------------------------------------

enum class From : std::uint8_t { ticker, own_timer, alarm };

// What the handler finds.
struct Arrival {
    From from = From::ticker;
    std::int64_t now_ns = 0;
    std::int64_t cpu_ns = 0;
    std::int64_t visited_ns = 0;  // the two clocks at the end of the visit before
    std::int64_t visited_cpu_ns = 0;
    bool slept = false;              // it has been asleep until this signal
    bool in_call = false;            // it interrupted a system call in which the thread waited
    bool just_left_call = false;     // the thread had come back from one, perhaps one it slept in
    bool may_keep_own_time = false;  // the ticker's word
};

// So often a visit that met a torn chain is tried again. One may be as unlucky where the machine
// was away for a moment.
constexpr int kTriesAgain = 3;

enum class Keeping : std::uint8_t {
    nothing,  // its timer is not set
    aimed,    // it fires once, soon
    steady,   // it goes on by itself
};

// What becomes of the thread's own timer.
struct Arm {
    enum class What : std::uint8_t { leave, set, stop } what = What::leave;
    std::int64_t first_ns = 0;
    std::int64_t period_ns = 0;  // 0: once
};

struct ArrivalDecision {
    bool visit = false;
    Arm timer;
};

class OwnTime {
public:
    void seed(std::uint32_t random) noexcept { random_ = random | 1; }
    Keeping state() const noexcept { return state_; }

    ArrivalDecision next(const Arrival& arrival, const Rhythm& rhythm) noexcept;
    // The visit met a chain of frames that is in order again a few instructions later.
    Arm torn(std::int64_t now_ns, const Rhythm& rhythm) noexcept;
    void sound() noexcept { tries_ = 0; }
    // The timer could not be set, or somebody else has stopped it.
    void stopped() noexcept { state_ = Keeping::nothing; }

private:
    std::int64_t random_below(std::int64_t limit) noexcept;
    std::int64_t take_lateness(std::int64_t now_ns) noexcept;
    bool take_due(std::int64_t cpu_ns, const Rhythm& rhythm) noexcept;
    Arm set(std::int64_t now_ns, std::int64_t first_ns, std::int64_t period_ns) noexcept;
    Arm aim(const Arrival& arrival, const Rhythm& rhythm) noexcept;
    Arm go_steady(std::int64_t now_ns, std::int64_t within_ns, const Rhythm& rhythm) noexcept;
    Arm vary_pace(std::int64_t now_ns, const Rhythm& rhythm) noexcept;
    Arm stop() noexcept;

    Keeping state_ = Keeping::nothing;
    int tries_ = 0;  // of a visit that met a torn chain
    std::uint32_t random_ = 1;
    int signals_at_this_pace_ = 0;
    int pace_ = 0;            // by how many sixteenths of an interval the period differs from it
    bool turned_ = true;      // the pace makes up for the one before
    std::int64_t phase_ = 0;  // of the signals, within a grid of intervals
    std::int64_t period_ = 0;
    std::int64_t next_ = 0;     // when the timer fires
    std::int64_t due_cpu_ = 0;  // the thread's CPU clock at its next sample; 0: not begun
};

// --- threads that stand still, in wall time -----------------------------------------------------

// A thread that stands still is not signalled: it is read from outside, once, and counts as
// waiting there until its CPU clock has moved.
struct Waiting {
    std::int64_t met_cpu = -1;   // its CPU clock where it was last met waiting; -1: not met yet
    std::int64_t seen_cpu = -1;  // at the last look
    int still = 0;               // looks in a row at which it had not moved
    bool asleep = false;         // not looked at until somebody is known to have woken up
};

// Whether it may be met waiting now: it has moved since it was met last.
bool wants_meeting(Waiting& waiting, std::int64_t cpu_ns) noexcept;

// Something that may take a two-hundredth of the time: at once where it is cheap, or rare of late.
class Allowance {
public:
    bool grants(std::int64_t now_ns) noexcept;
    void take(std::int64_t took_ns) noexcept;

private:
    std::int64_t left_ns_ = 0;  // less than nothing: too much was taken
    std::int64_t since_ = 0;
};

// Who woke up? The CPU clock of the process, less what is known of who ran, tells whether anybody
// else did: one call a tick instead of one for each thread that sleeps.
struct Sleepers {
    bool known = false;
    std::int64_t unexplained_ns = 0;  // CPU time of the process that nobody known had used
    std::int64_t quiet_until = 0;     // nobody had woken up then
    Allowance clock;                  // to read the process's clock
    Allowance rounds;                 // to look at all sleepers
};

// `process_ns` less `explained_ns`, the CPU clocks of all threads that are looked at.
bool somebody_woke(Sleepers& sleepers, std::int64_t now_ns, std::int64_t rest_ns) noexcept;
// All have been looked at, which took so long; `rest_ns` is what is left unexplained now.
void looked_at_all(Sleepers& sleepers, std::int64_t now_ns, std::int64_t took_ns,
                   std::int64_t rest_ns) noexcept;

// --- the ticker's side, continued ---------------------------------------------------------------

// A thread that did not move for so long is left alone. Waiting for the GIL among a few threads
// takes less.
constexpr std::int64_t kQuietTime = 100'000'000;
// Ticks come at random moments of their slots, or late, and find a thread that hardly runs rarely:
// so many intervals of CPU time may be made up for.
constexpr std::int64_t kMostCredit = 16;
// What a signal and the way back into an interrupted system call may cost: CPU time that is no
// sign that the thread went on.
constexpr std::int64_t kStandingStill = 15'000;
// How often a thread that sleeps is looked at where nothing tells that it moves.
constexpr std::int64_t kIdleLook = 10'000'000;
// A thread is left to itself after it ran throughout for so many intervals; for longer after each
// time that it was found asleep too soon.
constexpr std::int64_t kLeastPatience = 4;
constexpr std::int64_t kMostPatience = 1'000'000'000;
constexpr std::int64_t kSoonToSleep = 100;  // intervals

// How patient to be with a thread that kept its own time until it was found asleep.
void learn_patience(Seek& seek, std::int64_t now_ns, const Rhythm& rhythm) noexcept;
// The next look of a thread that was left alone.
void begin_seeking(Seek& seek, std::int64_t now_ns, std::int64_t cpu_ns) noexcept;
// Whether it has run without a pause for as long as it takes.
bool runs_throughout(Seek& seek, const Look& look, std::int64_t used_ns,
                     const Rhythm& rhythm) noexcept;

template <class RunsNow>
SeekDecision next(Seek& seek, const Look& look, const Rhythm& rhythm, RunsNow runs_now) noexcept {
    SeekDecision decision;
    if (look.keeps_own_time) {
        return decision;
    }
    if (look.stopped_own_time) {
        learn_patience(seek, look.now_ns, rhythm);
        begin_seeking(seek, look.now_ns, look.visited_cpu_ns);
    }
    if (seek.state == Seeking::asleep) {
        const bool moved = look.alarm ? look.woke : look.now_ns >= seek.next_look;
        if (!moved) {
            decision.look_again = !look.alarm;
            return decision;
        }
        const std::int64_t before = seek.cpu_ns;
        begin_seeking(seek, look.now_ns, look.cpu_ns);
        if (!look.alarm) {
            seek.cpu_ns = before;  // what it has used since is counted below
        }
    }
    const std::int64_t used = seek.cpu_ns < 0 ? 0 : look.cpu_ns - seek.cpu_ns;
    const bool throughout = runs_throughout(seek, look, used, rhythm);
    seek.cpu_ns = look.cpu_ns;
    seek.looked_ns = look.now_ns;
    const std::int64_t most = kMostCredit * rhythm.interval_ns;
    seek.credit_ns = seek.credit_ns + used < most ? seek.credit_ns + used : most;
    if (used > 0 && seek.credit_ns >= 0 && runs_now()) {
        seek.credit_ns -= rhythm.interval_ns;
        decision.signal = true;
        decision.may_keep_own_time = throughout;
        if (throughout) {
            seek.steady_since = look.now_ns;
        }
    }
    decision.look_again = true;
    if (used >= kStandingStill) {
        seek.still_since = look.now_ns;
    } else if (look.now_ns - seek.still_since >= kQuietTime &&
               look.now_ns - seek.still_since >= 8 * rhythm.interval_ns) {
        seek.state = Seeking::asleep;
        seek.next_look =
            look.now_ns + (kIdleLook > rhythm.interval_ns ? kIdleLook : rhythm.interval_ns);
        decision.set_alarm = true;
    }
    return decision;
}

}  // namespace spprof::platform::pacing
