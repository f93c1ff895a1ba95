// Timers that signal one thread, the signals that one thread sends to another, and the mark by
// which both are known. What is marked "visit-safe" may be called in a signal handler.
#pragma once

#include <signal.h>

#include <cstdint>

#include "platform/threads.h"

// The name that musl has for it, and glibc only in its newer versions.
#ifndef sigev_notify_thread_id
#define sigev_notify_thread_id _sigev_un._tid
#endif

namespace spprof::platform {

// What a signal carries: which watch it is for. 48 bits; the upper 16 mark it as ours.
using Cookie = std::uint64_t;

enum class TimerClock : std::uint8_t {
    thread_cpu,  // fires on the kernel's tick only, and only while the thread runs
    monotonic,   // fires at any time, on the processor where it was armed or its signal taken last
};

class ThreadTimer {
public:
    ThreadTimer() = default;
    ~ThreadTimer() { destroy(); }
    ThreadTimer(const ThreadTimer&) = delete;
    ThreadTimer& operator=(const ThreadTimer&) = delete;

    // False where the system refuses (seccomp, RLIMIT_SIGPENDING, the thread is gone).
    bool create(TimerClock clock, Tid tid, Cookie cookie) noexcept;
    // The one that there is, or a new one.
    bool ensure(TimerClock clock, Tid tid, Cookie cookie) noexcept {
        return exists() || create(clock, tid, cookie);
    }
    // First expiry after first_ns of its clock, then every interval_ns (0: once). Visit-safe.
    bool arm(std::int64_t first_ns, std::int64_t interval_ns) noexcept;
    void disarm() noexcept;  // visit-safe
    void destroy() noexcept;
    bool exists() const noexcept { return id_ >= 0; }
    // After fork: the child has no timers; forget the id without touching the kernel.
    void forget() noexcept { id_ = -1; }

private:
    int id_ = -1;
};

// Sends the sampling signal to one thread; false when it is gone, or the system refuses.
bool signal_thread(Tid tid, Cookie cookie) noexcept;
// Whether the system lets us at all; to be asked before the first.
bool can_signal_threads() noexcept;

// Whether a thread has closed itself to the sampling signal. A read of /proc for other threads than
// the caller; false when unknown.
bool blocks_signal(Tid tid) noexcept;

enum class Sender : std::uint8_t { cpu_timer, timer, thread };

// Whether this signal was sent by one of ours, by whom, and for which watch.
bool is_ours(const siginfo_t& info, Sender& sender, Cookie& cookie) noexcept;
// Whether this may be one of ours that does not say so: where the queue of signals is full
// (RLIMIT_SIGPENDING, which all processes of a user share), what a thread sends comes without all
// that it carries, as if from nobody; where a filter refuses what carries something, plainly.
bool carries_nothing(const siginfo_t& info) noexcept;

}  // namespace spprof::platform
