// What the rooms for macOS and Windows promise: clocks, threads, loads that fail, waking up, and
// threads that are frozen. Runs on those systems only; Linux has tests of its own.
#include <doctest/doctest.h>

#include <algorithm>
#include <atomic>
#include <thread>

#include "observer_contract.h"
#include "platform/clocks.h"
#include "platform/pages.h"
#include "platform/safe_memory.h"
#include "platform/threads.h"
#include "platform/wake_up.h"

using namespace spprof::platform;
using namespace spprof::testing;

namespace {

// By how much the CPU clock moves at least: some systems count it by their scheduler's clock.
std::int64_t step_of_cpu_clock() {
    std::int64_t smallest = INT64_MAX;
    for (int i = 0; i < 5; ++i) {
        const std::int64_t before = current_thread_cpu_ns();
        std::int64_t after = before;
        while (after == before) after = current_thread_cpu_ns();
        smallest = std::min(smallest, after - before);
    }
    return smallest;
}

// One that only gets on while it runs.
struct Worker {
    std::atomic<bool> stop{false};
    std::atomic<std::uint64_t> steps{0};
    std::atomic<Tid> tid{0};
    std::thread thread{[this] {
        tid = current_tid();
        while (!stop) ++steps;
    }};
    Worker() {
        while (tid == 0) std::this_thread::yield();
    }
    ~Worker() {
        stop = true;
        thread.join();
    }
};

struct Seen {
    Worker* worker = nullptr;
    std::atomic<int> visits{0}, moved{0}, in_the_dark{0};
};

Visited look_at_worker(void* raw, const Moment& moment) noexcept {
    auto& seen = *static_cast<Seen*>(raw);
    const std::uint64_t before = seen.worker->steps;
    const std::int64_t until = monotonic_ns() + 200'000;
    while (monotonic_ns() < until) {
    }
    seen.moved += seen.worker->steps != before ? 1 : 0;
    // Its registers lead to where its stack and its code are.
    std::uintptr_t word = 0;
    const bool found =
        moment.registers != nullptr && moment.registers->pc != 0 &&
        SafeMemory().load(moment.registers->value[MachineRegisters::kStackPointer], word);
    seen.in_the_dark += found ? 0 : 1;
    ++seen.visits;
    return Visited::recorded;
}

MakeObserver make = [](const Plan& plan, const Visitor& visitor) {
    return make_observer(plan, visitor);
};

}  // namespace

TEST_CASE("the monotonic clock goes on, and sleeping lasts as long as asked") {
    const std::int64_t begin = monotonic_ns();
    sleep_until(begin + 20'000'000);
    CHECK(monotonic_ns() - begin >= 20'000'000);
    CHECK(monotonic_ns() - begin < 2'000'000'000);
    // Between 2020 and 2100.
    CHECK(realtime_ns() > 1'577'836'800'000'000'000);
    CHECK(realtime_ns() < 4'102'444'800'000'000'000);
}

TEST_CASE("CPU time is that of the thread that is asked for") {
    Worker worker;
    const std::int64_t wall = monotonic_ns();
    const std::int64_t before = thread_cpu_ns(worker.tid);
    const std::int64_t own = current_thread_cpu_ns();
    while (thread_cpu_ns(worker.tid) < before + 100'000'000 &&
           monotonic_ns() < wall + 20'000'000'000) {
        sleep_until(monotonic_ns() + 10'000'000);
    }
    const std::int64_t used = thread_cpu_ns(worker.tid) - before;
    CHECK(used >= 100'000'000);
    CHECK(used <= monotonic_ns() - wall + 2 * step_of_cpu_clock());
    CHECK(current_thread_cpu_ns() - own < used);
    CHECK(process_cpu_ns() > 0);
}

TEST_CASE("threads are listed while they live") {
    Tid tid = 0;
    {
        Worker worker;
        tid = worker.tid;
        const std::vector<Tid> now = list_threads();
        CHECK(std::count(now.begin(), now.end(), tid) == 1);
        CHECK(std::count(now.begin(), now.end(), current_tid()) == 1);
        CHECK(thread_cpu_ns(tid) >= 0);
    }
    const std::int64_t deadline = monotonic_ns() + 2'000'000'000;
    while (thread_cpu_ns(tid) >= 0 && monotonic_ns() < deadline) std::this_thread::yield();
    CHECK(thread_cpu_ns(tid) == -1);
}

TEST_CASE("a load of a bad address fails, and nothing else happens") {
    std::uintptr_t word = 42, target = 0;
    CHECK(SafeMemory().load(reinterpret_cast<std::uintptr_t>(&word), target));
    CHECK(target == 42);
    CHECK_FALSE(SafeMemory().load(0, target));
    CHECK_FALSE(SafeMemory().load(16, target));
    constexpr std::size_t kBytes = 65536;
    void* pages = map_pages(kBytes);
    REQUIRE(pages != nullptr);
    const auto address = reinterpret_cast<std::uintptr_t>(pages);
    CHECK(SafeMemory().load(address, target));
    CHECK(target == 0);
    unmap_pages(pages, kBytes);
    CHECK_FALSE(SafeMemory().load(address, target));
}

TEST_CASE("whoever waits is woken, also by what was posted before") {
    WakeUp wake_up;
    wake_up.post();
    wake_up.wait_until(monotonic_ns() + 60'000'000'000);
    const std::int64_t begin = monotonic_ns();
    std::thread poster([&] {
        sleep_until(begin + 50'000'000);
        wake_up.post();
    });
    wake_up.wait_until(begin + 60'000'000'000);
    CHECK(monotonic_ns() - begin >= 50'000'000);
    CHECK(monotonic_ns() - begin < 30'000'000'000);
    poster.join();
    const std::int64_t again = monotonic_ns();
    wake_up.wait_until(again + 30'000'000);
    CHECK(monotonic_ns() - again >= 30'000'000);
}

TEST_CASE("our own threads run, have a number, and are gone when joined") {
    std::atomic<int> ran{0};
    OwnThread thread;
    REQUIRE(thread.start(
        "spprof-test", [](void* raw) noexcept { ++*static_cast<std::atomic<int>*>(raw); }, &ran));
    CHECK(thread.tid() != 0);
    thread.join();
    CHECK(ran == 1);
    CHECK(thread.cpu_ns() >= 0);
}

TEST_CASE("a thread that is visited stands still, and its registers are known") {
    Worker worker;
    Seen seen;
    seen.worker = &worker;
    const std::uint64_t before = worker.steps;
    auto observer = make_observer({5 * kMillisecond, Mode::cpu, true},
                                  {look_at_worker, [](void*) noexcept {}, []() noexcept {}});
    observer->begin();
    Watch* watch = observer->follow(worker.tid, &seen);
    REQUIRE(watch != nullptr);
    const std::int64_t deadline = monotonic_ns() + 30'000'000'000;
    while (seen.visits < 20 && monotonic_ns() < deadline) sleep_until(monotonic_ns() + 5'000'000);
    observer->leave(watch);
    CHECK(seen.visits >= 20);
    CHECK(seen.moved == 0);
    CHECK(seen.in_the_dark == 0);
    const std::uint64_t thawed = worker.steps;
    CHECK(thawed > before);
    sleep_until(monotonic_ns() + 100'000'000);
    CHECK(worker.steps > thawed);
}

TEST_CASE("the contract of observers") {
    const std::int64_t step = step_of_cpu_clock();
    coarse_clock_step_ns = step > kMillisecond / 10 ? step : 0;
    CHECK(leaves_nobody_visited(make) == 0);
    CHECK(serves_one_after_the_other(make) == 0);
    CHECK(follows_threads_that_come_and_go(make) == 0);
    CHECK(looks_again(make) == 0);
    coarse_clock_step_ns = 0;
}

TEST_CASE("the contract of observers, where the CPU clock is finer than the interval") {
    if (step_of_cpu_clock() > kMillisecond / 2) {
        MESSAGE("not tested: rates and pauses, as the CPU clock moves by "
                << step_of_cpu_clock() / kMillisecond << " ms here");
        return;
    }
    for (const Mode mode : {Mode::cpu, Mode::wall}) {
        CHECK(keeps_its_rate(make, mode) == 0);
        CHECK(leaves_sleepers_alone(make, mode) == 0);
    }
    CHECK(pauses_and_resumes(make) == 0);
    CHECK(tries_again(make) == 0);
}
