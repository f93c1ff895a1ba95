// Linux behind safe_memory.h and fault_guard.h. Reached from signal handlers.
#include "platform/safe_memory.h"

#include <errno.h>
#include <linux/futex.h>
#include <signal.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <ucontext.h>
#include <unistd.h>

#include <cstring>
#include <initializer_list>

#include "platform/linux/fault_guard.h"
#include "platform/linux/machine_context.h"
#include "platform/linux/shared_signal.h"
#include "platform/threads.h"

// The only instruction that may touch a bad address carries a label; the fault handler resumes at
// the second label, where the result is still "false".
#if defined(__x86_64__)
asm(R"(
    .text
    .p2align 4
    .hidden spprof_safe_copy_fault
    .hidden spprof_safe_copy_resume
    .globl spprof_safe_copy
    .hidden spprof_safe_copy
    .type spprof_safe_copy, @function
spprof_safe_copy:
    .cfi_startproc
    xorl %eax, %eax
    leaq (%rdi,%rdx,8), %rdi
    leaq (%rsi,%rdx,8), %rsi
    negq %rdx
    je 2f
1:
    .globl spprof_safe_copy_fault
spprof_safe_copy_fault:
    movq (%rdi,%rdx,8), %rcx
    movq %rcx, (%rsi,%rdx,8)
    incq %rdx
    jne 1b
2:
    movl $1, %eax
    .globl spprof_safe_copy_resume
spprof_safe_copy_resume:
    ret
    .cfi_endproc
    .size spprof_safe_copy, . - spprof_safe_copy
)");
#elif defined(__aarch64__)
asm(R"(
    .text
    .p2align 4
    .hidden spprof_safe_copy_fault
    .hidden spprof_safe_copy_resume
    .globl spprof_safe_copy
    .hidden spprof_safe_copy
    .type spprof_safe_copy, %function
spprof_safe_copy:
    .cfi_startproc
    mov x4, x0
    mov w0, #0
    cbz x2, 2f
1:
    .globl spprof_safe_copy_fault
spprof_safe_copy_fault:
    ldr x3, [x4], #8
    str x3, [x1], #8
    subs x2, x2, #1
    b.ne 1b
2:
    mov w0, #1
    .globl spprof_safe_copy_resume
spprof_safe_copy_resume:
    ret
    .cfi_endproc
    .size spprof_safe_copy, . - spprof_safe_copy
)");
#else
#error "spprof: fault-tolerant loads are written for x86-64 and aarch64 only"
#endif

extern "C" {
extern const char spprof_safe_copy_fault[];
extern const char spprof_safe_copy_resume[];
}

namespace spprof::platform {

__attribute__((tls_model("initial-exec"))) __thread bool loads_by_system_call = false;

bool copy_by_system_call(std::uintptr_t address, void* target, std::size_t words) noexcept {
    const std::size_t bytes = words * sizeof(std::uintptr_t);
    const iovec into{target, bytes};
    const iovec from{reinterpret_cast<void*>(address), bytes};
    // All of them long: of an int that is passed on the stack the upper half is undefined.
    return syscall(SYS_process_vm_readv, long{getpid()}, &into, 1L, &from, 1L, 0L) ==
           static_cast<long>(bytes);
}

namespace {

void on_fault(int signal, siginfo_t* info, void* context);

SharedSignal segv_signal(SIGSEGV, 1, on_fault, true);
SharedSignal bus_signal(SIGBUS, 2, on_fault, true);

// Adds nothing to a word of memory, which the kernel does for us, so that it cannot fault.
bool can_be_written(std::uintptr_t address) noexcept {
    std::uint32_t nobody_waits_here = 0;
    constexpr int kAddNothing = FUTEX_OP(FUTEX_OP_ADD, 0, FUTEX_OP_CMP_LT, 0);
    return syscall(SYS_futex, &nobody_waits_here, FUTEX_WAKE_OP_PRIVATE, 0, nullptr,
                   address & ~std::uintptr_t{3}, kAddNothing) >= 0 ||
           errno != EFAULT;
}

// Whether the instruction that faulted can go on now: the owner may have made the memory
// accessible, or changed where the thread goes on.
enum class Mended : std::uint8_t { no, yes, untold };

struct Fault {
    std::uintptr_t address, sum;
    Access access;

    Fault(const siginfo_t& info, const ucontext_t& context) noexcept
        : address(reinterpret_cast<std::uintptr_t>(info.si_addr)),
          sum(digest(context)),
          access(is_about_access(info) ? faulting_access(context) : Access::unknown) {}

    Mended mended(const ucontext_t& context) const noexcept {
        if (digest(context) != sum) {
            return Mended::yes;
        }
        std::uintptr_t word;
        if (!SafeMemory().load(address & ~(sizeof word - 1), word)) {
            return Mended::no;
        }
        switch (access) {
            case Access::read:
                return Mended::yes;
            case Access::write:
                return can_be_written(address) ? Mended::yes : Mended::no;
            case Access::execute:
            case Access::unknown:
                break;
        }
        return Mended::untold;
    }

private:
    static bool is_about_access(const siginfo_t& info) noexcept {
        return info.si_signo == SIGSEGV ? info.si_code == SEGV_MAPERR || info.si_code == SEGV_ACCERR
                                        : info.si_code == BUS_ADRERR;
    }
    static std::uintptr_t digest(const ucontext_t& context) noexcept {
        MachineRegisters registers;
        fill(registers, context);
        std::uintptr_t sum = registers.pc;
        for (const std::uintptr_t value : registers.value) {
            sum = sum * 31 + value;
        }
        return sum;
    }
};

// A fault that nothing tells from one that was mended (of an alignment, of memory that may not be
// executed): so often the same, without any other between them, is a loop.
class UntoldFaults {
public:
    bool too_often(const Fault& fault) const noexcept {
        return fault.sum == sum_ && times_ > kTooOften;
    }
    void count(const Fault& fault, Mended mended) noexcept {
        times_ = mended == Mended::untold && fault.sum == sum_ ? times_ + 1 : 0;
        sum_ = fault.sum;
    }

private:
    static constexpr int kTooOften = 1000;
    std::uintptr_t sum_ = 0;
    int times_ = 0;
};

__attribute__((tls_model("initial-exec"))) thread_local UntoldFaults untold_faults;
__attribute__((tls_model("initial-exec"))) thread_local bool is_own_thread = false;

// Blocks or unblocks both faults in this thread.
void change_mask(int how) noexcept {
    constexpr std::uint64_t kBoth = 1ul << (SIGSEGV - 1) | 1ul << (SIGBUS - 1);
    syscall(SYS_rt_sigprocmask, long{how}, &kBoth, nullptr, sizeof kBoth);
}

// What somebody sent to the process (kill()) may come to a thread of ours while faults are open
// there, when the main thread is not running. Its handler is written for threads of the program.
bool leave_to_main_thread(int signal, const siginfo_t& info) noexcept {
    siginfo_t told = info;
    if (told.si_code == SI_USER || told.si_code == SI_TKILL) {
        told.si_code = SI_QUEUE;  // a thread may not speak for the kernel; who sent it is kept
    }
    return syscall(SYS_rt_tgsigqueueinfo, getpid(), getpid(), signal, &told) == 0;
}

// What is sent while this thread is being visited waits for the end of it: its handler may never
// return (siglongjmp), and then neither would the visit. A third of a siginfo_t: there is little
// room for what all threads have from their first moment.
struct PutOff {
    bool there;
    int code;
    pid_t pid;
    uid_t uid;
    sigval value;
};
__attribute__((tls_model("initial-exec"))) thread_local bool in_visit = false;
__attribute__((tls_model("initial-exec"))) thread_local PutOff put_off[2] = {};  // SEGV, BUS

void on_fault(int signal, siginfo_t* info, void* raw_context) {
    auto& context = *static_cast<ucontext_t*>(raw_context);
    const bool raised = info->si_code <= 0;
    if (raised && in_visit) {
        put_off[signal == SIGBUS] = {true, info->si_code, info->si_pid, info->si_uid,
                                     info->si_value};
        return;
    }
    if (!raised &&
        program_counter(context) == reinterpret_cast<std::uintptr_t>(spprof_safe_copy_fault)) {
        set_program_counter(context, reinterpret_cast<std::uintptr_t>(spprof_safe_copy_resume));
        return;
    }
    const int saved_errno = errno;
    if (raised && is_own_thread && leave_to_main_thread(signal, *info)) {
        errno = saved_errno;
        return;
    }
    SharedSignal& shared = signal == SIGSEGV ? segv_signal : bus_signal;
    const Fault fault(*info, context);
    // An owner that is not what it was (faulthandler after disable()) returns and has changed
    // nothing: the same instruction would fault for ever.
    Mended mended = Mended::no;
    const bool taken = !untold_faults.too_often(fault) && shared.pass_on(info, raw_context, [&] {
        mended = raised ? Mended::yes : fault.mended(context);
        return mended != Mended::no;
    });
    untold_faults.count(fault, mended);
    if (!taken) {
        shared.default_action(info);
    }
    errno = saved_errno;
}

}  // namespace

void FaultGuard::install() {
    segv_signal.install();
    bus_signal.install();
}

bool FaultGuard::reinstall_if_taken() noexcept {
    const bool segv = segv_signal.reinstall_if_taken();
    const bool bus = bus_signal.reinstall_if_taken();
    return segv || bus;
}

void FaultGuard::begin_own_thread() noexcept {
    is_own_thread = true;
    const std::uintptr_t word = 1;
    std::uintptr_t found = 0;
    // Where that system call is refused, faults stay open.
    if (copy_by_system_call(reinterpret_cast<std::uintptr_t>(&word), &found, 1)) {
        loads_by_system_call = true;
        change_mask(SIG_BLOCK);
    }
}

ManyLoads::ManyLoads() noexcept : opened_(is_own_thread && loads_by_system_call) {
    if (opened_) {
        change_mask(SIG_UNBLOCK);
        loads_by_system_call = false;
    }
}

ManyLoads::~ManyLoads() {
    if (opened_) {
        loads_by_system_call = true;
        change_mask(SIG_BLOCK);
    }
}

void FaultGuard::begin_visit() noexcept { in_visit = true; }

bool FaultGuard::end_visit() noexcept {
    in_visit = false;
    if (!put_off[0].there && !put_off[1].there) {
        return false;
    }
    // Blocked until the handler has returned: they come where the thread was interrupted.
    change_mask(SIG_BLOCK);
    for (const int signal : {SIGSEGV, SIGBUS}) {
        PutOff& sent = put_off[signal == SIGBUS];
        if (sent.there) {
            siginfo_t info = {};
            info.si_signo = signal;
            info.si_code = sent.code;
            info.si_pid = sent.pid;
            info.si_uid = sent.uid;
            info.si_value = sent.value;
            const Tid self = current_tid();
            if (syscall(SYS_rt_tgsigqueueinfo, getpid(), self, signal, &info) != 0) {
                syscall(SYS_tgkill, getpid(), self, signal);
            }
            sent.there = false;
        }
    }
    return true;
}

bool FaultGuard::armed() noexcept { return segv_signal.on_top() && bus_signal.on_top(); }

void FaultGuard::restore() noexcept {
    segv_signal.restore();
    bus_signal.restore();
}

}  // namespace spprof::platform
