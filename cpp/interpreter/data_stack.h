// Reached from a visit of a thread. What CPython 3.11 and later have in common: interpreter frames
// that lie end to end in the thread's data stack, with generators' frames in the heap. `Version`
// says what differs:
//     read_thread(memory, thread, view)   the innermost frame, or what leads to it
//     kAttempts, first(memory, view, attempt, frame)   where the innermost frame is found
//     called_from(memory, view, attempt, caller)   may the innermost call of the eval loop have
//     come
//                            from the frame `caller`?
//     kFirstIsCertain        that is a frame, if perhaps one that is just being popped
//     code(frame)            address of what the frame executes
//     bytecode(memory, frame, code, start)   where its instructions begin
//     next(frame)            address of the instruction that stands for where the frame is
//     kFreshOffset           offset of a frame that was made but has not run
//     words(memory, code, words)   length of a frame in machine words
//     shim(frame)            the frame only marks a call of the eval loop from C
//     bottom(thread, frame)  a shim that no C call stands for
//     entry(frame)           the mark is on the frame itself
#pragma once

#include "interpreter/frame_view.h"

namespace spprof::interpreter {

// Where instructions begin unless a version says otherwise.
struct OneBytecode {
    template <class Memory>
    static bool bytecode(const Memory&, const _PyInterpreterFrame&, std::uintptr_t code,
                         std::uintptr_t& start) noexcept {
        start = code + offsetof(PyCodeObject, co_code_adaptive);
        return true;
    }
};

template <class Version>
struct DataStackLayout {
    static constexpr int kAttempts = Version::kAttempts;
    static constexpr std::size_t kSpecials = offsetof(_PyInterpreterFrame, localsplus);

    static constexpr auto kCodeUnit = static_cast<std::int64_t>(sizeof(std::uint16_t));

    // Room for a copy of a frame without its locals, which may end with the page.
    union Copy {
        _PyInterpreterFrame frame;
        char bytes[sizeof(_PyInterpreterFrame)];
        Copy() noexcept {}

        template <class Memory>
        bool take(const Memory& memory, std::uintptr_t address) noexcept {
            static_assert(kSpecials % sizeof(std::uintptr_t) == 0, "copied word by word");
            return memory.copy(address, bytes, kSpecials);
        }
    };

    template <class Memory>
    static bool read_thread(const Memory& memory, std::uintptr_t thread,
                            ThreadView& view) noexcept {
        return Version::read_thread(memory, thread, view) &&
               memory.load(thread + offsetof(PyThreadState, datastack_chunk), view.chunk_begin) &&
               memory.load(thread + offsetof(PyThreadState, datastack_top), view.chunk_top) &&
               memory.load(thread + offsetof(PyThreadState, datastack_limit), view.chunk_end);
    }

    template <class Memory>
    static bool first(const Memory& memory, const ThreadView& thread, int attempt,
                      std::uintptr_t& frame) noexcept {
        return Version::first(memory, thread, attempt, frame);
    }

    template <class Memory>
    static bool called_from(const Memory& memory, const ThreadView& thread, int attempt,
                            std::uintptr_t caller) noexcept {
        return Version::called_from(memory, thread, attempt, caller);
    }

    template <class Memory>
    static bool read(const Memory& memory, const ThreadView& thread, std::uintptr_t address,
                     FrameView& view) noexcept {
        Copy copy;
        if (!copy.take(memory, address)) {
            return false;
        }
        const _PyInterpreterFrame& frame = copy.frame;
        view.previous = reinterpret_cast<std::uintptr_t>(frame.previous);
        if (Version::shim(frame)) {
            view.role = FrameRole::shim;
            view.entry = !Version::bottom(thread, address);
            return true;
        }
        view.code = Version::code(frame);
        view.entry = Version::entry(frame);
        std::uintptr_t start = 0;
        int first_traceable = 0;
        if (!Version::bytecode(memory, frame, view.code, start) ||
            !load_field(memory, view.code + offsetof(PyCodeObject, _co_firsttraceable),
                        first_traceable)) {
            return false;
        }
        const auto traceable = first_traceable * kCodeUnit;
        const auto offset = static_cast<std::int64_t>(Version::next(frame) - start);
        if (offset > 0x7FFFFFFF || offset < -kCodeUnit) {
            return false;
        }
        view.offset = offset < 0 ? PyFrameRecord::kNotStarted : static_cast<std::uint32_t>(offset);
        view.generator = frame.owner == FRAME_OWNED_BY_GENERATOR;
        view.fresh = !view.generator && offset <= Version::kFreshOffset;
        view.role =
            !view.generator && offset < traceable ? FrameRole::incomplete : FrameRole::python;
        return true;
    }

    // The moments at which the innermost frame is not what it seems:
    //  - pushed, not run yet: the compiler may swap the two stores that link it, so that its caller
    //    is a stale one. Frames lie end to end: the caller must end where this one begins.
    //  - popped, but still the current one: it is left out, and its caller counts.
    // A generator that is being resumed or suspended has no caller for an instruction or two: such
    // a chain does not end where C called the eval loop, or not where that call came from.
    template <class Memory>
    static Link link(const Memory& memory, const ThreadView& thread, int attempt,
                     std::uintptr_t frame, const FrameView& view) noexcept {
        if (attempt > 0) {
            return entered_from(memory, thread, frame) ? Link::sound : Link::torn;
        }
        if (view.role == FrameRole::shim || view.generator) {
            return Link::sound;
        }
        if (!in_chunk(thread, frame)) {
            return Link::sound;  // the newest chunk has nothing but a frame that is not linked yet
        }
        const bool popped = frame + kSpecials > thread.chunk_top;
        if (popped && frame != thread.chunk_top) {
            return Link::torn;
        }
        if (popped && Version::kFirstIsCertain) {
            return Link::dying;
        }
        if (!popped && !view.fresh && view.role != FrameRole::incomplete) {
            return Link::sound;
        }
        std::uintptr_t caller = view.previous;
        for (int detour = 0; caller != 0 && detour < kLongestDetour; ++detour) {
            Copy copy;
            if (!copy.take(memory, caller)) {
                return Link::torn;
            }
            if (in_chunk(thread, caller)) {
                std::uintptr_t words = 0;
                const bool adjacent = Version::words(memory, Version::code(copy.frame), words) &&
                                      caller + words * sizeof(PyObject*) == frame;
                return !adjacent ? Link::torn : popped ? Link::dying : Link::sound;
            }
            // Generators and shims do not lie in the data stack: the frame beyond them counts. What
            // a popped frame says of them is not to be trusted.
            if (popped) {
                return Link::torn;
            }
            if (!Version::shim(copy.frame) && copy.frame.owner != FRAME_OWNED_BY_GENERATOR) {
                return Link::sound;  // in the chunk before this one
            }
            caller = reinterpret_cast<std::uintptr_t>(copy.frame.previous);
        }
        return popped ? Link::torn : Link::sound;
    }

private:
    static constexpr int kLongestDetour = 64;

    static bool in_chunk(const ThreadView& thread, std::uintptr_t address) noexcept {
        return address >= thread.chunk_begin && address < thread.chunk_end;
    }

    // Was the eval loop just entered from `frame`, with the new frame pushed but not found yet?
    // Then the new one lies behind it, has not run, and nothing is behind that.
    template <class Memory>
    static bool entered_from(const Memory& memory, const ThreadView& thread,
                             std::uintptr_t frame) noexcept {
        Copy copy;
        std::uintptr_t words = 0;
        if (!in_chunk(thread, frame) || !copy.take(memory, frame) ||
            copy.frame.owner == FRAME_OWNED_BY_GENERATOR ||
            !Version::words(memory, Version::code(copy.frame), words)) {
            return false;
        }
        const std::uintptr_t entered = frame + words * sizeof(PyObject*);
        FrameView view;
        return entered + kSpecials <= thread.chunk_top && read(memory, thread, entered, view) &&
               view.fresh && is_code(memory, view.code) &&
               Version::words(memory, view.code, words) &&
               entered + words * sizeof(PyObject*) == thread.chunk_top;
    }
};

template <class Memory>
bool load_int(const Memory& memory, std::uintptr_t address, std::uintptr_t& value) noexcept {
    int field = 0;
    if (!load_field(memory, address, field)) {
        return false;
    }
    value = static_cast<std::uintptr_t>(field);
    return true;
}

}  // namespace spprof::interpreter
