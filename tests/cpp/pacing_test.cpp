// When a thread gets a signal, decided over clocks that are numbers: a thread that runs and naps,
// its timer and the ticker are simulated here, so every run is the same run.
//
// What a bound is derived from stands beside it. Statistics are over so many samples that a right
// policy is within its bound with any seed; the seeds are fixed all the same.
#include "platform/pacing.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <functional>
#include <limits>
#include <random>
#include <utility>
#include <vector>

using namespace spprof::platform::pacing;

namespace {

constexpr std::int64_t kMicrosecond = 1'000;
constexpr std::int64_t kMillisecond = 1'000'000;
constexpr std::int64_t kSecond = 1'000'000'000;
constexpr std::int64_t kNever = std::numeric_limits<std::int64_t>::max();

// How a program goes on: it runs for so long, then it naps.
struct Step {
    std::int64_t run_ns = 0;
    std::int64_t nap_ns = 0;
};

using Random = std::minstd_rand;
using Program = std::function<Step(Random&)>;

Program runs_on() {
    return [](Random&) { return Step{kSecond, 0}; };
}

// Around these lengths: no program is in step with anything to the microsecond.
Program bursts(std::int64_t run_ns, std::int64_t nap_ns) {
    return [=](Random& random) {
        std::uniform_real_distribution<double> around(0.7, 1.3);
        return Step{static_cast<std::int64_t>(static_cast<double>(run_ns) * around(random)),
                    static_cast<std::int64_t>(static_cast<double>(nap_ns) * around(random))};
    };
}

struct Visit {
    std::int64_t now_ns, cpu_ns, into_burst_ns, burst_ns;
};

// One thread that always has a processor when it wants one, and all that signals it. The glue
// between the two parties' decisions is that of InterruptingObserver.
class World {
public:
    static constexpr std::int64_t kKernelTick = 4 * kMillisecond;
    static constexpr std::int64_t kSignalTakes = 5 * kMicrosecond;

    World(std::int64_t interval_ns, Program program, std::uint32_t seed = 1)
        : rhythm{interval_ns, true}, program_(std::move(program)), random_(seed) {
        own.seed(seed * 2654435761u);
        begin_seeking(seek, now, cpu);
        turn();
        call_ticker();
    }

    Rhythm rhythm;
    Seek seek;
    OwnTime own;
    std::int64_t now = 0, cpu = 0;
    std::vector<Visit> visits;
    int looks = 0;            // of the ticker at the thread
    int signals = 0;          // that the ticker sent
    int signals_asleep = 0;   // sent where it did not run
    int met_asleep_once = 0;  // by a timer that was aimed
    int met_asleep_steady = 0;
    int naps = 0;
    int alarms_fired = 0;

    bool alarms = true;             // CPU timers are to be had
    bool timers = true;             // the thread's own can be set
    double lost_signals = 0;        // the part of the ticker's signals that never arrive
    double lost_timer_signals = 0;  // of those that were aimed

    void run_for(std::int64_t ns) {
        const std::int64_t end = now + ns;
        while (now < end) {
            const std::int64_t next =
                std::min({end, turn_at_, tick_at_, timer_at_, signal_at_, alarm_at()});
            cpu += running_ ? next - now : 0;
            now = next;
            if (now >= turn_at_) {
                turn();
            } else if (now >= signal_at_) {
                signal_at_ = kNever;
                arrive(From::ticker);
            } else if (now >= timer_at_) {
                fire_timer();
            } else if (now >= alarm_at()) {
                alarm_cpu_ += (1 + (cpu - alarm_cpu_) / rhythm.interval_ns) * rhythm.interval_ns;
                ++alarms_fired;
                arrive(From::alarm);
            } else if (now >= tick_at_) {
                tick();
            }
        }
    }

    bool running() const { return running_; }
    bool ticker_is_parked() const { return tick_at_ == kNever; }
    bool steady() const { return own.state() == Keeping::steady; }
    double samples_per_interval_of_cpu() const {
        return static_cast<double>(visits.size()) * static_cast<double>(rhythm.interval_ns) /
               static_cast<double>(cpu);
    }

private:
    bool chance(double probability) {
        return std::uniform_real_distribution<double>(0, 1)(random_) < probability;
    }

    void turn() {
        do {
            if (!running_) {
                step_ = program_(random_);
                running_ = true;
                burst_began_ = now;
                turn_at_ = now + step_.run_ns;
            } else if (step_.nap_ns > 0) {
                running_ = false;
                ++naps;
                turn_at_ = now + step_.nap_ns;
            } else {
                step_ = program_(random_);
                burst_began_ = now;
                turn_at_ = now + step_.run_ns;
            }
        } while (turn_at_ <= now);
    }

    // A CPU timer is looked at on the kernel's tick, while the thread runs.
    std::int64_t alarm_at() const {
        if (!alarms || !running_) {
            return kNever;
        }
        const std::int64_t due = now + std::max<std::int64_t>(0, alarm_cpu_ - cpu);
        const std::int64_t at = (due + kKernelTick - 1) / kKernelTick * kKernelTick;
        return at < turn_at_ ? at : kNever;
    }

    void fire_timer() {
        const bool aimed = timer_period_ == 0;
        timer_at_ = aimed ? kNever : timer_at_ + timer_period_;
        if (!running_) {
            ++(aimed ? met_asleep_once : met_asleep_steady);
        }
        if (!(aimed && chance(lost_timer_signals))) {
            arrive(From::own_timer);
        }
    }

    void arrive(From from) {
        Arrival arrival;
        arrival.from = from;
        arrival.now_ns = now;
        arrival.cpu_ns = cpu;
        arrival.visited_ns = visited_ns_;
        arrival.visited_cpu_ns = visited_cpu_;
        arrival.slept = !woke_;
        arrival.in_call = !running_;
        arrival.may_keep_own_time = may_keep_own_time_;
        const ArrivalDecision decision = own.next(arrival, rhythm);
        carry_out(decision.timer);
        if (decision.visit) {
            visits.push_back({now, cpu, now - burst_began_, step_.run_ns});
        }
        stopped_ = stopped_ || (steady_ && !steady());
        steady_ = steady();
        woke_ = true;
        if (!steady_) {
            call_ticker();
        }
        visited_ns_ = now;
        visited_cpu_ = cpu;
    }

    void carry_out(const Arm& arm) {
        switch (arm.what) {
            case Arm::What::leave:
                break;
            case Arm::What::set:
                if (timers) {
                    CHECK(arm.first_ns > 0);
                    timer_at_ = now + arm.first_ns;
                    timer_period_ = arm.period_ns;
                } else {
                    own.stopped();
                }
                break;
            case Arm::What::stop:
                timer_at_ = kNever;
                break;
        }
    }

    void call_ticker() {
        if (tick_at_ == kNever) {
            slot_ = now;
            next_tick(0);
        }
    }

    void next_tick(std::int64_t later) {
        slot_ += later;
        tick_at_ =
            slot_ + std::uniform_int_distribution<std::int64_t>(0, rhythm.interval_ns - 1)(random_);
        tick_at_ = std::max(tick_at_, now + 1);
    }

    void tick() {
        tick_at_ = kNever;
        if (steady_ || (seek.state == Seeking::asleep && alarms && !woke_)) {
            return;
        }
        ++looks;
        Look look;
        look.now_ns = now;
        look.cpu_ns = cpu;
        look.keeps_own_time = steady_;
        look.stopped_own_time = std::exchange(stopped_, false);
        look.visited_cpu_ns = visited_cpu_;
        look.alarm = alarms;
        look.woke = woke_;
        const SeekDecision decision =
            spprof::platform::pacing::next(seek, look, rhythm, [this] { return running_; });
        if (decision.signal) {
            may_keep_own_time_ = decision.may_keep_own_time;
            ++signals;
            signals_asleep += running_ ? 0 : 1;
            if (!chance(lost_signals)) {
                signal_at_ = now + kSignalTakes;
            }
        }
        if (decision.set_alarm && alarms) {
            woke_ = false;
            alarm_cpu_ = cpu + rhythm.interval_ns;
            return;
        }
        if (decision.look_again) {
            next_tick(rhythm.interval_ns);
        }
    }

    Program program_;
    Random random_;
    Step step_;
    bool running_ = false;
    std::int64_t burst_began_ = 0;
    std::int64_t turn_at_ = kNever;
    std::int64_t slot_ = 0, tick_at_ = kNever;
    std::int64_t timer_at_ = kNever, timer_period_ = 0;
    std::int64_t signal_at_ = kNever;
    std::int64_t alarm_cpu_ = 0;
    std::int64_t visited_ns_ = 0, visited_cpu_ = 0;
    bool may_keep_own_time_ = false, steady_ = false, stopped_ = false, woke_ = true;
};

// How far counts are from being equal: of n counts of chance about n - 1, with a standard deviation
// of sqrt(2 (n - 1)).
double chi_square(const std::vector<int>& counts) {
    double total = 0;
    for (const int count : counts) total += count;
    const double expected = total / static_cast<double>(counts.size());
    double sum = 0;
    for (const int count : counts) sum += (count - expected) * (count - expected) / expected;
    return sum;
}

// From a look at a thread to its visit, on average: the signal's way, and the timer that it aims.
constexpr std::int64_t kAimTakes = World::kSignalTakes + kSoon / 2;

constexpr std::size_t kBins = 16;
// The value that 15 degrees of freedom exceed once in ten thousand times.
constexpr double kMostChiSquare = 44.3;

std::vector<int> phases(const World& world, std::int64_t period_ns) {
    std::vector<int> counts(kBins);
    for (const Visit& visit : world.visits) {
        ++counts[static_cast<std::size_t>(visit.cpu_ns % period_ns) * kBins /
                 static_cast<std::size_t>(period_ns)];
    }
    return counts;
}

}  // namespace

// --- the rate -----------------------------------------------------------------------------------

TEST_CASE("a thread that runs on is met once an interval, by a timer that goes on by itself") {
    for (const std::int64_t interval : {kMillisecond, kMillisecond / 5, kMillisecond / 10}) {
        for (const bool prompt : {true, false}) {
            CAPTURE(interval);
            CAPTURE(prompt);
            World world(interval, runs_on());
            world.rhythm.prompt = prompt;
            world.run_for(kSecond);
            CHECK(world.steady());
            CHECK(world.ticker_is_parked());
            world.visits.clear();
            const int looks = world.looks;
            world.run_for(kSecond);
            const auto expected = static_cast<double>(kSecond) / static_cast<double>(interval);
            CHECK(static_cast<double>(world.visits.size()) ==
                  doctest::Approx(expected).epsilon(0.01));
            CHECK(world.looks == looks);
        }
    }
}

TEST_CASE("until a thread is known to run on, it is met once an interval, too") {
    World world(kMillisecond, runs_on());
    world.seek.patience_ns = 100 * kSecond;
    world.run_for(10 * kSecond);
    CHECK_FALSE(world.steady());
    CHECK(world.samples_per_interval_of_cpu() == doctest::Approx(1).epsilon(0.01));
}

TEST_CASE("a thread is left to itself once it has run for so long as it takes, not before") {
    World world(kMillisecond, runs_on());
    while (!world.steady() && world.now < kSecond) {
        world.run_for(kMillisecond / 10);
    }
    CHECK(world.now >= kLeastPatience * kMillisecond);
    CHECK(world.now <= (kLeastPatience + 4) * kMillisecond);
}

TEST_CASE("threads that live for an interval or less are met in proportion to their time") {
    constexpr int kThreads = 4000;
    for (const double intervals : {0.25, 0.5, 1.0, 2.5}) {
        CAPTURE(intervals);
        const auto life = static_cast<std::int64_t>(intervals * 10 * kMillisecond);
        std::size_t visits = 0;
        for (std::uint32_t seed = 1; seed <= kThreads; ++seed) {
            World world(
                10 * kMillisecond, [=](Random&) { return Step{life, 1000 * kSecond}; },
                seed * 2654435761u);
            world.run_for(50 * kMillisecond);
            visits += world.visits.size();
        }
        // All but the part of a life that it takes to aim.
        const double due = kThreads * intervals;
        CHECK(static_cast<double>(visits) == doctest::Approx(due).epsilon(0.05));
    }
}

// --- the phase ----------------------------------------------------------------------------------

TEST_CASE("a program in step with the interval is met everywhere") {
    for (const std::int64_t interval : {kMillisecond, kMillisecond / 5}) {
        for (const std::int64_t period : {interval, 2 * interval, interval / 2, interval / 3}) {
            for (const bool steady : {true, false}) {
                for (unsigned seed = 1; seed <= 8; ++seed) {
                    CAPTURE(interval);
                    CAPTURE(period);
                    CAPTURE(steady);
                    CAPTURE(seed);
                    World world(interval, runs_on(), seed);
                    if (!steady) world.seek.patience_ns = 1000 * kSecond;
                    world.run_for(20'000 * interval);
                    CHECK(world.steady() == steady);
                    CHECK(world.visits.size() > 19'000);
                    CHECK(chi_square(phases(world, period)) < kMostChiSquare);
                }
            }
        }
    }
}

TEST_CASE("a program in step with one of the paces is met everywhere, too") {
    // Sixteen signals in a row may meet the same phase then: as if there were as many fewer.
    constexpr double kTogether = 16;
    for (const int sixteenths : {13, 15, 17, 19}) {
        CAPTURE(sixteenths);
        World world(kMillisecond, runs_on(), 7);
        world.run_for(200 * kSecond);
        CHECK(chi_square(phases(world, kMillisecond * sixteenths / 16)) <
              kTogether * kMostChiSquare);
    }
}

// --- bursts -------------------------------------------------------------------------------------

TEST_CASE("short bursts are met at the rate of their CPU time, and everywhere") {
    constexpr std::int64_t kLengths[] = {300 * kMicrosecond, kMillisecond, 3 * kMillisecond,
                                         8 * kMillisecond, 20 * kMillisecond};
    for (const std::int64_t run : kLengths) {
        for (const std::int64_t nap : kLengths) {
            CAPTURE(run);
            CAPTURE(nap);
            World world(kMillisecond, bursts(run, nap), 3);
            world.run_for(120 * kSecond);
            // The beginning of a burst is out of reach, for as long as it takes to aim. And a look
            // that is ahead of its rate is none: the credit walks at random between -1 and
            // kMostCredit intervals, and what comes at either end is lost.
            const double out_of_reach = static_cast<double>(kAimTakes) / static_cast<double>(run);
            constexpr double kAtTheEnds = 0.5 / (kMostCredit + 1);
            const double rate = world.samples_per_interval_of_cpu();
            const double due = 120e3 * static_cast<double>(run) / static_cast<double>(run + nap);
            const double chance = 3 / std::sqrt(due);
            CHECK(rate > 1 - out_of_reach - kAtTheEnds - chance);
            CHECK(rate < 1.02);
            if (run >= 3 * kMillisecond) {
                CHECK(rate > 0.95);
            }
        }
    }
}

TEST_CASE("no part of a burst is met more often than another") {
    struct Case {
        std::int64_t interval, run, nap;
    };
    for (const Case& each : {Case{kMillisecond, kMillisecond, kMillisecond},
                             Case{kMillisecond, kMillisecond, 7 * kMillisecond},
                             Case{kMillisecond, 4 * kMillisecond, kMillisecond},
                             Case{kMillisecond, 4 * kMillisecond, 7 * kMillisecond},
                             Case{10 * kMillisecond, 8 * kMillisecond, 10 * kMillisecond}}) {
        // Names that a lambda may take along, which C++17 does not allow of a structured binding.
        const std::int64_t interval = each.interval;
        const std::int64_t run = each.run;
        const std::int64_t nap = each.nap;
        CAPTURE(interval);
        CAPTURE(run);
        CAPTURE(nap);
        World world(interval, [=](Random&) { return Step{run, nap + 13 * kMicrosecond}; }, 11);
        world.run_for(240 * interval / kMillisecond * kSecond);
        constexpr std::int64_t kParts = 8;
        std::vector<int> counts(kParts);
        for (const Visit& visit : world.visits) {
            ++counts[static_cast<std::size_t>(visit.into_burst_ns * kParts / (run + 1))];
        }
        // All but the first, of which as much is missing as it takes to aim.
        const double mean =
            static_cast<double>(world.visits.size() - static_cast<std::size_t>(counts[0])) /
            (kParts - 1);
        const double missing = static_cast<double>(kAimTakes * kParts) / static_cast<double>(run);
        CHECK(counts[0] > mean * (1 - missing) * 0.93);
        for (std::size_t part = 0; part < counts.size(); ++part) {
            CAPTURE(part);
            // 3,000 and more of each: 7 % is four standard deviations.
            CHECK(counts[part] < mean * 1.07);
            CHECK((part == 0 || counts[part] > mean * 0.93));
        }
    }
}

TEST_CASE("short bursts and long ones of one thread have their shares") {
    bool is_long = false;
    std::int64_t cpu_in_long = 0;
    World world(
        kMillisecond,
        [&](Random& random) {
            is_long = !is_long;
            std::uniform_int_distribution<std::int64_t> more(0, kMillisecond);
            const Step step{is_long ? 5 * kMillisecond : kMillisecond / 2 + more(random) / 4,
                            3 * kMillisecond + more(random)};
            cpu_in_long += is_long ? step.run_ns : 0;
            return step;
        },
        17);
    int met_in_long = 0;
    for (int i = 0; i < 60'000; ++i) {
        const std::size_t before = world.visits.size();
        world.run_for(2 * kMillisecond);
        // Bursts are longer apart than this.
        for (std::size_t v = before; v < world.visits.size(); ++v) {
            met_in_long += world.visits[v].burst_ns == 5 * kMillisecond ? 1 : 0;
        }
    }
    const double share =
        static_cast<double>(met_in_long) / static_cast<double>(world.visits.size());
    const double truth = static_cast<double>(cpu_in_long) / static_cast<double>(world.cpu);
    CHECK(share == doctest::Approx(truth).epsilon(0.02));
}

TEST_CASE("where the ticker comes late, a thread's own timer goes on through short naps") {
    World world(kMillisecond, bursts(2 * kMillisecond, 500 * kMicrosecond), 19);
    world.rhythm.prompt = false;
    world.run_for(20 * kSecond);
    CHECK(world.steady());
    CHECK(world.samples_per_interval_of_cpu() == doctest::Approx(1).epsilon(0.05));
    // Through long ones it does not: each would be met.
    World sleepy(kMillisecond, bursts(2 * kMillisecond, 20 * kMillisecond), 19);
    sleepy.rhythm.prompt = false;
    sleepy.run_for(20 * kSecond);
    CHECK(sleepy.met_asleep_steady <= sleepy.naps * 2);
}

// --- sleepers -----------------------------------------------------------------------------------

TEST_CASE("a thread that sleeps gets no signal, is asleep after 100 ms, and costs nothing then") {
    for (const bool prompt : {true, false}) {
        CAPTURE(prompt);
        bool first = true;
        World world(kMillisecond, [&](Random&) {
            return std::exchange(first, false) ? Step{30 * kMillisecond, 100 * kSecond}
                                               : Step{5 * kMillisecond, 0};
        });
        world.rhythm.prompt = prompt;
        world.run_for(32 * kMillisecond);
        REQUIRE_FALSE(world.running());
        REQUIRE_FALSE(world.steady());
        const int signals = world.signals;
        world.run_for(kQuietTime - 3 * kMillisecond);
        CHECK(world.seek.state == Seeking::sought);
        world.run_for(10 * kMillisecond);
        CHECK(world.seek.state == Seeking::asleep);
        CHECK(world.ticker_is_parked());
        const int looks = world.looks;
        world.run_for(90 * kSecond);
        CHECK(world.looks == looks);
        CHECK(world.signals == signals);
        CHECK(world.signals_asleep == 0);
        // Its timer met it asleep once: that is how it was known to sleep. Where the ticker comes
        // late, it goes on through one nap.
        CHECK(world.met_asleep_steady + world.met_asleep_once <= (prompt ? 1 : 2));
        world.visits.clear();
        // It wakes: the alarm comes with the kernel's tick, and all is as before.
        world.run_for(10 * kSecond);
        world.visits.clear();
        world.run_for(kSecond);
        CHECK(world.visits.size() >= 990);
    }
}

TEST_CASE(
    "where no CPU timer tells, one that sleeps is looked at now and then, and signalled not") {
    bool first = true;
    World world(kMillisecond, [&](Random&) {
        return std::exchange(first, false) ? Step{3 * kMillisecond, 100 * kSecond}
                                           : Step{kSecond, 0};
    });
    world.alarms = false;
    world.run_for(kSecond);
    CHECK(world.seek.state == Seeking::asleep);
    const int looks = world.looks, signals = world.signals;
    world.run_for(10 * kSecond);
    CHECK(world.signals == signals);
    CHECK(world.signals_asleep == 0);
    CHECK_FALSE(world.ticker_is_parked());
    CHECK(world.looks > looks);
    world.run_for(100 * kSecond);
    world.visits.clear();
    world.run_for(kSecond);
    CHECK(world.visits.size() >= 990);
}

TEST_CASE("what a thread used before it was looked at again is counted where nothing else tells") {
    const Rhythm rhythm{kMillisecond, true};
    Seek seek;
    seek.state = Seeking::asleep;
    seek.cpu_ns = 5 * kMillisecond;
    seek.next_look = kSecond;
    Look look;
    look.now_ns = kSecond - 1;
    look.cpu_ns = 8 * kMillisecond;
    int asked = 0;
    const auto runs = [&] {
        ++asked;
        return true;
    };
    SeekDecision decision = next(seek, look, rhythm, runs);
    CHECK_FALSE(decision.signal);
    CHECK(decision.look_again);
    CHECK(seek.state == Seeking::asleep);
    CHECK(asked == 0);
    look.now_ns = kSecond;
    decision = next(seek, look, rhythm, runs);
    CHECK(decision.signal);
    CHECK(seek.state == Seeking::sought);
    CHECK(seek.credit_ns == 2 * kMillisecond);
    // With an alarm only the alarm counts, and what it used until then was its.
    Seek other;
    other.state = Seeking::asleep;
    other.cpu_ns = 5 * kMillisecond;
    look.alarm = true;
    decision = next(other, look, rhythm, runs);
    CHECK_FALSE(decision.signal);
    CHECK_FALSE(decision.look_again);
    CHECK(other.state == Seeking::asleep);
    look.woke = true;
    decision = next(other, look, rhythm, runs);
    CHECK_FALSE(decision.signal);
    CHECK(decision.look_again);
    CHECK(other.state == Seeking::sought);
    CHECK(other.cpu_ns == look.cpu_ns);
    CHECK(asked == 1);
}

TEST_CASE("who naps now and then is met asleep by few timers, and by fewer as time goes by") {
    // The ticker never signals one that does not run. An aimed timer fires within soon() of a
    // signal, of which there is one an interval; a burst that ends meanwhile is met asleep.
    World world(kMillisecond, bursts(4 * kMillisecond, 5 * kMillisecond), 23);
    const auto nap = [&](int naps) {
        const int until = world.naps + naps;
        while (world.naps < until) world.run_for(kMillisecond / 20);
    };
    nap(1000);
    CHECK(world.signals_asleep == 0);
    const double expected =
        1000 * static_cast<double>(kAimTakes) / static_cast<double>(kMillisecond);
    CHECK(world.met_asleep_once < expected + 4 * std::sqrt(expected));
    // Bursts are of 5.2 ms at most: after one timer too many it takes 8 ms to be left alone.
    CHECK(world.met_asleep_steady <= 1);
}

TEST_CASE("each time that a timer finds a thread asleep, it takes longer until the next") {
    World world(kMillisecond, bursts(30 * kMillisecond, 5 * kMillisecond), 29);
    int before = 0;
    while (world.naps < 3000) {
        const std::int64_t patience = world.seek.patience_ns;
        world.run_for(kMillisecond / 2);
        if (world.met_asleep_steady > before && world.seek.patience_ns != patience) {
            CHECK(world.seek.patience_ns ==
                  std::min(2 * std::max(patience, kLeastPatience * kMillisecond), kMostPatience));
            before = world.met_asleep_steady;
        }
    }
    // 4, 8, 16, 32 and 64 ms; bursts take 39 at most.
    CHECK(world.met_asleep_steady <= 4);
    CHECK(world.met_asleep_steady >= 3);
    CHECK(world.seek.patience_ns > 39 * kMillisecond);
}

TEST_CASE("patience is lost again with a thread that ran on for long") {
    const Rhythm rhythm{kMillisecond, true};
    Seek seek;
    seek.steady_since = 0;
    learn_patience(seek, 99 * kMillisecond, rhythm);
    CHECK(seek.patience_ns == 2 * kLeastPatience * kMillisecond);
    learn_patience(seek, 99 * kMillisecond, rhythm);
    CHECK(seek.patience_ns == 4 * kLeastPatience * kMillisecond);
    learn_patience(seek, kSoonToSleep * kMillisecond, rhythm);
    CHECK(seek.patience_ns == 2 * kLeastPatience * kMillisecond);
    for (int i = 0; i < 10; ++i) learn_patience(seek, kSecond, rhythm);
    CHECK(seek.patience_ns == kLeastPatience * kMillisecond);
    for (int i = 0; i < 20; ++i) learn_patience(seek, 0, rhythm);
    CHECK(seek.patience_ns == kMostPatience);
}

TEST_CASE("who naps is left to itself at once where the ticker comes late, and nowhere else") {
    for (const bool prompt : {true, false}) {
        Seek seek;
        begin_seeking(seek, 0, 0);
        Look look;
        look.now_ns = 2 * kMillisecond;
        look.cpu_ns = kMillisecond;
        const SeekDecision decision =
            next(seek, look, Rhythm{kMillisecond, prompt}, [] { return true; });
        CHECK(decision.signal);
        CHECK(decision.may_keep_own_time == !prompt);
    }
}

TEST_CASE("what a signal itself costs is no sign that a thread went on") {
    const Rhythm rhythm{kMillisecond, true};
    for (const std::int64_t used : {kStandingStill - 1, kStandingStill}) {
        Seek seek;
        begin_seeking(seek, 0, 0);
        Look look;
        bool slept = false;
        for (int i = 1; i <= 150; ++i) {
            look.now_ns += kMillisecond;
            look.cpu_ns += used;
            slept = slept || next(seek, look, rhythm, [] { return false; }).set_alarm;
        }
        CHECK(slept == (used < kStandingStill));
    }
}

TEST_CASE("a thread whose own timer has stopped is sought from where that left it") {
    Seek seek;
    begin_seeking(seek, 0, 0);
    seek.credit_ns = -3 * kMillisecond;
    Look look;
    look.now_ns = kSecond;
    look.cpu_ns = kSecond;
    look.stopped_own_time = true;
    look.visited_cpu_ns = kSecond - 1;  // the timer has had all that was before
    int asked = 0;
    const SeekDecision decision = next(seek, look, Rhythm{kMillisecond, true}, [&] {
        ++asked;
        return false;
    });
    CHECK(asked == 1);
    CHECK(decision.look_again);
    CHECK_FALSE(decision.set_alarm);  // it may have just gone to sleep
    CHECK(seek.state == Seeking::sought);
    CHECK(seek.credit_ns == 1);
}

TEST_CASE("a thread that does not move is not asked whether it runs") {
    const Rhythm rhythm{kMillisecond, true};
    Seek seek;
    begin_seeking(seek, 0, 7);
    Look look;
    look.cpu_ns = 7;
    for (int i = 1; i < 50; ++i) {
        look.now_ns += kMillisecond;
        const SeekDecision decision = next(seek, look, rhythm, [] {
            FAIL("asked");
            return true;
        });
        CHECK_FALSE(decision.signal);
        CHECK(decision.look_again);
    }
    look.keeps_own_time = true;
    const SeekDecision decision = next(seek, look, rhythm, [] { return true; });
    CHECK_FALSE(decision.signal);
    CHECK_FALSE(decision.look_again);
}

TEST_CASE("with a long interval a thread is asleep after eight of them") {
    const Rhythm rhythm{100 * kMillisecond, true};
    Seek seek;
    begin_seeking(seek, 0, 7);
    Look look;
    look.cpu_ns = 7;
    for (int i = 1; i <= 8; ++i) {
        CHECK(seek.state == Seeking::sought);
        look.now_ns += rhythm.interval_ns;
        const SeekDecision decision = next(seek, look, rhythm, [] { return false; });
        CHECK(decision.set_alarm == (i == 8));
    }
    CHECK(seek.state == Seeking::asleep);
    CHECK(seek.next_look == look.now_ns + rhythm.interval_ns);
}

TEST_CASE("credit is kept for so many intervals only") {
    const Rhythm rhythm{kMillisecond, true};
    Seek seek;
    begin_seeking(seek, 0, 0);
    Look look;
    look.now_ns = look.cpu_ns = 100 * kMillisecond;
    next(seek, look, rhythm, [] { return false; });
    CHECK(seek.credit_ns == kMostCredit * kMillisecond);
    // Those are asked for, one a look, and then as many as there is CPU time.
    int signals = 0;
    for (int i = 0; i < 100; ++i) {
        look.now_ns += kMillisecond / 10;
        look.cpu_ns += kMillisecond / 10;
        signals += next(seek, look, rhythm, [] { return true; }).signal ? 1 : 0;
    }
    CHECK(signals >= 10 + kMostCredit);
    CHECK(signals <= 11 + kMostCredit);
}

// --- lost signals -------------------------------------------------------------------------------

TEST_CASE("signals of the ticker that never arrive cost their samples, and nothing afterwards") {
    for (const double lost : {0.5, 1.0}) {
        CAPTURE(lost);
        World world(kMillisecond, bursts(3 * kMillisecond, 2 * kMillisecond), 31);
        world.alarms = false;
        world.lost_signals = lost;
        world.run_for(10 * kSecond);
        CHECK(world.samples_per_interval_of_cpu() < 1.02 - lost);
        CHECK(world.samples_per_interval_of_cpu() >= 0.9 * (1 - lost));
        world.lost_signals = 0;
        const std::int64_t cpu = world.cpu;
        world.visits.clear();
        world.run_for(10 * kSecond);
        CHECK(static_cast<double>(world.visits.size()) * kMillisecond ==
              doctest::Approx(static_cast<double>(world.cpu - cpu)).epsilon(0.06));
    }
}

TEST_CASE("a signal of its timer that never arrives does not leave a thread in the dark") {
    World world(kMillisecond, bursts(3 * kMillisecond, 2 * kMillisecond), 31);
    world.alarms = false;
    world.lost_timer_signals = 1;
    world.run_for(kSecond);
    CHECK(world.visits.empty());
    world.lost_timer_signals = 0;
    const std::int64_t cpu = world.cpu;
    world.run_for(10 * kSecond);
    CHECK(static_cast<double>(world.visits.size()) * kMillisecond ==
          doctest::Approx(static_cast<double>(world.cpu - cpu)).epsilon(0.06));
}

TEST_CASE("a timer that cannot be set is asked for again by the next signal") {
    World world(kMillisecond, runs_on());
    world.alarms = world.timers = false;
    world.run_for(kSecond);
    CHECK(world.visits.empty());
    CHECK(world.own.state() == Keeping::nothing);
    CHECK(world.signals >= 990);
    world.timers = true;
    world.run_for(kSecond);
    CHECK(world.visits.size() >= 990);
}

TEST_CASE("who is behind its rate is met by its CPU timer, at the kernel's ticks") {
    // Bursts too short to be met any other way.
    for (const std::int64_t interval : {kMillisecond, 10 * kMillisecond}) {
        CAPTURE(interval);
        World world(interval, bursts(100 * kMicrosecond, 100 * kMicrosecond), 41);
        world.lost_signals = 1;
        world.run_for(100 * kSecond);
        const double most = static_cast<double>(interval) / World::kKernelTick;
        CHECK(world.samples_per_interval_of_cpu() ==
              doctest::Approx(std::min(1.0, most)).epsilon(0.05));
        CHECK(world.met_asleep_once + world.met_asleep_steady == 0);
    }
}

TEST_CASE("who is met at its rate is not met by its CPU timer") {
    World world(10 * kMillisecond, runs_on());
    world.run_for(100 * kSecond);
    CHECK(world.alarms_fired > 9'000);
    CHECK(world.samples_per_interval_of_cpu() == doctest::Approx(1).epsilon(0.01));
    OwnTime own = OwnTime{};
    own.seed(1);
    // From the first signal on; the CPU time since is what it is behind.
    Arrival arrival;
    arrival.from = From::alarm;
    arrival.cpu_ns = kSecond;
    const Rhythm rhythm{kMillisecond, true};
    CHECK_FALSE(own.next(arrival, rhythm).visit);
    arrival.cpu_ns += 4 * kMillisecond - 1;
    CHECK_FALSE(own.next(arrival, rhythm).visit);
    arrival.cpu_ns += 1;
    CHECK(own.next(arrival, rhythm).visit);
    CHECK_FALSE(own.next(arrival, rhythm).visit);
}

// --- what the thread itself decides -------------------------------------------------------------

namespace {

constexpr Rhythm kMilli{kMillisecond, true};

// It ran all the time since its last visit.
Arrival running_at(std::int64_t now_ns, From from) {
    Arrival arrival;
    arrival.from = from;
    arrival.now_ns = now_ns;
    arrival.cpu_ns = now_ns;
    arrival.visited_ns = now_ns - kMillisecond;
    arrival.visited_cpu_ns = arrival.cpu_ns - kMillisecond;
    return arrival;
}

// It was off the processor for so long of the time since.
Arrival off_until(std::int64_t now_ns, std::int64_t off_ns) {
    Arrival arrival = running_at(now_ns, From::own_timer);
    arrival.visited_ns = now_ns - off_ns - kMillisecond;
    return arrival;
}

OwnTime aimed(Arm* arm = nullptr) {
    OwnTime own;
    own.seed(1);
    const ArrivalDecision decision = own.next(running_at(kSecond, From::ticker), kMilli);
    REQUIRE(own.state() == Keeping::aimed);
    if (arm != nullptr) *arm = decision.timer;
    return own;
}

OwnTime steady(std::int64_t* fires_at = nullptr) {
    OwnTime own;
    own.seed(1);
    Arrival arrival = running_at(kSecond, From::ticker);
    arrival.may_keep_own_time = true;
    const ArrivalDecision decision = own.next(arrival, kMilli);
    REQUIRE(own.state() == Keeping::steady);
    if (fires_at != nullptr) *fires_at = kSecond + decision.timer.first_ns;
    return own;
}

}  // namespace

TEST_CASE("the ticker's signal is no visit: it aims the thread's timer") {
    OwnTime own;
    own.seed(1);
    const ArrivalDecision decision = own.next(running_at(kSecond, From::ticker), kMilli);
    CHECK_FALSE(decision.visit);
    CHECK(decision.timer.what == Arm::What::set);
    CHECK(decision.timer.first_ns > 0);
    CHECK(decision.timer.first_ns <= soon(kMilli));
    CHECK(decision.timer.period_ns == 0);
    CHECK(soon({kMillisecond / 10, true}) == kMillisecond / 80);
    // The timer is the visit, and is not set any more.
    const ArrivalDecision hit =
        own.next(running_at(kSecond + decision.timer.first_ns, From::own_timer), kMilli);
    CHECK(hit.visit);
    CHECK(hit.timer.what == Arm::What::leave);
    CHECK(own.state() == Keeping::nothing);
}

TEST_CASE("a timer is aimed at any moment of a short time, none more likely than another") {
    std::vector<int> counts(8);
    for (std::uint32_t seed = 1; seed <= 4000; ++seed) {
        OwnTime own;
        own.seed(seed * 2654435761u);
        const Arm arm = own.next(running_at(kSecond, From::ticker), kMilli).timer;
        ++counts[static_cast<std::size_t>((arm.first_ns - 1) * 8 / soon(kMilli))];
    }
    CHECK(chi_square(counts) < 29.9);  // 7 degrees of freedom, once in ten thousand
}

TEST_CASE("the ticker's signal that meets a thread asleep, or one that is aimed at, does nothing") {
    OwnTime own;
    own.seed(1);
    Arrival asleep = running_at(kSecond, From::ticker);
    asleep.in_call = true;
    ArrivalDecision decision = own.next(asleep, kMilli);
    CHECK_FALSE(decision.visit);
    CHECK(decision.timer.what == Arm::What::leave);
    CHECK(own.state() == Keeping::nothing);
    own = aimed();
    decision = own.next(running_at(kSecond + 1, From::ticker), kMilli);
    CHECK_FALSE(decision.visit);
    CHECK(decision.timer.what == Arm::What::leave);
    CHECK(own.state() == Keeping::aimed);
}

TEST_CASE("an alarm is a visit of a thread that was asleep, and of one that sleeps still not") {
    OwnTime own;
    own.seed(1);
    Arrival woken = running_at(kSecond, From::alarm);
    CHECK_FALSE(own.next(woken, kMilli).visit);
    woken.slept = true;
    ArrivalDecision decision = own.next(woken, kMilli);
    CHECK(decision.visit);
    CHECK(decision.timer.what == Arm::What::leave);
    CHECK(own.state() == Keeping::nothing);
    Arrival asleep = running_at(2 * kSecond, From::alarm);
    asleep.slept = asleep.in_call = true;
    CHECK_FALSE(own.next(asleep, kMilli).visit);
}

TEST_CASE("a timer that meets its thread asleep is stopped, and it is no visit") {
    OwnTime own = aimed();
    Arrival arrival = running_at(kSecond + 1000, From::own_timer);
    arrival.in_call = true;
    ArrivalDecision decision = own.next(arrival, kMilli);
    CHECK_FALSE(decision.visit);
    CHECK(decision.timer.what == Arm::What::leave);  // it fired, and is not set
    CHECK(own.state() == Keeping::nothing);
    own = steady();
    decision = own.next(arrival, kMilli);
    CHECK_FALSE(decision.visit);
    CHECK(decision.timer.what == Arm::What::stop);
    CHECK(own.state() == Keeping::nothing);
}

TEST_CASE("where the ticker comes late, a nap does not stop the timer of who ran for a while") {
    const Rhythm late{kMillisecond, false};
    for (const std::int64_t ran : {kMillisecond / 4, kMillisecond / 4 - 1}) {
        OwnTime own = steady();
        Arrival arrival = running_at(kSecond + 1000, From::own_timer);
        arrival.in_call = true;
        arrival.visited_cpu_ns = arrival.cpu_ns - ran;
        const ArrivalDecision decision = own.next(arrival, late);
        CHECK_FALSE(decision.visit);
        CHECK((own.state() == Keeping::steady) == (ran == kMillisecond / 4));
    }
}

TEST_CASE("a late signal is no visit where the thread was off its processor meanwhile") {
    // By how much it is late, whether the thread had come from a call, and what becomes of it.
    struct Case {
        std::int64_t late_ns;
        bool was_off, left_call, visit, once_more;
    };
    constexpr std::int64_t kLittle = 49 * kMicrosecond, kSome = 60 * kMicrosecond,
                           kMuch = 300 * kMicrosecond;
    const Case cases[] = {
        {kLittle, true, true, true, false}, {kSome, true, false, true, false},
        {kSome, true, true, false, true},   {kSome, false, true, true, false},
        {kMuch, true, false, false, false}, {kMuch, true, true, false, false},
        {kMuch, false, false, true, false}, {kMuch, false, true, true, false},
    };
    for (const bool goes_on : {false, true}) {
        for (const Case& c : cases) {
            CAPTURE(goes_on);
            CAPTURE(c.late_ns);
            CAPTURE(c.was_off);
            CAPTURE(c.left_call);
            Arm arm;
            std::int64_t at = 0;
            OwnTime own = goes_on ? steady(&at) : aimed(&arm);
            at = goes_on ? at : kSecond + arm.first_ns;
            // Being off for a little less than the signal is late does not make up for it.
            Arrival arrival = off_until(at + c.late_ns, c.was_off ? c.late_ns : c.late_ns - 1);
            arrival.just_left_call = c.left_call;
            const ArrivalDecision decision = own.next(arrival, kMilli);
            CHECK(decision.visit == c.visit);
            if (c.once_more) {
                CHECK(decision.timer.what == Arm::What::set);
                CHECK(decision.timer.first_ns <= soon(kMilli));
                CHECK(decision.timer.period_ns == (goes_on ? kMillisecond : 0));
                CHECK(own.state() == (goes_on ? Keeping::steady : Keeping::aimed));
                const std::int64_t again = arrival.now_ns + decision.timer.first_ns;
                CHECK(own.next(running_at(again, From::own_timer), kMilli).visit);
            } else {
                CHECK(own.state() == (goes_on ? Keeping::steady : Keeping::nothing));
            }
        }
    }
}

TEST_CASE("signals of one timer that became one are late by what is left of the last") {
    std::int64_t at = 0;
    OwnTime own = steady(&at);
    const ArrivalDecision first = own.next(running_at(at, From::own_timer), kMilli);
    REQUIRE(first.timer.what == Arm::What::set);  // the first signal sets the pace
    const std::int64_t period = first.timer.period_ns;
    at += first.timer.first_ns;
    // Three periods and a little late: the thread was off for longer than that last bit.
    Arrival arrival = off_until(at + 3 * period + 10 * kMicrosecond, 3 * kMillisecond);
    CHECK_FALSE(own.next(arrival, kMilli).visit);
    // And the next is in time again, however long it slept before.
    arrival = off_until(at + 4 * period, 100 * kMillisecond);
    CHECK(own.next(arrival, kMilli).visit);
}

TEST_CASE("a thread is met no more often than it uses CPU time, but for what chance may be ahead") {
    OwnTime own;
    own.seed(1);
    int visits = 0;
    Arrival arrival = running_at(kSecond, From::alarm);
    arrival.slept = true;
    for (int i = 0; i < 100; ++i) {  // without a moment of CPU time
        arrival.now_ns += kMillisecond;
        visits += own.next(arrival, kMilli).visit ? 1 : 0;
    }
    CHECK(visits == 9);
    visits = 0;
    for (int i = 0; i < 100; ++i) {
        arrival.now_ns += kMillisecond;
        arrival.cpu_ns += kMillisecond / 2;
        visits += own.next(arrival, kMilli).visit ? 1 : 0;
    }
    CHECK(visits == 50);
    // The same for a timer that goes on by itself.
    std::int64_t at = 0;
    OwnTime own_time = steady(&at);
    Arrival still = running_at(at, From::own_timer);
    int met = 0;
    for (int i = 0; i < 100; ++i) {
        met += own_time.next(still, kMilli).visit ? 1 : 0;
    }
    CHECK(met == 9);
    // What it was behind is made up for by as many, not by all.
    arrival.cpu_ns += kSecond;
    visits = 0;
    for (int i = 0; i < 100; ++i) {
        visits += own.next(arrival, kMilli).visit ? 1 : 0;
    }
    CHECK(visits == 17);
}

TEST_CASE(
    "the pace differs from the interval for sixteen signals, and is made up for by the next") {
    std::int64_t at = 0;
    OwnTime own = steady(&at);
    std::vector<std::int64_t> periods;
    int since = 0;
    for (int i = 0; i < 16 * 40; ++i) {
        const ArrivalDecision decision = own.next(running_at(at, From::own_timer), kMilli);
        REQUIRE(decision.visit);
        if (decision.timer.what == Arm::What::set) {
            CHECK((periods.empty() || since == 16));
            since = 0;
            periods.push_back(decision.timer.period_ns);
            at += decision.timer.first_ns;
        } else {
            at += periods.back();
        }
        ++since;
    }
    REQUIRE(periods.size() == 40);
    bool seen[8] = {};
    for (std::size_t i = 0; i < periods.size(); i += 2) {
        CHECK(periods[i] + periods[i + 1] == 2 * kMillisecond);
        const std::int64_t sixteenths = (periods[i] - kMillisecond) * 16 / kMillisecond;
        CHECK((sixteenths == 1 || sixteenths == 3 || sixteenths == -1 || sixteenths == -3));
        seen[sixteenths + 3] = true;
    }
    CHECK((seen[0] && seen[2] && seen[4] && seen[6]));
}

// --- visits that did not settle -----------------------------------------------------------------

TEST_CASE("a visit that did not settle is tried again, soon but not before it is over") {
    OwnTime own = aimed();
    std::int64_t now = kSecond + 1000;
    // A second visit may not settle either, and a third, where signals come late.
    for (int tries = 0; tries < 3; ++tries) {
        own.next(running_at(now, From::own_timer), kMilli);
        REQUIRE(own.state() == Keeping::nothing);
        const Arm again = own.torn(now + 1000, kMilli);
        CHECK(again.what == Arm::What::set);
        CHECK(again.first_ns >= 5'000);
        CHECK(again.first_ns <= 5'000 + soon(kMilli));
        CHECK(again.period_ns == 0);
        CHECK(own.state() == Keeping::aimed);
        now += 1000 + again.first_ns;
    }
    own.next(running_at(now, From::own_timer), kMilli);
    CHECK(own.torn(now + 1000, kMilli).what == Arm::What::leave);
    CHECK(own.state() == Keeping::nothing);
    // And the next one has all its tries again, as one that settled has.
    for (int tries = 0; tries < 3; ++tries) {
        CHECK(own.torn(now + 2000, kMilli).what == Arm::What::set);
    }
    own.sound();
    CHECK(own.torn(now + 3000, kMilli).what == Arm::What::set);
}

TEST_CASE("a timer that goes on by itself still does after a visit that did not settle") {
    std::int64_t at = 0;
    OwnTime own = steady(&at);
    own.next(running_at(at, From::own_timer), kMilli);
    const Arm again = own.torn(at, kMilli);
    CHECK(again.what == Arm::What::set);
    CHECK(again.first_ns <= 5'000 + soon(kMilli));
    CHECK(again.period_ns > kMillisecond / 2);
    CHECK(own.state() == Keeping::steady);
}

// --- threads that stand still, in wall time -----------------------------------------------------

TEST_CASE("a thread that stands still is met once, and left alone until it moves") {
    Waiting waiting;
    CHECK(wants_meeting(waiting, 100));
    CHECK(wants_meeting(waiting, 100));  // it was not to be met: again
    waiting.met_cpu = 100;
    int looks = 0;
    while (!waiting.asleep) {
        CHECK_FALSE(wants_meeting(waiting, 100));
        REQUIRE(++looks < 100);
    }
    CHECK(looks == 8);
    CHECK_FALSE(wants_meeting(waiting, 100));
    CHECK(waiting.asleep);
    CHECK(wants_meeting(waiting, 101));
    CHECK_FALSE(waiting.asleep);
    waiting.met_cpu = 101;
    looks = 0;
    while (!waiting.asleep) {
        CHECK_FALSE(wants_meeting(waiting, 101));
        REQUIRE(++looks < 100);
    }
    CHECK(looks == 8);
}

TEST_CASE("looks at a thread that moved in between do not add up to sleep") {
    Waiting waiting;
    std::int64_t cpu = 0;
    for (int i = 0; i < 100; ++i) {
        ++cpu;
        CHECK(wants_meeting(waiting, cpu));
        waiting.met_cpu = cpu;
        for (int k = 0; k < 7; ++k) CHECK_FALSE(wants_meeting(waiting, cpu));
        CHECK_FALSE(waiting.asleep);
    }
    // It was met a moment after a look: that look tells nothing of how long it stands still.
    waiting = {};
    waiting.seen_cpu = 1;
    waiting.met_cpu = 2;
    waiting.still = 5;
    CHECK_FALSE(wants_meeting(waiting, 2));
    CHECK(waiting.still == 0);
}

TEST_CASE("sleepers are looked at when somebody unknown used the processors, and at first") {
    Sleepers sleepers;
    CHECK(somebody_woke(sleepers, kSecond, 0));
    CHECK(sleepers.quiet_until == 0);
    looked_at_all(sleepers, kSecond, kMicrosecond, 50 * kMicrosecond);
    CHECK(sleepers.quiet_until == kSecond);
    const std::int64_t later = kSecond + kMillisecond;
    CHECK_FALSE(somebody_woke(sleepers, later, 50 * kMicrosecond));
    CHECK(sleepers.quiet_until == later);
    CHECK_FALSE(somebody_woke(sleepers, later, 70 * kMicrosecond));  // noise of the clocks
    CHECK(somebody_woke(sleepers, later + 1, 71 * kMicrosecond));
    CHECK(sleepers.quiet_until == later);  // not known of any later moment
}

TEST_CASE("what is allowed a two-hundredth takes no more, and is granted at once if rare") {
    for (const std::int64_t cost : {kMicrosecond, 30 * kMicrosecond, kMillisecond}) {
        Allowance allowance;
        std::int64_t taken = 0;
        std::int64_t most = 0;  // in any hundredth of a second
        std::int64_t now = kSecond;
        for (int tenth = 0; tenth < 100; ++tenth) {
            const std::int64_t before = taken;
            for (int tick = 0; tick < 50; ++tick, now += kMillisecond / 5) {
                if (allowance.grants(now)) {
                    allowance.take(cost);
                    taken += cost;
                }
            }
            most = std::max(most, taken - before);
        }
        CHECK(taken <= kSecond / 200 + kMillisecond + cost);
        CHECK(most <= kMillisecond / 2 + cost);
        // As much as is allowed, or every time.
        CHECK(taken >= std::min(kSecond / 200 - cost, 5000 * cost));
    }
}

TEST_CASE("something rare is granted at every time it is asked for") {
    Allowance allowance;
    for (int i = 1; i <= 100; ++i) {
        // Ten in a row, once a second.
        for (int k = 0; k < 10; ++k) {
            CHECK(allowance.grants(i * kSecond + k * kMillisecond));
            allowance.take(30 * kMicrosecond);
        }
    }
}

TEST_CASE("what seemed to take for ever is not paid for for ever") {
    Allowance allowance;
    CHECK(allowance.grants(kSecond));
    allowance.take(kSecond);
    CHECK_FALSE(allowance.grants(kSecond + 300 * kMillisecond));
    CHECK(allowance.grants(kSecond + 400 * kMillisecond));
}

TEST_CASE("looking at all sleepers takes a two-hundredth of the time at the most") {
    Sleepers sleepers;
    CHECK(somebody_woke(sleepers, kSecond, kSecond));
    looked_at_all(sleepers, kSecond, kMillisecond, 0);
    CHECK_FALSE(somebody_woke(sleepers, kSecond + 139 * kMillisecond, kSecond));
    CHECK(sleepers.quiet_until == kSecond);
    CHECK(somebody_woke(sleepers, kSecond + 140 * kMillisecond, kSecond));
}
