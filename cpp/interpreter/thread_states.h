// Reached from a visit of a thread. Reads thread states that belong to other threads, or did:
// nothing is dereferenced but through the `Memory` that is given (frame_view.h). python_thread.h is
// the face of it.
#pragma once

#include "interpreter/python_thread.h"
#include "interpreter/walk.h"

namespace spprof::interpreter {

struct ThreadIdentity {
    std::uintptr_t ident = 0;
    std::int32_t native_id = 0;

    // Zero stands for anybody.
    bool fits(std::uintptr_t wanted_ident, std::int32_t wanted_native_id) const noexcept {
        return (wanted_ident == 0 || ident == wanted_ident) &&
               (wanted_native_id == 0 || native_id == 0 || native_id == wanted_native_id);
    }
};

template <class Memory>
bool read_identity(const Memory& memory, std::uintptr_t thread, ThreadIdentity& identity) noexcept {
    unsigned long ident = 0;
    if (!load_field(memory, thread + offsetof(PyThreadState, thread_id), ident)) {
        return false;
    }
    identity.ident = ident;
#if PY_VERSION_HEX >= 0x030B0000
    unsigned long native_id = 0;
    if (!load_field(memory, thread + offsetof(PyThreadState, native_thread_id), native_id)) {
        return false;
    }
    identity.native_id = static_cast<std::int32_t>(native_id);
#endif
    return true;
}

// Compared before and after: what was freed and used again in between is not believed either.
template <class Memory>
WalkResult walk_foreign(const Memory& memory, std::uintptr_t thread, std::uintptr_t ident,
                        std::int32_t native_id, PyFrameRecord* out, std::size_t room) noexcept {
    const auto is_theirs = [&]() noexcept {
        ThreadIdentity identity;
        return thread != 0 && read_identity(memory, thread, identity) &&
               identity.fits(ident, native_id);
    };
    WalkResult result;
    ThreadView view;
    if (!is_theirs() || !read_thread(memory, thread, view)) {
        result.end = WalkEnd::gone;
        return result;
    }
    result = walk(memory, view, out, room);
    if (!is_theirs()) {
        result = {};
        result.end = WalkEnd::gone;
    }
    return result;
}

// From 3.12 on a thread state says so itself: the first that is attached to its interpreter holds
// that one's GIL, and later versions have a field of its own for it. Before that one global tells.
template <class Memory>
GilHolding gil_of(const Memory& memory, std::uintptr_t thread) noexcept {
#ifdef Py_GIL_DISABLED
    static_cast<void>(memory);
    static_cast<void>(thread);
    return GilHolding::unknown;
#else
    bool held = false;
#if PY_VERSION_HEX >= 0x030E0000
    decltype(PyThreadState::holds_gil) holds = 0;
    if (!load_field(memory, thread + offsetof(PyThreadState, holds_gil), holds)) {
        return GilHolding::unknown;
    }
    held = holds != 0;
#elif PY_VERSION_HEX >= 0x030C0000
    decltype(PyThreadState::_status) status;
    if (!load_field(memory, thread + offsetof(PyThreadState, _status), status)) {
        return GilHolding::unknown;
    }
#if PY_VERSION_HEX >= 0x030D0000
    held = status.holds_gil;
#else
    held = status.active;
#endif
#else
    static_cast<void>(memory);
    held = unchecked_thread_state() == reinterpret_cast<PyThreadState*>(thread);
#endif
    return held ? GilHolding::held : GilHolding::not_held;
#endif
}

// Ends where the list does not look like one any more: at a state of another interpreter (freed and
// used again), at what cannot be read, where it leads in circles, and when `out` is full.
template <class Memory>
std::size_t list_states(const Memory& memory, std::uintptr_t head, ThreadStateEntry* out,
                        std::size_t room) noexcept {
    std::size_t count = 0;
    detail::CircleWatch circle;
    for (std::uintptr_t thread = head; thread != 0 && count < room; ++count) {
        ThreadIdentity identity;
        std::uintptr_t interpreter = 0, next = 0;
        if (circle.closes(thread) ||
            !memory.load(thread + offsetof(PyThreadState, interp), interpreter) ||
            interpreter != reinterpret_cast<std::uintptr_t>(main_interpreter.state) ||
            !read_identity(memory, thread, identity) ||
            !memory.load(thread + offsetof(PyThreadState, next), next)) {
            break;
        }
        out[count] = {reinterpret_cast<ThreadState*>(thread), identity.ident, identity.native_id};
        thread = next;
    }
    return count;
}

}  // namespace spprof::interpreter
