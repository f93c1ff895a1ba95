// From visits to rows, with threads that come and go meanwhile: what was recorded is what is kept.
// No interpreter and no signal: each thread visits itself when it likes, so that a sanitizer sees
// every access. Stacks are made up.
#include "sampling/collector.h"

#include <doctest/doctest.h>

#include <atomic>
#include <cstring>
#include <map>
#include <memory>
#include <mutex>
#include <random>
#include <thread>

#include "interpreter/known_functions.h"
#include "platform/clocks.h"
#include "platform/observer.h"
#include "sampling/capture.h"
#include "sampling/record.h"

using namespace spprof;
using namespace spprof::sampling;

// --- an interpreter that is not there -----------------------------------------------------------

namespace {

// What the calling thread "runs": so many frames, the innermost one varying.
thread_local std::uintptr_t stack_depth = 0, innermost = 0;

constexpr std::uintptr_t kFirstCode = 0x1000;

}  // namespace

namespace spprof::interpreter {

ThreadState* thread_state_here() noexcept { return reinterpret_cast<ThreadState*>(0x10); }

WalkResult walk_here(ThreadState*, PyFrameRecord* out, std::size_t room) noexcept {
    WalkResult result;
    for (std::uintptr_t i = 0; i < stack_depth && result.count < room; ++i) {
        const std::uintptr_t code = i == 0 ? innermost : stack_depth - i;
        out[result.count++] = {kFirstCode + 16 * code, 0, i + 1 == stack_depth};
    }
    return result;
}

WalkResult walk_from_outside(ThreadState*, std::uintptr_t, std::int32_t, PyFrameRecord*,
                             std::size_t) noexcept {
    return {0, WalkEnd::gone};
}

GilHolding gil_here(ThreadState*) noexcept { return GilHolding::held; }
GilHolding gil_from_outside(ThreadState*) noexcept { return GilHolding::unknown; }
std::size_t list_thread_states(ThreadStateEntry*, std::size_t) noexcept { return 0; }
RegionId region_of(ThreadState*) noexcept { return 0; }
void begin_round_of_regions() noexcept {}
bool labels_of_region(RegionId region, Labels& labels) {
    labels = {{"region", "load"}, {"number", std::to_string(region % 10)}};
    return region < 100;
}
std::vector<KnownFunction> known_functions() { return {}; }
std::size_t module_count() { return 0; }
std::uintptr_t an_interpreter_function() noexcept {
    return reinterpret_cast<std::uintptr_t>(&known_functions);
}

}  // namespace spprof::interpreter

namespace {

// --- an observer whose threads visit themselves -------------------------------------------------

class WillingObserver final : public platform::Observer {
public:
    explicit WillingObserver(const platform::Visitor& visitor) : visitor_(visitor) {}

    // The calling thread, if it is followed.
    platform::Visited visit_here() noexcept {
        const std::lock_guard<std::mutex> lock(mutex_);
        const auto found = followed_.find(platform::current_tid());
        if (found == followed_.end()) {
            return platform::Visited::refused;
        }
        platform::Moment moment;
        moment.time_ns = platform::monotonic_ns();
        moment.cpu_ns = platform::current_thread_cpu_ns();
        moment.on_own_thread = true;
        const platform::Visited visited = visitor_.record(found->second, moment);
        if (visited == platform::Visited::recorded) {
            visitor_.keep(found->second);
        }
        return visited;
    }

    void begin() override {}
    platform::Watch* follow(platform::Tid tid, void* subject) noexcept override {
        const std::lock_guard<std::mutex> lock(mutex_);
        followed_[tid] = subject;
        return reinterpret_cast<platform::Watch*>(static_cast<std::intptr_t>(tid));
    }
    platform::VisitFigures leave(platform::Watch* watch) noexcept override {
        const std::lock_guard<std::mutex> lock(mutex_);
        followed_.erase(static_cast<platform::Tid>(reinterpret_cast<std::intptr_t>(watch)));
        return {};
    }
    platform::VisitFigures figures(const platform::Watch*) const noexcept override { return {}; }
    void look_again(platform::Watch*) noexcept override {}
    void pause() noexcept override {}
    void resume() noexcept override {}
    void keep() noexcept override {}
    void give_back() noexcept override {}
    void take_again() override {}
    void lock_for_fork() noexcept override {}
    void unlock_after_fork() noexcept override {}
    void abandon_after_fork() noexcept override {}
    void end_threads() noexcept override {}
    void begin_threads() noexcept override {}
    Report report() const override { return {}; }
    bool owns(platform::Tid) const noexcept override { return false; }
    bool only_from_outside() const noexcept override { return false; }

private:
    const platform::Visitor visitor_;
    std::mutex mutex_;
    std::map<platform::Tid, void*> followed_;
};

struct Session {
    Settings settings;
    ThreadRegistry registry;
    WillingObserver observer{capturing_visitor(nullptr)};
    std::unique_ptr<Collector> collector;

    Session() {
        registry.open(observer);
        collector = std::make_unique<Collector>(settings, registry, observer, nullptr,
                                                platform::monotonic_ns());
    }
    ~Session() {
        collector->end_thread();
        const std::lock_guard<std::mutex> lock(registry.mutex());
        registry.close();
    }
    void drain() {
        const std::lock_guard<std::mutex> lock(collector->mutex());
        collector->drain();
    }
    ThreadRegistry::Totals totals() {
        const std::lock_guard<std::mutex> lock(registry.mutex());
        return registry.totals();
    }
};

template <class T>
std::uint64_t sum(const profile::Column<T>& column) {
    std::uint64_t result = 0;
    for (std::size_t i = 0; i < column.size(); ++i) {
        result += static_cast<std::uint64_t>(column[i]);
    }
    return result;
}

}  // namespace

TEST_CASE("what threads record while others come and go is what is kept") {
    Session session;
    REQUIRE(session.collector->begin_thread());
    constexpr int kThreads = 4, kVisits = 3000;
    std::atomic<int> recorded{0}, ended{0};
    std::vector<std::thread> threads;
    for (int number = 0; number < kThreads; ++number) {
        threads.emplace_back([&, number] {
            session.registry.current_thread_begins();
            for (int visit = 0; visit < kVisits; ++visit) {
                stack_depth = 1 + static_cast<std::uintptr_t>(visit % 7);
                innermost = 100 + static_cast<std::uintptr_t>(number);
                if (session.observer.visit_here() == platform::Visited::recorded) {
                    ++recorded;
                }
                if (visit % 100 == 0) {
                    std::thread([&] {
                        session.registry.current_thread_begins();
                        stack_depth = 1;
                        innermost = 99;
                        if (session.observer.visit_here() == platform::Visited::recorded) {
                            ++recorded;
                        }
                        session.registry.current_thread_ends("brief", -1);
                        ++ended;
                    }).join();
                }
            }
            session.registry.current_thread_ends("long", -1);
            ++ended;
        });
    }
    // Whoever asks for figures meanwhile.
    while (ended.load() < kThreads * (1 + kVisits / 100)) {
        CHECK(session.totals().captured <= static_cast<std::uint64_t>(kThreads * kVisits * 2));
        std::this_thread::yield();
    }
    for (std::thread& thread : threads) {
        thread.join();
    }
    session.collector->end_thread();
    session.drain();

    profile::Recording& recording = session.collector->recording();
    CHECK(recorded > kThreads * kVisits / 2);
    CHECK(session.totals().captured == static_cast<std::uint64_t>(recorded.load()));
    CHECK(recording.sample_count() == static_cast<std::uint64_t>(recorded.load()));
    CHECK(sum(recording.samples().count) == static_cast<std::uint64_t>(recorded.load()));
    CHECK(session.totals().visits.torn == 0);
    // 7 depths of 4 threads on shared callers, and the brief ones.
    CHECK(recording.stack_frames().size() == 7 * kThreads + 6 + 1);
    for (const auto& thread : recording.threads()) {
        CHECK((thread.name == "long" || thread.name == "brief"));
    }
}

// A ring that somebody has written into: a stray pointer of the program's, say.
TEST_CASE("whatever stands in a ring, the collector stays within it and goes on") {
    std::mt19937 random(20261125);
    const auto below = [&](std::size_t limit) {
        return std::uniform_int_distribution<std::size_t>(0, limit - 1)(random);
    };
    std::uint64_t kept = 0, given_up = 0;
    for (int round = 0; round < 400; ++round) {
        // The ring ends where the page behind it would fault, or a sanitizer would tell.
        std::unique_ptr<std::uint64_t[]> pages(new std::uint64_t[Ring::kBytes / 8]);
        Session session;
        session.registry.current_thread_begins();
        Subject* subject = nullptr;
        void* own_pages = nullptr;
        {
            const std::lock_guard<std::mutex> lock(session.registry.mutex());
            subject = session.registry.find(platform::current_tid());
            REQUIRE(subject != nullptr);
            own_pages = subject->visits.ring.detach();
            subject->visits.ring.attach(pages.get());
        }
        auto* const bytes = reinterpret_cast<std::uint8_t*>(pages.get());
        // Half of the rounds end near the end of the ring.
        std::size_t written = 0, visits = 0;
        const std::size_t wanted = round % 2 == 0 ? 4096 : Ring::kBytes - 128 * 1024;
        while (written < wanted) {
            stack_depth = 1 + below(round % 2 == 0 ? 10 : 2000);
            innermost = below(20);
            if (session.observer.visit_here() != platform::Visited::recorded) {
                break;
            }
            ++visits;
            written += sizeof(SampleRecord) + stack_depth * sizeof(interpreter::PyFrameRecord);
        }
        REQUIRE(visits > 0);
        // From one byte to whole records, or none; of random numbers, or small or huge ones.
        const std::size_t strokes = round % 10 == 0 ? 0 : 1 + below(8);
        for (std::size_t stroke = 0; stroke < strokes; ++stroke) {
            const std::size_t length = std::size_t{1} << below(8);
            const std::size_t at = below(written);
            const std::size_t kind = below(4);
            for (std::size_t i = at; i < at + length && i < Ring::kBytes; ++i) {
                bytes[i] = static_cast<std::uint8_t>(kind == 0   ? 0
                                                     : kind == 1 ? 0xFF
                                                     : kind == 2 ? below(4)
                                                                 : below(256));
            }
        }
        session.drain();
        const std::uint64_t samples = session.collector->recording().sample_count();
        const std::uint64_t torn = session.totals().visits.torn;
        CHECK(samples <= visits);
        if (strokes == 0) {
            CHECK(samples == visits);
            CHECK(torn == 0);
        }
        kept += samples;
        given_up += torn;
        // It goes on: what comes next is kept.
        stack_depth = 3;
        REQUIRE(session.observer.visit_here() == platform::Visited::recorded);
        session.drain();
        CHECK(session.collector->recording().sample_count() == samples + 1);
        {
            const std::lock_guard<std::mutex> lock(session.registry.mutex());
            subject->visits.ring.detach();
            subject->visits.ring.attach(own_pages);
        }
        session.registry.current_thread_ends("", -1);
    }
    CHECK(kept > 400);
    CHECK(given_up > 100);
}
