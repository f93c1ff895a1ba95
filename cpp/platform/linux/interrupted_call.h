// Reached from the signal handler. Goes on with a blocking system call that our signal has cut
// short, so that the program does not learn of it.
//
// The kernel begins many calls anew by itself (SA_RESTART). The others return EINTR once a handler
// has run: poll, epoll_wait, select, nanosleep, sigtimedwait, a receive with a time-out and more.
#pragma once

#include <ucontext.h>

#include <atomic>
#include <cstdint>

namespace spprof::platform {

struct CallFigures {
    std::atomic<std::uint64_t> continued{0};  // the program goes on waiting
    std::atomic<std::uint64_t> cut_short{0};  // it sees EINTR: what was called is not to be learned
};

// To be called last thing in the handler: it may wait here for as long as the program would, and
// other handlers may run meanwhile, which need not come back, nor need the thread (cancellation):
// hence no noexcept, and no destructor on the way.
void continue_interrupted_call(ucontext_t& context, CallFigures& figures);

}  // namespace spprof::platform
