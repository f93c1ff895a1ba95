// The seam to the system: observing a thread. An observer has threads visited: it makes them stand
// still for a moment, by whatever means the system has, and calls the visitor. It owns all of
// these means: signals, timers, suspension, pacing, and the threads of its own that they need.
//
// Knows nothing of what a visit records, nor of Python. Its plain data is reached from the signal
// handler.
//
// What holds for every implementation (tests/cpp/observer_contract.h):
//   - At most one visit of a subject at a time.
//   - The subject stands still during it.
//   - A visit may run on the subject itself (in a signal handler) or on another thread.
//   - Nothing that a visit calls may take a lock, allocate, or enter Python: the subject may hold
//     any lock there is.
//   - When leave() has returned, no visit of that subject runs, and none will.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "platform/machine_registers.h"
#include "platform/threads.h"

namespace spprof::platform {

enum class Mode : std::uint8_t {
    cpu,   // threads are visited while they use a processor, in proportion to the CPU time they use
    wall,  // and also where they stand still
};

struct Plan {
    std::int64_t interval_ns = 10'000'000;
    Mode mode = Mode::cpu;
    bool registers = false;  // visits want the machine's registers
};

enum class Doing : std::uint8_t {
    running,  // it used a processor at this moment
    waiting,  // it was off the processors: asleep, or waiting for one
};

// The moment at which a thread stands still.
struct Moment {
    std::int64_t time_ns = 0;  // monotonic clock
    std::int64_t cpu_ns = 0;   // the thread's CPU clock
    Doing doing = Doing::running;
    // Until then it is known to have stood still where it was last visited waiting; 0: not known.
    std::int64_t stood_still_until_ns = 0;
    // Since it was last visited it was kept from the processors by others only, if at all: it has
    // not given one up by itself.
    bool never_slept = false;
    // It waits for a processor, and for nothing else.
    bool could_run = false;
    bool on_own_thread = false;
    // Of one that waits, and the address of the word that it waits at.
    Wait wait = Wait::unknown;
    std::uintptr_t waits_at = 0;
    // nullptr where they are not wanted. Of a thread that waits only the program counter and the
    // stack pointer may be known; the rest is zero then.
    const MachineRegisters* registers = nullptr;
    bool all_registers = false;
};

enum class Visited : std::uint8_t {
    recorded,  // there is something to keep
    refused,   // there was nothing to record, or no room
    torn,      // what was found cannot be trusted now; a few instructions later it can
};

// What is done in a visit. `record` writes down what it sees, where nobody reads it yet; `keep`
// publishes that. Between the two the observer makes sure that the thread stood still all the time.
struct Visitor {
    Visited (*record)(void* subject, const Moment& moment) noexcept = nullptr;
    void (*keep)(void* subject) noexcept = nullptr;
    // Observer::keep() is needed now: somebody has changed what an observer needs.
    void (*call_keeper)() noexcept = nullptr;
};

// One followed thread, as the observer knows it.
class Watch;

// What visits of one subject have cost and missed so far.
struct VisitFigures {
    std::uint64_t visits = 0;    // looks at a thread that had it interrupted
    std::uint64_t spent_ns = 0;  // CPU time
    std::uint64_t worst_ns = 0;
    std::uint64_t torn = 0;           // given up
    std::int64_t unreachable_ns = 0;  // CPU time used while the thread could not be visited

    void add(const VisitFigures& other) noexcept {
        visits += other.visits;
        spent_ns += other.spent_ns;
        worst_ns = worst_ns > other.worst_ns ? worst_ns : other.worst_ns;
        torn += other.torn;
        unreachable_ns += other.unreachable_ns;
    }
};

class Observer {
public:
    virtual ~Observer() = default;  // no visit runs any more, nothing outside is left changed

    // Begins to observe; may throw std::runtime_error.
    virtual void begin() = 0;

    // nullptr where the thread is gone or nothing can be had to follow it. `subject` is what the
    // visitor gets, and must stay valid until leave() has returned.
    virtual Watch* follow(Tid tid, void* subject) noexcept = 0;
    // May be called by the thread itself, not by a visit. What its visits have cost.
    virtual VisitFigures leave(Watch* watch) noexcept = 0;
    virtual VisitFigures figures(const Watch* watch) const noexcept = 0;
    // Where it stands still now, it is visited once more.
    virtual void look_again(Watch* watch) noexcept = 0;
    // The thread itself is about to close itself to what visits it; whether it is open again is
    // noticed.
    virtual void about_to_close(Watch* watch) noexcept { static_cast<void>(watch); }

    // Between the two there are no visits, and nothing of ours runs but for what costs nothing.
    virtual void pause() noexcept = 0;
    virtual void resume() noexcept = 0;
    // To be called now and then: puts right what others have changed of what an observer needs.
    virtual void keep() noexcept = 0;

    // Around a moment at which somebody else sets up a signal that we use; paused meanwhile.
    virtual void give_back() noexcept = 0;
    virtual void take_again() = 0;

    // Its locks are held around a fork, so that the child does not inherit one in use.
    virtual void lock_for_fork() noexcept = 0;
    virtual void unlock_after_fork() noexcept = 0;
    // In the child: there are neither timers nor threads of ours.
    virtual void abandon_after_fork() noexcept = 0;
    // Its own threads end and begin anew: a program of one thread may fork without being told that
    // it has several.
    virtual void end_threads() noexcept = 0;
    virtual void begin_threads() noexcept = 0;

    struct Report {
        std::string engine;                 // "timer" or "ticker"
        std::vector<std::string> notes;     // fallbacks, in plain words
        std::int64_t cpu_ns = 0;            // what these have used
        std::uint64_t calls_continued = 0;  // blocking calls of the program that we met and went on
        std::uint64_t calls_cut_short = 0;  // those that ended with EINTR
    };
    virtual Report report() const = 0;
    virtual bool owns(Tid tid) const noexcept = 0;
    // Another thread of ours, which nobody follows: what it uses is no sign that somebody woke up.
    // 0: there is none any more.
    virtual void accompanied_by(Tid tid) noexcept { static_cast<void>(tid); }
    // Whether no visit runs on the subject itself: then what a thread knows of itself has to be
    // found out for it.
    virtual bool only_from_outside() const noexcept = 0;
};

// The one for this system.
std::unique_ptr<Observer> make_observer(const Plan& plan, const Visitor& visitor);

// For benchmarks: what does an interruption cost when nothing is done with it?
void set_visits_do_nothing(bool nothing) noexcept;

}  // namespace spprof::platform
