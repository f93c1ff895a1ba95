// Owns a SIGPROF handler that unwinds the thread it interrupts and then calls a function on which a
// debugger can stop, to compare the addresses with its own. For test_native_against_gdb.py only.
#include <signal.h>
#include <sys/time.h>

#include <atomic>
#include <chrono>
#include <thread>

#include "native/registers_linux.h"
#include "native/symbols.h"
#include "native/unwind.h"
#include "platform/linux/fault_guard.h"
#include "platform/safe_memory.h"

namespace {

using namespace spprof::native;

CodeMap& code_map() {
    static auto* map = new CodeMap;
    return *map;
}

// What the collector does of a session.
void look_after_code() {
    Symbolizer symbolizer(code_map());
    for (;;) {
        code_map().refresh();
        for (const uintptr_t address : code_map().take_unknown()) {
            symbolizer.guess_rules_around(address);
        }
        std::this_thread::sleep_for(std::chrono::milliseconds(1));
    }
}

}  // namespace

// The debugger stops here and reads the arguments: several threads may be here at once.
extern "C" [[gnu::noinline]] void probe_stop_here(const uintptr_t* addresses, size_t count,
                                                  int end) {
    asm volatile("" ::"r"(addresses), "r"(count), "r"(end) : "memory");
}

namespace {

// Whatever was interrupted may hold the lock of the heap: neither these nor the word that leads a
// thread to its own may come from there.
constexpr size_t kMostThreads = 64;
RecentSteps steps_of_threads[kMostThreads];
std::atomic<size_t> steps_given{0};
__attribute__((tls_model("initial-exec"))) thread_local RecentSteps* own_steps = nullptr;

// Of the calling thread; null where there are too many.
RecentSteps* recent_steps() {
    if (own_steps == nullptr && steps_given.load() < kMostThreads) {
        const size_t next = steps_given.fetch_add(1);
        own_steps = next < kMostThreads ? &steps_of_threads[next] : nullptr;
    }
    return own_steps;
}

void on_signal(int, siginfo_t*, void* context) {
    constexpr size_t kMost = 256;
    uintptr_t addresses[kMost];
    size_t count = 0;
    End end = End::complete;
    {
        const CodeMap::Use use(code_map());
        UnwindContext walk(use);
        walk.recent = recent_steps();
        count = unwind(walk, registers_from_ucontext(context), spprof::platform::SafeMemory{},
                       addresses, kMost, &end);
        if (walk.unknown != 0) {
            use.ask(walk.unknown);
            return;  // given up: the next one will know
        }
    }
    probe_stop_here(addresses, count, static_cast<int>(end));
}

}  // namespace

extern "C" [[gnu::visibility("default")]] void probe_start(long interval_us) {
    code_map().refresh();
    sigset_t all;
    sigset_t before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    std::thread(look_after_code).detach();
    pthread_sigmask(SIG_SETMASK, &before, nullptr);
    spprof::platform::FaultGuard::install();
    struct sigaction action{};
    action.sa_sigaction = on_signal;
    action.sa_flags = SA_SIGINFO | SA_RESTART;
    sigaction(SIGPROF, &action, nullptr);
    const itimerval timer{{0, interval_us}, {0, interval_us}};
    setitimer(ITIMER_PROF, &timer, nullptr);
}
