// Reached from a visit of a thread. CPython 3.11: `is_entry` marks the first frame of each call of
// the eval loop.
#pragma once

#include <cstring>

#include "interpreter/c_frames.h"

namespace spprof::interpreter {

struct Version311 : CFrames {
    static bool shim(const _PyInterpreterFrame&) noexcept { return false; }
    static bool bottom(const ThreadView&, std::uintptr_t) noexcept { return false; }
    // A frame that is being made may hold any byte here, which no `bool` may be read from.
    static bool entry(const _PyInterpreterFrame& frame) noexcept {
        unsigned char byte = 0;
        std::memcpy(&byte, &frame.is_entry, sizeof byte);
        return byte != 0;
    }

    template <class Memory>
    static bool words(const Memory& memory, std::uintptr_t code, std::uintptr_t& words) noexcept {
        std::uintptr_t locals = 0, stack = 0;
        if (!load_int(memory, code + offsetof(PyCodeObject, co_nlocalsplus), locals) ||
            !load_int(memory, code + offsetof(PyCodeObject, co_stacksize), stack)) {
            return false;
        }
        words = locals + stack + FRAME_SPECIALS_SIZE;
        return true;
    }
};

using Layout = DataStackLayout<Version311>;

}  // namespace spprof::interpreter
