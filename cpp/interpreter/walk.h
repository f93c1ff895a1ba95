// Reached from the signal handler. Walks the Python frames of the calling thread, innermost first.
// Knows CPython's frame chain through the one layout header that fits the interpreter it is built
// for; knows neither signals nor the OS: memory is read through the `Memory` it is given.
//
// A layout header (frames_3_XX.h) defines `struct Layout` with
//     kAttempts                        ways to find the innermost frame
//     first(memory, thread, attempt, frame)   the innermost frame; a further attempt is made where
//                                             the stack that the first one led to was torn
//     read(memory, thread, frame, view)       one frame and its `previous`
//     link(memory, thread, attempt, frame, view)   may the innermost frame's link be trusted?
// The first two are false where memory could not be read or makes no sense.
#pragma once

#include <cstddef>
#include <cstdint>

#include "interpreter/main_interpreter.h"
#include "interpreter/python_internals.h"

namespace spprof::interpreter {

// What the handler records of one Python frame.
struct PyFrameRecord {
    std::uintptr_t code;   // PyCodeObject*, an opaque key to everybody else; 0: a hidden frame
    std::uint32_t offset;  // bytes from the start of the bytecode; kNotStarted before the first
    std::uint32_t flags;

    // A new C call of the eval loop begins with this frame: the next one out was on the C stack.
    static constexpr std::uint32_t kEntry = 1;
    static constexpr std::uint32_t kNotStarted = 0xFFFFFFFFu;
};

enum class WalkEnd : std::uint8_t {
    complete,
    truncated,  // more frames than there was room for, or than the interpreter knows of
    torn,       // the chain could not be trusted: drop the sample
};

struct WalkResult {
    std::size_t count = 0;
    WalkEnd end = WalkEnd::complete;
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

template <class Memory>
bool is_code(const Memory& memory, std::uintptr_t address) noexcept {
    std::uintptr_t type = 0;
    return address != 0 && (address & (sizeof(void*) - 1)) == 0 &&
           memory.load(address + offsetof(PyObject, ob_type), type) &&
           type == reinterpret_cast<std::uintptr_t>(&PyCode_Type);
}

}  // namespace spprof::interpreter

#if PY_VERSION_HEX >= 0x03100000 || PY_VERSION_HEX < 0x03090000
#error "spprof: no frame layout for this version of CPython (see cpp/interpreter/walk.h)"
#elif PY_VERSION_HEX >= 0x030E0000
#include "interpreter/frames_3_14.h"
#elif PY_VERSION_HEX >= 0x030D0000
#include "interpreter/frames_3_13.h"
#elif PY_VERSION_HEX >= 0x030C0000
#include "interpreter/frames_3_12.h"
#elif PY_VERSION_HEX >= 0x030B0000
#include "interpreter/frames_3_11.h"
#else
#include "interpreter/frames_3_09.h"
#endif

namespace spprof::interpreter {

// The thread state of the calling thread: the one that is running, or, while the thread has let go
// of the interpreter, the one it will come back with. nullptr: not a Python thread. Only makes the
// calls that faulthandler makes in a signal handler, too.
inline PyThreadState* current_thread_state() noexcept {
    // First, and alone where it says no: the other call may touch thread-local storage that a
    // thread without Python has never had allocated.
    PyThreadState* own = PyGILState_GetThisThreadState();
#if PY_VERSION_HEX >= 0x030C0000
    // Perhaps in another interpreter than the one that the thread was born in. Before 3.12 this is
    // whoever holds the GIL: there, the call into the other interpreter is what is seen.
    if (own != nullptr) {
        if (PyThreadState* attached = unchecked_thread_state()) {
            return attached;
        }
    }
#endif
    return own;
}

namespace detail {

template <class Memory>
WalkResult walk_once(const Memory& memory, PyThreadState* thread, int attempt, PyFrameRecord* out,
                     std::size_t room) noexcept {
    WalkResult result;
    std::uintptr_t frame = 0;
    if (!Layout::first(memory, thread, attempt, frame)) {
        result.end = WalkEnd::torn;
        return result;
    }
    std::uintptr_t last_code = 0;
    bool innermost = true;
    bool visible = false;
    FrameView view;
    while (frame != 0) {
        view = {};
        if (!Layout::read(memory, thread, frame, view)) {
            result.end = WalkEnd::torn;
            return result;
        }
        if (innermost) {
            innermost = false;
            const Link link = Layout::link(memory, thread, attempt, frame, view);
            if (link == Link::torn) {
                result.end = WalkEnd::torn;
                return result;
            }
            if (link == Link::dying) {
                // Its code may be gone by now.
                view.role = FrameRole::incomplete;
                view.code = last_code;
            }
        }
        if (view.role != FrameRole::shim && view.code != last_code) {
            if (!is_code(memory, view.code)) {
                result.end = WalkEnd::torn;
                return result;
            }
            last_code = view.code;
        }
        if (view.role == FrameRole::python) {
            if (result.count == room) {
                result.end = WalkEnd::truncated;
                return result;
            }
            out[result.count++] = {view.code, view.offset, view.entry ? PyFrameRecord::kEntry : 0u};
            visible = true;
        } else if (view.entry) {
            // The mark belongs to the frame that came before; a hidden record carries it where no
            // visible frame has run yet.
            if (result.count > 0 && (out[result.count - 1].flags & PyFrameRecord::kEntry) == 0) {
                out[result.count - 1].flags |= PyFrameRecord::kEntry;
            } else if (result.count == room) {
                result.end = WalkEnd::truncated;
                return result;
            } else {
                out[result.count++] = {0, 0, PyFrameRecord::kEntry};
            }
        }
        frame = view.previous;
    }
    if (view.cut) {
        result.end = WalkEnd::truncated;
    } else if (!innermost && (!visible || (!view.entry && view.role != FrameRole::shim))) {
        // C code called the eval loop at the bottom of every stack, and for a function. No frame at
        // all is another matter: the thread is not in Python.
        result.end = WalkEnd::torn;
    }
    return result;
}

}  // namespace detail

template <class Memory>
WalkResult walk(const Memory& memory, PyThreadState* thread, PyFrameRecord* out,
                std::size_t room) noexcept {
    WalkResult result;
    if (main_interpreter.must_not_show(thread)) {
        out[0] = {main_interpreter.stand_in, PyFrameRecord::kNotStarted, PyFrameRecord::kEntry};
        result.count = 1;
        return result;
    }
    result = detail::walk_once(memory, thread, 0, out, room);
    for (int attempt = 1; attempt < Layout::kAttempts && result.end == WalkEnd::torn; ++attempt) {
        const WalkResult other = detail::walk_once(memory, thread, attempt, out, room);
        if (other.end != WalkEnd::torn && other.count > 0) {
            result = other;
        }
    }
    return result;
}

}  // namespace spprof::interpreter
