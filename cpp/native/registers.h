// Reached from the signal handler. Owns the registers an unwinder needs on each architecture,
// numbered as DWARF numbers them. Knows no table and no stack.
#pragma once

#include <cstddef>
#include <cstdint>

namespace spprof::native {

// What differs between the architectures, as data: both can be unwound on either host, so that a
// test on one machine covers the other.
struct X86_64 {
    static constexpr size_t kRegisters = 17;
    static constexpr uint8_t kFramePointer = 6;
    static constexpr uint8_t kStackPointer = 7;
    static constexpr uint8_t kReturnAddress = 16;
    static constexpr bool kCallPushes = true;
    // Registers that a caller finds as it left them; the return address column comes first.
    static constexpr uint8_t kSaved[] = {16, 6, 3, 12, 13, 14, 15};
    // From the stack pointer at a signal's return address to the interrupted thread's registers.
    static constexpr size_t kUcontextAtSignalReturn = 0;
    static constexpr uintptr_t kAddressMask = ~uintptr_t{0};
    static constexpr uint16_t kElfMachine = 62;
};

struct Aarch64 {
    static constexpr size_t kRegisters = 33;  // x0 to x30, sp, pc
    static constexpr uint8_t kFramePointer = 29;
    static constexpr uint8_t kStackPointer = 31;
    static constexpr uint8_t kReturnAddress = 30;
    static constexpr bool kCallPushes = false;
    static constexpr uint8_t kSaved[] = {30, 29, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28};
    static constexpr size_t kUcontextAtSignalReturn = 128;  // behind the siginfo
    // Pointer authentication signs return addresses in the bits above the user address space.
    static constexpr uintptr_t kAddressMask = (uintptr_t{1} << 48) - 1;
    static constexpr uint16_t kElfMachine = 183;
};

#if defined(__aarch64__) || defined(_M_ARM64)
using HostArchitecture = Aarch64;
#else
using HostArchitecture = X86_64;
#endif

template <class Architecture>
struct BasicRegisters {
    uintptr_t pc = 0;
    uintptr_t value[Architecture::kRegisters] = {};

    uintptr_t& sp() { return value[Architecture::kStackPointer]; }
    uintptr_t& fp() { return value[Architecture::kFramePointer]; }
    uintptr_t sp() const { return value[Architecture::kStackPointer]; }
    uintptr_t fp() const { return value[Architecture::kFramePointer]; }
};

using Registers = BasicRegisters<HostArchitecture>;

// The place of a register among those that a caller finds as it left them; -1: not one of them.
template <class Architecture>
constexpr int slot_of(uint64_t number) {
    for (size_t i = 0; i < sizeof(Architecture::kSaved); ++i) {
        if (Architecture::kSaved[i] == number) {
            return static_cast<int>(i);
        }
    }
    return -1;
}

// The words of a Linux `ucontext_t` in which a register is kept: the same layout serves the
// handler's own argument and the signal frames found deeper in a stack.
template <class Architecture>
struct UcontextLayout;

template <>
struct UcontextLayout<X86_64> {
    // gregs starts behind uc_flags, uc_link and uc_stack; order r8..r15, rdi, rsi, rbp, rbx, rdx,
    // rax, rcx, rsp, rip.
    static constexpr size_t kFirst = 40;
    static constexpr uint8_t kRegister[] = {8, 9, 10, 11, 12, 13, 14, 15, 5, 4, 6, 3, 1, 0, 2, 7};
    static constexpr size_t kProgramCounter = kFirst + size_t{16} * 8;
};

template <>
struct UcontextLayout<Aarch64> {
    // mcontext is 16-byte aligned behind a 128-byte signal mask; fault_address comes first.
    static constexpr size_t kFirst = 184;
    static constexpr uint8_t kRegister[] = {0,  1,  2,  3,  4,  5,  6,  7,  8,  9,  10,
                                            11, 12, 13, 14, 15, 16, 17, 18, 19, 20, 21,
                                            22, 23, 24, 25, 26, 27, 28, 29, 30, 31};
    static constexpr size_t kProgramCounter = kFirst + size_t{32} * 8;
};

// Fills `registers` from a ucontext at `address`; false when one of its words cannot be loaded.
template <class Architecture, class Memory>
bool load_ucontext(uintptr_t address, const Memory& memory,
                   BasicRegisters<Architecture>& registers) noexcept {
    using Layout = UcontextLayout<Architecture>;
    uintptr_t at = address + Layout::kFirst;
    for (const uint8_t number : Layout::kRegister) {
        if (!memory.load(at, registers.value[number])) {
            return false;
        }
        at += sizeof(uintptr_t);
    }
    return memory.load(address + Layout::kProgramCounter, registers.pc);
}

}  // namespace spprof::native
