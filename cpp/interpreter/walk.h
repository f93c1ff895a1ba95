// Reached from a visit of a thread. Walks the Python frames of a thread that stands still,
// innermost first. Knows CPython's frame chain through the one layout header that fits the
// interpreter it is built for; knows neither signals nor the OS, nor who stands still for whom:
// memory is read through the `Memory` it is given (frame_view.h).
//
// A layout header (frames_3_XX.h) defines `struct Layout` with
//     read_thread(memory, address, view)      what it needs of a thread state
//     kAttempts                               ways to find the innermost frame
//     first(memory, thread, attempt, frame)   the innermost frame; a further attempt is made where
//                                             the stack that the first one led to was torn
//     called_from(memory, thread, attempt, frame)   may the innermost call of the eval loop have
//     come
//                                             from that frame?
//     read(memory, thread, frame, view)       one frame and its `previous`
//     link(memory, thread, attempt, frame, view)   may the innermost frame's link be trusted?
// All but the last are false where memory could not be read or makes no sense.
#pragma once

#include <cstddef>
#include <cstdint>

#include "interpreter/collection.h"
#include "interpreter/frame_view.h"
#include "interpreter/main_interpreter.h"
#include "interpreter/python_internals.h"

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

// So a walk ends: of a chain that is in order, at most two frames a record yield none, because they
// have not begun to run (a finalizer may be called while a frame is being set up).
constexpr std::size_t most_silent_frames(std::size_t room) noexcept { return (room + 16) * 2; }

namespace detail {

// Finds out that a chain of addresses comes back to where it was: the mark is set anew after 1, 2,
// 4, 8... steps (Brent's way), and a circle meets it.
class CircleWatch {
public:
    bool closes(std::uintptr_t address) noexcept {
        if (address == mark_) {
            return true;
        }
        if (--until_next_ == 0) {
            mark_ = address;
            until_next_ = stretch_ *= 2;
        }
        return false;
    }

private:
    std::uintptr_t mark_ = 0;  // nothing is there
    std::size_t stretch_ = 1;
    std::size_t until_next_ = 1;
};

// Asked only of chains that were too long to be recorded: every step counts on the others.
template <class Memory>
bool leads_in_circles(const Memory& memory, const ThreadView& thread, std::uintptr_t frame,
                      std::size_t steps) noexcept {
    CircleWatch circle;
    FrameView view;
    for (; frame != 0 && steps > 0; --steps, frame = view.previous) {
        if (circle.closes(frame)) {
            return true;
        }
        if (!Layout::read(memory, thread, frame, view)) {
            return false;
        }
    }
    return false;
}

template <class Memory>
WalkResult walk_once(const Memory& memory, const ThreadView& thread, int attempt,
                     PyFrameRecord* out, std::size_t room) noexcept {
    // In registers, which a result that is returned by its address is not.
    std::size_t count = 0;
    std::size_t collecting_at = 0;
    const auto ended = [&count, &collecting_at](WalkEnd end) noexcept {
        WalkResult result;
        result.count = count;
        result.end = end;
        result.collecting_at = static_cast<std::uint16_t>(collecting_at);
        return result;
    };
    const auto torn = [&ended]() noexcept { return ended(WalkEnd::torn); };
    std::uintptr_t first = 0;
    const auto no_room = [&]() noexcept {
        return ended(leads_in_circles(memory, thread, first, 4 * room) ? WalkEnd::torn
                                                                       : WalkEnd::truncated);
    };
    if (!Layout::first(memory, thread, attempt, first)) {
        return torn();
    }
    if (first == 0 || first == thread.base) {
        return ended(WalkEnd::complete);  // not in Python
    }
    std::uintptr_t frame = first;
    std::uintptr_t last_code = 1;  // no object has an odd address
    bool innermost = true;
    bool in_first_call = true;
    bool visible = false;
    std::size_t silent = 0;
    FrameView view;
    do {
        view = {};
        if (!Layout::read(memory, thread, frame, view)) {
            return torn();
        }
        if (innermost) {
            innermost = false;
            const Link link = Layout::link(memory, thread, attempt, frame, view);
            if (link == Link::torn) {
                return torn();
            }
            if (link == Link::dying) {
                // Its code may be gone by now.
                view.role = FrameRole::incomplete;
                view.code = last_code;
            }
        }
        if (view.role != FrameRole::shim && view.code != last_code) {
            if (!is_code(memory, view.code)) {
                return torn();
            }
            last_code = view.code;
        }
        if (in_first_call && view.entry) {
            in_first_call = false;
            if (!Layout::called_from(memory, thread, attempt, view.previous)) {
                return torn();
            }
        }
        if (frame == thread.collecting_frame) {
            collecting_at = count;
        }
        if (view.role == FrameRole::python) {
            if (count == room) {
                return no_room();
            }
            out[count++] = {view.code, view.offset, view.entry ? PyFrameRecord::kEntry : 0u};
            visible = true;
        } else if (view.entry) {
            // The mark belongs to the frame that came before; a hidden record carries it where no
            // visible frame has run yet.
            if (count > 0 && (out[count - 1].flags & PyFrameRecord::kEntry) == 0) {
                out[count - 1].flags |= PyFrameRecord::kEntry;
            } else if (count == room) {
                return no_room();
            } else {
                out[count++] = {0, 0, PyFrameRecord::kEntry};
            }
        } else if (++silent > most_silent_frames(room)) {
            return torn();
        }
        frame = view.previous;
    } while (frame != 0);
    if (view.cut) {
        return ended(WalkEnd::truncated);
    }
    // C code called the eval loop at the bottom of every stack, and for a function.
    return ended(visible && (view.entry || view.role == FrameRole::shim) ? WalkEnd::complete
                                                                         : WalkEnd::torn);
}

}  // namespace detail

// The fields of the thread state at `address`. False where it cannot be read.
template <class Memory>
bool read_thread(const Memory& memory, std::uintptr_t address, ThreadView& view) noexcept {
    if (collection.thread.load(std::memory_order_acquire) == address) {
        view.collecting_frame = collection.frame;
        view.collecting = static_cast<std::uint8_t>(collection.generation + 1);
    }
    return memory.load(address + offsetof(PyThreadState, interp), view.interpreter) &&
           Layout::read_thread(memory, address, view);
}

template <class Memory>
WalkResult walk(const Memory& memory, const ThreadView& thread, PyFrameRecord* out,
                std::size_t room) noexcept {
    WalkResult result;
    if (main_interpreter.must_not_show(thread.interpreter)) {
        out[0] = {main_interpreter.stand_in, PyFrameRecord::kNotStarted, PyFrameRecord::kEntry};
        result.count = 1;
        return result;
    }
    result = detail::walk_once(memory, thread, 0, out, room);
    result.collecting = thread.collecting;
    for (int attempt = 1; attempt < Layout::kAttempts && result.end == WalkEnd::torn; ++attempt) {
        const WalkResult other = detail::walk_once(memory, thread, attempt, out, room);
        if (other.end != WalkEnd::torn && other.count > 0) {
            result = other;
            result.collecting = thread.collecting;
        }
    }
    return result;
}

}  // namespace spprof::interpreter
