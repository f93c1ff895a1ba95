// Owns a SIGPROF handler that unwinds the thread it interrupts and then calls a function on which a
// debugger can stop, to compare the addresses with its own. For test_native_against_gdb.py only.
#include <signal.h>
#include <sys/time.h>

#include "native/unwind.h"
#include "native/unwind_tables.h"
#include "platform/linux/fault_guard.h"
#include "platform/safe_memory.h"

namespace {

using spprof::native::End;
using spprof::native::kMaxNativeFrames;

spprof::native::UnwindTables& tables() {
    static auto* instance = new spprof::native::UnwindTables;
    return *instance;
}

}  // namespace

// The debugger stops here and reads the arguments: several threads may be here at once.
extern "C" [[gnu::noinline]] void probe_stop_here(const uintptr_t* addresses, size_t count,
                                                  int end) {
    asm volatile("" ::"r"(addresses), "r"(count), "r"(end) : "memory");
}

namespace {

void on_signal(int, siginfo_t*, void* context) {
    spprof::native::UnwindTables::Use use(tables());
    uintptr_t addresses[kMaxNativeFrames];
    End end = End::complete;
    const size_t count = unwind(use.set(), spprof::native::registers_from_ucontext(context),
                                spprof::platform::SafeMemory{}, addresses, kMaxNativeFrames, &end);
    probe_stop_here(addresses, count, static_cast<int>(end));
}

}  // namespace

extern "C" [[gnu::visibility("default")]] void probe_start(long interval_us) {
    tables().refresh();
    spprof::platform::FaultGuard::install();
    struct sigaction action{};
    action.sa_sigaction = on_signal;
    action.sa_flags = SA_SIGINFO | SA_RESTART;
    sigaction(SIGPROF, &action, nullptr);
    const itimerval timer{{0, interval_us}, {0, interval_us}};
    setitimer(ITIMER_PROF, &timer, nullptr);
}

// Libraries loaded since are known from here on.
extern "C" [[gnu::visibility("default")]] void probe_refresh() { tables().refresh(); }
