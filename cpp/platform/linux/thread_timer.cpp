// See thread_timer.h. Partly reached from the signal handler.
#include "platform/linux/thread_timer.h"

#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include <cstring>

#include "platform/linux/time_spec.h"

namespace spprof::platform {

namespace {

constexpr Cookie kMark = 0x5350'0000'0000'0000;
constexpr Cookie kMarkBits = 0xFFFF'0000'0000'0000;

void* marked(Cookie cookie) noexcept { return reinterpret_cast<void*>(cookie | kMark); }

}  // namespace

bool ThreadTimer::create(TimerClock clock, Tid tid, Cookie cookie) noexcept {
    destroy();
    struct sigevent event;
    std::memset(&event, 0, sizeof event);
    event.sigev_notify = SIGEV_THREAD_ID;
    event.sigev_signo = SIGPROF;
    event.sigev_value.sival_ptr = marked(cookie);
    event._sigev_un._tid = tid;
    int id = -1;
    const clockid_t id_of_clock =
        clock == TimerClock::thread_cpu ? thread_cpu_clock(tid) : CLOCK_MONOTONIC;
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
    info.si_code = SI_QUEUE;
    info.si_pid = getpid();
    info.si_uid = getuid();
    info.si_value.sival_ptr = marked(cookie);
    return syscall(SYS_rt_tgsigqueueinfo, info.si_pid, tid, SIGPROF, &info) == 0;
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
    const bool by_timer = info.si_code == SI_TIMER;
    if (!by_timer && (info.si_code != SI_QUEUE || info.si_pid != current_pid())) {
        return false;
    }
    sender = by_timer ? Sender::timer : Sender::thread;
    cookie = value & ~kMarkBits;
    return (value & kMarkBits) == kMark;
}

}  // namespace spprof::platform
