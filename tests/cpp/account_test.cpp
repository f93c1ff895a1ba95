// The clocks of a thread are numbers here: what of the time between two samples goes where.
#include <doctest/doctest.h>

#include <algorithm>
#include <cstdint>
#include <random>

#include "sampling/account.h"

using namespace spprof;
using namespace spprof::sampling;

namespace {

constexpr std::int64_t kMs = 1'000'000;

Settings at(std::int64_t interval_ns, Mode mode) {
    Settings settings;
    settings.interval_ns = interval_ns;
    settings.mode = mode;
    return settings;
}
const Settings kCpu = at(kMs, Mode::cpu);
const Settings kWall = at(kMs, Mode::wall);

Met running(std::int64_t time_ns, std::int64_t cpu_ns, bool never_slept = false) {
    Met met;
    met.time_ns = time_ns;
    met.cpu_ns = cpu_ns;
    met.never_slept = never_slept;
    return met;
}

Met waiting(std::int64_t time_ns, std::int64_t cpu_ns, std::int64_t stood_still_until_ns = 0) {
    Met met = running(time_ns, cpu_ns);
    met.waiting = true;
    met.stood_still_until_ns = stood_still_until_ns;
    return met;
}

Met outside(std::int64_t time_ns, std::int64_t cpu_ns) {
    Met met = running(time_ns, cpu_ns);
    met.outside = true;
    return met;
}

Account begun(std::int64_t time_ns = 0, std::int64_t cpu_ns = 0) {
    Account account;
    account.rebase(time_ns, cpu_ns);
    return account;
}

}  // namespace

TEST_CASE("in cpu time a sample weighs what the CPU clock advanced") {
    Account account = begun(0, 5 * kMs);
    const Shares shares = account.take(running(10 * kMs, 6 * kMs), kCpu);
    CHECK(shares.here.count == 1);
    CHECK(shares.here.weight_ns == kMs);
    CHECK(shares.where_it_waited.weight_ns == 0);
    CHECK(shares.kept_waiting.count == 0);
}

TEST_CASE("a clock that seems to go backwards weighs nothing") {
    Account account = begun(10 * kMs, 5 * kMs);
    CHECK(account.take(running(9 * kMs, 4 * kMs), kCpu).here.weight_ns == 0);
    account = begun(10 * kMs, 5 * kMs);
    const Shares shares = account.take(waiting(9 * kMs, 4 * kMs), kWall);
    CHECK(shares.here.weight_ns == 0);
    CHECK(shares.here.count == 1);
}

TEST_CASE("in wall time what it ran goes to where it runs, and waiting to where it waits") {
    Account account = begun();
    // It ran 2 ms of 10 until it was met waiting: the wait is this stack's, the run nobody's yet.
    Shares shares = account.take(waiting(10 * kMs, 2 * kMs), kWall);
    CHECK(shares.here.weight_ns == 8 * kMs);
    CHECK(shares.here.count == 8);
    // The next that is met running has both runs.
    shares = account.take(running(20 * kMs, 5 * kMs), kWall);
    CHECK(shares.here.weight_ns == 5 * kMs);
    CHECK(shares.here.count == 1);
}

TEST_CASE("where it is known to have stood still it waited, and only the rest is owed") {
    Account account = begun();
    account.take(waiting(10 * kMs, 0), kWall);
    // Known until 25: then 3 ms that nobody saw, 2 ms of running.
    Shares shares = account.take(running(30 * kMs, 2 * kMs), kWall);
    CHECK(shares.where_it_waited.weight_ns == 0);  // nothing is known: all is owed
    account = begun();
    account.take(waiting(10 * kMs, 0), kWall);
    Met met = running(30 * kMs, 2 * kMs);
    met.stood_still_until_ns = 25 * kMs;
    shares = account.take(met, kWall);
    CHECK(shares.where_it_waited.weight_ns == 15 * kMs);
    CHECK(shares.where_it_waited.count == 15);
    CHECK(shares.where_it_waited.time_ns == 25 * kMs);
    CHECK(shares.here.weight_ns == 2 * kMs);
    CHECK(account.take(waiting(31 * kMs, 2 * kMs), kWall).here.weight_ns == 3 * kMs + kMs);
}

TEST_CASE("it never stood still longer than the clocks allow") {
    Account account = begun();
    account.take(waiting(10 * kMs, 0), kWall);
    Met met = running(12 * kMs, kMs);
    met.stood_still_until_ns = 50 * kMs;
    CHECK(account.take(met, kWall).where_it_waited.weight_ns == kMs);
    account.take(waiting(20 * kMs, kMs), kWall);
    met = running(21 * kMs, 2 * kMs);
    met.stood_still_until_ns = 5 * kMs;  // before it was met there
    CHECK(account.take(met, kWall).where_it_waited.weight_ns == 0);
}

TEST_CASE("who has not slept was kept from the processors where it runs") {
    Account account = begun();
    account.take(running(kMs, kMs), kWall);
    // Half an interval at a time: a sample of waiting once a whole one has come together.
    Shares shares = account.take(running(2 * kMs, kMs + kMs / 2, true), kWall);
    CHECK(shares.kept_waiting.count == 0);
    shares = account.take(running(3 * kMs, 2 * kMs, true), kWall);
    CHECK(shares.kept_waiting.count == 1);
    CHECK(shares.kept_waiting.weight_ns == kMs);
    CHECK(shares.kept_waiting.time_ns == 3 * kMs - kMs / 2);
    CHECK(shares.here.weight_ns == kMs / 2);
    // Who slept is owed to where it is met waiting.
    shares = account.take(running(13 * kMs, 3 * kMs), kWall);
    CHECK(shares.kept_waiting.count == 0);
    CHECK(account.take(waiting(14 * kMs, 3 * kMs), kWall).here.weight_ns == 10 * kMs);
}

TEST_CASE("a thread that waits for a processor only does not get what it slept elsewhere") {
    Account account = begun();
    account.take(running(kMs, kMs), kWall);
    account.take(running(11 * kMs, 2 * kMs), kWall);  // 9 ms asleep somewhere
    Met met = waiting(12 * kMs, 3 * kMs);
    met.could_run = true;
    Shares shares = account.take(met, kWall);
    CHECK(shares.here.weight_ns == 0);
    CHECK(shares.here.count == 1);
    shares = account.take(waiting(13 * kMs, 3 * kMs), kWall);
    CHECK(shares.here.weight_ns == 10 * kMs);
    // That one sample too much was made up for.
    CHECK(shares.here.count == 9);
}

TEST_CASE("waiting for less than an interval is one sample, and counts come out in the end") {
    Account account = begun();
    std::int64_t time = 0, weight = 0, count = 0;
    for (int i = 0; i < 1000; ++i) {
        time += kMs / 4;
        const Shares shares = account.take(waiting(time, 0), kWall);
        CHECK(shares.here.count >= 1);
        weight += shares.here.weight_ns;
        count += shares.here.count;
        time += 9 * kMs;
        Met met = running(time, 0);
        met.stood_still_until_ns = time;
        const Shares next = account.take(met, kWall);
        weight += next.where_it_waited.weight_ns;
        count += next.where_it_waited.count;
    }
    CHECK(weight == time);
    CHECK(count == doctest::Approx(static_cast<double>(weight) / kMs).epsilon(0.001));
}

TEST_CASE("outside of Python time is nobody's") {
    for (const Settings& settings : {kCpu, kWall}) {
        Account account = begun();
        account.take(waiting(kMs, 0), settings);
        Shares shares = account.take(outside(10 * kMs, 5 * kMs), settings);
        CHECK(shares.here.count == 0);
        CHECK(shares.where_it_waited.weight_ns == 0);
        CHECK(account.outside());
        // What it waited on its way back is nobody's, too; what it ran since is this stack's.
        shares = account.take(running(20 * kMs, 6 * kMs, true), settings);
        CHECK(shares.here.weight_ns == kMs);
        CHECK(shares.kept_waiting.count == 0);
        CHECK_FALSE(account.outside());
    }
}

TEST_CASE("a thread that is met on its way out of Python has its last time all the same") {
    for (const bool drained_before : {true, false}) {
        for (const Settings& settings : {kCpu, kWall}) {
            Account account = begun();
            account.take(running(kMs, kMs), settings);
            const Met met = outside(3 * kMs, 2 * kMs + 100);
            if (drained_before) {
                account.take(met, settings);
                account.take(outside(4 * kMs, 2 * kMs + 200), settings);
            }
            account.end(5 * kMs);
            account.end_cpu(2 * kMs + 300, 2 * kMs);
            if (!drained_before) {
                account.take(met, settings);
            }
            CHECK_FALSE(account.outside());
            const Account::Rest rest = account.rest_at_end(settings);
            CHECK(rest.ran_ns == kMs + 300);
            CHECK(rest.waited.weight_ns == (settings.mode == Mode::wall ? 3 * kMs - 300 : 0));
        }
    }
}

TEST_CASE("what a thread did outside of Python before its end is nobody's") {
    Account account = begun();
    account.take(running(kMs, kMs), kCpu);
    account.take(outside(3 * kMs, 2 * kMs), kCpu);
    account.end(5 * kMs);
    account.end_cpu(4 * kMs, 3 * kMs);  // it came back, was not met there, and left for good
    CHECK(account.outside());
    account.take(outside(5 * kMs, 2 * kMs + 1), kCpu);
    CHECK(account.outside());
}

TEST_CASE("what was owed before the thread went outside is nobody's, too") {
    Account account = begun();
    account.take(waiting(10 * kMs, 3 * kMs), kWall);  // 3 ms of running are owed
    account.take(running(11 * kMs, 3 * kMs), kWall);
    account.take(waiting(12 * kMs, 4 * kMs), kWall);  // another one
    account.take(running(22 * kMs, 4 * kMs), kWall);  // and 10 ms of waiting
    account.take(outside(23 * kMs, 4 * kMs), kWall);
    account.take(running(24 * kMs, 4 * kMs), kWall);
    CHECK(account.take(waiting(24 * kMs, 4 * kMs), kWall).here.weight_ns == 0);
    account = begun();
    account.take(waiting(10 * kMs, 3 * kMs), kWall);
    account.take(outside(11 * kMs, 3 * kMs), kWall);
    CHECK(account.take(running(12 * kMs, 3 * kMs), kWall).here.weight_ns == 0);
}

TEST_CASE("one that is met waiting waits there, whether it slept or not") {
    Account account = begun();
    Met met = waiting(5 * kMs, 0);
    met.never_slept = true;
    const Shares shares = account.take(met, kWall);
    CHECK(shares.here.weight_ns == 5 * kMs);
    CHECK(shares.kept_waiting.count == 0);
}

TEST_CASE("being kept from the processors for long is as many samples") {
    Account account = begun();
    account.take(running(kMs, kMs), kWall);
    const Shares shares = account.take(running(8 * kMs, 2 * kMs, true), kWall);
    CHECK(shares.kept_waiting.count == 6);
    CHECK(shares.kept_waiting.weight_ns == 6 * kMs);
}

TEST_CASE("measuring afresh forgets everything that was owed") {
    const auto after = [](const Met& first, const Met& next) {
        Account account = begun();
        account.take(first, kWall);
        account.rebase(first.time_ns, first.cpu_ns);
        return account.take(next, kWall);
    };
    // Running is owed after it was met waiting.
    CHECK(after(waiting(9 * kMs, 5 * kMs), running(10 * kMs, 6 * kMs)).here.weight_ns == kMs);
    // Waiting is owed after it was met running.
    CHECK(after(running(9 * kMs, 5 * kMs), waiting(10 * kMs, 5 * kMs)).here.weight_ns == kMs);
    // Half a sample of being kept from the processors.
    const Met kept = running(kMs, kMs / 4, true);
    const Met more = running(kMs + kMs / 2, kMs / 4, true);
    CHECK(after(kept, more).kept_waiting.count == 0);
    // It is not where it waited any more.
    Met met = running(20 * kMs, 5 * kMs);
    met.stood_still_until_ns = 15 * kMs;
    CHECK(after(waiting(9 * kMs, 5 * kMs), met).where_it_waited.weight_ns == 0);
}

TEST_CASE("a CPU clock that could not be read leaves the last one") {
    Account account = begun(0, 5 * kMs);
    account.settle(10 * kMs, -1);
    CHECK(account.take(running(11 * kMs, 6 * kMs), kCpu).here.weight_ns == kMs);
}

TEST_CASE("what is left at the end is told once") {
    Account account = begun();
    account.take(waiting(10 * kMs, 2 * kMs), kWall);
    const Account::Rest rest = account.rest(20 * kMs, 3 * kMs, kWall);
    CHECK(rest.time_ns == 20 * kMs);
    CHECK(rest.ran_ns == 3 * kMs);
    CHECK(rest.waited.weight_ns == 9 * kMs);
    CHECK(rest.waited.count == 9);
    account.settle(20 * kMs, 3 * kMs);
    const Account::Rest again = account.rest(20 * kMs, 3 * kMs, kWall);
    CHECK(again.ran_ns == 0);
    CHECK(again.waited.weight_ns == 0);
    // One that was met running has waited somewhere, unseen: time, and no sample.
    account = begun();
    account.take(running(10 * kMs, 10 * kMs), kWall);
    CHECK(account.rest(20 * kMs, 10 * kMs, kWall).waited.weight_ns == 10 * kMs);
    CHECK(account.rest(20 * kMs, 10 * kMs, kWall).waited.count == 0);
    account = begun();
    account.take(running(10 * kMs, 2 * kMs), kCpu);
    CHECK(account.rest(20 * kMs, 3 * kMs, kCpu).time_ns == 20 * kMs);
    CHECK(account.rest(20 * kMs, 3 * kMs, kCpu).ran_ns == kMs);
    CHECK(account.rest(20 * kMs, 3 * kMs, kCpu).waited.weight_ns == 0);
    account.end(30 * kMs);
    CHECK(account.rest_at_end(kCpu).ran_ns == 0);  // nobody told the clock
    account.end_cpu(4 * kMs, -1);
    CHECK(account.rest_at_end(kCpu).ran_ns == 2 * kMs);
}

TEST_CASE("how often it was met running, and how often it should have been") {
    for (const Settings& settings : {kCpu, kWall}) {
        Account account = begun();
        for (int i = 1; i <= 100; ++i) {
            account.take(running(4 * i * kMs, 2 * i * kMs), settings);
        }
        CHECK(account.met_running() == 100);
        CHECK(account.due_running(settings) == 200);
    }
    // What it ran until it was met waiting is due where it runs next.
    Account account = begun();
    account.take(waiting(10 * kMs, 5 * kMs), kWall);
    account.take(running(20 * kMs, 10 * kMs), kWall);
    CHECK(account.met_running() == 1);
    CHECK(account.due_running(kWall) == 10);
}

TEST_CASE("whatever is met, no time is lost and none is invented") {
    std::mt19937 random(7);
    for (int round = 0; round < 200; ++round) {
        Account account = begun();
        std::int64_t time = 0, cpu = 0, ran = 0, waited = 0, stood = 0;
        bool was_waiting = false;
        for (int step = 0; step < 100; ++step) {
            const auto passed = static_cast<std::int64_t>(random() % (5 * kMs));
            time += passed;
            cpu += static_cast<std::int64_t>(random()) % (passed + 1);
            Met met = random() % 2 != 0 ? waiting(time, cpu) : running(time, cpu);
            met.never_slept = random() % 2 != 0;
            met.could_run = met.waiting && random() % 2 != 0;
            stood = was_waiting ? time - static_cast<std::int64_t>(random()) % (passed + 1) : stood;
            met.stood_still_until_ns = stood;
            was_waiting = met.waiting;
            const Shares shares = account.take(met, kWall);
            (met.waiting ? waited : ran) += shares.here.weight_ns;
            waited += shares.where_it_waited.weight_ns + shares.kept_waiting.weight_ns;
        }
        const Account::Rest rest = account.rest(time, cpu, kWall);
        CHECK(ran + rest.ran_ns == cpu);
        // What did not make up a whole sample of being kept from the processors is left.
        const std::int64_t left = time - cpu - waited - rest.waited.weight_ns;
        CHECK(left >= 0);
        CHECK(left < kMs);
    }
}
