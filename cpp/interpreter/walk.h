// Reached from the signal handler. Walks the Python frames of the calling thread, innermost first.
// Knows CPython's frame chain through the one layout header that fits the interpreter it is built
// for; knows neither signals nor the OS: memory is read through the `Memory` it is given.
//
// A layout header (frames_3_XX.h) defines `struct Layout` with
//     template <class M> static bool first(const M&, PyThreadState*, int attempt, uintptr_t& frame)
//         the innermost frame; attempt 1 is asked for when the stack of attempt 0 was torn
//     template <class M> static Step read(const M&, PyThreadState*, uintptr_t frame, FrameView&)
//         one frame and its `previous`
//     template <class M> static bool linked(...)   is the link from a frame that has not run yet to
//         its caller plausible? (the compiler may reorder the stores that link a new frame)
#pragma once

#include "interpreter/python_internals.h"

#include <cstddef>
#include <cstdint>

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
    truncated,  // more frames than there was room for
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
};

}  // namespace spprof::interpreter

#if PY_VERSION_HEX >= 0x030B0000 && PY_VERSION_HEX < 0x030C0000
#include "interpreter/frames_3_11.h"
#else
#error "spprof: no frame layout for this version of CPython (see cpp/interpreter/walk.h)"
#endif

namespace spprof::interpreter {

// The thread state of the calling thread: the one that is running, or, while the thread has let go
// of the interpreter, the one it will come back with. nullptr: not a Python thread. Only makes the
// calls that faulthandler makes in a signal handler, too.
template <class Memory>
PyThreadState* current_thread_state(const Memory& memory) noexcept {
    PyThreadState* attached = unchecked_thread_state();
    PyThreadState* own = PyGILState_GetThisThreadState();
    if (attached == nullptr || attached == own) {
        return own;
    }
    // Until 3.11 "attached" is whoever holds the GIL, perhaps another thread. From 3.12 on it is
    // this thread's, perhaps in another interpreter than its GILState one.
    std::uintptr_t id = 0;
    const auto address =
        reinterpret_cast<std::uintptr_t>(attached) + offsetof(PyThreadState, thread_id);
    if (memory.load(address, id) && id == PyThread_get_thread_ident()) {
        return attached;
    }
    return own;
}

template <class Memory>
bool is_code(const Memory& memory, std::uintptr_t address) noexcept {
    std::uintptr_t type = 0;
    return address != 0 && (address & (sizeof(void*) - 1)) == 0 &&
           memory.load(address + offsetof(PyObject, ob_type), type) &&
           type == reinterpret_cast<std::uintptr_t>(&PyCode_Type);
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
    while (frame != 0) {
        FrameView view;
        if (!Layout::read(memory, thread, frame, view)) {
            result.end = WalkEnd::torn;
            return result;
        }
        if (view.role != FrameRole::shim && view.code != last_code) {
            if (!is_code(memory, view.code)) {
                result.end = WalkEnd::torn;
                return result;
            }
            last_code = view.code;
        }
        if (innermost && !Layout::linked(memory, thread, frame, view)) {
            result.end = WalkEnd::torn;
            return result;
        }
        innermost = false;
        if (view.role == FrameRole::python) {
            if (result.count == room) {
                result.end = WalkEnd::truncated;
                return result;
            }
            out[result.count++] = {view.code, view.offset,
                                   view.entry ? PyFrameRecord::kEntry : 0u};
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
    return result;
}

}  // namespace detail

template <class Memory>
WalkResult walk(const Memory& memory, PyThreadState* thread, PyFrameRecord* out,
                std::size_t room) noexcept {
    WalkResult result;
    for (int attempt = 0; attempt < Layout::kAttempts; ++attempt) {
        result = detail::walk_once(memory, thread, attempt, out, room);
        if (result.end != WalkEnd::torn) {
            break;
        }
    }
    return result;
}

}  // namespace spprof::interpreter
