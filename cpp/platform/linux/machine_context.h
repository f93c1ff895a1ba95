// Reached from the signal handler. What Linux keeps of an interrupted thread, and the machine's
// system call instruction.
#pragma once

#include <errno.h>
#include <ucontext.h>

#include <cstdint>

#include "platform/machine_registers.h"
#include "platform/safe_memory.h"

namespace spprof::platform {

#if defined(__x86_64__)
using CallInstruction = std::uint16_t;
constexpr CallInstruction kSystemCall = 0x050F;  // syscall
#else
using CallInstruction = std::uint32_t;
constexpr CallInstruction kSystemCall = 0xD4000001;  // svc #0
#endif

inline std::uintptr_t program_counter(const ucontext_t& context) noexcept {
#if defined(__x86_64__)
    return static_cast<std::uintptr_t>(context.uc_mcontext.gregs[REG_RIP]);
#else
    return static_cast<std::uintptr_t>(context.uc_mcontext.pc);
#endif
}

inline void set_program_counter(ucontext_t& context, std::uintptr_t pc) noexcept {
#if defined(__x86_64__)
    context.uc_mcontext.gregs[REG_RIP] = static_cast<greg_t>(pc);
#else
    context.uc_mcontext.pc = pc;
#endif
}

inline std::uintptr_t stack_pointer(const ucontext_t& context) noexcept {
#if defined(__x86_64__)
    return static_cast<std::uintptr_t>(context.uc_mcontext.gregs[REG_RSP]);
#else
    return context.uc_mcontext.sp;
#endif
}

inline std::int64_t result_register(const ucontext_t& context) noexcept {
#if defined(__x86_64__)
    return context.uc_mcontext.gregs[REG_RAX];
#else
    return static_cast<std::int64_t>(context.uc_mcontext.regs[0]);
#endif
}

inline void set_result_register(ucontext_t& context, std::int64_t value) noexcept {
#if defined(__x86_64__)
    context.uc_mcontext.gregs[REG_RAX] = value;
#else
    context.uc_mcontext.regs[0] = static_cast<unsigned long long>(value);
#endif
}

inline bool is_system_call(std::uintptr_t address) noexcept {
    std::uintptr_t word;
    return SafeMemory().load(address, word) && static_cast<CallInstruction>(word) == kSystemCall;
}

// What an instruction that faulted wanted of the memory it faulted at.
enum class Access : std::uint8_t { unknown, read, write, execute };

inline Access faulting_access(const ucontext_t& context) noexcept {
#if defined(__x86_64__)
    constexpr greg_t kWrite = 1 << 1, kExecute = 1 << 4;  // of the page fault's error code
    const greg_t code = context.uc_mcontext.gregs[REG_ERR];
    return (code & kExecute) != 0 ? Access::execute
           : (code & kWrite) != 0 ? Access::write
                                  : Access::read;
#else
    // The syndrome is one of the records behind the registers, each with its kind and size.
    struct Head {
        std::uint32_t kind, size;
    };
    constexpr std::uint32_t kSyndrome = 0x45535201;
    const auto* at = reinterpret_cast<const unsigned char*>(context.uc_mcontext.__reserved);
    const auto* end = at + sizeof context.uc_mcontext.__reserved;
    while (at + sizeof(Head) + sizeof(std::uint64_t) <= end) {
        const auto& head = *reinterpret_cast<const Head*>(at);
        if (head.kind == kSyndrome) {
            constexpr std::uint64_t kInstructionAbort = 0x20, kDataAbort = 0x24, kWrite = 1 << 6;
            const auto syndrome = *reinterpret_cast<const std::uint64_t*>(at + sizeof head);
            const std::uint64_t what = syndrome >> 26 & 0x3F;
            return what == kInstructionAbort  ? Access::execute
                   : what != kDataAbort       ? Access::unknown
                   : (syndrome & kWrite) != 0 ? Access::write
                                              : Access::read;
        }
        if (head.kind == 0 || head.size < sizeof head) {
            break;
        }
        at += head.size;
    }
    return Access::unknown;
#endif
}

// Where a thread was, by the instruction it was interrupted at.
struct CallSite {
    bool cut_short = false;    // it waited in a system call, which now returns EINTR
    bool begins_anew = false;  // it waited in one that the kernel runs again by itself
    bool just_left = false;    // it had just come back from one, or from a wait that was cut short

    bool in_call() const noexcept { return cut_short || begins_anew; }
};

inline CallSite call_site(const ucontext_t& context) noexcept {
    const std::uintptr_t pc = program_counter(context);
    CallSite site;
    site.just_left = is_system_call(pc - sizeof kSystemCall);
    site.cut_short = site.just_left && result_register(context) == -EINTR;
    site.begins_anew = !site.cut_short && is_system_call(pc);
    return site;
}

inline void fill(MachineRegisters& registers, const ucontext_t& context) noexcept {
    registers.pc = program_counter(context);
#if defined(__x86_64__)
    // By DWARF's numbers: rax, rdx, rcx, rbx, rsi, rdi, rbp, rsp, r8 to r15.
    constexpr int kOrder[] = {REG_RAX, REG_RDX, REG_RCX, REG_RBX, REG_RSI, REG_RDI,
                              REG_RBP, REG_RSP, REG_R8,  REG_R9,  REG_R10, REG_R11,
                              REG_R12, REG_R13, REG_R14, REG_R15};
    std::size_t number = 0;
    for (const int index : kOrder) {
        registers.value[number++] = static_cast<std::uintptr_t>(context.uc_mcontext.gregs[index]);
    }
#else
    for (std::size_t number = 0; number < 31; ++number) {
        registers.value[number] = context.uc_mcontext.regs[number];
    }
    registers.value[MachineRegisters::kStackPointer] = context.uc_mcontext.sp;
#endif
}

}  // namespace spprof::platform
