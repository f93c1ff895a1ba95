// Reached from the signal handler. Owns the way from what Linux hands to a signal handler to the
// unwinder's registers.
#pragma once

#include <ucontext.h>

#include <cstddef>

#include "native/registers.h"

namespace spprof::native {

inline Registers registers_from_ucontext(const void* ucontext) noexcept {
#if defined(__x86_64__)
    static_assert(offsetof(ucontext_t, uc_mcontext.gregs) == UcontextLayout<X86_64>::kFirst);
#elif defined(__aarch64__)
    static_assert(offsetof(ucontext_t, uc_mcontext.regs) == UcontextLayout<Aarch64>::kFirst);
    static_assert(offsetof(ucontext_t, uc_mcontext.pc) == UcontextLayout<Aarch64>::kProgramCounter);
#endif
    struct Trusted {
        bool load(uintptr_t address, uintptr_t& value) const noexcept {
            value = *reinterpret_cast<const uintptr_t*>(address);
            return true;
        }
    };
    Registers registers;
    load_ucontext(reinterpret_cast<uintptr_t>(ucontext), Trusted{}, registers);
    return registers;
}

}  // namespace spprof::native
