// The contract of observers, for the one that interrupts and the one that freezes.
#include "observer_contract.h"

#include "in_child.h"
#include "parking_freezer.h"
#include "platform/linux/fault_guard.h"
#include "platform/linux/interrupting_observer.h"
#include "platform/suspending_observer.h"

using namespace spprof::testing;
using namespace spprof::platform;

namespace {

std::unique_ptr<Observer> interrupting(const Plan& plan, const Visitor& visitor) {
    return std::make_unique<InterruptingObserver>(plan, visitor);
}

std::unique_ptr<Observer> suspending(const Plan& plan, const Visitor& visitor) {
    return std::make_unique<SuspendingObserver>(plan, visitor, std::make_unique<ParkingFreezer>());
}

// Which step of the contract does not hold; 0: all do.
template <class... More>
int broken_step(int (*promise)(MakeObserver, More...), MakeObserver make, More... more) {
    return wrong_step_in_child([=] { return promise(make, more...); });
}

}  // namespace

TEST_CASE("threads that run are visited at their rate, one visit at a time, standing still") {
    for (const Mode mode : {Mode::cpu, Mode::wall}) {
        CAPTURE(static_cast<int>(mode));
        CHECK(broken_step(keeps_its_rate, interrupting, mode) == 0);
        CHECK(broken_step(keeps_its_rate, suspending, mode) == 0);
    }
}

TEST_CASE("after leave() there is no visit") {
    CHECK(broken_step(leaves_nobody_visited, interrupting) == 0);
    CHECK(broken_step(leaves_nobody_visited, suspending) == 0);
}

TEST_CASE("between pause() and resume() there is no visit") {
    CHECK(broken_step(pauses_and_resumes, interrupting) == 0);
    CHECK(broken_step(pauses_and_resumes, suspending) == 0);
}

TEST_CASE("one observer after the other observes, and leaves nothing behind") {
    CHECK(broken_step(serves_one_after_the_other, interrupting) == 0);
    CHECK(broken_step(serves_one_after_the_other, suspending) == 0);
}

TEST_CASE("a forked child is not visited, and may observe itself") {
    CHECK(broken_step(keeps_a_forked_child_quiet, interrupting) == 0);
    CHECK(broken_step(keeps_a_forked_child_quiet, suspending) == 0);
}

TEST_CASE("sixty threads come and go") {
    CHECK(broken_step(follows_threads_that_come_and_go, interrupting) == 0);
    CHECK(broken_step(follows_threads_that_come_and_go, suspending) == 0);
}

TEST_CASE("a thread that sleeps is left alone") {
    for (const Mode mode : {Mode::cpu, Mode::wall}) {
        CAPTURE(static_cast<int>(mode));
        CHECK(broken_step(leaves_sleepers_alone, interrupting, mode) == 0);
        CHECK(broken_step(leaves_sleepers_alone, suspending, mode) == 0);
    }
}

TEST_CASE("a thread that stands still is visited again where that is asked for") {
    CHECK(broken_step(looks_again, interrupting) == 0);
    CHECK(broken_step(looks_again, suspending) == 0);
}

TEST_CASE("a visit that did not settle is tried again, and given up in the end") {
    CHECK(broken_step(tries_again, interrupting) == 0);
    CHECK(broken_step(tries_again, suspending) == 0);
}
