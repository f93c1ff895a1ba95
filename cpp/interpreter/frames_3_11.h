// Reached from the signal handler. CPython 3.11: _PyInterpreterFrame in the thread's data stack (or
// inside a generator), found through tstate->cframe; `is_entry` marks each call of the eval loop.
#pragma once

namespace spprof::interpreter {

struct Layout {
    // cframe->current_frame is set a few instructions after tstate->cframe: when it is not to be
    // trusted, the C frame before it tells the caller.
    static constexpr int kAttempts = 2;
    static constexpr std::size_t kSpecials = offsetof(_PyInterpreterFrame, localsplus);

    template <class Memory>
    static bool first(const Memory& memory, PyThreadState* thread, int attempt,
                      std::uintptr_t& frame) noexcept {
        auto cframe = reinterpret_cast<std::uintptr_t>(thread->cframe);
        for (; attempt > 0; --attempt) {
            if (!memory.load(cframe + offsetof(_PyCFrame, previous), cframe)) {
                return false;
            }
        }
        return cframe != 0 && memory.load(cframe + offsetof(_PyCFrame, current_frame), frame);
    }

    template <class Memory>
    static bool read(const Memory& memory, PyThreadState*, std::uintptr_t address,
                     FrameView& view) noexcept {
        // Room for the specials only: localsplus may end with the page.
        alignas(_PyInterpreterFrame) char buffer[sizeof(_PyInterpreterFrame)];
        if (!memory.copy(address, buffer, kSpecials)) {
            return false;
        }
        const auto* frame = reinterpret_cast<const _PyInterpreterFrame*>(buffer);
        view.code = reinterpret_cast<std::uintptr_t>(frame->f_code);
        view.previous = reinterpret_cast<std::uintptr_t>(frame->previous);
        view.entry = frame->is_entry;
        const auto first = view.code + offsetof(PyCodeObject, co_code_adaptive);
        const auto next = reinterpret_cast<std::uintptr_t>(frame->prev_instr);
        if (next < first) {
            view.offset = PyFrameRecord::kNotStarted;
            view.role = frame->owner == FRAME_OWNED_BY_GENERATOR ? FrameRole::python
                                                                 : FrameRole::incomplete;
            return true;
        }
        view.offset = static_cast<std::uint32_t>(next - first);
        std::uintptr_t word = 0;
        if (frame->owner == FRAME_OWNED_BY_GENERATOR) {
            view.role = FrameRole::python;
        } else if (memory.load(view.code + offsetof(PyCodeObject, _co_firsttraceable), word)) {
            const auto traceable = static_cast<std::uint32_t>(static_cast<int>(word));
            view.role = view.offset < traceable * sizeof(_Py_CODEUNIT) ? FrameRole::incomplete
                                                                       : FrameRole::python;
        } else {
            return false;
        }
        return true;
    }

    // A frame that has not run yet may be linked to a stale caller: the two stores that link it may
    // be swapped by the compiler. Frames lie end to end in the data stack, so the caller must be
    // the one that ends where this one begins.
    template <class Memory>
    static bool linked(const Memory& memory, PyThreadState* thread, std::uintptr_t frame,
                       const FrameView& view) noexcept {
        const auto chunk = reinterpret_cast<std::uintptr_t>(thread->datastack_chunk);
        const auto top = reinterpret_cast<std::uintptr_t>(thread->datastack_top);
        const auto limit = reinterpret_cast<std::uintptr_t>(thread->datastack_limit);
        const bool in_chunk = frame >= chunk && frame < limit;
        if (in_chunk && frame + kSpecials > top) {
            return false;  // a frame that was popped already
        }
        if (view.role != FrameRole::incomplete || !in_chunk) {
            return true;
        }
        std::uintptr_t caller = view.previous;
        // Generators' frames live in the heap: the nearest frame of the data stack counts.
        for (int depth = 0; caller != 0 && depth < 64; ++depth) {
            alignas(_PyInterpreterFrame) char buffer[sizeof(_PyInterpreterFrame)];
            if (!memory.copy(caller, buffer, kSpecials)) {
                return false;
            }
            const auto* frame_before = reinterpret_cast<const _PyInterpreterFrame*>(buffer);
            if (frame_before->owner == FRAME_OWNED_BY_GENERATOR) {
                caller = reinterpret_cast<std::uintptr_t>(frame_before->previous);
                continue;
            }
            const auto code = reinterpret_cast<std::uintptr_t>(frame_before->f_code);
            if (caller < chunk || caller >= limit) {
                return true;  // in the chunk before this one
            }
            std::uintptr_t locals = 0, stack = 0;
            if (!memory.load(code + offsetof(PyCodeObject, co_nlocalsplus), locals) ||
                !memory.load(code + offsetof(PyCodeObject, co_stacksize), stack)) {
                return false;
            }
            const auto words = static_cast<std::uintptr_t>(static_cast<int>(locals)) +
                               static_cast<std::uintptr_t>(static_cast<int>(stack)) +
                               FRAME_SPECIALS_SIZE;
            return caller + words * sizeof(PyObject*) == frame;
        }
        return true;
    }
};

}  // namespace spprof::interpreter
