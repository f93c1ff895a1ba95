// What the observer asks of a system that can freeze threads, in which order, with a freezer that
// only writes down what it was asked. The contract itself is in observer_contract_test.cpp.
#include "platform/suspending_observer.h"

#include <doctest/doctest.h>
#include <poll.h>

#include <atomic>
#include <memory>
#include <thread>

#include "in_child.h"

using namespace spprof::platform;
using spprof::testing::burn;

namespace {

constexpr std::int64_t kMillisecond = 1'000'000;

// What is seen by the observer's thread and by nobody else until the observer is gone.
struct Log {
    bool refuses = false, has_registers = true;
    ThreadHandle frozen = 0;
    int opened = 0, closed = 0;
    int freezes = 0, thaws = 0, out_of_order = 0;
    int running = 0, waiting = 0, with_all_registers = 0, visited_unfrozen = 0, kept = 0;
    std::atomic<int> met{0};
}* log_of_now = nullptr;

class Recorder final : public ThreadFreezer {
public:
    explicit Recorder(bool spares_waits) : spares_waits_(spares_waits) {}

    ThreadHandle open(Tid tid) noexcept override {
        const ThreadHandle handle = ThreadFreezer::open(tid);
        log_of_now->opened += handle != 0 ? 1 : 0;
        return handle;
    }
    void close(ThreadHandle) noexcept override { ++log_of_now->closed; }
    bool freeze(ThreadHandle tid) noexcept override {
        Log& log = *log_of_now;
        if (log.refuses) return false;
        log.out_of_order += log.frozen != 0 ? 1 : 0;
        log.frozen = tid;
        ++log.freezes;
        return true;
    }
    bool registers(ThreadHandle tid, MachineRegisters& registers) noexcept override {
        log_of_now->out_of_order += log_of_now->frozen != tid ? 1 : 0;
        registers.pc = 42;
        return log_of_now->has_registers;
    }
    void thaw(ThreadHandle tid) noexcept override {
        log_of_now->out_of_order += log_of_now->frozen != tid ? 1 : 0;
        log_of_now->frozen = 0;
        ++log_of_now->thaws;
    }
    bool spares_waits() const noexcept override { return spares_waits_; }

private:
    const bool spares_waits_;
};

Visited look(void* subject, const Moment& moment) noexcept {
    auto& log = *static_cast<Log*>(subject);
    log.out_of_order += moment.on_own_thread ? 1 : 0;
    ++(moment.doing == Doing::running ? log.running : log.waiting);
    log.visited_unfrozen += log.frozen == 0 ? 1 : 0;
    log.with_all_registers +=
        moment.all_registers && moment.registers != nullptr && moment.registers->pc == 42 ? 1 : 0;
    ++log.met;
    return Visited::recorded;
}

void keep(void* subject) noexcept { ++static_cast<Log*>(subject)->kept; }

constexpr Visitor kLooking{look, keep, []() noexcept {}};

std::unique_ptr<SuspendingObserver> observer_of(Log& log, Mode mode, bool spares_waits) {
    log_of_now = &log;
    auto observer = std::make_unique<SuspendingObserver>(Plan{kMillisecond, mode, true}, kLooking,
                                                         std::make_unique<Recorder>(spares_waits));
    observer->begin();
    return observer;
}

// Follows a thread that works for so long and then sleeps until it has been met there, or long
// enough to be met.
VisitFigures follow_worker_and_sleeper(SuspendingObserver& observer, Log& log, std::int64_t work) {
    VisitFigures figures;
    std::thread thread([&] {
        Watch* watch = observer.follow(current_tid(), &log);
        burn(work);
        poll(nullptr, 0, 200);
        figures = observer.leave(watch);
    });
    thread.join();
    return figures;
}

}  // namespace

TEST_CASE("every thread that is frozen is thawed, and visited in between with its registers") {
    for (const Mode mode : {Mode::cpu, Mode::wall}) {
        Log log;
        auto observer = observer_of(log, mode, true);
        const VisitFigures figures = follow_worker_and_sleeper(*observer, log, 100 * kMillisecond);
        observer.reset();
        CHECK(log.running > 10);
        CHECK(log.freezes == log.thaws);
        CHECK(log.frozen == 0);
        CHECK(log.opened == 1);
        CHECK(log.closed == 1);
        CHECK(log.out_of_order == 0);
        CHECK(log.visited_unfrozen == 0);
        CHECK(log.with_all_registers == log.running + log.waiting);
        CHECK(log.kept >= log.running);
        CHECK(figures.visits == static_cast<std::uint64_t>(log.running));
        CHECK((log.waiting > 0) == (mode == Mode::wall));
    }
}

TEST_CASE("where freezing would end a wait, a thread that waits is read without it") {
    Log log;
    auto observer = observer_of(log, Mode::wall, false);
    // Asleep from the beginning: whatever is frozen was frozen while it slept.
    follow_worker_and_sleeper(*observer, log, 0);
    observer.reset();
    CHECK(log.waiting > 0);
    CHECK(log.visited_unfrozen > 0);
    CHECK(log.freezes == log.thaws);
    CHECK(log.out_of_order == 0);
}

TEST_CASE("a thread that cannot be frozen is not visited, nor thawed") {
    Log log;
    log.refuses = true;
    auto observer = observer_of(log, Mode::wall, true);
    follow_worker_and_sleeper(*observer, log, 30 * kMillisecond);
    observer.reset();
    CHECK(log.met == 0);
    CHECK(log.thaws == 0);
}

TEST_CASE("where registers cannot be had, a visit goes without") {
    Log log;
    log.has_registers = false;
    auto observer = observer_of(log, Mode::cpu, true);
    follow_worker_and_sleeper(*observer, log, 50 * kMillisecond);
    observer.reset();
    CHECK(log.running > 5);
    CHECK(log.with_all_registers == 0);
}

TEST_CASE("a thread that is gone is not followed") {
    Log log;
    auto observer = observer_of(log, Mode::cpu, true);
    Tid tid = 0;
    std::thread([&] { tid = current_tid(); }).join();
    const std::int64_t until = monotonic_ns() + 20'000'000'000;
    while (thread_cpu_ns(tid) >= 0 && monotonic_ns() < until) std::this_thread::yield();
    CHECK(observer->follow(tid, &log) == nullptr);
    CHECK(observer->report().engine == "ticker");
}
