// The seam to the operating system: clocks, threads, timers, signals. Knows nothing of Python.
// Functions marked "handler-safe" may be called from the signal handler.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

namespace spprof::platform {

using Tid = std::int32_t;

// --- clocks -------------------------------------------------------------------------------------

std::int64_t monotonic_ns() noexcept;           // handler-safe
std::int64_t realtime_ns() noexcept;            // handler-safe
std::int64_t current_thread_cpu_ns() noexcept;  // handler-safe
std::int64_t process_cpu_ns() noexcept;

// CPU time of any thread of this process; -1 once the thread is gone.
std::int64_t thread_cpu_ns(Tid tid) noexcept;

// Resolution of the kernel's CPU timers: below it they silently fire late.
std::int64_t kernel_tick_ns() noexcept;

// Sleeps until the monotonic clock reaches `deadline_ns`.
void sleep_until(std::int64_t deadline_ns) noexcept;

// --- threads ------------------------------------------------------------------------------------

Tid current_tid() noexcept;  // handler-safe; cached in initial-exec TLS
int current_pid() noexcept;  // handler-safe
void forget_cached_tid() noexcept;

// Watches the threads of this process without touching them.
class ThreadList {
public:
    ThreadList();
    ~ThreadList();
    ThreadList(const ThreadList&) = delete;
    ThreadList& operator=(const ThreadList&) = delete;

    // One system call; -1 when unknown.
    int count() const noexcept;
    std::vector<Tid> tids() const;

private:
    int fd_ = -1;
};

std::string thread_os_name(Tid tid);

// Whether the thread runs or waits for a processor only. A read of /proc; true when unknown.
bool is_runnable(Tid tid) noexcept;

// Threads created while this is alive take no signals: they are left to the program's own threads.
class SignalFreeZone {
public:
    SignalFreeZone() noexcept;
    ~SignalFreeZone();
    SignalFreeZone(const SignalFreeZone&) = delete;
    SignalFreeZone& operator=(const SignalFreeZone&) = delete;

private:
    std::uint64_t saved_[16];
};

// Called around fork() in this process, for as long as it lives: before it and after it in the
// parent, after it in the child. Handler-free context, any thread.
void on_fork(void (*before)(), void (*after_in_parent)(), void (*after_in_child)());

void name_current_thread(const char* name) noexcept;

// Has the calling thread run as soon as it wakes up, and not only when the thread that runs there
// goes to sleep, which would keep it from ever seeing one run. As far as the system grants that
// without privileges.
void wake_current_thread_promptly() noexcept;

// --- sampling signals ---------------------------------------------------------------------------

// What a signal carries to the handler: which record it is for. 48 bits; the platform adds a mark
// that tells our signals from foreign ones.
using Cookie = std::uint64_t;

enum class TimerClock : std::uint8_t {
    thread_cpu,  // fires on the kernel's tick only, and only while the thread runs
    monotonic,   // fires at any time, on the processor where it was armed or its signal taken last
};

// A timer that signals one thread.
class ThreadTimer {
public:
    ThreadTimer() = default;
    ~ThreadTimer() { destroy(); }
    ThreadTimer(const ThreadTimer&) = delete;
    ThreadTimer& operator=(const ThreadTimer&) = delete;

    // False where the system refuses (seccomp, RLIMIT_SIGPENDING, the thread is gone).
    bool create(TimerClock clock, Tid tid, Cookie cookie) noexcept;
    // First expiry after first_ns of its clock, then every interval_ns (0: once). Handler-safe.
    bool arm(std::int64_t first_ns, std::int64_t interval_ns) noexcept;
    void disarm() noexcept;  // handler-safe
    void destroy() noexcept;
    bool exists() const noexcept { return id_ >= 0; }
    // After fork: the child has no timers; forget the id without touching the kernel.
    void forget() noexcept { id_ = -1; }

private:
    int id_ = -1;
};

// Sends the sampling signal to one thread; false when it is gone.
bool signal_thread(Tid tid, Cookie cookie) noexcept;

// Who sent a sampling signal: a timer of the thread, or signal_thread().
enum class Sender : std::uint8_t { timer, thread };

// Handler of the sampling signal. `context` is the ucontext_t of the interrupted thread.
using SampleHandler = void (*)(Cookie cookie, Sender sender, void* context) noexcept;

// SIGPROF, shared with whoever had it before: signals that are not ours are passed on.
class SamplingSignal {
public:
    static void install(SampleHandler handler);
    // Takes the signal back when somebody replaced our handler; true when that was needed.
    static bool reinstall_if_taken() noexcept;
    // Flushes signals still pending and restores the previous owner. No timer may be armed and
    // no thread may send any more.
    static void restore() noexcept;
};

// SIGSEGV / SIGBUS, chained: makes spprof_safe_copy report failure instead of crashing, and hands
// every other fault to whoever had the signal before.
class FaultGuard {
public:
    static void install();
    static bool reinstall_if_taken() noexcept;
    static bool armed() noexcept;  // handler-safe: is the guard in force right now?
    static void restore() noexcept;
};

// True when the interrupted thread was blocked in a system call. Handler-safe.
bool interrupted_in_syscall(const void* context) noexcept;
// True when it had just come back from one, blocked or not. Handler-safe.
bool just_left_syscall(const void* context) noexcept;

// --- memory and waking --------------------------------------------------------------------------

// Zeroed pages, committed when touched. nullptr when there is no memory.
void* map_pages(std::size_t bytes) noexcept;
void unmap_pages(void* pages, std::size_t bytes) noexcept;

// A semaphore that a signal handler may post.
class WakeUp {
public:
    WakeUp();
    ~WakeUp();
    WakeUp(const WakeUp&) = delete;
    WakeUp& operator=(const WakeUp&) = delete;
    void post() noexcept;                       // handler-safe
    void wait_until(std::int64_t deadline_ns);  // monotonic clock

private:
    int fd_ = -1;
};

}  // namespace spprof::platform
