// Observing by signals: what others see of a signal that we share with them, and what is left of
// ours afterwards. What every observer promises is in observer_contract_test.cpp.
#include "platform/linux/interrupting_observer.h"

#include <doctest/doctest.h>
#include <errno.h>
#include <setjmp.h>
#include <signal.h>

#include <atomic>
#include <memory>

#include "in_child.h"
#include "platform/linux/fault_guard.h"
#include "platform/linux/shared_signal.h"
#include "platform/linux/thread_timer.h"

using namespace spprof::platform;
using namespace spprof::testing;

namespace {

std::atomic<int> visits{0};
std::atomic<void*> visited{nullptr};
std::atomic<int> foreign{0};

Visited count_visit(void* subject, const Moment&) noexcept {
    visits.fetch_add(1);
    visited = subject;
    return Visited::recorded;
}
void keep_nothing(void*) noexcept {}
std::atomic<int> keeper_called{0};
void count_call() noexcept { keeper_called.fetch_add(1); }

constexpr Visitor kCounting{count_visit, keep_nothing, count_call};

// On the kernel's own CPU timers where it has them: one visit in 20 ms of CPU time, exactly.
Plan coarse(Mode mode = Mode::cpu) { return {20'000'000, mode, false}; }

void own(int signal, void (*function)(int)) {
    const struct sigaction action = action_of(function);
    sigaction(signal, &action, nullptr);
}

sigset_t only(int signal) {
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, signal);
    return set;
}

}  // namespace

TEST_CASE("a thread is visited with its own subject, foreign signals go to their owner") {
    CHECK(wrong_step_in_child([] {
              own(SIGPROF, [](int) { foreign.fetch_add(1); });
              auto observer = make_observer(coarse(), kCounting);
              observer->begin();
              int subject = 0;
              Watch* watch = observer->follow(current_tid(), &subject);
              if (watch == nullptr) return 1;
              burn(400'000'000);
              const int taken = visits;
              if (taken < 15 || taken > 25) return 2;  // 20; CPU time is burnt here and there
              if (visited != &subject) return 3;
              if (foreign != 0) return 4;
              raise(SIGPROF);
              kill(getpid(), SIGPROF);
              if (foreign != 2) return 5;
              // One that has our number, and not our mark.
              sigqueue(getpid(), SIGPROF, sigval{});
              if (foreign != 3) return 6;
              // Somebody installs a handler over ours.
              own(SIGPROF, [](int) { foreign.fetch_add(100); });
              observer->keep();
              raise(SIGPROF);
              if (foreign != 103) return 7;
              const int before = visits;
              burn(100'000'000);
              if (visits <= before) return 8;
              observer->leave(watch);
              observer.reset();
              raise(SIGPROF);
              return foreign == 203 ? 0 : 9;
          }) == 0);
}

TEST_CASE("a foreign signal that nobody owns does what it would do without us") {
    CHECK(killed_by(status_of_child([] {
                        auto observer = make_observer(coarse(), kCounting);
                        observer->begin();
                        raise(SIGPROF);
                        return 0;
                    }),
                    SIGPROF));
    CHECK(wrong_step_in_child([] {
              signal(SIGPROF, SIG_IGN);
              auto observer = make_observer(coarse(), kCounting);
              observer->begin();
              raise(SIGPROF);
              return 0;
          }) == 0);
}

TEST_CASE("what is pending when we leave is gone, not deadly") {
    CHECK(wrong_step_in_child([] {
              auto observer = make_observer(coarse(), kCounting);
              observer->begin();
              Watch* watch = observer->follow(current_tid(), nullptr);
              const sigset_t profiling = only(SIGPROF);
              pthread_sigmask(SIG_BLOCK, &profiling, nullptr);
              const int before = visits;
              burn(100'000'000);
              sigset_t pending;
              sigpending(&pending);
              if (sigismember(&pending, SIGPROF) != 1) return 1;
              observer->leave(watch);
              observer.reset();
              sigpending(&pending);
              if (sigismember(&pending, SIGPROF) != 0) return 2;
              pthread_sigmask(SIG_UNBLOCK, &profiling, nullptr);
              burn(20'000'000);
              return visits == before ? 0 : 3;
          }) == 0);
}

TEST_CASE("a signal that comes after the end, or for somebody who left, is no visit") {
    CHECK(wrong_step_in_child([] {
              auto observer = make_observer(coarse(), kCounting);
              observer->begin();
              Watch* watch = observer->follow(current_tid(), nullptr);
              const Cookie cookie = watch->cookie();
              observer->leave(watch);
              const int before = visits;
              if (!signal_thread(current_tid(), cookie)) return 1;
              if (visits != before) return 2;
              // The same watch serves another, and the old signal is not meant for it.
              Watch* again = observer->follow(current_tid(), nullptr);
              if (again != watch || again->cookie() == cookie) return 3;
              if (!signal_thread(current_tid(), cookie)) return 4;
              return visits == before ? 0 : 5;
          }) == 0);
}

TEST_CASE("errno is what it was") {
    CHECK(wrong_step_in_child([] {
              static const Visitor kChanging{[](void*, const Moment&) noexcept {
                                                 visits.fetch_add(1);
                                                 errno = 5;
                                                 return Visited::recorded;
                                             },
                                             [](void*) noexcept { errno = 6; }, count_call};
              auto observer = make_observer(coarse(), kChanging);
              observer->begin();
              observer->follow(current_tid(), nullptr);
              errno = 77;
              while (visits < 5) {
                  if (errno != 77) return 1;
              }
              return errno == 77 ? 0 : 2;
          }) == 0);
}

TEST_CASE("a visit that faults where others own the fault is their business, ours is not") {
    // While somebody else has SIGSEGV nothing is read; keep() puts that right.
    CHECK(wrong_step_in_child([] {
              auto observer = make_observer(coarse(), kCounting);
              observer->begin();
              Watch* watch = observer->follow(current_tid(), nullptr);
              own(SIGSEGV, [](int) { _exit(33); });
              const int before = visits;
              burn(150'000'000);
              if (visits != before) return 1;
              if (observer->figures(watch).torn == 0 || keeper_called == 0) return 2;
              observer->keep();
              if (!FaultGuard::armed()) return 3;
              burn(150'000'000);
              return visits > before ? 0 : 4;
          }) == 0);
}

TEST_CASE("a forked child is not signalled by its parent's timers") {
    CHECK(wrong_step_in_child([] {
              for (const std::int64_t interval : {20'000'000, 1'000'000}) {
                  auto observer = make_observer({interval, Mode::cpu, false}, kCounting);
                  observer->begin();
                  if (observer->follow(current_tid(), nullptr) == nullptr) return 1;
                  burn(100'000'000);
                  if (visits == 0) return 2;
                  observer->lock_for_fork();
                  const pid_t child = fork();
                  observer->unlock_after_fork();
                  if (child == 0) {
                      forget_cached_tids();
                      visits = 0;
                      burn(100'000'000);
                      const int untold = visits;
                      observer->abandon_after_fork();
                      burn(100'000'000);
                      observer.reset();
                      struct sigaction now;
                      sigaction(SIGPROF, nullptr, &now);
                      _exit(untold + visits == 0 && now.sa_handler == SIG_DFL ? 0 : 1);
                  }
                  int status = 0;
                  if (waitpid(child, &status, 0) != child || !exited_with(status, 0)) return 3;
              }
              return 0;
          }) == 0);
}

TEST_CASE("a thread that has closed itself to our signal says how much of it was not seen") {
    CHECK(wrong_step_in_child([] {
              const sigset_t profiling = only(SIGPROF);
              pthread_sigmask(SIG_BLOCK, &profiling, nullptr);
              auto observer = make_observer(coarse(), kCounting);
              observer->begin();
              Watch* watch = observer->follow(current_tid(), nullptr);
              burn(100'000'000);
              sigset_t pending;
              sigpending(&pending);
              if (sigismember(&pending, SIGPROF) != 0) return 1;  // sigwait() would take it
              const VisitFigures figures = observer->leave(watch);
              return figures.unreachable_ns >= 100'000'000 && visits == 0 ? 0 : 2;
          }) == 0);
}

TEST_CASE("a thread whose timer has stopped behind our back is visited again") {
    for (const std::int64_t interval : {20'000'000, 1'000'000}) {
        CHECK(wrong_step_in_child([&] {
                  auto observer = make_observer({interval, Mode::cpu, false}, kCounting);
                  observer->begin();
                  Watch* watch = observer->follow(current_tid(), nullptr);
                  burn(100'000'000);
                  if (visits == 0) return 1;
                  // As older kernels do when somebody ignores the signal while it is pending.
                  watch->timer.disarm();
                  watch->alarm.disarm();
                  const int before = visits;
                  for (int i = 0; i < 40 && visits < before + 5; ++i) {
                      burn(50'000'000);
                      observer->keep();
                  }
                  return visits >= before + 5 ? 0 : 2;
              }) == 0);
    }
}

// --- signals that are shared --------------------------------------------------------------------

namespace {

// Written as a user of SharedSignal would: SIGUSR2 carries nothing of ours, all is passed on.
void pass_all_on(int, siginfo_t* info, void* context);
SharedSignal shared(SIGUSR2, 0, pass_all_on, false);
SharedSignal nesting(SIGUSR1, 1, pass_all_on, true);

void pass_all_on(int signal, siginfo_t* info, void* context) {
    SharedSignal& mine = signal == SIGUSR2 ? shared : nesting;
    if (!mine.pass_on(info, context, [] { return true; })) {
        foreign.fetch_add(10'000);
    }
}

struct sigaction found_by_newer;

}  // namespace

TEST_CASE("an owner that hands its signal on to us has it go to the one below, not round") {
    for (const int signal : {SIGUSR2, SIGUSR1}) {
        CHECK(wrong_step_in_child([&] {
                  SharedSignal& mine = signal == SIGUSR2 ? shared : nesting;
                  own(signal, [](int) { foreign.fetch_add(1); });
                  mine.install();
                  struct sigaction newer;
                  std::memset(&newer, 0, sizeof newer);
                  newer.sa_flags = SA_SIGINFO;
                  newer.sa_sigaction = [](int number, siginfo_t* info, void* context) {
                      foreign.fetch_add(100);
                      found_by_newer.sa_sigaction(number, info, context);
                  };
                  sigaction(signal, &newer, &found_by_newer);
                  raise(signal);  // the newer is on top: it, then by way of us the older
                  if (foreign != 101) return 1;
                  if (!mine.reinstall_if_taken() || mine.reinstall_if_taken()) return 2;
                  for (int i = 2; i < 5; ++i) {
                      raise(signal);
                      if (foreign != 101 * i) return 3;
                  }
                  if (!mine.on_top()) return 4;
                  mine.restore();
                  struct sigaction now;
                  sigaction(signal, nullptr, &now);
                  return now.sa_sigaction == newer.sa_sigaction ? 0 : 5;
              }) == 0);
    }
}

TEST_CASE("an owner that leaves by siglongjmp is the first to be asked the next time, too") {
    CHECK(wrong_step_in_child([] {
              static sigjmp_buf out;
              own(SIGUSR2, [](int) { foreign.fetch_add(1); });
              shared.install();
              own(SIGUSR2, [](int) {
                  foreign.fetch_add(100);
                  siglongjmp(out, 1);
              });
              if (!shared.reinstall_if_taken()) return 1;
              for (volatile int i = 1; i <= 10; i = i + 1) {
                  if (sigsetjmp(out, 1) == 0) {
                      raise(SIGUSR2);
                      return 2;
                  }
                  if (foreign != 100 * i) return 3;
              }
              return 0;
          }) == 0);
}

TEST_CASE("more owners than there is room for: the newest are kept") {
    CHECK(wrong_step_in_child([] {
              own(SIGUSR2, [](int) { foreign.fetch_add(1); });
              shared.install();
              for (int i = 0; i < 20; ++i) {
                  own(SIGUSR2, [](int) { foreign.fetch_add(100); });
                  if (!shared.reinstall_if_taken()) return 1;
                  raise(SIGUSR2);
                  if (foreign != 100 * (i + 1)) return 2;
              }
              return 0;
          }) == 0);
}
