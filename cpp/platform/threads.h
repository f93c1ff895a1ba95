// The threads of this process as the system sees them, and threads of our own. Knows nothing of
// sampling, signals' handlers or Python. What is marked "visit-safe" may be called while a thread
// is being visited (observer.h).
#pragma once

#include <atomic>
#include <cstdint>
#include <string>
#include <vector>

namespace spprof::platform {

using Tid = std::int32_t;

Tid current_tid() noexcept;  // visit-safe; cached in initial-exec TLS
int current_pid() noexcept;  // visit-safe
void forget_cached_tids() noexcept;

// Threads of this process; one system call. -1 when unknown.
int thread_count() noexcept;
// Their ids, in no order; empty when unknown.
std::vector<Tid> list_threads();

std::string thread_os_name(Tid tid);

// Whether the thread runs or waits for a processor only. A read of /proc; true when unknown.
bool is_runnable(Tid tid) noexcept;

// How often the calling thread has given up a processor by itself; -1 when unknown. Visit-safe.
long current_thread_sleeps() noexcept;

// What a thread waits for, as far as its system call tells.
enum class Wait : std::uint8_t {
    unknown,
    word,    // in memory, that another thread changes: a lock
    sleep,   // a moment
    socket,  // or one of several descriptors
    file,    // or a pipe, or a terminal
    child,   // the end of a child process
};

// The system call in which a thread waits, and where its stack is meanwhile.
struct WaitingCall {
    std::uintptr_t number = 0;
    Wait wait = Wait::unknown;
    std::uintptr_t word = 0;  // Wait::word: its address
    std::uintptr_t stack_pointer = 0;
    std::uintptr_t program_counter = 0;
};
// How often a thread has gone to sleep so far; -1 when unknown.
long thread_sleeps(Tid tid) noexcept;

// False where the thread runs, or the system does not tell.
bool waiting_call(Tid tid, WaitingCall& call) noexcept;

// The signals that a thread has blocked, signal n as bit n - 1; 0 when unknown.
std::uint64_t blocked_signals(Tid tid) noexcept;

// Called around fork() in this process, for as long as it lives: before it and after it in the
// parent, after it in the child. Any thread.
void on_fork(void (*before)(), void (*after_in_parent)(), void (*after_in_child)());

// Has the calling thread run as soon as it wakes up, and not only when the thread that runs there
// goes to sleep, which would keep it from ever seeing one run. Whether the system grants that
// without privileges.
bool wake_current_thread_promptly() noexcept;
// Whether it would, of a thread of ours. Changes nothing.
bool threads_can_wake_promptly() noexcept;

// A thread of our own: named, and closed to all signals, which are left to the program's threads.
class OwnThread {
public:
    OwnThread() = default;
    ~OwnThread() { join(); }
    OwnThread(const OwnThread&) = delete;
    OwnThread& operator=(const OwnThread&) = delete;

    // Runs body(self) on a new thread; returns once tid() is known. False where the system refuses.
    bool start(const char* name, void (*body)(void*) noexcept, void* self) noexcept;
    void join() noexcept;  // the system does not list it any more, either
    // In a forked child: the thread this stands for does not exist here.
    void abandon_after_fork() noexcept { running_ = false; }
    bool running() const noexcept { return running_; }
    Tid tid() const noexcept { return tid_.load(std::memory_order_acquire); }
    // CPU time of the thread so far, also after its end.
    std::int64_t cpu_ns() const noexcept;

private:
    struct Start;
    static void* main(void* raw) noexcept;

    std::uint64_t handle_ = 0;
    std::atomic<Tid> tid_{0};
    std::int64_t cpu_of_ended_ = 0;
    std::atomic<bool> running_{false};  // set before the thread begins, which may ask, too
};

}  // namespace spprof::platform
