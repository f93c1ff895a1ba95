// Threads, clocks and wake-ups, on the platform this runs on.
#include <doctest/doctest.h>
#include <sys/prctl.h>
#include <unistd.h>

#include <atomic>
#include <thread>

#include "in_child.h"
#include "platform/clocks.h"
#include "platform/pages.h"
#include "platform/safe_memory.h"
#include "platform/threads.h"
#include "platform/wake_up.h"

using namespace spprof::platform;
using spprof::testing::burn;

TEST_CASE("threads are counted, listed and timed") {
    const int before = thread_count();
    CHECK(before == static_cast<int>(list_threads().size()));
    std::atomic<Tid> tid{0};
    std::atomic<bool> stop{false};
    std::thread thread([&] {
        prctl(PR_SET_NAME, "spprof-test", 0, 0, 0);
        burn(5'000'000);
        tid = current_tid();
        while (!stop) std::this_thread::yield();
    });
    while (tid == 0) std::this_thread::yield();
    CHECK(thread_count() == before + 1);
    CHECK(thread_os_name(tid) == "spprof-test");
    CHECK(thread_cpu_ns(tid) >= 5'000'000);
    CHECK(is_runnable(tid));
    stop = true;
    thread.join();
    const std::int64_t until = monotonic_ns() + 20'000'000'000;
    while (thread_cpu_ns(tid) >= 0 && monotonic_ns() < until) std::this_thread::yield();
    CHECK(thread_cpu_ns(tid) == -1);
    CHECK(thread_count() == before);
    CHECK(current_tid() == getpid());
}

TEST_CASE("a thread that sleeps is told from one that waits for a processor") {
    std::atomic<Tid> tid{0};
    WakeUp wake_up;
    std::thread thread([&] {
        prctl(PR_SET_NAME, "a) R (b", 0, 0, 0);
        tid = current_tid();
        wake_up.wait_until(monotonic_ns() + 60'000'000'000);
    });
    while (tid == 0) std::this_thread::yield();
    const std::int64_t until = monotonic_ns() + 20'000'000'000;
    while (is_runnable(tid) && monotonic_ns() < until) std::this_thread::yield();
    CHECK_FALSE(is_runnable(tid));
    WaitingCall call;
    if (waiting_call(tid, call)) {  // not every kernel tells
        CHECK(call.program_counter != 0);
        CHECK(call.stack_pointer != 0);
    }
    wake_up.post();
    thread.join();
    // The system may list it for a moment longer.
    while (!is_runnable(tid) && monotonic_ns() < until) std::this_thread::yield();
    CHECK(is_runnable(tid));  // unknown
}

TEST_CASE("the signals that a thread has blocked are told") {
    sigset_t blocked;
    sigemptyset(&blocked);
    sigaddset(&blocked, SIGPROF);
    sigaddset(&blocked, SIGUSR2);
    sigset_t before;
    pthread_sigmask(SIG_BLOCK, &blocked, &before);
    const std::uint64_t told = blocked_signals(current_tid());
    CHECK((told >> (SIGPROF - 1) & 1) == 1);
    CHECK((told >> (SIGUSR2 - 1) & 1) == 1);
    pthread_sigmask(SIG_SETMASK, &before, nullptr);
    CHECK((blocked_signals(current_tid()) >> (SIGPROF - 1) & 1) == 0);
}

TEST_CASE("how often a thread goes to sleep is told") {
    const long before = thread_sleeps(current_tid());
    REQUIRE(before >= 0);
    const long own = current_thread_sleeps();
    CHECK(own - before <= 1);
    usleep(1000);
    CHECK(thread_sleeps(current_tid()) > before);
    CHECK(thread_sleeps(-1) == -1);
}

TEST_CASE("a thread of our own is named, takes no signal, and is timed after its end") {
    struct Seen {
        std::atomic<bool> blocked{false};
        std::atomic<bool> stop{false};
    } seen;
    OwnThread thread;
    REQUIRE(thread.start(
        "spprof-own",
        [](void* raw) noexcept {
            auto& self = *static_cast<Seen*>(raw);
            sigset_t mask;
            pthread_sigmask(SIG_SETMASK, nullptr, &mask);
            self.blocked = sigismember(&mask, SIGPROF) == 1 && sigismember(&mask, SIGALRM) == 1;
            burn(5'000'000);
            while (!self.stop) std::this_thread::yield();
        },
        &seen));
    CHECK(thread.running());
    CHECK(thread_os_name(thread.tid()) == "spprof-own");
    sigset_t here;
    pthread_sigmask(SIG_SETMASK, nullptr, &here);
    CHECK(sigismember(&here, SIGALRM) == 0);
    const int before = thread_count();
    seen.stop = true;
    thread.join();
    CHECK(seen.blocked);
    CHECK_FALSE(thread.running());
    CHECK(thread.cpu_ns() >= 5'000'000);
    CHECK(thread_count() == before - 1);
}

TEST_CASE("a thread of our own has faults open only for many loads, whatever its starter blocks") {
    // One that is blocked when it comes ends the process; one that is open may be handled by a
    // function of the program's, if somebody sends it.
    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    struct Seen {
        sigset_t outside, inside, after;
        bool loaded[2] = {};
    } seen;
    OwnThread thread;
    const bool started = thread.start(
        "spprof-own",
        [](void* raw) noexcept {
            auto& found = *static_cast<Seen*>(raw);
            const std::uintptr_t there = 42;
            std::uintptr_t value = 0;
            const auto load = [&] {
                return SafeMemory().load(reinterpret_cast<std::uintptr_t>(&there), value);
            };
            pthread_sigmask(SIG_SETMASK, nullptr, &found.outside);
            found.loaded[0] = load();
            {
                const ManyLoads loads;
                pthread_sigmask(SIG_SETMASK, nullptr, &found.inside);
                found.loaded[1] = load();
            }
            pthread_sigmask(SIG_SETMASK, nullptr, &found.after);
        },
        &seen);
    thread.join();
    sigset_t after;
    pthread_sigmask(SIG_SETMASK, &before, &after);
    REQUIRE(started);
    for (const int fault : {SIGSEGV, SIGBUS}) {
        CHECK(sigismember(&seen.outside, fault) == 1);
        CHECK(sigismember(&seen.inside, fault) == 0);
        CHECK(sigismember(&seen.after, fault) == 1);
    }
    CHECK(sigismember(&seen.inside, SIGTERM) == 1);
    CHECK(seen.loaded[0]);
    CHECK(seen.loaded[1]);
    CHECK(sigismember(&after, SIGSEGV) == 1);
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

TEST_CASE("pages from the system are zero and writable to the last byte") {
    constexpr std::size_t kBytes = 3 * 4096;
    auto* pages = static_cast<unsigned char*>(map_pages(kBytes));
    REQUIRE(pages != nullptr);
    bool zero = true;
    for (std::size_t i = 0; i < kBytes; ++i) zero = zero && pages[i] == 0;
    CHECK(zero);
    pages[kBytes - 1] = 7;
    unmap_pages(pages, kBytes);
}
