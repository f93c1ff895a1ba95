// Runs the body of a test in a forked child, so that what it does to signals (and its crashes)
// stays there. Knows nothing of what is tested.
#pragma once

#include <doctest/doctest.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <cstdint>
#include <cstring>
#include <new>

#include "platform/clocks.h"
#include "platform/threads.h"

namespace spprof::testing {

// The status with which a child ends that runs `body`, whose result is its exit code.
template <class Body>
int status_of_child(Body body) {
    const pid_t child = fork();
    if (child == 0) {
        platform::forget_cached_tids();
        // The test runner and the sanitizers have handlers of their own.
        signal(SIGSEGV, SIG_DFL);
        signal(SIGBUS, SIG_DFL);
        alarm(60);
        _exit(body());
    }
    int status = 0;
    REQUIRE(waitpid(child, &status, 0) == child);
    return status;
}

inline bool exited_with(int status, int code) {
    return WIFEXITED(status) && WEXITSTATUS(status) == code;
}
inline bool killed_by(int status, int signal) {
    return WIFSIGNALED(status) && WTERMSIG(status) == signal;
}

// 0 is right; another number says which step went wrong.
template <class Body>
int wrong_step_in_child(Body body) {
    const int status = status_of_child(body);
    return WIFEXITED(status) ? WEXITSTATUS(status)
                             : 1000 + (WIFSIGNALED(status) ? WTERMSIG(status) : 0);
}

// A number that parent and child both see.
class SharedNumber {
public:
    SharedNumber()
        : page_(mmap(nullptr, sizeof(std::atomic<int>), PROT_READ | PROT_WRITE,
                     MAP_SHARED | MAP_ANONYMOUS, -1, 0)),
          number_(new (page_) std::atomic<int>(0)) {}
    ~SharedNumber() { munmap(page_, sizeof(std::atomic<int>)); }
    std::atomic<int>& operator*() const noexcept { return *number_; }

private:
    void* page_;
    std::atomic<int>* number_;
};

inline struct sigaction action_of(void (*function)(int), int flags = 0) {
    struct sigaction action;
    std::memset(&action, 0, sizeof action);
    action.sa_handler = function;
    action.sa_flags = flags;
    return action;
}

// Uses a processor for so long.
inline void burn(std::int64_t ns) {
    const std::int64_t end = platform::current_thread_cpu_ns() + ns;
    while (platform::current_thread_cpu_ns() < end) {
    }
}

}  // namespace spprof::testing
