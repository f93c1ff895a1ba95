// The walker over a made-up interpreter, and the layout header of the version that is compiled:
// whole stacks, and what a walk may meet between any two stores that change one.
#include <doctest/doctest.h>

#include <algorithm>

#include "interpreter_world.h"

using namespace world;
using interpreter::PyFrameRecord;
using interpreter::WalkEnd;

namespace {

using Codes = std::vector<Address>;
using Entries = std::vector<bool>;

// One call of the eval loop a frame until 3.10.
Entries marks(Entries expected) {
    return kFrameObjects ? Entries(expected.size(), true) : expected;
}

struct Moments {
    int all = 0;
    int believed = 0;  // the walk was not given up
    int wrong = 0;     // neither what was nor what will be
    int unknown_in_order = 0;
};

void undo(Stores& made) {
    for (auto store = made.rbegin(); store != made.rend(); ++store) {
        store->undo();
    }
}

// Stops between any two stores of `program`, and again for each two neighbours swapped, as a
// compiler may have them: the walk must say what was, or what will be, or that it does not know.
// Leaves the program done.
Moments stop_everywhere(Interpreter& python, const Stores& program, const Codes& before,
                        const Codes& after) {
    Moments moments;
    // Calls lie between the stores until 3.10.
    const std::size_t orders = kFrameObjects ? 1 : program.size();
    for (std::size_t swapped = 0; swapped < orders; ++swapped) {
        Stores order = program;
        if (swapped > 0) {
            std::swap(order[swapped - 1], order[swapped]);
        }
        for (std::size_t i = 0; i < order.size(); ++i) {
            order[i].make();
            const Seen seen = python.walk();
            ++moments.all;
            if (seen.end == WalkEnd::torn) {
                moments.unknown_in_order += swapped == 0 ? 1 : 0;
            } else {
                ++moments.believed;
                if (seen.codes() != before && seen.codes() != after) {
                    ++moments.wrong;
                    CAPTURE(swapped);
                    CAPTURE(i);
                    CHECK_MESSAGE(false, "a stack that never was");
                }
            }
        }
        undo(order);
    }
    Interpreter::make(program);
    CHECK(python.walk().codes() == after);
    CHECK(python.walk().end == WalkEnd::complete);
    return moments;
}

}  // namespace

TEST_CASE("A thread without frames is not in Python") {
    Interpreter python;
    const Seen seen = python.walk();
    CHECK(seen.end == WalkEnd::complete);
    CHECK(seen.frames.empty());
}

TEST_CASE("Frames come innermost first, with offsets, and a mark where C called the eval loop") {
    Interpreter python;
    const Code outer = python.new_code(), middle = python.new_code(), key = python.new_code();
    Interpreter::make(python.enter(outer, 10));
    Interpreter::make(python.call(middle, 20));
    Interpreter::make(python.enter(key, 30));
    const Seen seen = python.walk();
    CHECK(seen.end == WalkEnd::complete);
    CHECK(seen.codes() == Codes{key, middle, outer});
    CHECK(seen.entries() == marks({true, false, true}));
    REQUIRE(seen.frames.size() == 3);
    CHECK(seen.frames[0].offset == 30);
    CHECK(seen.frames[1].offset == 20);
    CHECK(seen.frames[2].offset == 10);
}

TEST_CASE("More frames than there is room for are cut at the root") {
    Interpreter python;
    const Code code = python.new_code();
    Interpreter::make(python.enter(code));
    for (int i = 0; i < 4; ++i) {
        Interpreter::make(python.call(code));
    }
    CHECK(python.walk(5).end == WalkEnd::complete);
    CHECK(python.walk(5).frames.size() == 5);
    CHECK(python.walk(4).end == WalkEnd::truncated);
    CHECK(python.walk(4).frames.size() == 4);
}

TEST_CASE("A stack of two calls of the eval loop a frame has as many steps as it needs") {
    Interpreter python;
    const Code code = python.new_code();
    for (int i = 0; i < 100; ++i) {
        Interpreter::make(python.enter(code));
    }
    CHECK(python.walk(100).end == WalkEnd::complete);
    CHECK(python.walk(100).frames.size() == 100);
}

TEST_CASE("A pointer that leads nowhere is a torn walk") {
    Interpreter python;
    const Code code = python.new_code();
    Interpreter::make(python.enter(code));
    Interpreter::make(python.call(code));
    Frame* innermost = *python.current();

    SUBCASE("the thread's innermost frame") {
        *python.current() = reinterpret_cast<Frame*>(0x1230);
    }
    SUBCASE("the innermost frame's caller") {
        *Interpreter::previous_of(innermost) = reinterpret_cast<Frame*>(0x1230);
    }
    SUBCASE("a code object that cannot be read") { Interpreter::set_code(innermost, 0x1230); }
    SUBCASE("no code object") { Interpreter::set_code(innermost, 0); }
    SUBCASE("a code object at an odd address") {
        auto* bytes = python.heap.make<char>(sizeof(PyCodeObject) + 600);
        std::memcpy(bytes + 4, code.object, sizeof(PyCodeObject));
        Interpreter::set_code(innermost, address_of(bytes + 4));
#if PY_VERSION_HEX >= 0x030B0000
        // Its instructions fit: nothing but the address tells.
        const Address start =
            kOwnBytecode ? code.start
                         : address_of(bytes + 4) + offsetof(PyCodeObject, co_code_adaptive);
        Store(Interpreter::instruction_of(innermost), start + 4).make();
#endif
    }
    SUBCASE("an object that is no code") {
        reinterpret_cast<PyObject*>(code.object)->ob_type =
            reinterpret_cast<PyTypeObject*>(code.object);
    }
    const Seen seen = python.walk();
    CHECK(seen.end == WalkEnd::torn);
    CHECK(python.loads < 100);
}

TEST_CASE("A thread state that cannot be read is no view") {
    Interpreter python;
    Interpreter::make(python.enter(python.new_code()));
    python.heap.release(python.thread);
    CHECK(python.walk().end == WalkEnd::gone);
}

TEST_CASE("Frames in a circle are a torn walk, before the room is full of them") {
    Interpreter python;
    const Code code = python.new_code();
    Interpreter::make(python.enter(code));
    Frame* bottom = *python.current();
    for (int i = 0; i < 5; ++i) {
        Interpreter::make(python.call(code));
    }
    Frame* innermost = *python.current();
    SUBCASE("one frame") { *Interpreter::previous_of(innermost) = innermost; }
    SUBCASE("all frames") { *Interpreter::previous_of(bottom) = innermost; }
    SUBCASE("a tail, and then a circle") {
        *Interpreter::previous_of(bottom) = *Interpreter::previous_of(innermost);
    }
    CHECK(python.walk(1000).end == WalkEnd::torn);
    CHECK(python.loads < 10'000);
}

#if PY_VERSION_HEX >= 0x030B0000

TEST_CASE("Frames that yield no record cannot keep a walk going") {
    Interpreter python;
    const Code code = python.new_code(), hidden = python.new_code(20, 50);
    Interpreter::make(python.enter(code));
    Frame* bottom = *python.current();
    std::vector<Frame*> chain;
    for (int i = 0; i < 1000; ++i) {
        chain.push_back(python.heap.make<Frame>());
        Interpreter::make(python.set_up(chain.back(), hidden, FRAME_OWNED_BY_FRAME_OBJECT));
        *Interpreter::previous_of(chain.back()) = bottom;
        if (i > 0) {
            *Interpreter::previous_of(chain[chain.size() - 2]) = chain.back();
        }
    }
    Interpreter::make(python.call(code));
    *Interpreter::previous_of(*python.current()) = chain.front();
    SUBCASE("as many as a deep stack may have") {
        *Interpreter::previous_of(chain[60]) = bottom;
        CHECK(python.walk().end == WalkEnd::complete);
        CHECK(python.walk().codes() == Codes{code, code});
    }
    SUBCASE("more than that") {
        CHECK(python.walk().end == WalkEnd::torn);
        CHECK(python.loads < 5000);
    }
    SUBCASE("in a circle") {
        *Interpreter::previous_of(chain[60]) = chain.front();
        CHECK(python.walk().end == WalkEnd::torn);
        CHECK(python.loads < 3000);
    }
}

TEST_CASE("A chain that does not end at a call of the eval loop is torn") {
    Interpreter python;
    const Code code = python.new_code();
    Interpreter::make(python.enter(code));
    Frame* bottom = *python.current();
    Interpreter::make(python.call(code));
    CHECK(python.walk().end == WalkEnd::complete);
#if PY_VERSION_HEX >= 0x030C0000
    *Interpreter::previous_of(bottom) = nullptr;
#else
    bottom->is_entry = false;
#endif
    CHECK(python.walk().end == WalkEnd::torn);
}

TEST_CASE("An instruction that is not in its code is a torn walk") {
    Interpreter python;
    const Code code = python.new_code();
    Interpreter::make(python.enter(code));
    Interpreter::make(python.call(code));
    Frame* frame = *Interpreter::previous_of(*python.current());
    SUBCASE("far behind it") { Interpreter::make({Interpreter::at(frame, code, 0x80000000L)}); }
    SUBCASE("before it") { Interpreter::make({Interpreter::at(frame, code, -4)}); }
    CHECK(python.walk().end == WalkEnd::torn);
}

TEST_CASE("A frame that was made but has not run is hidden, or not yet started") {
    Interpreter python;
    const Code code = python.new_code(), preparing = python.new_code(20, 10);
    Interpreter::make(python.enter(code));
    Interpreter::make(python.call(preparing, 8));
    SUBCASE("its first instructions are not the program's") {
        CHECK(python.walk().end == WalkEnd::complete);
        CHECK(python.walk().codes() == Codes{code});
    }
    SUBCASE("a finalizer that is called meanwhile is a call of the eval loop") {
        const Code finalizer = python.new_code();
        Interpreter::make(python.enter(finalizer));
        CHECK(python.walk().codes() == Codes{finalizer, code});
        CHECK(python.walk().entries() == Entries{true, true});
    }
    SUBCASE("between two calls of the eval loop, one without a visible frame is not lost") {
        Interpreter::make(python.enter(preparing, 8));
        const Code finalizer = python.new_code();
        Interpreter::make(python.enter(finalizer));
        const Seen seen = python.walk();
        CHECK(seen.codes() == Codes{finalizer, code});
        CHECK(seen.entries() == Entries{true, true, true});
        CHECK(python.walk(1).end == WalkEnd::truncated);
        CHECK(python.walk(1).frames.size() == 1);
    }
    SUBCASE("a call of the eval loop without a visible frame is a hidden record") {
        Interpreter::make(python.enter(preparing, 8));
        const Seen seen = python.walk();
        CHECK(seen.codes() == Codes{code});
        REQUIRE(seen.frames.size() == 2);
        CHECK(seen.frames[0].code == 0);
        CHECK(seen.entries() == Entries{true, true});
        CHECK(python.walk(1).end == WalkEnd::truncated);
    }
}

TEST_CASE("Of the thread that collects garbage it is told where that began") {
    Interpreter python;
    interpreter::Collection& collection = interpreter::collection;
    const Code program = python.new_code(), finalizer = python.new_code();
    Interpreter::make(python.enter(program));
    Interpreter::make(python.call(program));
    collection.frame = address_of(*python.current());
    collection.generation = 1;
    Interpreter::make(python.enter(finalizer));
    Interpreter::make(python.call(finalizer));
    collection.thread = address_of(python.thread);
    const Seen collects = python.walk();
    collection.thread = address_of(python.thread) + sizeof(Address);  // some other
    const Seen another = python.walk();
    collection.thread = 0;
    const Seen nobody = python.walk();
    collection.frame = 0;
    CHECK(collects.codes() == Codes{finalizer, finalizer, program, program});
    CHECK(collects.collecting == 2);
    CHECK(collects.collecting_at == 2);
    CHECK(another.codes() == collects.codes());
    CHECK(another.collecting == 0);
    CHECK(another.collecting_at == 0);
    CHECK(nobody.collecting == 0);
}

TEST_CASE("A thread of which only hidden frames are left is torn") {
    Interpreter python;
    Interpreter::make(python.enter(python.new_code(20, 10), 8));
    CHECK(python.walk().end == WalkEnd::torn);
}

TEST_CASE("Generators lie in the heap, and their frames where they are resumed") {
    Interpreter python;
    const Code code = python.new_code(), generator = python.new_code(), inner = python.new_code();
    Interpreter::make(python.enter(code));
    Interpreter::make(python.resume(python.new_generator(generator)));
    CHECK(python.walk().end == WalkEnd::complete);
    CHECK(python.walk().codes() == Codes{generator, code});
    Interpreter::make(python.call(inner));
    CHECK(python.walk().codes() == Codes{inner, generator, code});
    SUBCASE("one that has not run its first instruction is not started") {
        Interpreter::make({python.at(*Interpreter::previous_of(*python.current()), generator, -2)});
        const Seen seen = python.walk();
        REQUIRE(seen.frames.size() == 3);
        CHECK(seen.frames[1].offset == PyFrameRecord::kNotStarted);
    }
}

TEST_CASE("A generator without a caller is on its way, unless nothing is around it") {
    Interpreter python;
    const Code code = python.new_code(), generator = python.new_code();
    SUBCASE("around it is a frame") {
        Interpreter::make(python.enter(code));
        Frame* frame = python.new_generator(generator);
        Interpreter::make(python.resume(frame));
        *Interpreter::previous_of(frame) = nullptr;
        CHECK(python.walk().end == WalkEnd::torn);
    }
    SUBCASE("around C, which resumed it, is a frame") {
        Interpreter::make(python.enter(code));
        Frame* frame = python.new_generator(generator);
        Interpreter::make(python.enter_with(frame));
        CHECK(python.walk().codes() == Codes{generator, code});
        *Interpreter::previous_of(frame) = nullptr;
        CHECK(python.walk().end == WalkEnd::torn);
    }
    SUBCASE("C resumed it, and there is no other Python") {
        Frame* frame = python.new_generator(generator);
        Interpreter::make(python.enter_with(frame));
        CHECK(python.walk().end == WalkEnd::complete);
        CHECK(python.walk().codes() == Codes{generator});
    }
}

// --- between two stores
// ---------------------------------------------------------------------------

namespace {

// A place in the data stack as earlier calls leave it: a frame that ran, with a caller that is
// still alive, but not the one that the next frame there has.
void leave_rubbish(Interpreter& python, const Code& stale, Frame* stale_caller) {
    Frame* place = python.next_place();
    Interpreter::make(python.set_up(place, stale, FRAME_OWNED_BY_THREAD));
    Interpreter::make({Interpreter::at(place, stale, 40)});
    *Interpreter::previous_of(place) = stale_caller;
    Interpreter::make({Store(&python.thread->datastack_top, place)});
}

}  // namespace

TEST_CASE("Between any two stores of a call the stack is the old one, the new one, or unknown") {
    Interpreter python;
    const Code outer = python.new_code(30), middle = python.new_code(25), inner = python.new_code(),
               stale = python.new_code(20, 0);
    Interpreter::make(python.enter(outer));
    Frame* root = *python.current();
    Interpreter::make(python.call(middle));
    const Codes before{middle, outer}, after{inner, middle, outer};
    SUBCASE("on clean ground") {
        const Moments moments = stop_everywhere(python, python.call(inner), before, after);
        CHECK(moments.wrong == 0);
        CHECK(moments.unknown_in_order == 0);
        CHECK(moments.believed > moments.all * 3 / 4);
    }
    SUBCASE("where an earlier call had another caller") {
        leave_rubbish(python, stale, root);
        const Moments moments = stop_everywhere(python, python.call(inner), before, after);
        CHECK(moments.wrong == 0);
        CHECK(moments.unknown_in_order == 0);
        CHECK(moments.believed > moments.all / 2);
    }
    SUBCASE("from C") {
        leave_rubbish(python, stale, root);
        python.c_stack_rubbish = root;
        const Moments moments = stop_everywhere(python, python.enter(inner), before, after);
        CHECK(moments.wrong == 0);
        CHECK(moments.unknown_in_order == 0);
        CHECK(moments.believed > moments.all / 2);
    }
    SUBCASE("from C, with nothing on the C stack") {
        leave_rubbish(python, stale, root);
        const Moments moments = stop_everywhere(python, python.enter(inner), before, after);
        CHECK(moments.wrong == 0);
        CHECK(moments.unknown_in_order == 0);
    }
    SUBCASE("from C, with a frame of an earlier call as rubbish on the C stack") {
        leave_rubbish(python, stale, root);
        python.c_stack_rubbish = python.next_place();
        const Moments moments = stop_everywhere(python, python.enter(inner), before, after);
        CHECK(moments.wrong == 0);
        CHECK(moments.unknown_in_order == 0);
        CHECK(moments.believed > moments.all / 2);
    }
    SUBCASE("from a generator") {
        const Code generator = python.new_code();
        Interpreter::make(python.resume(python.new_generator(generator)));
        leave_rubbish(python, stale, root);
        const Moments moments =
            stop_everywhere(python, python.call(inner), {generator, middle, outer},
                            {inner, generator, middle, outer});
        CHECK(moments.wrong == 0);
    }
}

TEST_CASE("Between any two stores of a thread's first call") {
    Interpreter python;
    const Code code = python.new_code();
    const Moments moments = stop_everywhere(python, python.enter(code), {}, {code});
    CHECK(moments.wrong == 0);
    // Linked, but not begun: neither in Python nor out of it.
    CHECK(moments.unknown_in_order == (kInstructionPointer ? 0 : 1));
}

TEST_CASE("Between any two stores of a return") {
    Interpreter python;
    const Code outer = python.new_code(30), middle = python.new_code(25), inner = python.new_code();
    Interpreter::make(python.enter(outer));
    Interpreter::make(python.call(middle));
    Interpreter::make(python.call(inner));
    const Moments moments =
        stop_everywhere(python, python.leave(), {inner, middle, outer}, {middle, outer});
    CHECK(moments.wrong == 0);
    CHECK(moments.believed == moments.all);
}

TEST_CASE("A frame that was left, but is still the current one, is left out") {
    Interpreter python;
    const Code outer = python.new_code(30), middle = python.new_code(25), inner = python.new_code();
    Interpreter::make(python.enter(outer));
    Frame* root = *python.current();
    Interpreter::make(python.call(middle));
    Interpreter::make(python.call(inner));
    Frame* dying = *python.current();
    Store(&python.thread->datastack_top, dying).make();
    SUBCASE("") {
        CHECK(python.walk().end == WalkEnd::complete);
        CHECK(python.walk().codes() == Codes{middle, outer});
    }
    SUBCASE("even where its code is gone") {
        Interpreter::set_code(dying, inner);
        reinterpret_cast<PyObject*>(inner.object)->ob_type = nullptr;
        CHECK(python.walk().codes() == Codes{middle, outer});
    }
    SUBCASE("only the newest of them") {
        Store(&python.thread->datastack_top, root).make();
        CHECK(python.walk().end == WalkEnd::torn);
    }
    SUBCASE("with a caller that it cannot have") {
        *Interpreter::previous_of(dying) = root;
        const Seen seen = python.walk();
        if (kInstructionPointer) {  // the thread state alone says which frame is current
            CHECK(seen.codes() == Codes{outer});
        } else {
            CHECK(seen.end == WalkEnd::torn);
        }
    }
}

TEST_CASE("Between any two stores of a generator's resumption and suspension") {
    Interpreter python;
    const Code outer = python.new_code(), middle = python.new_code(), generator = python.new_code();
    Interpreter::make(python.enter(outer));
    Interpreter::make(python.call(middle));
    Frame* frame = python.new_generator(generator);
    Moments moments =
        stop_everywhere(python, python.resume(frame), {middle, outer}, {generator, middle, outer});
    CHECK(moments.wrong == 0);
    moments =
        stop_everywhere(python, python.suspend(), {generator, middle, outer}, {middle, outer});
    CHECK(moments.wrong == 0);
    moments = stop_everywhere(python, python.enter_with(frame), {middle, outer},
                              {generator, middle, outer});
    CHECK(moments.wrong == 0);
}

#endif

// --- what single versions have
// --------------------------------------------------------------------

#if PY_VERSION_HEX < 0x030B0000

TEST_CASE("A generator that does not know its caller has its stack cut there") {
    Interpreter python;
    const Code code = python.new_code();
    Interpreter::make(python.enter(code));
    Interpreter::make(python.call(code));
    Frame* bottom = *Interpreter::previous_of(*python.current());
    CHECK(python.walk().end == WalkEnd::complete);
    bottom->f_gen = reinterpret_cast<PyObject*>(code.object);
    CHECK(python.walk().end == WalkEnd::truncated);
    CHECK(python.walk().frames.size() == 2);
    bottom->f_gen = nullptr;
    (*python.current())->f_gen = reinterpret_cast<PyObject*>(code.object);
    CHECK(python.walk().end == WalkEnd::complete);
}

TEST_CASE(
    "Between any two stores of a call and of a return the stack is the old one or the new one") {
    Interpreter python;
    const Code outer = python.new_code(), inner = python.new_code();
    Interpreter::make(python.enter(outer));
    Moments moments = stop_everywhere(python, python.call(inner), {outer}, {inner, outer});
    CHECK(moments.wrong == 0);
    CHECK(moments.believed == moments.all);
    moments = stop_everywhere(python, python.leave(), {inner, outer}, {outer});
    CHECK(moments.believed == moments.all);
}

TEST_CASE("A frame that has not run is not started") {
    Interpreter python;
    Interpreter::make(python.enter(python.new_code(), -Interpreter::kUnit));
    REQUIRE(python.walk().frames.size() == 1);
    CHECK(python.walk().frames[0].offset == PyFrameRecord::kNotStarted);
}

#endif

TEST_CASE("What runs in another interpreter is one stand-in from 3.12 on") {
    Interpreter python;
    const Code code = python.new_code();
    Interpreter::make(python.enter(code));
    python.thread->interp = python.heap.make<PyInterpreterState>(64);
    const Seen seen = python.walk();
    CHECK(seen.end == WalkEnd::complete);
    REQUIRE(seen.frames.size() == 1);
    if (kShims) {
        CHECK(seen.frames[0].code == interpreter::main_interpreter.stand_in);
        CHECK(seen.frames[0].offset == PyFrameRecord::kNotStarted);
    } else {
        CHECK(seen.frames[0].code == code);
    }
    CHECK(seen.entries() == Entries{true});
}

#if PY_VERSION_HEX >= 0x030B0000 && PY_VERSION_HEX < 0x030D0000

TEST_CASE(
    "The call before is only asked where a frame that has not run lies behind its top frame") {
    Interpreter python;
    const Code outer = python.new_code(), middle = python.new_code(), inner = python.new_code();
    Interpreter::make(python.enter(outer));
    Interpreter::make(python.call(middle));
    Interpreter::make(python.enter(inner));
    Frame* innermost = *python.current();
    *python.current() = reinterpret_cast<Frame*>(0x1230);
    SUBCASE("one that runs") { CHECK(python.walk().end == WalkEnd::torn); }
    SUBCASE("one that has not run") {
        Interpreter::make({Interpreter::at(innermost, inner, Interpreter::kFresh)});
        CHECK(python.walk().codes() == Codes{middle, outer});
    }
    SUBCASE("one that has not run, with others behind it") {
        Interpreter::make({Interpreter::at(innermost, inner, Interpreter::kFresh)});
        python.thread->datastack_top += inner.words;
        CHECK(python.walk().end == WalkEnd::torn);
    }
    SUBCASE("none") {
        Store(&python.thread->datastack_top, innermost).make();
        CHECK(python.walk().end == WalkEnd::torn);
    }
}

#endif

#if PY_VERSION_HEX >= 0x030D0000

TEST_CASE("A shim that is linked before its owner is stored is one all the same") {
    Interpreter python;
    const Code code = python.new_code();
    Interpreter::make(python.enter(code));
    Frame* shim = *Interpreter::previous_of(*python.current());
    shim->owner = FRAME_OWNED_BY_THREAD;
    CHECK(python.walk().end == WalkEnd::complete);
    CHECK(python.walk().codes() == Codes{code});
}

#endif

#if PY_VERSION_HEX >= 0x030E0000

TEST_CASE("Tags are no part of a code object's address") {
    Interpreter python;
    const Code code = python.new_code();
    Interpreter::make(python.enter(code));
    for (const Address tag : {1, 2, 3}) {
        Interpreter::set_code(*python.current(), code | tag);
        CHECK(python.walk().codes() == Codes{code});
    }
}

#endif

#if PY_VERSION_HEX >= 0x030F0000

TEST_CASE("The frame in the thread state is the end of a chain, and no call of the eval loop") {
    Interpreter python;
    const Code code = python.new_code();
    Interpreter::make(python.enter(code));
    CHECK(python.walk().frames.size() == 1);
    python.thread->base_frame = nullptr;
    CHECK(python.walk().frames.size() == 2);
}

#endif

#if defined(Py_GIL_DISABLED) && PY_VERSION_HEX >= 0x030E0000

TEST_CASE("Instructions are counted in the thread's own copy of the bytecode") {
    Interpreter python;
    const Code code = python.new_code();
    Interpreter::make(python.enter(code, 12));
    REQUIRE(python.walk().frames.size() == 1);
    CHECK(python.walk().frames[0].offset == 12);
    SUBCASE("one that the code does not have") { (*python.current())->tlbc_index = 2; }
    SUBCASE("no copy at all") { (*python.current())->tlbc_index = -1; }
    SUBCASE("another thread's copy") { (*python.current())->tlbc_index = 0; }
    SUBCASE("code without copies") { code.object->co_tlbc = nullptr; }
    CHECK(python.walk().end == WalkEnd::torn);
}

#endif
