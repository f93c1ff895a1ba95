// See thread_timer.h. Partly reached from the signal handler.
#include "platform/linux/thread_timer.h"

#include <errno.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include <atomic>
#include <cstring>

#include "platform/linux/time_spec.h"

namespace spprof::platform {

namespace {

constexpr Cookie kTimerMark = 0x5350'0000'0000'0000;
constexpr Cookie kThreadMark = 0x5351'0000'0000'0000;
constexpr Cookie kCpuTimerMark = 0x5352'0000'0000'0000;
constexpr Cookie kMarkBits = 0xFFFF'0000'0000'0000;

// The system refuses to send signals that carry anything (seccomp).
std::atomic<bool> plain_signals{false};
bool signals_are_plain() noexcept { return plain_signals.load(std::memory_order_relaxed); }

void* marked(Cookie cookie, Cookie mark) noexcept { return reinterpret_cast<void*>(cookie | mark); }

}  // namespace

bool ThreadTimer::create(TimerClock clock, Tid tid, Cookie cookie) noexcept {
    destroy();
    struct sigevent event;
    std::memset(&event, 0, sizeof event);
    event.sigev_notify = SIGEV_THREAD_ID;
    event.sigev_signo = SIGPROF;
    const bool on_cpu = clock == TimerClock::thread_cpu;
    event.sigev_value.sival_ptr = marked(cookie, on_cpu ? kCpuTimerMark : kTimerMark);
    event.sigev_notify_thread_id = tid;
    int id = -1;
    const clockid_t id_of_clock = on_cpu ? thread_cpu_clock(tid) : CLOCK_MONOTONIC;
    if (syscall(SYS_timer_create, id_of_clock, &event, &id) != 0) {
        return false;
    }
    id_ = id;
    return true;
}

bool ThreadTimer::arm(std::int64_t first_ns, std::int64_t interval_ns) noexcept {
    struct itimerspec when;
    when.it_value = to_timespec(first_ns > 0 ? first_ns : 1);
    when.it_interval = to_timespec(interval_ns);
    return id_ >= 0 && syscall(SYS_timer_settime, id_, 0, &when, nullptr) == 0;
}

void ThreadTimer::disarm() noexcept {
    if (id_ >= 0) {
        struct itimerspec never;
        std::memset(&never, 0, sizeof never);
        syscall(SYS_timer_settime, id_, 0, &never, nullptr);
    }
}

void ThreadTimer::destroy() noexcept {
    if (id_ >= 0) {
        syscall(SYS_timer_delete, id_);
        id_ = -1;
    }
}

bool signal_thread(Tid tid, Cookie cookie) noexcept {
    siginfo_t info;
    std::memset(&info, 0, sizeof info);
    info.si_signo = SIGPROF;
    // As if a timer had sent it: when the process becomes another program (execve), the system
    // discards signals of timers that are pending. Any other would end that program.
    info.si_code = SI_TIMER;
    info.si_value.sival_ptr = marked(cookie, kThreadMark);
    if (syscall(SYS_rt_tgsigqueueinfo, getpid(), tid, SIGPROF, &info) == 0) {
        return true;
    }
    return errno != ESRCH && signals_are_plain() &&
           syscall(SYS_tgkill, getpid(), tid, SIGPROF) == 0;
}

bool can_signal_threads() noexcept {
    // Signal 0 asks for permission only.
    siginfo_t info;
    std::memset(&info, 0, sizeof info);
    info.si_code = SI_TIMER;
    const bool plain =
        syscall(SYS_rt_tgsigqueueinfo, getpid(), current_tid(), 0, &info) != 0 && errno != EAGAIN;
    plain_signals.store(plain, std::memory_order_relaxed);
    return !plain || syscall(SYS_tgkill, getpid(), current_tid(), 0) == 0;
}

bool blocks_signal(Tid tid) noexcept {
    sigset_t blocked;
    if (tid == current_tid()) {
        return pthread_sigmask(SIG_SETMASK, nullptr, &blocked) == 0 &&
               sigismember(&blocked, SIGPROF) == 1;
    }
    const auto is_blocked = [tid] { return ((blocked_signals(tid) >> (SIGPROF - 1)) & 1) != 0; };
    // A thread in sigwait() looks as if what it waits for were not blocked.
    WaitingCall call;
    return is_blocked() || (waiting_call(tid, call) && call.number == SYS_rt_sigtimedwait) ||
           is_blocked();
}

bool is_ours(const siginfo_t& info, Sender& sender, Cookie& cookie) noexcept {
    const Cookie value = reinterpret_cast<Cookie>(info.si_value.sival_ptr);
    const Cookie mark = value & kMarkBits;
    sender = mark == kCpuTimerMark ? Sender::cpu_timer
             : mark == kTimerMark  ? Sender::timer
                                   : Sender::thread;
    cookie = value & ~kMarkBits;
    return info.si_code == SI_TIMER &&
           (mark == kCpuTimerMark || mark == kTimerMark || mark == kThreadMark);
}

bool carries_nothing(const siginfo_t& info) noexcept {
    return (info.si_code == SI_USER && info.si_pid == 0) ||
           (info.si_code == SI_TKILL && signals_are_plain() && info.si_pid == current_pid());
}

}  // namespace spprof::platform
