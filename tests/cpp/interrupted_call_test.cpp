// Blocking calls that our signals meet: the program must not learn of it. Its own signals still end
// them. Every kind of call is made by a thread of its own, all at once, in a child.
#include "platform/linux/interrupted_call.h"

#include <doctest/doctest.h>
#include <errno.h>
#include <linux/futex.h>
#include <poll.h>
#include <semaphore.h>
#include <signal.h>
#include <sys/epoll.h>
#include <sys/ipc.h>
#include <sys/select.h>
#include <sys/sem.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include <atomic>
#include <cstdio>
#include <memory>
#include <random>
#include <thread>
#include <vector>

#include "in_child.h"
#include "platform/linux/interrupting_observer.h"
#include "platform/linux/thread_timer.h"
#include "platform/linux/time_spec.h"

using namespace spprof::platform;
using namespace spprof::testing;

namespace {

constexpr std::int64_t kMillisecond = 1'000'000;

thread_local volatile sig_atomic_t own_signals = 0;
void count_own_signal(int) { own_signals = own_signals + 1; }

// A timer of the program's own, which signals one thread.
class OwnSignal {
public:
    explicit OwnSignal(int signal) {
        struct sigevent event;
        std::memset(&event, 0, sizeof event);
        event.sigev_notify = SIGEV_THREAD_ID;
        event.sigev_signo = signal;
        event.sigev_notify_thread_id = current_tid();
        timer_create(CLOCK_MONOTONIC, &event, &timer_);
    }
    ~OwnSignal() { timer_delete(timer_); }
    void arm(std::int64_t first_ns, std::int64_t period_ns) {
        const itimerspec when{to_timespec(period_ns), to_timespec(first_ns)};
        timer_settime(timer_, 0, &when, nullptr);
    }

private:
    timer_t timer_;
};

// One kind of call: waits for so long and returns 0, or errno. Made by the thread that calls it.
class Call {
public:
    virtual ~Call() = default;
    virtual const char* name() const = 0;
    virtual int wait(std::int64_t ns) = 0;
    // By how much the system itself may be early: some of its time-outs are in whole ticks.
    virtual std::int64_t early_ns() const { return 0; }
    // It waits for a signal, or for somebody: it has no end of its own.
    virtual bool has_time_out() const { return true; }
    // Ended by a signal with a handler of the program's own.
    virtual bool is_interruptible() const { return true; }
};

int error_of(long result) { return result < 0 ? errno : 0; }
int milliseconds(std::int64_t ns) { return static_cast<int>(ns / kMillisecond); }

struct Poll final : Call {
    const char* name() const override { return "poll"; }
    int wait(std::int64_t ns) override { return error_of(poll(nullptr, 0, milliseconds(ns))); }
};

#if defined(SYS_poll)
struct PollByNumber final : Call {
    const char* name() const override { return "syscall(SYS_poll)"; }
    int wait(std::int64_t ns) override {
        return error_of(syscall(SYS_poll, nullptr, 0, milliseconds(ns)));
    }
};
#endif

// As libraries wait that have locks of their own.
struct FutexByNumber final : Call {
    int word = 0;
    const char* name() const override { return "syscall(SYS_futex)"; }
    int wait(std::int64_t ns) override {
        const timespec until = to_timespec(monotonic_ns() + ns);
        const long result = syscall(SYS_futex, &word, FUTEX_WAIT_BITSET | FUTEX_PRIVATE_FLAG, 0,
                                    &until, nullptr, FUTEX_BITSET_MATCH_ANY);
        return error_of(result) == ETIMEDOUT ? 0 : error_of(result);
    }
};

struct Ppoll final : Call {
    const char* name() const override { return "ppoll"; }
    int wait(std::int64_t ns) override {
        const timespec time = to_timespec(ns);
        return error_of(ppoll(nullptr, 0, &time, nullptr));
    }
};

struct Select final : Call {
    const char* name() const override { return "select"; }
    int wait(std::int64_t ns) override {
        timeval time{ns / kSecond, ns % kSecond / 1000};
        return error_of(select(0, nullptr, nullptr, nullptr, &time));
    }
};

struct EpollWait final : Call {
    int epoll = epoll_create1(EPOLL_CLOEXEC);
    ~EpollWait() override { close(epoll); }
    const char* name() const override { return "epoll_wait"; }
    int wait(std::int64_t ns) override {
        epoll_event event;
        return error_of(epoll_wait(epoll, &event, 1, milliseconds(ns)));
    }
};

struct Nanosleep final : Call {
    const char* name() const override { return "nanosleep"; }
    int wait(std::int64_t ns) override {
        const timespec time = to_timespec(ns);
        return error_of(nanosleep(&time, nullptr));
    }
};

struct Usleep final : Call {
    const char* name() const override { return "usleep"; }
    int wait(std::int64_t ns) override {
        return error_of(usleep(static_cast<useconds_t>(ns / 1000)));
    }
};

struct ClockNanosleep final : Call {
    const char* name() const override { return "clock_nanosleep"; }
    int wait(std::int64_t ns) override {
        const timespec time = to_timespec(ns);
        return clock_nanosleep(CLOCK_MONOTONIC, 0, &time, nullptr);
    }
};

struct ClockNanosleepUntil final : Call {
    const char* name() const override { return "clock_nanosleep until"; }
    int wait(std::int64_t ns) override {
        const timespec time = to_timespec(monotonic_ns() + ns);
        return clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &time, nullptr);
    }
};

struct SemTimedwait final : Call {
    sem_t semaphore;
    SemTimedwait() { sem_init(&semaphore, 0, 0); }
    ~SemTimedwait() override { sem_destroy(&semaphore); }
    const char* name() const override { return "sem_timedwait"; }
    int wait(std::int64_t ns) override {
        const timespec until = to_timespec(realtime_ns() + ns);
        const int error = error_of(sem_timedwait(&semaphore, &until));
        return error == ETIMEDOUT ? 0 : error;
    }
    // Another clock than the one that is measured by.
    std::int64_t early_ns() const override { return kMillisecond; }
};

struct Receive final : Call {
    int sockets[2];
    Receive() { static_cast<void>(socketpair(AF_UNIX, SOCK_STREAM, 0, sockets)); }
    ~Receive() override {
        close(sockets[0]);
        close(sockets[1]);
    }
    const char* name() const override { return "recv with SO_RCVTIMEO"; }
    int wait(std::int64_t ns) override {
        const timeval time{ns / kSecond, ns % kSecond / 1000};
        setsockopt(sockets[0], SOL_SOCKET, SO_RCVTIMEO, &time, sizeof time);
        char byte;
        const int error = error_of(recv(sockets[0], &byte, 1, 0));
        return error == EAGAIN ? 0 : error;
    }
    std::int64_t early_ns() const override { return kernel_tick_ns(); }
};

struct SemTimedop final : Call {
    int semaphore = semget(IPC_PRIVATE, 1, 0600);
    ~SemTimedop() override { semctl(semaphore, 0, IPC_RMID); }
    const char* name() const override { return "semtimedop"; }
    int wait(std::int64_t ns) override {
        const timespec time = to_timespec(ns);
        sembuf take{0, -1, 0};
        const int error = error_of(semtimedop(semaphore, &take, 1, &time));
        return error == EAGAIN ? 0 : error;
    }
    std::int64_t early_ns() const override { return kernel_tick_ns(); }
};

struct SigTimedwait final : Call {
    const char* name() const override { return "sigtimedwait"; }
    int wait(std::int64_t ns) override {
        sigset_t set;
        sigemptyset(&set);
        sigaddset(&set, SIGUSR2);
        const timespec time = to_timespec(ns);
        const int error = error_of(sigtimedwait(&set, nullptr, &time));
        return error == EAGAIN ? 0 : error;
    }
#if !defined(__GLIBC__)
    bool is_interruptible() const override { return false; }  // musl calls again by itself
#endif
};

// Ended by a signal of the program's own, which comes again where it came too soon.
struct Pause final : Call {
    const char* name() const override { return "pause"; }
    int wait(std::int64_t ns) override {
        OwnSignal end(SIGALRM);
        const int before = own_signals;
        end.arm(ns, ns);
        pause();
        return own_signals == before ? EINTR : 0;
    }
    bool has_time_out() const override { return false; }
};

struct ReadPipe final : Call {
    int ends[2];
    std::atomic<std::int64_t> write_at{0};
    std::atomic<bool> stop{false};
    std::thread writer;
    ReadPipe() {
        static_cast<void>(pipe(ends));
        writer = std::thread([this] {
            while (!stop) {
                const std::int64_t at = write_at;
                if (at != 0 && monotonic_ns() >= at) {
                    write_at = 0;
                    static_cast<void>(!write(ends[1], "x", 1));
                }
                sleep_until(monotonic_ns() + kMillisecond / 2);
            }
        });
    }
    ~ReadPipe() override {
        stop = true;
        writer.join();
        close(ends[0]);
        close(ends[1]);
    }
    const char* name() const override { return "read"; }
    int wait(std::int64_t ns) override {
        write_at = monotonic_ns() + ns;
        char byte;
        const long got = read(ends[0], &byte, 1);
        return got == 1 ? 0 : got == 0 ? EPIPE : errno;
    }
    bool has_time_out() const override { return false; }
};

std::vector<std::unique_ptr<Call>> all_calls() {
    std::vector<std::unique_ptr<Call>> calls;
    const auto add = [&](Call* call) { calls.emplace_back(call); };
    add(new Nanosleep);
    add(new Usleep);
    add(new ClockNanosleep);
    add(new SemTimedwait);
    add(new ReadPipe);
    add(new FutexByNumber);
#if defined(__x86_64__)
    // Elsewhere the first argument is lost where the result is: these cannot be begun anew.
    add(new Poll);
    add(new PollByNumber);
    add(new Ppoll);
    add(new Select);
    add(new EpollWait);
    add(new ClockNanosleepUntil);
    add(new Receive);
    add(new SemTimedop);
    add(new SigTimedwait);
    add(new Pause);
#endif
    return calls;
}

// What a thread that makes calls of one kind saw.
struct Seen {
    int calls = 0, interrupted = 0, failed = 0, early = 0;
};

constexpr Visitor kVisitor{[](void*, const Moment&) noexcept { return Visited::recorded; },
                           [](void*) noexcept {}, []() noexcept {}};

// Makes calls of all kinds, each on a thread of its own with a timer of ours that meets it at a
// random moment.
template <class Body>
std::vector<Seen> on_a_thread_each(Observer& observer, std::vector<std::unique_ptr<Call>>& calls,
                                   Body body) {
    std::vector<Seen> seen(calls.size());
    std::vector<std::thread> threads;
    for (std::size_t i = 0; i < calls.size(); ++i) {
        threads.emplace_back([&, i] {
            sigset_t waited_for;
            sigemptyset(&waited_for);
            sigaddset(&waited_for, SIGUSR2);
            pthread_sigmask(SIG_BLOCK, &waited_for, nullptr);
            std::minstd_rand random(static_cast<std::uint32_t>(i + 1));
            Watch* watch = observer.follow(current_tid(), nullptr);
            ThreadTimer ours;
            if (watch == nullptr ||
                !ours.create(TimerClock::monotonic, current_tid(), watch->cookie())) {
                seen[i].failed = 1;
                return;
            }
            body(*calls[i], ours, random, seen[i]);
            ours.destroy();
            observer.leave(watch);
        });
    }
    for (std::thread& thread : threads) thread.join();
    return seen;
}

void own(int signal) {
    const struct sigaction action = action_of(count_own_signal);  // without SA_RESTART
    sigaction(signal, &action, nullptr);
}

}  // namespace

TEST_CASE("no blocking call ends early or with EINTR because a signal of ours has met it") {
    CHECK(wrong_step_in_child([] {
              constexpr int kCalls = 300;
              own(SIGALRM);
              auto calls = all_calls();
              // Nothing but the timers below signals anybody.
              auto observer = make_observer({kSecond, Mode::cpu, false}, kVisitor);
              observer->begin();
              const std::vector<Seen> seen = on_a_thread_each(
                  *observer, calls, [](Call& call, ThreadTimer& ours, auto& random, Seen& result) {
                      std::uniform_int_distribution<std::int64_t> length(4, 20);
                      for (; result.calls < kCalls; ++result.calls) {
                          const std::int64_t ns = length(random) * kMillisecond;
                          std::uniform_int_distribution<std::int64_t> moment(1, ns + ns / 8);
                          ours.arm(moment(random), 0);
                          const std::int64_t begin = monotonic_ns();
                          const int error = call.wait(ns);
                          const std::int64_t took = monotonic_ns() - begin;
                          ours.disarm();
                          result.interrupted += error == EINTR ? 1 : 0;
                          result.failed += error != 0 && error != EINTR ? 1 : 0;
                          result.early += took < ns - call.early_ns() ? 1 : 0;
                      }
                  });
              int wrong = 0;
              for (std::size_t i = 0; i < calls.size(); ++i) {
                  const Seen& one = seen[i];
                  if (one.calls != kCalls || one.interrupted + one.failed + one.early > 0) {
                      ++wrong;
                      std::fprintf(stderr, "%s: of %d calls %d with EINTR, %d failed, %d early\n",
                                   calls[i]->name(), one.calls, one.interrupted, one.failed,
                                   one.early);
                  }
              }
              const Observer::Report report = observer->report();
              // Most of the signals met a call; those that the kernel begins anew by itself are
              // not counted.
              const auto made = static_cast<std::uint64_t>(calls.size() - 1) * kCalls;
              if (report.calls_continued < made / 2) {
                  std::fprintf(stderr, "only %llu calls were met\n",
                               static_cast<unsigned long long>(report.calls_continued));
                  ++wrong;
              }
              return wrong + static_cast<int>(report.calls_cut_short);
          }) == 0);
}

TEST_CASE("a signal of the program's own ends a call that we have gone on with") {
    CHECK(wrong_step_in_child([] {
              constexpr int kCalls = 100;
              constexpr std::int64_t kLong = 20 * kSecond;
              own(SIGUSR1);
              auto calls = all_calls();
              auto observer = make_observer({kSecond, Mode::cpu, false}, kVisitor);
              observer->begin();
              const std::vector<Seen> seen = on_a_thread_each(
                  *observer, calls, [](Call& call, ThreadTimer& ours, auto& random, Seen& result) {
                      OwnSignal theirs(SIGUSR1);
                      std::uniform_int_distribution<std::int64_t> moment(1, 10 * kMillisecond);
                      if (!call.is_interruptible()) {
                          result.calls = kCalls;
                      }
                      for (; result.calls < kCalls; ++result.calls) {
                          ours.arm(moment(random), 0);
                          const int before = own_signals;
                          // It comes again where it came before the call.
                          theirs.arm(moment(random), 10 * kMillisecond);
                          const std::int64_t begin = monotonic_ns();
                          const int error = call.wait(kLong);
                          const std::int64_t took = monotonic_ns() - begin;
                          theirs.arm(0, 0);
                          ours.disarm();
                          const bool by_theirs = own_signals > before;
                          const bool ended =
                              call.has_time_out() || error != 0 ? error == EINTR : by_theirs;
                          result.failed += ended && by_theirs && took < kLong / 2 ? 0 : 1;
                      }
                  });
              int wrong = 0;
              for (std::size_t i = 0; i < calls.size(); ++i) {
                  if (seen[i].calls != kCalls || seen[i].failed > 0) {
                      ++wrong;
                      std::fprintf(stderr, "%s: %d of %d calls did not end\n", calls[i]->name(),
                                   seen[i].failed, seen[i].calls);
                  }
              }
              return wrong;
          }) == 0);
}
