// Reached from a visit of a thread. CPython 3.9 and 3.10: a chain of frame objects, one call of the
// eval loop each.
#pragma once

#include "interpreter/frame_view.h"

namespace spprof::interpreter {

struct Layout {
    static constexpr int kAttempts = 1;

    template <class Memory>
    static bool read_thread(const Memory& memory, std::uintptr_t thread,
                            ThreadView& view) noexcept {
        return memory.load(thread + offsetof(PyThreadState, frame), view.innermost);
    }

    template <class Memory>
    static bool first(const Memory&, const ThreadView& thread, int,
                      std::uintptr_t& frame) noexcept {
        frame = thread.innermost;
        return true;
    }

    template <class Memory>
    static bool called_from(const Memory&, const ThreadView&, int, std::uintptr_t) noexcept {
        return true;
    }

    template <class Memory>
    static bool read(const Memory& memory, const ThreadView&, std::uintptr_t address,
                     FrameView& view) noexcept {
        std::uintptr_t lasti = 0, generator = 0;
        if (!memory.load(address + offsetof(PyFrameObject, f_back), view.previous) ||
            !memory.load(address + offsetof(PyFrameObject, f_code), view.code) ||
            !memory.load(address + offsetof(PyFrameObject, f_lasti), lasti) ||
            !memory.load(address + offsetof(PyFrameObject, f_gen), generator)) {
            return false;
        }
        const int index = static_cast<int>(lasti);
        view.offset =
            index < 0 ? PyFrameRecord::kNotStarted : static_cast<std::uint32_t>(index) * kUnit;
        view.role = FrameRole::python;
        view.entry = true;
        // An exception that is thrown into a generator through another one's `yield from`: until
        // 3.9 the outer one is not linked to its caller meanwhile, in 3.10 only nearly always.
        view.cut = view.previous == 0 && generator != 0;
        return true;
    }

    // Calls lie between the stores that link a frame: the compiler cannot swap them.
    template <class Memory>
    static Link link(const Memory&, const ThreadView&, int, std::uintptr_t,
                     const FrameView&) noexcept {
        return Link::sound;
    }

private:
    // f_lasti counts bytes until 3.9, instructions of two bytes in 3.10.
    static constexpr std::uint32_t kUnit = PY_VERSION_HEX >= 0x030A0000 ? 2 : 1;
};

}  // namespace spprof::interpreter
