// Linux behind platform.h. Parts are reached from the signal handler: SafeMemory, the signal entry
// points, clocks, WakeUp::post.
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <time.h>
#include <ucontext.h>
#include <unistd.h>

#include <atomic>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <system_error>

#include "platform/platform.h"
#include "platform/safe_memory.h"

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
    testq %rdx, %rdx
    je 2f
1:
    .globl spprof_safe_copy_fault
spprof_safe_copy_fault:
    movq (%rdi), %rcx
    movq %rcx, (%rsi)
    addq $8, %rdi
    addq $8, %rsi
    decq %rdx
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

namespace {

constexpr std::int64_t kSecond = 1'000'000'000;

// What tells our signals from foreign ones: the upper 16 bits of the value they carry.
constexpr Cookie kCookieMagic = 0x5350'0000'0000'0000;
constexpr Cookie kCookieMask = 0xFFFF'0000'0000'0000;

void* marked(Cookie cookie) noexcept { return reinterpret_cast<void*>(cookie | kCookieMagic); }

std::int64_t read_clock(clockid_t clock) noexcept {
    timespec now;
    if (clock_gettime(clock, &now) != 0) {
        return -1;
    }
    return now.tv_sec * kSecond + now.tv_nsec;
}

timespec to_timespec(std::int64_t ns) noexcept {
    timespec result;
    result.tv_sec = static_cast<time_t>(ns / kSecond);
    result.tv_nsec = static_cast<long>(ns % kSecond);
    return result;
}

// The kernel's own encoding of "CPU clock of thread tid" (CPUCLOCK_SCHED | CPUCLOCK_PERTHREAD).
clockid_t thread_cpu_clock(Tid tid) noexcept {
    return static_cast<clockid_t>((~static_cast<unsigned>(tid) << 3) | 6u);
}

std::uintptr_t program_counter(const ucontext_t* context) noexcept {
#if defined(__x86_64__)
    return static_cast<std::uintptr_t>(context->uc_mcontext.gregs[REG_RIP]);
#else
    return static_cast<std::uintptr_t>(context->uc_mcontext.pc);
#endif
}

void set_program_counter(ucontext_t* context, std::uintptr_t pc) noexcept {
#if defined(__x86_64__)
    context->uc_mcontext.gregs[REG_RIP] = static_cast<greg_t>(pc);
#else
    context->uc_mcontext.pc = pc;
#endif
}

// Initial-exec: resolved when the module is loaded, so the handler never enters the dynamic linker.
__attribute__((tls_model("initial-exec"))) thread_local Tid cached_tid = 0;

bool is_function(const struct sigaction& action) noexcept {
    return (action.sa_flags & SA_SIGINFO) != 0 ||
           (action.sa_handler != SIG_DFL && action.sa_handler != SIG_IGN);
}

void call(const struct sigaction& action, int signal, siginfo_t* info, void* context) noexcept {
    if ((action.sa_flags & SA_SIGINFO) != 0) {
        action.sa_sigaction(signal, info, context);
    } else {
        action.sa_handler(signal);
    }
}

}  // namespace

// --- clocks -------------------------------------------------------------------------------------

std::int64_t monotonic_ns() noexcept { return read_clock(CLOCK_MONOTONIC); }
std::int64_t realtime_ns() noexcept { return read_clock(CLOCK_REALTIME); }
std::int64_t current_thread_cpu_ns() noexcept { return read_clock(CLOCK_THREAD_CPUTIME_ID); }
std::int64_t process_cpu_ns() noexcept { return read_clock(CLOCK_PROCESS_CPUTIME_ID); }

std::int64_t thread_cpu_ns(Tid tid) noexcept {
    timespec now;
    if (syscall(SYS_clock_gettime, thread_cpu_clock(tid), &now) != 0) {
        return -1;
    }
    return now.tv_sec * kSecond + now.tv_nsec;
}

std::int64_t kernel_tick_ns() noexcept {
    timespec resolution;
    if (clock_getres(CLOCK_MONOTONIC_COARSE, &resolution) != 0) {
        return 10'000'000;
    }
    return resolution.tv_sec * kSecond + resolution.tv_nsec;
}

void sleep_until(std::int64_t deadline_ns) noexcept {
    const timespec deadline = to_timespec(deadline_ns);
    while (clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &deadline, nullptr) == EINTR) {
    }
}

// --- threads ------------------------------------------------------------------------------------

Tid current_tid() noexcept {
    if (cached_tid == 0) {
        cached_tid = static_cast<Tid>(syscall(SYS_gettid));
    }
    return cached_tid;
}

int current_pid() noexcept { return static_cast<int>(getpid()); }

void forget_cached_tid() noexcept { cached_tid = 0; }

ThreadList::ThreadList() : fd_(open("/proc/self/task", O_RDONLY | O_DIRECTORY | O_CLOEXEC)) {}

ThreadList::~ThreadList() {
    if (fd_ >= 0) {
        close(fd_);
    }
}

int ThreadList::count() const noexcept {
    struct stat status;
    if (fd_ < 0 || fstat(fd_, &status) != 0 || status.st_nlink < 2) {
        return -1;
    }
    return static_cast<int>(status.st_nlink) - 2;
}

std::vector<Tid> ThreadList::tids() const {
    std::vector<Tid> result;
    DIR* directory = opendir("/proc/self/task");
    if (directory == nullptr) {
        return result;
    }
    while (const dirent* entry = readdir(directory)) {
        const long tid = strtol(entry->d_name, nullptr, 10);
        if (tid > 0) {
            result.push_back(static_cast<Tid>(tid));
        }
    }
    closedir(directory);
    return result;
}

namespace {

// What of a file of /proc about a thread fits; 0: there is none.
std::size_t read_about_thread(Tid tid, const char* file, char* text, std::size_t size) noexcept {
    char path[64];
    std::snprintf(path, sizeof path, "/proc/self/task/%d/%s", tid, file);
    const int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) {
        return 0;
    }
    const ssize_t length = read(fd, text, size);
    close(fd);
    return length < 0 ? 0 : static_cast<std::size_t>(length);
}

}  // namespace

std::string thread_os_name(Tid tid) {
    char name[32];
    const std::size_t length = read_about_thread(tid, "comm", name, sizeof name);
    return std::string(name, length > 0 && name[length - 1] == '\n' ? length - 1 : length);
}

bool is_runnable(Tid tid) noexcept {
    char text[128];  // "tid (name) state ...", the name of at most 64 bytes
    const std::size_t length = read_about_thread(tid, "stat", text, sizeof text);
    const auto* end_of_name = static_cast<const char*>(memrchr(text, ')', length));
    return end_of_name == nullptr || end_of_name + 2 >= text + length || end_of_name[2] == 'R';
}

void wake_current_thread_promptly() noexcept {
    prctl(PR_SET_TIMERSLACK, 1, 0, 0, 0);
    if (prctl(PR_GET_SECCOMP, 0, 0, 0, 0) != 0) {
        return;  // a filter may end the process for the next call
    }
    // Linux 6.12 lets threads that ask for short slices preempt others; before, it has no effect.
    constexpr std::uint64_t kKeepPolicy = 0x08;
    struct {  // sched_attr, as the first version of the call has it
        std::uint32_t size, policy;
        std::uint64_t flags;
        std::int32_t nice;
        std::uint32_t priority;
        std::uint64_t runtime_ns, deadline_ns, period_ns;
    } attributes{};
    attributes.size = sizeof attributes;
    attributes.flags = kKeepPolicy;
    attributes.nice = getpriority(PRIO_PROCESS, static_cast<id_t>(current_tid()));
    attributes.runtime_ns = 100'000;
    syscall(SYS_sched_setattr, 0, &attributes, 0);
}

SignalFreeZone::SignalFreeZone() noexcept {
    static_assert(sizeof saved_ >= sizeof(sigset_t), "room for the signal mask");
    sigset_t all;
    sigfillset(&all);
    pthread_sigmask(SIG_BLOCK, &all, reinterpret_cast<sigset_t*>(saved_));
}

SignalFreeZone::~SignalFreeZone() {
    pthread_sigmask(SIG_SETMASK, reinterpret_cast<const sigset_t*>(saved_), nullptr);
}

void on_fork(void (*before)(), void (*after_in_parent)(), void (*after_in_child)()) {
    if (const int error = pthread_atfork(before, after_in_parent, after_in_child)) {
        throw std::system_error(error, std::generic_category(), "spprof: pthread_atfork");
    }
}

void name_current_thread(const char* name) noexcept { prctl(PR_SET_NAME, name, 0, 0, 0); }

// --- sampling signals ---------------------------------------------------------------------------

bool ThreadTimer::create(TimerClock clock, Tid tid, Cookie cookie) noexcept {
    destroy();
    struct sigevent event;
    std::memset(&event, 0, sizeof event);
    event.sigev_notify = SIGEV_THREAD_ID;
    event.sigev_signo = SIGPROF;
    event.sigev_value.sival_ptr = marked(cookie);
    event._sigev_un._tid = tid;
    int id = -1;
    const clockid_t id_of_clock =
        clock == TimerClock::thread_cpu ? thread_cpu_clock(tid) : CLOCK_MONOTONIC;
    if (syscall(SYS_timer_create, id_of_clock, &event, &id) != 0) {
        return false;
    }
    id_ = id;
    return true;
}

bool ThreadTimer::arm(std::int64_t first_ns, std::int64_t interval_ns) noexcept {
    struct itimerspec when;
    when.it_value = to_timespec(first_ns > 0 ? first_ns : 1);
    when.it_interval = to_timespec(interval_ns);
    return id_ >= 0 && syscall(SYS_timer_settime, id_, 0, &when, nullptr) == 0;
}

void ThreadTimer::disarm() noexcept {
    if (id_ >= 0) {
        struct itimerspec never;
        std::memset(&never, 0, sizeof never);
        syscall(SYS_timer_settime, id_, 0, &never, nullptr);
    }
}

void ThreadTimer::destroy() noexcept {
    if (id_ >= 0) {
        syscall(SYS_timer_delete, id_);
        id_ = -1;
    }
}

bool signal_thread(Tid tid, Cookie cookie) noexcept {
    siginfo_t info;
    std::memset(&info, 0, sizeof info);
    info.si_signo = SIGPROF;
    info.si_code = SI_QUEUE;
    info.si_pid = getpid();
    info.si_uid = getuid();
    info.si_value.sival_ptr = marked(cookie);
    return syscall(SYS_rt_tgsigqueueinfo, info.si_pid, tid, SIGPROF, &info) == 0;
}

namespace {

// One signal that we share: who had it before us, newest first. Owners are only ever added while
// the guard is installed, so that the handler may read them without a lock.
class SharedSignal {
public:
    using Entry = void (*)(int, siginfo_t*, void*);

    constexpr SharedSignal(int signal, Entry entry) : signal_(signal), entry_(entry) {}

    void install() {
        struct sigaction previous;
        struct sigaction ours = action();
        if (sigaction(signal_, nullptr, &previous) != 0) {
            throw std::system_error(errno, std::generic_category(), "spprof: sigaction");
        }
        if (!is_ours(previous)) {
            push(previous);
        }
        if (sigaction(signal_, &ours, nullptr) != 0) {
            throw std::system_error(errno, std::generic_category(), "spprof: sigaction");
        }
    }

    // Somebody installed a handler over ours: go on top again, and remember them as the one to
    // pass signals to. They may in turn pass on to us; see forward().
    bool reinstall_if_taken() noexcept {
        struct sigaction current;
        if (sigaction(signal_, nullptr, &current) != 0 || is_ours(current)) {
            return false;
        }
        push(current);
        struct sigaction ours = action();
        return sigaction(signal_, &ours, nullptr) == 0;
    }

    bool on_top() const noexcept {
        struct sigaction current;
        return sigaction(signal_, nullptr, &current) == 0 && is_ours(current);
    }

    void restore() noexcept {
        struct sigaction current;
        const int count = count_.load(std::memory_order_relaxed);
        if (count > 0 && sigaction(signal_, nullptr, &current) == 0 && is_ours(current)) {
            sigaction(signal_, &owners_[count - 1], nullptr);
            // What comes to us from now on was passed on by that owner: it goes to those below.
            count_.store(count - 1, std::memory_order_release);
        }
    }

    // Discards what is pending on every thread: POSIX has that happen when a signal gets ignored.
    void flush_pending() noexcept {
        struct sigaction ignore;
        std::memset(&ignore, 0, sizeof ignore);
        ignore.sa_handler = SIG_IGN;
        struct sigaction current;
        if (sigaction(signal_, nullptr, &current) == 0 && is_ours(current)) {
            sigaction(signal_, &ignore, nullptr);
            sigaction(signal_, &current, nullptr);
        }
    }

    // Hands a signal that is not ours to the newest owner below us. An owner may chain back to us
    // (it was installed over our handler and remembers us); each re-entry goes one owner deeper.
    void forward(siginfo_t* info, void* context, int depth) noexcept {
        const int owner = count_.load(std::memory_order_acquire) - 1 - depth;
        if (owner >= 0 && is_function(owners_[owner])) {
            call(owners_[owner], signal_, info, context);
            return;
        }
        if (owner >= 0 && owners_[owner].sa_handler == SIG_IGN && info->si_code <= 0) {
            return;
        }
        // The default action: as if we had never been there.
        struct sigaction fallback;
        std::memset(&fallback, 0, sizeof fallback);
        fallback.sa_handler = SIG_DFL;
        sigaction(signal_, &fallback, nullptr);
        if (info->si_code <= 0 || signal_ == SIGPROF) {
            raise(signal_);  // delivered when this handler returns and the mask is lifted
        }
        // A real fault happens again when the instruction is run again.
    }

private:
    static constexpr int kMaxOwners = 8;

    void push(const struct sigaction& owner) noexcept {
        const int count = count_.load(std::memory_order_relaxed);
        const int slot = count < kMaxOwners ? count : kMaxOwners - 1;
        owners_[slot] = owner;
        count_.store(slot + 1, std::memory_order_release);
    }

    struct sigaction action() const noexcept {
        struct sigaction ours;
        std::memset(&ours, 0, sizeof ours);
        ours.sa_sigaction = entry_;
        // ONSTACK: threads with tiny stacks that brought their own signal stack stay alive.
        ours.sa_flags =
            SA_SIGINFO | SA_RESTART | SA_ONSTACK | (signal_ == SIGPROF ? 0 : SA_NODEFER);
        sigemptyset(&ours.sa_mask);
        return ours;
    }

    bool is_ours(const struct sigaction& action) const noexcept {
        return (action.sa_flags & SA_SIGINFO) != 0 && action.sa_sigaction == entry_;
    }

    int signal_;
    Entry entry_;
    struct sigaction owners_[kMaxOwners] = {};
    std::atomic<int> count_{0};
};

void on_sampling_signal(int, siginfo_t* info, void* context);
void on_fault(int signal, siginfo_t* info, void* context);

SharedSignal sampling_signal(SIGPROF, on_sampling_signal);
SharedSignal segv_signal(SIGSEGV, on_fault);
SharedSignal bus_signal(SIGBUS, on_fault);

std::atomic<SampleHandler> sample_handler{nullptr};

// How deep this thread is in passing signals on; guards against owners that chain back to us.
__attribute__((tls_model("initial-exec"))) thread_local int forward_depth = 0;

void forward(SharedSignal& signal, siginfo_t* info, void* context) noexcept {
    const int depth = forward_depth;
    forward_depth = depth + 1;
    signal.forward(info, context, depth);
    forward_depth = depth;
}

void on_sampling_signal(int, siginfo_t* info, void* context) {
    const int saved_errno = errno;
    const Cookie cookie = reinterpret_cast<Cookie>(info->si_value.sival_ptr);
    const bool by_timer = info->si_code == SI_TIMER;
    const bool ours = (by_timer || (info->si_code == SI_QUEUE && info->si_pid == current_pid())) &&
                      (cookie & kCookieMask) == kCookieMagic;
    if (ours) {
        if (SampleHandler handler = sample_handler.load(std::memory_order_acquire)) {
            handler(cookie & ~kCookieMask, by_timer ? Sender::timer : Sender::thread, context);
        }
    } else {
        forward(sampling_signal, info, context);
    }
    errno = saved_errno;
}

void on_fault(int signal, siginfo_t* info, void* raw_context) {
    auto* context = static_cast<ucontext_t*>(raw_context);
    if (program_counter(context) == reinterpret_cast<std::uintptr_t>(spprof_safe_copy_fault)) {
        set_program_counter(context, reinterpret_cast<std::uintptr_t>(spprof_safe_copy_resume));
        return;
    }
    const int saved_errno = errno;
    forward(signal == SIGSEGV ? segv_signal : bus_signal, info, raw_context);
    errno = saved_errno;
}

}  // namespace

void SamplingSignal::install(SampleHandler handler) {
    sample_handler.store(handler, std::memory_order_release);
    sampling_signal.install();
}

bool SamplingSignal::reinstall_if_taken() noexcept { return sampling_signal.reinstall_if_taken(); }

void SamplingSignal::restore() noexcept {
    sampling_signal.flush_pending();
    sampling_signal.restore();
}

void FaultGuard::install() {
    segv_signal.install();
    bus_signal.install();
}

bool FaultGuard::reinstall_if_taken() noexcept {
    const bool segv = segv_signal.reinstall_if_taken();
    const bool bus = bus_signal.reinstall_if_taken();
    return segv || bus;
}

bool FaultGuard::armed() noexcept { return segv_signal.on_top(); }

void FaultGuard::restore() noexcept {
    segv_signal.restore();
    bus_signal.restore();
}

namespace {

#if defined(__x86_64__)
using Instruction = std::uint16_t;
constexpr Instruction kSystemCall = 0x050F;  // syscall
std::int64_t result_register(const ucontext_t* context) noexcept {
    return context->uc_mcontext.gregs[REG_RAX];
}
#else
using Instruction = std::uint32_t;
constexpr Instruction kSystemCall = 0xD4000001;  // svc #0
std::int64_t result_register(const ucontext_t* context) noexcept {
    return static_cast<std::int64_t>(context->uc_mcontext.regs[0]);
}
#endif

bool is_system_call(std::uintptr_t address) noexcept {
    std::uintptr_t word;
    return SafeMemory().load(address, word) && static_cast<Instruction>(word) == kSystemCall;
}

}  // namespace

bool interrupted_in_syscall(const void* raw_context) noexcept {
    const auto* context = static_cast<const ucontext_t*>(raw_context);
    const std::uintptr_t pc = program_counter(context);
    // Two outcomes for a blocked call: it returns EINTR (pc is behind the instruction), or the
    // kernel will restart it (pc is on the instruction again).
    return (result_register(context) == -EINTR && is_system_call(pc - sizeof kSystemCall)) ||
           is_system_call(pc);
}

bool just_left_syscall(const void* raw_context) noexcept {
    return is_system_call(program_counter(static_cast<const ucontext_t*>(raw_context)) -
                          sizeof kSystemCall);
}

// --- memory and waking --------------------------------------------------------------------------

void* map_pages(std::size_t bytes) noexcept {
    void* pages = mmap(nullptr, bytes, PROT_READ | PROT_WRITE,
                       MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    return pages == MAP_FAILED ? nullptr : pages;
}

void unmap_pages(void* pages, std::size_t bytes) noexcept {
    if (pages != nullptr) {
        munmap(pages, bytes);
    }
}

WakeUp::WakeUp() : fd_(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)) {
    if (fd_ < 0) {
        throw std::system_error(errno, std::generic_category(), "spprof: eventfd");
    }
}

WakeUp::~WakeUp() { close(fd_); }

void WakeUp::post() noexcept {
    const std::uint64_t one = 1;
    // A full counter means that a wake-up is already on its way.
    [[maybe_unused]] const ssize_t written = write(fd_, &one, sizeof one);
}

void WakeUp::wait_until(std::int64_t deadline_ns) {
    const std::int64_t remaining = deadline_ns - monotonic_ns();
    if (remaining > 0) {
        const timespec timeout = to_timespec(remaining);
        pollfd wanted{fd_, POLLIN, 0};
        ppoll(&wanted, 1, &timeout, nullptr);
    }
    std::uint64_t count;
    [[maybe_unused]] const ssize_t got = read(fd_, &count, sizeof count);
}

}  // namespace spprof::platform
