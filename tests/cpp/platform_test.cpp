// Fault-tolerant loads, signals shared with others, and timers, on the platform this runs on.
#include "platform/platform.h"

#include <doctest/doctest.h>
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <cstring>
#include <thread>

#include "platform/safe_memory.h"

using namespace spprof::platform;

namespace {

// Runs something in a child, so that what it does to signals (and crashes) stays there.
template <class Body>
int status_of_child(Body body) {
    const pid_t child = fork();
    if (child == 0) {
        forget_cached_tid();
        // The test runner and the sanitizers have handlers of their own.
        signal(SIGSEGV, SIG_DFL);
        signal(SIGBUS, SIG_DFL);
        alarm(20);
        _exit(body());
    }
    int status = 0;
    REQUIRE(waitpid(child, &status, 0) == child);
    return status;
}

bool passed(int status) { return WIFEXITED(status) && WEXITSTATUS(status) == 0; }
bool killed_by(int status, int signal) { return WIFSIGNALED(status) && WTERMSIG(status) == signal; }

// A page that can be read, with one behind it that cannot.
struct PageBeforeNothing {
    long size = sysconf(_SC_PAGESIZE);
    char* page = static_cast<char*>(
        mmap(nullptr, 2 * size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
    PageBeforeNothing() { mprotect(page + size, size, PROT_NONE); }
    ~PageBeforeNothing() { munmap(page, 2 * size); }
    std::uintptr_t end() const { return reinterpret_cast<std::uintptr_t>(page) + size; }
};

std::atomic<int> samples{0};
std::atomic<Cookie> last_cookie{0};
void count_sample(Cookie cookie, Sender, void*) noexcept {
    samples.fetch_add(1);
    last_cookie = cookie;
}

std::atomic<int> foreign{0};
void count_foreign(int) { foreign.fetch_add(1); }

struct sigaction handler(void (*function)(int), int flags = 0) {
    struct sigaction action;
    std::memset(&action, 0, sizeof action);
    action.sa_handler = function;
    action.sa_flags = flags;
    return action;
}

void burn(std::int64_t ns) {
    const std::int64_t end = current_thread_cpu_ns() + ns;
    while (current_thread_cpu_ns() < end) {
    }
}

}  // namespace

TEST_CASE("a bad address is a failed load") {
    CHECK(passed(status_of_child([] {
        FaultGuard::install();
        if (!FaultGuard::armed()) return 1;
        const SafeMemory memory;
        std::uintptr_t value = 7;
        const std::uintptr_t good = 42;
        if (!memory.load(reinterpret_cast<std::uintptr_t>(&good), value) || value != 42) return 2;
        for (const std::uintptr_t bad :
             {std::uintptr_t{0}, std::uintptr_t{8}, std::uintptr_t{0x7FFFFFFFF000},
              ~std::uintptr_t{7}, std::uintptr_t{1} << 63, std::uintptr_t{0xDEADBEEF00}}) {
            if (memory.load(bad, value)) return 3;
        }
        const PageBeforeNothing pages;
        std::uintptr_t words[4] = {};
        if (!memory.copy(pages.end() - sizeof words, words, sizeof words)) return 4;
        if (memory.copy(pages.end() - 8, words, sizeof words))
            return 5;  // breaks off in the middle
        if (memory.load(pages.end(), value)) return 6;
        FaultGuard::restore();
        struct sigaction now;
        sigaction(SIGSEGV, nullptr, &now);
        return now.sa_handler == SIG_DFL ? 0 : 7;
    })));
}

TEST_CASE("bad loads on many threads at once, and inside of a signal handler") {
    CHECK(passed(status_of_child([] {
        FaultGuard::install();
        struct sigaction action = handler([](int) {
            const int saved = errno;
            std::uintptr_t value;
            if (SafeMemory().load(16, value)) _exit(9);
            errno = saved;
        });
        sigaction(SIGUSR1, &action, nullptr);
        std::atomic<int> wrong{0};
        std::thread threads[4];
        for (std::thread& thread : threads) {
            thread = std::thread([&wrong] {
                for (int i = 0; i < 5000; ++i) {
                    std::uintptr_t value;
                    if (SafeMemory().load(8, value)) ++wrong;
                    if (i % 50 == 0) raise(SIGUSR1);
                }
            });
        }
        for (std::thread& thread : threads) thread.join();
        return wrong.load();
    })));
}

TEST_CASE("a fault that is not ours ends the process as if we were not there") {
    const auto crash = [] {
        volatile int* nowhere = reinterpret_cast<int*>(8);
        *nowhere = 1;
        return 0;
    };
    CHECK(killed_by(status_of_child([&] {
                        FaultGuard::install();
                        return crash();
                    }),
                    SIGSEGV));
    // raise(), which does not happen again by itself
    CHECK(killed_by(status_of_child([&] {
                        FaultGuard::install();
                        raise(SIGSEGV);
                        return 0;
                    }),
                    SIGSEGV));
    // A handler from before us gets it first.
    const int status = status_of_child([&] {
        struct sigaction before = handler([](int) { _exit(33); });
        sigaction(SIGSEGV, &before, nullptr);
        FaultGuard::install();
        return crash();
    });
    CHECK((WIFEXITED(status) && WEXITSTATUS(status) == 33));
}

TEST_CASE("a handler over ours that restores us and raises again comes to an end") {
    static struct sigaction ours;  // faulthandler's way
    static std::atomic<int> reports{0};
    const auto enable = [] {
        struct sigaction action = handler(
            [](int signal) {
                reports.fetch_add(1);
                if (reports > 3) _exit(44);  // a loop
                sigaction(signal, &ours, nullptr);
                raise(signal);
            },
            SA_NODEFER);
        sigaction(SIGSEGV, &action, &ours);
    };
    for (const bool built_over : {false, true}) {
        for (const bool restored : {false, true}) {
            CHECK(killed_by(status_of_child([&] {
                                FaultGuard::install();
                                enable();
                                if (FaultGuard::armed()) return 1;
                                if (built_over && !FaultGuard::reinstall_if_taken()) return 2;
                                if (restored) FaultGuard::restore();
                                volatile int* nowhere = reinterpret_cast<int*>(8);
                                *nowhere = 1;
                                return 3;
                            }),
                            SIGSEGV));
        }
    }
}

TEST_CASE("timers signal their thread with their cookie, foreign signals go to their owner") {
    CHECK(passed(status_of_child([] {
        struct sigaction theirs = handler(count_foreign);
        sigaction(SIGPROF, &theirs, nullptr);
        SamplingSignal::install(count_sample);
        ThreadTimer timer;
        if (!timer.create(TimerClock::thread_cpu, current_tid(), 0x123456789ABC)) return 1;
        timer.arm(1'000'000, 10'000'000);
        errno = 77;
        burn(200'000'000);
        timer.disarm();
        const int taken = samples;
        if (taken < 15 || taken > 21) return 2;
        if (last_cookie != 0x123456789ABC) return 3;
        if (foreign != 0) return 4;
        raise(SIGPROF);
        if (foreign != 1) return 5;
        if (!signal_thread(current_tid(), 5) || samples != taken + 1 || last_cookie != 5) return 6;
        // Somebody installs a handler over ours.
        struct sigaction newer = handler([](int) { foreign.fetch_add(100); });
        sigaction(SIGPROF, &newer, nullptr);
        if (!SamplingSignal::reinstall_if_taken() || SamplingSignal::reinstall_if_taken()) return 7;
        raise(SIGPROF);
        if (foreign != 101) return 8;
        timer.destroy();
        SamplingSignal::restore();
        struct sigaction now;
        sigaction(SIGPROF, nullptr, &now);
        return now.sa_handler == newer.sa_handler ? 0 : 9;
    })));
}

TEST_CASE("what is pending when we leave is gone, not deadly") {
    CHECK(passed(status_of_child([] {
        SamplingSignal::install(count_sample);
        sigset_t profiling;
        sigemptyset(&profiling);
        sigaddset(&profiling, SIGPROF);
        pthread_sigmask(SIG_BLOCK, &profiling, nullptr);
        signal_thread(current_tid(), 1);
        ThreadTimer timer;
        timer.create(TimerClock::thread_cpu, current_tid(), 2);
        timer.arm(1'000'000, 4'000'000);
        burn(30'000'000);
        timer.destroy();
        SamplingSignal::restore();
        pthread_sigmask(SIG_UNBLOCK, &profiling, nullptr);
        burn(10'000'000);
        return samples == 0 ? 0 : 1;
    })));
}

TEST_CASE("errno is what it was") {
    CHECK(passed(status_of_child([] {
        SamplingSignal::install([](Cookie, Sender, void*) noexcept { errno = 5; });
        errno = 77;
        signal_thread(current_tid(), 1);
        return errno == 77 ? 0 : 1;
    })));
}

TEST_CASE("a forked child is not signalled by its parent's timer") {
    SamplingSignal::install(count_sample);
    ThreadTimer timer;
    REQUIRE(timer.create(TimerClock::thread_cpu, current_tid(), 1));
    REQUIRE(timer.arm(1'000'000, 4'000'000));
    const int status = status_of_child([] {
        samples = 0;
        burn(50'000'000);
        return samples.load();
    });
    timer.destroy();
    SamplingSignal::restore();
    CHECK(passed(status));
}

TEST_CASE("threads are counted, listed and timed") {
    const ThreadList list;
    const int before = list.count();
    CHECK(before == static_cast<int>(list.tids().size()));
    std::atomic<Tid> tid{0};
    std::atomic<bool> stop{false};
    std::thread thread([&] {
        name_current_thread("spprof-test");
        burn(5'000'000);
        tid = current_tid();
        while (!stop) std::this_thread::yield();
    });
    while (tid == 0) std::this_thread::yield();
    CHECK(list.count() == before + 1);
    CHECK(thread_os_name(tid) == "spprof-test");
    CHECK(thread_cpu_ns(tid) >= 5'000'000);
    CHECK(is_runnable(tid));
    stop = true;
    thread.join();
    CHECK(thread_cpu_ns(tid) == -1);
    CHECK(list.count() == before);
    CHECK(current_tid() == getpid());
}

TEST_CASE("a thread that sleeps is told from one that waits for a processor") {
    std::atomic<Tid> tid{0};
    WakeUp wake_up;
    std::thread thread([&] {
        name_current_thread("a) R (b");
        tid = current_tid();
        wake_up.wait_until(monotonic_ns() + 60'000'000'000);
    });
    while (tid == 0) std::this_thread::yield();
    const std::int64_t until = monotonic_ns() + 20'000'000'000;
    while (is_runnable(tid) && monotonic_ns() < until) std::this_thread::yield();
    CHECK_FALSE(is_runnable(tid));
    wake_up.post();
    thread.join();
    CHECK(is_runnable(tid));  // unknown
}

TEST_CASE("a wake-up is never lost, and waiting ends in time") {
    WakeUp wake_up;
    wake_up.post();
    wake_up.post();
    const std::int64_t begin = monotonic_ns();
    wake_up.wait_until(begin + 10'000'000'000);
    CHECK(monotonic_ns() - begin < 5'000'000'000);
    const std::int64_t again = monotonic_ns();
    wake_up.wait_until(again + 20'000'000);
    CHECK(monotonic_ns() - again >= 20'000'000);
}
