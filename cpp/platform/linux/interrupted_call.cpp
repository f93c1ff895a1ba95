// See interrupted_call.h. Reached from the signal handler.
#include "platform/linux/interrupted_call.h"

#include <errno.h>
#include <linux/futex.h>
#include <signal.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include <cstdint>
#include <cstring>

#include "platform/linux/machine_context.h"

namespace spprof::platform {

namespace {

// How an interrupted call is gone on with.
enum class Way : unsigned char {
    unknown,
    // Run once more as it is: it waits without a time-out, until a moment on a clock, or the kernel
    // has written what is left into the program's own memory. Where it has a time-out that nobody
    // keeps (epoll_wait, a receive with SO_RCVTIMEO), it waits longer by what it had waited so
    // far: a thread that sleeps is not signalled twice, so that is less than one interval.
    again,
    // The kernel remembers what is left of its time-out until the handler returns.
    resumed,
};

Way way_of(long number, std::uintptr_t second_argument) noexcept {
    switch (number) {
#if defined(__x86_64__)
        case SYS_select:
        case SYS_pause:
        case SYS_epoll_wait:
        case SYS_pselect6:
        case SYS_ppoll:
        case SYS_epoll_pwait:
#if defined(SYS_epoll_pwait2)
        case SYS_epoll_pwait2:
#endif
        case SYS_rt_sigsuspend:
        case SYS_rt_sigtimedwait:
        case SYS_semop:
        case SYS_semtimedop:
        case SYS_msgsnd:
        case SYS_msgrcv:
        case SYS_read:
        case SYS_readv:
        case SYS_write:
        case SYS_writev:
        case SYS_recvfrom:
        case SYS_recvmsg:
        case SYS_recvmmsg:
        case SYS_sendto:
        case SYS_sendmsg:
        case SYS_sendmmsg:
        case SYS_accept:
        case SYS_accept4:
        case SYS_connect:
        case SYS_io_getevents:
            return Way::again;
        case SYS_poll:
#endif
        case SYS_nanosleep:
        case SYS_restart_syscall:
            return Way::resumed;
        case SYS_clock_nanosleep:
#if defined(__x86_64__)
            return (second_argument & TIMER_ABSTIME) != 0 ? Way::again : Way::resumed;
#else
            return (second_argument & TIMER_ABSTIME) != 0 ? Way::unknown : Way::resumed;
#endif
        case SYS_futex:
            switch (second_argument & FUTEX_CMD_MASK) {
                case FUTEX_WAIT:
                case FUTEX_WAIT_BITSET:
                    return Way::resumed;
                default:
                    return Way::unknown;
            }
        default:
            return Way::unknown;
    }
}

#if defined(__x86_64__)

// The register that had the call's number has its result now: the number is to be found where it
// came from. C libraries load it in one of four ways, as the instructions before the call tell.
constexpr std::uintptr_t kFarthest = 48;

struct Code {  // what lies before an address
    unsigned char bytes[kFarthest];

    bool read(std::uintptr_t end) noexcept {
        return SafeMemory().copy(end - kFarthest, bytes, kFarthest);
    }
    // What lies before the place that a call returns to, whose address is there.
    bool read_caller(std::uintptr_t return_address_at) noexcept {
        std::uintptr_t return_address = 0;
        return SafeMemory().load(return_address_at, return_address) && read(return_address);
    }
    // Where the instruction was found that begins with these bytes, and is `length` long, nearest
    // to the end; kFarthest: nowhere.
    template <std::size_t Count>
    std::uintptr_t find(const unsigned char (&begin)[Count], std::size_t length) const noexcept {
        for (std::uintptr_t at = kFarthest - length + 1; at-- > 0;) {
            std::size_t same = 0;
            while (same < Count && bytes[at + same] == begin[same]) {
                ++same;
            }
            if (same == Count) {
                return at;
            }
        }
        return kFarthest;
    }
};

std::uintptr_t second_argument(const ucontext_t& context) noexcept {
    return static_cast<std::uintptr_t>(context.uc_mcontext.gregs[REG_RSI]);
}

// Two calls that sleep stand beside each other in C libraries: one gets a clock first, the other an
// address.
bool fits_first_argument(std::uintptr_t number, const ucontext_t& context) noexcept {
    constexpr std::uintptr_t kFirstPage = 4096, kKernel = std::uintptr_t{1} << 47;
    const auto first = static_cast<std::uintptr_t>(context.uc_mcontext.gregs[REG_RDI]);
    const bool is_address = first >= kFirstPage && first < kKernel;
    return number == SYS_nanosleep ? is_address : number != SYS_clock_nanosleep || !is_address;
}

// Only the numbers of calls that block are believed, and none of them is 0 but by its own sign.
long if_it_blocks(std::uintptr_t number, const ucontext_t& context) noexcept {
    return number > 0 && number < 1024 &&
                   way_of(static_cast<long>(number), second_argument(context)) != Way::unknown &&
                   fits_first_argument(number, context)
               ? static_cast<long>(number)
               : -1;
}

// The number that the instruction at this place, mov $number, %register, has behind its first byte.
long loaded_number(const Code& code, std::uintptr_t at, const ucontext_t& context) noexcept {
    const unsigned char* number = code.bytes + at + 1;
    return number[2] == 0 && number[3] == 0
               ? if_it_blocks(number[0] | static_cast<std::uintptr_t>(number[1]) << 8, context)
               : -1;
}

// mov $number, %eax: nearly every caller, and glibc's own calls until 2.40; sometimes by way of
// another register (mov $number, %ecx; ...; mov %ecx, %eax).
long constant_number(const Code& code, const ucontext_t& context) noexcept {
    constexpr unsigned char kMoveConstant = 0xB8;  // and the number of the register
    constexpr unsigned char kMove = 0x89;
    for (std::uintptr_t at = kFarthest - 4; at-- > 0;) {
        const unsigned char reg = code.bytes[at] - kMoveConstant;
        if (reg > 7) {
            continue;
        }
        bool reaches_eax = reg == 0;
        for (std::uintptr_t later = at + 5; later + 1 < kFarthest && !reaches_eax; ++later) {
            reaches_eax = code.bytes[later] == kMove && code.bytes[later + 1] == (0xC0 | reg << 3);
        }
        const long number = loaded_number(code, at, context);
        if (reaches_eax && number >= 0) {
            return number;
        }
    }
    return -1;
}

// glibc from 2.41 on makes calls that a thread may be cancelled in through a function that gets the
// number on the stack. While the process has one thread, that function makes the call itself:
//     mov disp(%rsp), %rax; syscall
long number_on_stack(const Code& code, const ucontext_t& context) noexcept {
    constexpr unsigned char kLoad[] = {0x48, 0x8B, 0x44, 0x24};  // and one byte of displacement
    const auto sp = static_cast<std::uintptr_t>(context.uc_mcontext.gregs[REG_RSP]);
    std::uintptr_t number = 0;
    if (code.find(kLoad, 5) != kFarthest - 5 ||
        !SafeMemory().load(sp + code.bytes[kFarthest - 1], number)) {
        return -1;
    }
    return if_it_blocks(number, context);
}

// Else it calls another one, which gets it as second argument (mov %rsi, %rax): it was loaded by
//     mov disp(%rsp), %rsi; ...; call
long number_of_caller(const Code& code, const ucontext_t& context) noexcept {
    constexpr unsigned char kFromSecond[] = {0x48, 0x89, 0xF0};
    constexpr unsigned char kLoad[] = {0x48, 0x8B, 0x74, 0x24};  // and one byte of displacement
    const auto sp = static_cast<std::uintptr_t>(context.uc_mcontext.gregs[REG_RSP]);
    std::uintptr_t number = 0;
    Code caller;
    if (code.find(kFromSecond, 3) == kFarthest || !caller.read_caller(sp)) {
        return -1;
    }
    const std::uintptr_t load = caller.find(kLoad, 5);
    if (load == kFarthest) {
        return -1;
    }
    // From there on to the call the stack pointer must not move: no push, no pop.
    for (std::uintptr_t at = load + 5; at < kFarthest - 5; ++at) {
        if (caller.bytes[at] >= 0x50 && caller.bytes[at] <= 0x5F) {
            return -1;
        }
    }
    const std::uintptr_t sp_at_load = sp + sizeof(std::uintptr_t);
    return SafeMemory().load(sp_at_load + caller.bytes[load + 4], number)
               ? if_it_blocks(number, context)
               : -1;
}

// The C library's own syscall(), where it makes room for its arguments first of all:
//     [push %rbp; mov %rsp, %rbp;] sub $room, %rsp
bool in_syscall_with_room(std::uintptr_t instruction, const ucontext_t& context,
                          std::uintptr_t& return_address_at) noexcept {
    constexpr std::uintptr_t kLongest = 512;
    constexpr std::uint32_t kFrame = 0xE5894855;
    constexpr std::size_t kFrameBytes = sizeof kFrame;
    const auto start = reinterpret_cast<std::uintptr_t>(&syscall);
    unsigned char begin[16];
    if (instruction - start >= kLongest || !SafeMemory().copy(start, begin, sizeof begin)) {
        return false;
    }
    std::uint32_t first = 0;
    std::memcpy(&first, begin, sizeof first);
    const bool framed = first == kFrame;
    const unsigned char* sub = begin + (framed ? kFrameBytes : 0);
    std::uint32_t room = sub[3];
    if (sub[1] == 0x81) {
        std::memcpy(&room, sub + 3, sizeof room);
    }
    return_address_at = static_cast<std::uintptr_t>(context.uc_mcontext.gregs[REG_RSP]) + room +
                        (framed ? sizeof(std::uintptr_t) : 0);
    return sub[0] == 0x48 && (sub[1] == 0x81 || sub[1] == 0x83) && sub[2] == 0xEC;
}

// Who makes a call by its number (libraries that wait at futexes of their own) does so through
// syscall(), which passes everything on by one register and its last argument from the stack:
//     mov %rdi, %rax; ...; mov 8(%rsp), %r9; syscall
// With frame pointers that is mov 16(%rbp), %r9. musl makes calls that a thread may be cancelled in
// so, too, where it was linked without what cancels. The number was loaded by the caller:
//     mov $number, %edi; ...; call
long number_given_to_syscall(std::uintptr_t instruction, const Code& code,
                             const ucontext_t& context) noexcept {
    constexpr unsigned char kFromFirst[] = {0x48, 0x89, 0xF8};
    constexpr unsigned char kByStackPointer[] = {0x4C, 0x8B, 0x4C, 0x24, 0x08};
    constexpr unsigned char kByFramePointer[] = {0x4C, 0x8B, 0x4D, 0x10};
    constexpr unsigned char kConstant[] = {0xB8};  // mov $number, %eax
    constexpr unsigned char kLoad = 0xBF;
    const auto& registers = context.uc_mcontext.gregs;
    const std::uintptr_t from_first = code.find(kFromFirst, 3);
    const auto comes_later = [&](std::uintptr_t at) { return at != kFarthest && at > from_first; };
    std::uintptr_t return_address_at = 0;
    if (!in_syscall_with_room(instruction, context, return_address_at)) {
        const bool by_stack_pointer = comes_later(code.find(kByStackPointer, 5));
        if (from_first == kFarthest || comes_later(code.find(kConstant, 5)) ||
            (!by_stack_pointer && !comes_later(code.find(kByFramePointer, 4)))) {
            return -1;
        }
        return_address_at = by_stack_pointer ? static_cast<std::uintptr_t>(registers[REG_RSP])
                                             : static_cast<std::uintptr_t>(registers[REG_RBP]) +
                                                   sizeof(std::uintptr_t);
    }
    Code caller;
    if (!caller.read_caller(return_address_at)) {
        return -1;
    }
    for (std::uintptr_t at = kFarthest - 4; at-- > 0;) {
        const long number = caller.bytes[at] == kLoad ? loaded_number(caller, at, context) : -1;
        if (number >= 0) {
            return number;
        }
    }
    return -1;
}

// The number that was last moved from a register that calls preserve to %rax or %rsi.
long number_preserved(const Code& code, unsigned char target, const ucontext_t& context) noexcept {
    struct Preserved {
        unsigned char prefix, number;
        int place;
    };
    constexpr Preserved kPreserved[] = {{0x48, 3, REG_RBX}, {0x48, 5, REG_RBP}, {0x4C, 4, REG_R12},
                                        {0x4C, 5, REG_R13}, {0x4C, 6, REG_R14}, {0x4C, 7, REG_R15}};
    std::uintptr_t nearest = 0;
    long number = -1;
    for (const Preserved& one : kPreserved) {
        const unsigned char move[] = {one.prefix, 0x89,
                                      static_cast<unsigned char>(0xC0 | one.number << 3 | target)};
        const std::uintptr_t at = code.find(move, 3);
        if (at != kFarthest && at >= nearest) {
            nearest = at;
            number = if_it_blocks(static_cast<std::uintptr_t>(context.uc_mcontext.gregs[one.place]),
                                  context);
        }
    }
    return number;
}

// musl makes calls that a thread may be cancelled in through a function that gets the number as
// second argument and ends with
//     mov %rsi, %rax; ...; mov %r11, 8(%rsp); syscall
// Who calls it needs the number again afterwards: it is in a register that is preserved.
//     mov %preserved, %rsi; ...; call
long number_kept_by_caller(const Code& code, const ucontext_t& context) noexcept {
    constexpr unsigned char kFromSecond[] = {0x48, 0x89, 0xF0};
    constexpr unsigned char kKeep[] = {0x4C, 0x89, 0x5C, 0x24, 0x08};
    constexpr unsigned char kRsi = 6;
    const auto sp = static_cast<std::uintptr_t>(context.uc_mcontext.gregs[REG_RSP]);
    Code caller;
    if (code.find(kKeep, 5) != kFarthest - 5 || code.find(kFromSecond, 3) == kFarthest ||
        !caller.read_caller(sp)) {
        return -1;
    }
    return number_preserved(caller, kRsi, context);
}

long call_number(std::uintptr_t instruction, const ucontext_t& context) noexcept {
    Code code;
    if (!code.read(instruction)) {
        return -1;
    }
    long number = number_kept_by_caller(code, context);
    if (number < 0) {
        number = number_given_to_syscall(instruction, code, context);
    }
    if (number < 0) {
        number = number_on_stack(code, context);
    }
    if (number < 0) {
        number = number_of_caller(code, context);
    }
    if (number < 0) {
        number = constant_number(code, context);
    }
    if (number < 0) {
        // musl, for a thread that has switched its cancellation off.
        constexpr unsigned char kRax = 0;
        number = number_preserved(code, kRax, context);
    }
    // xor %eax, %eax: read
    const unsigned char* last = code.bytes + kFarthest - 2;
    return number < 0 && last[0] == 0x31 && last[1] == 0xC0 ? SYS_read : number;
}

// With the first arguments of the call where it had them, for whoever asks what is waited for.
long go_on_waiting(const ucontext_t& context) {
    long result;
    // Written as a caller would: this may be interrupted, too.
    __asm__ volatile("movl %1, %%eax\n\tsyscall"
                     : "=&a"(result)
                     : "i"(SYS_restart_syscall), "D"(context.uc_mcontext.gregs[REG_RDI]),
                       "S"(context.uc_mcontext.gregs[REG_RSI])
                     : "rcx", "r11", "memory");
    return result;
}

#else

// The number is still in x8; the first argument is lost, its register has the result.
long call_number(std::uintptr_t, const ucontext_t& context) noexcept {
    return static_cast<long>(context.uc_mcontext.regs[8]);
}

std::uintptr_t second_argument(const ucontext_t& context) noexcept {
    return context.uc_mcontext.regs[1];
}

// The second argument is where it was, for whoever asks what is waited for.
long go_on_waiting(const ucontext_t& context) {
    register std::uint64_t second __asm__("x1") = context.uc_mcontext.regs[1];
    register long number __asm__("x8") = SYS_restart_syscall;
    register long result __asm__("x0");
    __asm__ volatile("svc #0" : "=r"(result) : "r"(number), "r"(second) : "memory");
    return result;
}

#endif

// Words of the kernel's signal set.
using SignalSet = std::uint64_t;

SignalSet as_word(const sigset_t& set) noexcept {
    return *reinterpret_cast<const SignalSet*>(&set);
}

SignalSet bit_of(int signal) noexcept { return SignalSet{1} << (signal - 1); }

// A signal with a handler of its own is about to be taken where the call returns: the call ends
// with or without us.
bool another_signal_is_due(const ucontext_t& context) noexcept {
    SignalSet pending = 0;
    if (syscall(SYS_rt_sigpending, &pending, sizeof pending) != 0) {
        return false;
    }
    return (pending & ~as_word(context.uc_sigmask) & ~bit_of(SIGPROF)) != 0;
}

void set_mask(SignalSet mask) noexcept {
    syscall(SYS_rt_sigprocmask, SIG_SETMASK, &mask, nullptr, sizeof mask);
}

}  // namespace

void continue_interrupted_call(ucontext_t& context, CallFigures& figures) {
    const std::uintptr_t instruction = program_counter(context) - sizeof kSystemCall;
    if (result_register(context) != -EINTR || !is_system_call(instruction) ||
        another_signal_is_due(context)) {
        return;
    }
    const std::uintptr_t second = second_argument(context);
    const long number = call_number(instruction, context);
    switch (way_of(number, second)) {
        case Way::again:
            figures.continued.fetch_add(1, std::memory_order_relaxed);
            set_result_register(context, number);
            set_program_counter(context, instruction);
            break;
        case Way::resumed:
            figures.continued.fetch_add(1, std::memory_order_relaxed);
            // The program's own signals end the wait as they would end the call. Ours stays out:
            // whoever waits is not sampled by signals.
            set_mask(as_word(context.uc_sigmask) | bit_of(SIGPROF));
            set_result_register(context, go_on_waiting(context));
            break;
        case Way::unknown:
            figures.cut_short.fetch_add(1, std::memory_order_relaxed);
            break;
    }
}

}  // namespace spprof::platform
