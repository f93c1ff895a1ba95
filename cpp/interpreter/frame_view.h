// Reached from a visit of a thread. What walk.h and the layout headers tell each other about a
// thread and its frames, whatever the version. Memory is read through a `Memory` only:
//     load(address, value)          one machine word
//     copy(address, target, bytes)  whole words; `target` has room for them
// both of which return false where nothing can be read.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>

#include "interpreter/frame_record.h"
#include "interpreter/python_internals.h"

namespace spprof::interpreter {

// The fields of a thread state that a walk needs, read once. What a version does not have is 0.
struct ThreadView {
    std::uintptr_t interpreter = 0;
    std::uintptr_t innermost = 0;  // a frame, or in 3.11 and 3.12 a C frame that knows it
    // The newest piece of the thread's data stack, from 3.11 on.
    std::uintptr_t chunk_begin = 0, chunk_top = 0, chunk_end = 0;
    // Where every chain ends in the thread state itself: with a C frame in 3.11 and 3.12, a frame
    // in 3.15.
    std::uintptr_t base = 0;
    // Where the thread is collecting garbage: the frame that it did so in (0: none), and which
    // generation, counted from 1.
    std::uintptr_t collecting_frame = 0;
    std::uint8_t collecting = 0;
};

enum class FrameRole : std::uint8_t {
    python,      // a frame of Python code
    incomplete,  // Python code that has not begun to run
    shim,        // marks where the eval loop was called from C
};

struct FrameView {
    std::uintptr_t code = 0;
    std::uintptr_t previous = 0;
    std::uint32_t offset = 0;
    FrameRole role = FrameRole::python;
    bool entry = false;
    bool fresh = false;  // linked in, but not known to have run an instruction
    bool generator = false;
    bool cut = false;  // the interpreter itself does not know the caller at the moment
};

// What is to be made of the innermost frame.
enum class Link : std::uint8_t {
    sound,
    dying,  // it was left already: its caller is the innermost one
    torn,
};

// Fields that are shorter than a machine word are read with what follows them in their struct.
template <class Memory, class Field>
bool load_field(const Memory& memory, std::uintptr_t address, Field& field) noexcept {
    static_assert(sizeof(Field) <= sizeof(std::uintptr_t), "one word at most");
    std::uintptr_t word = 0;
    if (!memory.load(address, word)) {
        return false;
    }
    std::memcpy(&field, &word, sizeof field);  // little-endian, as everything we run on
    return true;
}

template <class Memory>
bool is_code(const Memory& memory, std::uintptr_t address) noexcept {
    std::uintptr_t type = 0;
    return address != 0 && (address & (sizeof(void*) - 1)) == 0 &&
           memory.load(address + offsetof(PyObject, ob_type), type) &&
           type == reinterpret_cast<std::uintptr_t>(&PyCode_Type);
}

}  // namespace spprof::interpreter
