// What holds for every observer (observer.h), as functions over a way to make one: each returns 0,
// or the number of the step that went wrong. Where there are signals, to be run in a child: they
// are a process's.
#pragma once

#if !defined(_WIN32)
#include <poll.h>
#include <sys/wait.h>
#include <unistd.h>
#endif

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdio>
#include <memory>
#include <thread>
#include <vector>

#include "platform/clocks.h"
#include "platform/observer.h"

namespace spprof::testing {

using platform::Doing;
using platform::Mode;
using platform::Moment;
using platform::Observer;
using platform::Plan;
using platform::Visited;
using platform::Visitor;
using platform::Watch;

using MakeObserver = std::unique_ptr<Observer> (*)(const Plan&, const Visitor&);

constexpr std::int64_t kMillisecond = 1'000'000;

// By how much the CPU clock moves at least, where that is more than the contract's intervals: then
// threads are met less often, since what is not seen to move is not visited. 0: it is finer.
inline std::int64_t coarse_clock_step_ns = 0;

// Of so many visits at that interval those that can be expected at least.
inline int attainable(int visits, std::int64_t interval_ns) {
    const std::int64_t rounds = 2 * coarse_clock_step_ns / interval_ns;
    return rounds <= 1 ? visits : std::max(1, visits / static_cast<int>(rounds));
}

// Blocks for so long; 0 unless the wait was cut short. Where there is poll(), by it: no signal
// handler has it begin anew.
inline int wait_ms(int milliseconds) {
#if defined(_WIN32)
    std::this_thread::sleep_for(std::chrono::milliseconds(milliseconds));
    return 0;
#else
    return poll(nullptr, 0, milliseconds);
#endif
}

// Threads of this process.
inline int threads_now() {
    const int count = platform::thread_count();
    return count >= 0 ? count : static_cast<int>(platform::list_threads().size());
}

// A thread that is observed, and what visits saw of it.
struct Observed {
    std::atomic<std::uint64_t> steps{0};  // goes on whenever the thread runs
    std::atomic<bool> left{false};
    std::atomic<bool> in_visit{false};

    std::atomic<int> running{0}, waiting{0}, kept{0};
    std::atomic<int> overlapping{0};  // two visits at a time
    std::atomic<int> moved{0};        // it did not stand still, and that was kept
    std::atomic<int> after_leaving{0};
    std::atomic<int> wrong_moments{0};
    std::atomic<int> torn_visits{0};
    std::atomic<int> settle_after{0};  // so many visits are not settled

    bool moved_in_visit = false;  // the visit's
    std::int64_t last_cpu_ns = 0, last_time_ns = 0;

    // Uses a processor for so long.
    void work(std::int64_t ns) {
        const std::int64_t end = platform::current_thread_cpu_ns() + ns;
        while (platform::current_thread_cpu_ns() < end) {
            for (int i = 0; i < 500; ++i) {
                steps.store(steps.load(std::memory_order_relaxed) + 1, std::memory_order_relaxed);
            }
        }
    }
    bool as_promised() const {
        const bool kept_promises =
            overlapping == 0 && moved == 0 && after_leaving == 0 && wrong_moments == 0;
        if (!kept_promises) {
            std::fprintf(stderr,
                         "%d visits at a time, %d of a thread that moved, %d after it had left, "
                         "%d at a wrong moment\n",
                         overlapping.load(), moved.load(), after_leaving.load(),
                         wrong_moments.load());
        }
        return kept_promises;
    }
    int visits() const { return running + waiting; }
};

inline Visited look_closely(void* raw, const Moment& moment) noexcept {
    auto& self = *static_cast<Observed*>(raw);
    self.overlapping += self.in_visit.exchange(true) ? 1 : 0;
    self.after_leaving += self.left ? 1 : 0;
    (moment.doing == Doing::running ? self.running : self.waiting) += 1;
    const std::uint64_t before = self.steps;
    const std::int64_t until = platform::monotonic_ns() + 20'000;
    while (platform::monotonic_ns() < until) {
    }
    self.moved_in_visit = self.steps != before;
    // Clocks only go forward, and a thread has no more CPU time than there is time.
    const bool right = moment.time_ns >= self.last_time_ns && moment.cpu_ns >= self.last_cpu_ns &&
                       moment.time_ns <= platform::monotonic_ns() &&
                       moment.cpu_ns >= (coarse_clock_step_ns > 0 ? 0 : 1) &&
                       moment.stood_still_until_ns <= moment.time_ns &&
                       (self.last_cpu_ns == 0 || moment.cpu_ns - self.last_cpu_ns <=
                                                     moment.time_ns - self.last_time_ns +
                                                         kMillisecond + 2 * coarse_clock_step_ns);
    self.wrong_moments += right ? 0 : 1;
    self.last_time_ns = moment.time_ns;
    self.last_cpu_ns = moment.cpu_ns;
    self.in_visit = false;
    if (self.settle_after > 0) {
        self.settle_after -= 1;
        self.torn_visits += 1;
        return Visited::torn;
    }
    return Visited::recorded;
}

inline void keep_what_was_seen(void* raw) noexcept {
    auto& self = *static_cast<Observed*>(raw);
    self.kept += 1;
    self.moved += self.moved_in_visit ? 1 : 0;
}

constexpr Visitor kClosely{look_closely, keep_what_was_seen, []() noexcept {}};

// --- the contract -------------------------------------------------------------------------------

// Threads that run are met about as often as they use CPU time: a quarter may be missing, and none
// too many come but for chance.
inline int keeps_its_rate_once(MakeObserver make, Mode mode) {
    auto observer = make({kMillisecond, mode, false}, kClosely);
    observer->begin();
    constexpr std::int64_t kCpu = 500 * kMillisecond;
    Observed observed[2];
    std::vector<std::thread> threads;
    std::atomic<int> refused{0};
    for (Observed& one : observed) {
        threads.emplace_back([&] {
            Watch* watch = observer->follow(platform::current_tid(), &one);
            if (watch == nullptr) {
                ++refused;
                return;
            }
            one.work(kCpu);
            observer->leave(watch);
            one.left = true;
        });
    }
    for (std::thread& thread : threads) thread.join();
    if (refused > 0) return 1;
    for (const Observed& one : observed) {
        if (!one.as_promised()) return 3;
        if (one.kept < one.running) return 4;
        if (mode == Mode::cpu && one.waiting > 0) return 5;
    }
    for (const Observed& one : observed) {
        constexpr double kExpected = static_cast<double>(kCpu) / kMillisecond;
        if (one.running < 0.75 * kExpected || one.running > 1.1 * kExpected) return 2;
    }
    return 0;
}

// On a machine that is used by others a ticker is late at times: one of a few tries has to do.
inline int keeps_its_rate(MakeObserver make, Mode mode) {
    constexpr int kOffTheRate = 2;
    int wrong = 0;
    for (int tries = 0; tries < 5; ++tries) {
        wrong = keeps_its_rate_once(make, mode);
        if (wrong != kOffTheRate) break;
    }
    return wrong;
}

inline int leaves_nobody_visited(MakeObserver make) {
    auto observer = make({kMillisecond / 5, Mode::cpu, false}, kClosely);
    observer->begin();
    std::atomic<bool> stop{false};
    Observed working;  // whoever leaves: the thread goes on working
    std::atomic<platform::Tid> tid{0};
    std::thread thread([&] {
        tid = platform::current_tid();
        while (!stop) working.work(kMillisecond / 10);
    });
    while (tid == 0) std::this_thread::yield();
    int visits = 0;
    std::vector<std::unique_ptr<Observed>> all;
    for (int i = 0; i < 100; ++i) {
        all.push_back(std::make_unique<Observed>());
        Observed& one = *all.back();
        Watch* watch = observer->follow(tid, &one);
        if (watch == nullptr) return 1;
        platform::sleep_until(platform::monotonic_ns() + 2 * kMillisecond);
        observer->leave(watch);
        one.left = true;
        visits += one.visits();
    }
    platform::sleep_until(platform::monotonic_ns() + 20 * kMillisecond);
    stop = true;
    thread.join();
    for (const auto& one : all) {
        if (one->after_leaving > 0 || one->overlapping > 0) return 2;
    }
    return visits >= attainable(50, kMillisecond / 5) ? 0 : 3;
}

inline int pauses_and_resumes(MakeObserver make) {
    for (const Mode mode : {Mode::cpu, Mode::wall}) {
        auto observer = make({kMillisecond, mode, false}, kClosely);
        observer->begin();
        Observed self;
        Watch* watch = observer->follow(platform::current_tid(), &self);
        for (int round = 0; round < 5; ++round) {
            const int before = self.visits();
            self.work(50 * kMillisecond);
            if (self.visits() < before + 20) return 1;
            observer->pause();
            const int paused = self.visits();
            self.work(30 * kMillisecond);
            wait_ms(10);
            if (self.visits() != paused) return 2;
            observer->resume();
        }
        const platform::VisitFigures figures = observer->leave(watch);
        if (figures.visits < static_cast<std::uint64_t>(self.running)) return 3;
        if (!self.as_promised()) return 4;
    }
    return 0;
}

inline int serves_one_after_the_other(MakeObserver make) {
    const int before = threads_now();
    for (int i = 0; i < 3; ++i) {
        Observed self;
        {
            auto observer = make({kMillisecond, i == 1 ? Mode::wall : Mode::cpu, true}, kClosely);
            observer->begin();
            if (observer->follow(platform::current_tid(), &self) == nullptr) return 1;
            self.work(100 * kMillisecond);
            // It ends with the thread still followed.
        }
        self.left = true;
        if (threads_now() != before) return 2;
        if (self.visits() < attainable(50, kMillisecond)) return 3;
        self.work(20 * kMillisecond);
        if (!self.as_promised()) return 4;
    }
    return 0;
}

#if !defined(_WIN32)
inline int keeps_a_forked_child_quiet(MakeObserver make) {
    for (const Mode mode : {Mode::cpu, Mode::wall}) {
        auto observer = make({kMillisecond, mode, false}, kClosely);
        observer->begin();
        Observed self;
        if (observer->follow(platform::current_tid(), &self) == nullptr) return 1;
        for (int i = 0; i < 10; ++i) {
            self.work(20 * kMillisecond);
            observer->lock_for_fork();
            const pid_t child = fork();
            observer->unlock_after_fork();
            if (child == 0) {
                platform::forget_cached_tids();
                observer->abandon_after_fork();
                const int visits = self.visits();
                self.work(20 * kMillisecond);
                if (self.visits() != visits) _exit(1);
                observer.reset();
                // The child may observe itself.
                auto own = make({kMillisecond, mode, false}, kClosely);
                own->begin();
                Observed again;
                if (own->follow(platform::current_tid(), &again) == nullptr) _exit(2);
                again.work(30 * kMillisecond);
                _exit(again.visits() > 0 && again.as_promised() ? 0 : 3);
            }
            int status = 0;
            if (waitpid(child, &status, 0) != child) return 2;
            if (!WIFEXITED(status)) return 3;
            if (WEXITSTATUS(status) != 0) return 10 + WEXITSTATUS(status);
        }
        // Its own threads may end around a fork and begin anew.
        observer->end_threads();
        if (platform::thread_count() != 1) return 4;
        observer->begin_threads();
        const int before = self.visits();
        self.work(100 * kMillisecond);
        if (self.visits() < before + 30) return 5;
        if (!self.as_promised()) return 6;
    }
    return 0;
}
#endif

inline int follows_threads_that_come_and_go(MakeObserver make) {
    for (const Mode mode : {Mode::cpu, Mode::wall}) {
        auto observer = make({kMillisecond / 2, mode, false}, kClosely);
        observer->begin();
        constexpr int kAtATime = 60, kRounds = 3;
        std::atomic<int> wrong{0}, visits{0};
        for (int round = 0; round < kRounds; ++round) {
            std::vector<std::thread> threads;
            for (int i = 0; i < kAtATime; ++i) {
                threads.emplace_back([&, i] {
                    Observed self;
                    Watch* watch = observer->follow(platform::current_tid(), &self);
                    if (watch == nullptr) {
                        ++wrong;
                        return;
                    }
                    self.work((1 + i % 5) * kMillisecond);
                    wait_ms(i % 3);
                    self.work(kMillisecond);
                    observer->leave(watch);
                    self.left = true;
                    visits += self.visits();
                    wrong += self.as_promised() ? 0 : 1;
                });
            }
            for (std::thread& thread : threads) thread.join();
        }
        if (wrong > 0) return 1;
        if (visits < attainable(kAtATime, kMillisecond / 2)) return 2;
    }
    return 0;
}

// A thread that sleeps is not visited in cpu mode; in wall mode it is met once where it waits, and
// left alone there; in neither is it woken.
inline int leaves_sleepers_alone(MakeObserver make, Mode mode) {
    auto observer = make({kMillisecond, mode, false}, kClosely);
    observer->begin();
    Observed self;
    std::atomic<int> phase{0};
    std::atomic<int> woken{0};
    std::thread thread([&] {
        Watch* watch = observer->follow(platform::current_tid(), &self);
        for (int i = 0; i < 3; ++i) {
            self.work(5 * kMillisecond);
            phase = 2 * i + 1;
            const std::int64_t begin = platform::monotonic_ns();
            const int result = wait_ms(400);
            woken += result != 0 || platform::monotonic_ns() - begin < 400 * kMillisecond ? 1 : 0;
            phase = 2 * i + 2;
        }
        observer->leave(watch);
        self.left = true;
    });
    int wrong = 0;
    for (int i = 0; i < 3 && wrong == 0; ++i) {
        while (phase < 2 * i + 1) std::this_thread::yield();
        // What was on its way when it went to sleep has arrived by then.
        platform::sleep_until(platform::monotonic_ns() + 100 * kMillisecond);
        const int running = self.running, waiting = self.waiting, kept = self.kept;
        platform::sleep_until(platform::monotonic_ns() + 200 * kMillisecond);
        const bool slept = phase == 2 * i + 1;
        if (slept && self.running != running) wrong = 1;
        if (slept && self.waiting != waiting) wrong = 2;
        if (slept && mode == Mode::wall && kept - self.running < i + 1) wrong = 3;
        if (mode == Mode::cpu && waiting > 0) wrong = 4;
    }
    thread.join();
    if (wrong != 0) return wrong;
    if (woken > 0) return 5;
    return self.as_promised() ? 0 : 6;
}

// Where it stands still it is visited once more when somebody asks for that.
inline int looks_again(MakeObserver make) {
    auto observer = make({kMillisecond, Mode::wall, false}, kClosely);
    observer->begin();
    Observed self;
    std::atomic<platform::Tid> tid{0};
    std::thread thread([&] {
        tid = platform::current_tid();
        wait_ms(600);
    });
    while (tid == 0) std::this_thread::yield();
    Watch* watch = observer->follow(tid, &self);
    int wrong = 0;
    platform::sleep_until(platform::monotonic_ns() + 150 * kMillisecond);
    const int before = self.waiting;
    if (before < 1) wrong = 1;
    observer->look_again(watch);
    platform::sleep_until(platform::monotonic_ns() + 150 * kMillisecond);
    if (self.waiting != before + 1) wrong = wrong != 0 ? wrong : 2;
    thread.join();
    observer->leave(watch);
    return wrong != 0 ? wrong : self.as_promised() ? 0 : 3;
}

// A visit that is not settled is tried again, soon, and one that never settles is counted.
inline int tries_again(MakeObserver make) {
    auto observer = make({10 * kMillisecond / 4, Mode::cpu, false}, kClosely);
    observer->begin();
    Observed self;
    Watch* watch = observer->follow(platform::current_tid(), &self);
    self.work(100 * kMillisecond);
    for (int i = 0; i < 20; ++i) {
        self.settle_after = 1;
        self.work(10 * kMillisecond);
    }
    if (self.torn_visits < 10) return 1;
    // The second try of one may come to nothing, and be counted with the next.
    if (observer->figures(watch).torn > 2) return 2;
    const int before = self.torn_visits;
    self.settle_after = 1'000'000;
    for (int i = 0; i < 100 && self.torn_visits < before + 40; ++i) {
        self.work(20 * kMillisecond);
    }
    const int tries = self.torn_visits - before;
    if (tries < 40) return 3;
    self.settle_after = 0;
    // Four tries each, of which later ones may have come to nothing.
    const auto given_up = static_cast<int>(observer->leave(watch).torn);
    if (given_up == 0 || given_up > tries || 4 * given_up < tries - 4) return 4;
    return self.as_promised() ? 0 : 5;
}

}  // namespace spprof::testing
