// A made-up interpreter for the tests of cpp/interpreter: thread states, frames and code objects of
// the version whose headers are compiled, in memory of which only what was allocated can be read.
// Frames are linked by the stores that CPython makes, in its order, so that a test can stop between
// any two. Needs no running interpreter, and no library of it.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <functional>
#include <map>
#include <memory>
#include <utility>
#include <vector>

#include "interpreter/thread_states.h"

namespace world {

namespace interpreter = spprof::interpreter;
using Address = std::uintptr_t;

inline Address address_of(const void* pointer) { return reinterpret_cast<Address>(pointer); }

// What can be read. Whatever else is asked for fails, as a load from nowhere does.
class Heap {
public:
    template <class T>
    T* make(std::size_t bytes = sizeof(T)) {
        // Whole words are copied, and a struct may end in the middle of one.
        const std::size_t words = bytes / sizeof(Address) + 2;
        auto block = std::make_unique<Address[]>(words);
        Address* begin = block.get();
        blocks_.emplace(address_of(begin), Block{std::move(block), words * sizeof(Address), true});
        return reinterpret_cast<T*>(begin);
    }

    // The memory stays, for the test's own pointers; nobody else can read it any more.
    void release(const void* pointer) { blocks_.at(address_of(pointer)).readable = false; }

    bool read(Address from, void* to, std::size_t bytes) const {
        auto block = blocks_.upper_bound(from);
        if (block == blocks_.begin()) {
            return false;
        }
        --block;
        if (!block->second.readable || from - block->first > block->second.bytes ||
            bytes > block->second.bytes - (from - block->first)) {
            return false;
        }
        std::memcpy(to, reinterpret_cast<const void*>(from), bytes);
        return true;
    }

private:
    struct Block {
        std::unique_ptr<Address[]> memory;
        std::size_t bytes;
        bool readable;
    };
    std::map<Address, Block> blocks_;
};

// A `Memory` over it that counts, and that refuses to go on for ever.
struct Memory {
    static constexpr std::size_t kPatience = 200'000;

    const Heap* heap;
    std::size_t* loads;
    const std::function<void(std::size_t)>* before_load;

    bool load(Address address, Address& value) const noexcept {
        return copy(address, &value, sizeof value);
    }
    bool copy(Address address, void* target, std::size_t bytes) const noexcept {
        if (*before_load) {
            (*before_load)(*loads);
        }
        return ++*loads < kPatience && heap->read(address, target, bytes);
    }
};

struct Seen {
    interpreter::WalkEnd end = interpreter::WalkEnd::complete;
    std::vector<interpreter::PyFrameRecord> frames;
    int collecting = 0;  // as in WalkResult
    int collecting_at = 0;

    std::vector<Address> codes() const {
        std::vector<Address> result;
        for (const auto& frame : frames) {
            if (frame.code != 0) {
                result.push_back(frame.code);
            }
        }
        return result;
    }
    std::vector<bool> entries() const {
        std::vector<bool> result;
        for (const auto& frame : frames) {
            result.push_back((frame.flags & interpreter::PyFrameRecord::kEntry) != 0);
        }
        return result;
    }
};

// One store of the interpreter's.
class Store {
public:
    template <class T, class Value>
    Store(T* where, Value value) : where_(where), bytes_(sizeof(T)) {
        const T converted = (T)value;  // NOLINT: whatever the field is in this version
        std::memcpy(value_, &converted, sizeof(T));
    }
    void make() {
        std::memcpy(old_, where_, bytes_);
        std::memcpy(where_, value_, bytes_);
    }
    void undo() { std::memcpy(where_, old_, bytes_); }

private:
    void* where_;
    std::size_t bytes_;
    char value_[sizeof(Address)];
    char old_[sizeof(Address)];
};
using Stores = std::vector<Store>;

constexpr bool kFrameObjects = PY_VERSION_HEX < 0x030B0000;  // a chain of them, one call each
constexpr bool kShims = PY_VERSION_HEX >= 0x030C0000;
constexpr bool kCFrames = PY_VERSION_HEX >= 0x030B0000 && PY_VERSION_HEX < 0x030D0000;
constexpr bool kInstructionPointer = PY_VERSION_HEX >= 0x030D0000;
constexpr bool kBaseFrame = PY_VERSION_HEX >= 0x030F0000;
#if defined(Py_GIL_DISABLED) && PY_VERSION_HEX >= 0x030E0000
constexpr bool kOwnBytecode = true;
#else
constexpr bool kOwnBytecode = false;
#endif

#if PY_VERSION_HEX < 0x030B0000
using Frame = PyFrameObject;
#else
using Frame = _PyInterpreterFrame;
#endif

struct Code {
    PyCodeObject* object;
    std::size_t words;  // length of its frames
    Address start;      // of the bytecode

    operator Address() const { return address_of(object); }
};

class Interpreter {
public:
    Interpreter() : main(heap.make<PyInterpreterState>(64)), thread(new_thread_state(main)) {
        interpreter::main_interpreter.state = main;
        stand_in_ = new_code();
        interpreter::main_interpreter.stand_in = stand_in_;
#if PY_VERSION_HEX >= 0x030B0000
        constexpr std::size_t words = 4096;
        auto* chunk = heap.make<_PyStackChunk>(words * sizeof(Address));
        thread->datastack_chunk = chunk;
        thread->datastack_top = &chunk->data[0];
        thread->datastack_limit = reinterpret_cast<PyObject**>(chunk) + words;
#endif
#if PY_VERSION_HEX >= 0x030B0000 && PY_VERSION_HEX < 0x030D0000
        thread->cframe = &thread->root_cframe;
#elif PY_VERSION_HEX >= 0x030F0000
        auto* base = heap.make<Frame>();
        base->owner = FRAME_OWNED_BY_INTERPRETER;
        set_code(base, address_of(Py_None));
        thread->base_frame = base;
        thread->current_frame = base;
#endif
    }

    // `traceable`: instructions before the first that may be seen.
    Code new_code(std::size_t words = 20, int traceable = 0) {
        constexpr std::size_t bytecode = 512;
        auto* code = heap.make<PyCodeObject>(sizeof(PyCodeObject) + bytecode);
        reinterpret_cast<PyObject*>(code)->ob_type = &PyCode_Type;
        Address start = 0;
        static_cast<void>(traceable);
#if PY_VERSION_HEX >= 0x030B0000
        start = address_of(code) + offsetof(PyCodeObject, co_code_adaptive);
        code->_co_firsttraceable = traceable;
#if PY_VERSION_HEX >= 0x030C0000
        code->co_framesize = static_cast<int>(words);
#else
        code->co_nlocalsplus = 3;
        code->co_stacksize = static_cast<int>(words) - 3 - FRAME_SPECIALS_SIZE;
#endif
#endif
#if defined(Py_GIL_DISABLED) && PY_VERSION_HEX >= 0x030E0000
        code->co_tlbc = heap.make<_PyCodeArray>(sizeof(_PyCodeArray) + 2 * sizeof(char*));
        code->co_tlbc->size = 2;
        code->co_tlbc->entries[0] = reinterpret_cast<char*>(start);
        code->co_tlbc->entries[1] = heap.make<char>(bytecode);
        start = address_of(code->co_tlbc->entries[1]);
#endif
        return {code, words, start};
    }

    PyThreadState* new_thread_state(PyInterpreterState* of, unsigned long ident = 0x7000,
                                    unsigned long native_id = 70) {
        // Some versions' real ones are longer than the public part.
        auto* state = heap.make<PyThreadState>(sizeof(PyThreadState) + 64);
        state->interp = of;
        state->thread_id = ident;
        static_cast<void>(native_id);
#if PY_VERSION_HEX >= 0x030B0000
        state->native_thread_id = native_id;
#endif
        return state;
    }

    // --- frames, by the stores that link them. Each returns what is still to be stored.

    // Where the interpreter keeps the innermost frame at the moment.
    Frame** current() const {
#if PY_VERSION_HEX >= 0x030D0000
        return &thread->current_frame;
#elif PY_VERSION_HEX >= 0x030B0000
        return &thread->cframe->current_frame;
#else
        return &thread->frame;
#endif
    }

    static void set_code(Frame* frame, Address code) { Store(code_of(frame), code).make(); }

#if PY_VERSION_HEX >= 0x030E0000
    static uintptr_t* code_of(Frame* frame) { return &frame->f_executable.bits; }
    static _Py_CODEUNIT** instruction_of(Frame* frame) { return &frame->instr_ptr; }
#elif PY_VERSION_HEX >= 0x030D0000
    static PyObject** code_of(Frame* frame) { return &frame->f_executable; }
    static _Py_CODEUNIT** instruction_of(Frame* frame) { return &frame->instr_ptr; }
#elif PY_VERSION_HEX >= 0x030B0000
    static PyCodeObject** code_of(Frame* frame) { return &frame->f_code; }
    static _Py_CODEUNIT** instruction_of(Frame* frame) { return &frame->prev_instr; }
#else
    static PyCodeObject** code_of(Frame* frame) { return &frame->f_code; }
#endif

#if PY_VERSION_HEX >= 0x030B0000
    static Frame** previous_of(Frame* frame) { return &frame->previous; }
    static constexpr long kFresh = kInstructionPointer ? 0 : -2;

    static Store at(Frame* frame, const Code& code, long offset) {
        return {instruction_of(frame), code.start + static_cast<Address>(offset)};
    }

    Frame* next_place() const { return reinterpret_cast<Frame*>(thread->datastack_top); }

    // Everything about a new frame but its links. In the data stack, where the thread owns it.
    Stores set_up(Frame* frame, const Code& code, char owner) {
        Stores stores;
        if (owner == FRAME_OWNED_BY_THREAD) {
            stores.emplace_back(&thread->datastack_top, thread->datastack_top + code.words);
        }
        stores.emplace_back(code_of(frame), address_of(code.object));
        stores.push_back(at(frame, code, kFresh));
#if PY_VERSION_HEX < 0x030C0000
        stores.emplace_back(&frame->is_entry, false);
#endif
#if defined(Py_GIL_DISABLED) && PY_VERSION_HEX >= 0x030E0000
        stores.emplace_back(&frame->tlbc_index, 1);
#endif
        stores.emplace_back(&frame->owner, owner);
        return stores;
    }

    // Python calls Python.
    Stores call(const Code& code, long offset = 4) {
        Frame* frame = next_place();
        Stores stores = set_up(frame, code, FRAME_OWNED_BY_THREAD);
        stores.emplace_back(previous_of(frame), *current());
        stores.emplace_back(current(), frame);
        stores.push_back(at(frame, code, offset));
        return stores;
    }

    // Where the frame that is on its way lies, and what it runs. C calls the eval loop with it.
    Stores enter(const Code& code, long offset = 4) {
        Frame* frame = next_place();
        Stores stores = set_up(frame, code, FRAME_OWNED_BY_THREAD);
        for (const Store& store : enter_with(frame)) {
            stores.push_back(store);
        }
        stores.push_back(at(frame, code, offset));
        return stores;
    }

    Stores enter_with(Frame* frame) {
        Stores stores;
        Frame** slot = current();
#if PY_VERSION_HEX < 0x030D0000
        // Whatever was on the C stack before.
        auto* cframe = heap.make<_PyCFrame>();
        cframe->current_frame = c_stack_rubbish;
        stores.emplace_back(&cframe->previous, thread->cframe);
        stores.emplace_back(&thread->cframe, cframe);
        slot = &cframe->current_frame;
#endif
        Frame* caller = *current();
#if PY_VERSION_HEX < 0x030C0000
        stores.emplace_back(&frame->is_entry, true);
        stores.emplace_back(previous_of(frame), caller);
#else
        auto* shim = heap.make<Frame>();
        // What a frame of Python code left on the C stack.
        set_code(shim, stand_in_);
        shim->owner = FRAME_OWNED_BY_THREAD;
#if PY_VERSION_HEX >= 0x030D0000
        stores.emplace_back(code_of(shim), address_of(Py_None));
#endif
#if PY_VERSION_HEX >= 0x030E0000
        stores.emplace_back(&shim->owner, FRAME_OWNED_BY_INTERPRETER);
#else
        stores.emplace_back(&shim->owner, FRAME_OWNED_BY_CSTACK);
#endif
        stores.emplace_back(previous_of(shim), caller);
        stores.emplace_back(previous_of(frame), shim);
#endif
        stores.emplace_back(slot, frame);
        return stores;
    }

    // The innermost frame returns to the Python frame that called it.
    Stores leave() {
        Frame* dying = *current();
        Stores stores;
#if PY_VERSION_HEX >= 0x030C0000
        stores.emplace_back(current(), dying->previous);
        stores.emplace_back(&thread->datastack_top, reinterpret_cast<PyObject**>(dying));
#else
        stores.emplace_back(&thread->datastack_top, reinterpret_cast<PyObject**>(dying));
        stores.emplace_back(current(), dying->previous);
#endif
        return stores;
    }

    // `new_generator` has run to `offset`; `resume` links it to the current frame.
    Frame* new_generator(const Code& code, long offset = 6) {
        auto* frame = heap.make<Frame>(sizeof(Frame) + code.words * sizeof(Address));
        make(set_up(frame, code, FRAME_OWNED_BY_GENERATOR));
        make({at(frame, code, offset)});
        return frame;
    }
    Stores resume(Frame* generator) {
        Stores stores;
        stores.emplace_back(previous_of(generator), *current());
        stores.emplace_back(current(), generator);
        return stores;
    }
    Stores suspend() {
        Frame* generator = *current();
        Frame* caller = generator->previous;
        Stores stores;
        stores.emplace_back(previous_of(generator), nullptr);
        stores.emplace_back(current(), caller);
        return stores;
    }

    Frame* c_stack_rubbish = nullptr;
#else
    static PyFrameObject** previous_of(Frame* frame) { return &frame->f_back; }

    Stores call(const Code& code, int offset = 4) {
        auto* frame = heap.make<PyFrameObject>();
        Stores stores;
        stores.emplace_back(code_of(frame), address_of(code.object));
        stores.emplace_back(&frame->f_lasti, offset / kUnit);
        stores.emplace_back(previous_of(frame), *current());
        stores.emplace_back(current(), frame);
        return stores;
    }
    Stores enter(const Code& code, int offset = 4) { return call(code, offset); }
    Stores leave() { return {Store(current(), (*current())->f_back)}; }

    static constexpr int kUnit = PY_VERSION_HEX >= 0x030A0000 ? 2 : 1;
#endif

    static void make(Stores stores) {
        for (Store& store : stores) {
            store.make();
        }
    }

    // --- what is made of it

    Memory memory() {
        loads = 0;
        return {&heap, &loads, &before_load};
    }

    Seen walk(std::size_t room = 64) {
        std::vector<interpreter::PyFrameRecord> frames(room + 1, {1, 1, 1});
        interpreter::ThreadView view;
        Seen seen;
        const Memory all = memory();
        if (!interpreter::read_thread(all, address_of(thread), view)) {
            seen.end = interpreter::WalkEnd::gone;
            return seen;
        }
        return take(interpreter::walk(all, view, frames.data(), room), frames);
    }

    static Seen take(const interpreter::WalkResult& result,
                     std::vector<interpreter::PyFrameRecord>& frames) {
        frames.resize(result.count);
        return {result.end, std::move(frames), result.collecting, result.collecting_at};
    }

    Heap heap;
    PyInterpreterState* main;
    PyThreadState* thread;
    std::size_t loads = 0;
    std::function<void(std::size_t)> before_load;

private:
    Code stand_in_{};
};

}  // namespace world
