// Thread states that are looked at from outside: they may be anybody's, or freed, at any moment.
#include <doctest/doctest.h>

#include "interpreter_world.h"

#if PY_VERSION_HEX < 0x030C0000
extern PyThreadState* gil_holder;
#endif

using namespace world;
using interpreter::GilHolding;
using interpreter::ThreadStateEntry;
using interpreter::WalkEnd;

namespace {

constexpr bool kNativeIds = PY_VERSION_HEX >= 0x030B0000;

Seen walk_foreign(Interpreter& python, std::uintptr_t ident, std::int32_t native_id) {
    std::vector<interpreter::PyFrameRecord> frames(64);
    const auto result = interpreter::walk_foreign(python.memory(), address_of(python.thread), ident,
                                                  native_id, frames.data(), frames.size());
    return Interpreter::take(result, frames);
}

std::vector<PyThreadState*> list(Interpreter& python, PyThreadState* head, std::size_t room = 16) {
    std::vector<ThreadStateEntry> entries(room);
    entries.resize(
        interpreter::list_states(python.memory(), address_of(head), entries.data(), room));
    std::vector<PyThreadState*> result;
    for (const ThreadStateEntry& entry : entries) {
        result.push_back(reinterpret_cast<PyThreadState*>(entry.state));
        CHECK(entry.ident == result.back()->thread_id);
#if PY_VERSION_HEX >= 0x030B0000
        CHECK(static_cast<unsigned long>(entry.native_id) == result.back()->native_thread_id);
#else
        CHECK(entry.native_id == 0);
#endif
    }
    return result;
}

}  // namespace

TEST_CASE("A thread state is walked from outside if it is that thread's") {
    Interpreter python;
    const Code outer = python.new_code(), inner = python.new_code();
    Interpreter::make(python.enter(outer));
    Interpreter::make(python.call(inner));
    const std::vector<Address> both{inner, outer};

    CHECK(walk_foreign(python, 0x7000, 70).codes() == both);
    CHECK(walk_foreign(python, 0x7000, 0).codes() == both);
    CHECK(walk_foreign(python, 0, 70).codes() == both);
    CHECK(walk_foreign(python, 0, 0).codes() == both);

    const Seen other = walk_foreign(python, 0x7001, 70);
    CHECK(other.end == WalkEnd::gone);
    CHECK(other.frames.empty());
    CHECK(walk_foreign(python, 0x7000, 71).end == (kNativeIds ? WalkEnd::gone : WalkEnd::complete));

    Interpreter elsewhere;
    elsewhere.thread = nullptr;
    CHECK(walk_foreign(elsewhere, 0, 0).end == WalkEnd::gone);
    CHECK(elsewhere.loads == 0);
}

TEST_CASE("A torn stack is torn from outside, too") {
    Interpreter python;
    Interpreter::make(python.enter(python.new_code()));
    *python.current() = reinterpret_cast<Frame*>(0x1230);
    CHECK(walk_foreign(python, 0x7000, 70).end == WalkEnd::torn);
}

TEST_CASE("A thread state that is freed, before or in the middle of a walk, is gone") {
    Interpreter python;
    Interpreter::make(python.enter(python.new_code()));
    Interpreter::make(python.call(python.new_code()));
    REQUIRE(walk_foreign(python, 0x7000, 70).end == WalkEnd::complete);
    const std::size_t loads = python.loads;
    // Freed, and another thread's since.
    python.before_load = [&](std::size_t done) {
        if (done == loads / 2) {
            python.thread->thread_id = 0x8000;
        }
    };
    CHECK(walk_foreign(python, 0x7000, 70).end == WalkEnd::gone);
    for (std::size_t moment = 0; moment < loads; ++moment) {
        Interpreter freed;
        Interpreter::make(freed.enter(freed.new_code()));
        Interpreter::make(freed.call(freed.new_code()));
        freed.before_load = [&](std::size_t done) {
            if (done == moment) {
                freed.heap.release(freed.thread);
            }
        };
        CHECK(walk_foreign(freed, 0x7000, 70).end == WalkEnd::gone);
    }
}

TEST_CASE("Thread states are listed from the newest to the oldest") {
    Interpreter python;
    PyThreadState* oldest = python.thread;
    PyThreadState* middle = python.new_thread_state(python.main, 0x8000, 80);
    PyThreadState* newest = python.new_thread_state(python.main, 0x9000, 90);
    newest->next = middle;
    middle->next = oldest;
    using States = std::vector<PyThreadState*>;
    CHECK(list(python, newest) == States{newest, middle, oldest});
    CHECK(list(python, newest, 2) == States{newest, middle});
    CHECK(list(python, nullptr).empty());
    CHECK(list(python, reinterpret_cast<PyThreadState*>(0x1230)).empty());

    SUBCASE("a circle ends it") {
        oldest->next = middle;
        const States states = list(python, newest, 1000);
        CHECK(states.size() < 12);
        CHECK(States(states.begin(), states.begin() + 3) == States{newest, middle, oldest});
    }
    SUBCASE("what was freed ends it") {
        python.heap.release(middle);
        CHECK(list(python, newest) == States{newest});
    }
    SUBCASE("what is another interpreter's, or nobody's any more, ends it") {
        middle->interp = python.heap.make<PyInterpreterState>(64);
        CHECK(list(python, newest) == States{newest});
    }
}

#ifdef Py_GIL_DISABLED

TEST_CASE("Without a GIL nobody holds it, and nobody does not") {
    Interpreter python;
    CHECK(interpreter::gil_of(python.memory(), address_of(python.thread)) == GilHolding::unknown);
}

#else

namespace {

void give_gil([[maybe_unused]] Interpreter& python, [[maybe_unused]] bool held) {
#if PY_VERSION_HEX >= 0x030E0000
    python.thread->holds_gil = held ? 1 : 0;
#elif PY_VERSION_HEX >= 0x030D0000
    python.thread->_status.holds_gil = held ? 1 : 0;
#elif PY_VERSION_HEX >= 0x030C0000
    python.thread->_status.active = held ? 1 : 0;
#else
    gil_holder = held ? python.thread : nullptr;
#endif
}

}  // namespace

TEST_CASE("Who holds the GIL is read from outside") {
    Interpreter python;
#if PY_VERSION_HEX >= 0x030C0000
    // Whatever else it says of itself.
    python.thread->_status.initialized = 1;
    python.thread->_status.bound = 1;
    python.thread->_status.bound_gilstate = 1;
#endif
    const auto ask = [&] {
        return interpreter::gil_of(python.memory(), address_of(python.thread));
    };
    CHECK(ask() == GilHolding::not_held);
    give_gil(python, true);
    CHECK(ask() == GilHolding::held);
    give_gil(python, false);
    CHECK(ask() == GilHolding::not_held);
    python.heap.release(python.thread);
    CHECK(ask() == (PY_VERSION_HEX >= 0x030C0000 ? GilHolding::unknown : GilHolding::not_held));
}

#endif
