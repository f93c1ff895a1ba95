// Linux behind threads.h.
#include "platform/threads.h"

#include "platform/linux/waiting_call.h"

#include <dirent.h>
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <charconv>
#include <cstdlib>
#include <cstring>
#include <system_error>

#include "platform/clocks.h"
#include "platform/linux/fault_guard.h"

namespace spprof::platform {

namespace {

// Initial-exec: resolved when the module is loaded, so a visit never enters the dynamic linker.
__attribute__((tls_model("initial-exec"))) thread_local Tid cached_tid = 0;
__attribute__((tls_model("initial-exec"))) thread_local int cached_in_process = 0;

// Counts the processes that this one is a copy of, as far as that was noticed.
std::atomic<int> process{1};

constexpr const char* kOwnThreads = "/proc/self/task";

// By seccomp: a filter may end the process for a call that it does not expect.
bool calls_are_filtered() noexcept { return prctl(PR_GET_SECCOMP, 0, 0, 0, 0) != 0; }

// What of a file of /proc about a thread fits; 0: there is none.
std::size_t read_about_thread(Tid tid, const char* file, char* text, std::size_t size) noexcept {
    // Put together by hand: printf may allocate, and a thread may be standing still meanwhile.
    char path[64];
    char* end = std::copy_n(kOwnThreads, std::strlen(kOwnThreads), path);
    *end++ = '/';
    end = std::to_chars(end, path + sizeof path, tid).ptr;
    *end++ = '/';
    std::memcpy(end, file, std::strlen(file) + 1);
    const int fd = open(path, O_RDONLY | O_CLOEXEC);
    text[0] = '\0';
    if (fd < 0) {
        return 0;
    }
    const ssize_t length = read(fd, text, size - 1);
    close(fd);
    const std::size_t taken = length < 0 ? 0 : static_cast<std::size_t>(length);
    text[taken] = '\0';
    return taken;
}

// The value behind `field`, in `text`; nullptr: it is not told.
const char* status_of_thread(Tid tid, const char* field, char* text, std::size_t size) noexcept {
    read_about_thread(tid, "status", text, size);
    const char* found = std::strstr(text, field);
    return found == nullptr ? nullptr : found + std::strlen(field);
}

}  // namespace

Tid current_tid() noexcept {
    const int here = process.load(std::memory_order_relaxed);
    if (cached_in_process != here) {
        cached_tid = static_cast<Tid>(syscall(SYS_gettid));
        cached_in_process = here;
    }
    return cached_tid;
}

int current_pid() noexcept { return static_cast<int>(getpid()); }

void forget_cached_tids() noexcept { process.fetch_add(1, std::memory_order_relaxed); }

int thread_count() noexcept {
    struct stat status;
    if (stat(kOwnThreads, &status) != 0 || status.st_nlink < 2) {
        return -1;
    }
    return static_cast<int>(status.st_nlink) - 2;
}

std::vector<Tid> list_threads() {
    std::vector<Tid> result;
    DIR* directory = opendir(kOwnThreads);
    if (directory == nullptr) {
        return result;
    }
    // Each call has a stream of its own.
    while (const dirent* entry = readdir(directory)) {  // NOLINT(concurrency-mt-unsafe)
        const long tid = strtol(entry->d_name, nullptr, 10);
        if (tid > 0) {
            result.push_back(static_cast<Tid>(tid));
        }
    }
    closedir(directory);
    return result;
}

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

long current_thread_sleeps() noexcept {
    struct rusage usage;
    return getrusage(RUSAGE_THREAD, &usage) == 0 ? usage.ru_nvcsw : -1;
}

bool waiting_call(Tid tid, WaitingCall& call) noexcept {
    char text[256];  // "number 0xarg0 ... 0xarg5 0xsp 0xpc", "-1 0xsp 0xpc" or "running"
    if (read_about_thread(tid, "syscall", text, sizeof text) == 0 || text[0] == 'r') {
        return false;
    }
    char* at = text;
    const long number = std::strtol(at, &at, 10);
    constexpr std::size_t kArguments = 6;
    std::uintptr_t values[kArguments + 2] = {};
    std::size_t count = 0;
    while (*at == ' ' && count < std::size(values)) {
        values[count++] = static_cast<std::uintptr_t>(std::strtoull(at, &at, 16));
    }
    if (count < 2) {
        return false;
    }
    call.number = static_cast<std::uintptr_t>(number);
    call.stack_pointer = values[count - 2];
    call.program_counter = values[count - 1];
    call.wait = count == std::size(values) ? reason_of_call(number, values) : Wait::unknown;
    call.word = call.wait == Wait::word ? values[0] : 0;
    return call.program_counter != 0;
}

std::uint64_t blocked_signals(Tid tid) noexcept {
    char text[4096];
    const char* value = status_of_thread(tid, "\nSigBlk:\t", text, sizeof text);
    return value == nullptr ? 0 : std::strtoull(value, nullptr, 16);
}

long thread_sleeps(Tid tid) noexcept {
    char text[4096];
    const char* value = status_of_thread(tid, "\nvoluntary_ctxt_switches:\t", text, sizeof text);
    return value == nullptr ? -1 : std::strtol(value, nullptr, 10);
}

void on_fork(void (*before)(), void (*after_in_parent)(), void (*after_in_child)()) {
    if (const int error = pthread_atfork(before, after_in_parent, after_in_child)) {
        throw std::system_error(error, std::generic_category(), "spprof: pthread_atfork");
    }
}

namespace {

struct SchedulingAttributes {  // sched_attr, as the first version of the call has it
    std::uint32_t size, policy;
    std::uint64_t flags;
    std::int32_t nice;
    std::uint32_t priority;
    std::uint64_t runtime_ns, deadline_ns, period_ns;
};

}  // namespace

// Linux 6.12 lets threads that ask for short slices preempt others, and tells a thread's slice;
// before, asking has no effect and there is none to tell.
bool threads_can_wake_promptly() noexcept {
    SchedulingAttributes got{};
    return !calls_are_filtered() && syscall(SYS_sched_getattr, 0, &got, sizeof got, 0) == 0 &&
           got.runtime_ns != 0;
}

bool wake_current_thread_promptly() noexcept {
    prctl(PR_SET_TIMERSLACK, 1, 0, 0, 0);
    if (calls_are_filtered()) {
        return false;
    }
    constexpr std::uint64_t kKeepPolicy = 0x08;
    constexpr std::uint64_t kShortest = 100'000;
    SchedulingAttributes wanted{};
    wanted.size = sizeof wanted;
    wanted.flags = kKeepPolicy;
    wanted.nice = getpriority(PRIO_PROCESS, static_cast<id_t>(current_tid()));
    wanted.runtime_ns = kShortest;
    if (syscall(SYS_sched_setattr, 0, &wanted, 0) != 0) {
        return false;
    }
    SchedulingAttributes got{};
    return syscall(SYS_sched_getattr, 0, &got, sizeof got, 0) == 0 && got.runtime_ns == kShortest;
}

// --- threads of our own -------------------------------------------------------------------------

namespace {

// A table of descriptors of its own, with none of the program's. A program may close all numbers
// that it does not know; what a thread of ours has open at that moment would be closed twice, the
// second time being the program's next file. A copy that kept the program's files would hold its
// pipes open. Before Linux 5.9 there is none, and the table stays shared.
void leave_descriptors_of_program() noexcept {
    if (calls_are_filtered()) {
        return;
    }
    constexpr long kCloseRange = 436;  // on every architecture
    constexpr unsigned kUnshare = 2;
    if (syscall(kCloseRange, 0u, ~0u, kUnshare) != 0) {
        return;
    }
    // Where somebody's allocator or tracer reports what it sees on our threads.
    const int nowhere = open("/dev/null", O_RDWR);
    for (int standard = 0; standard <= STDERR_FILENO && nowhere >= 0; ++standard) {
        if (standard != nowhere) {
            dup2(nowhere, standard);
        }
    }
}

}  // namespace

struct OwnThread::Start {
    OwnThread* thread;
    const char* name;
    void (*body)(void*) noexcept;
    void* self;
};

void* OwnThread::main(void* raw) noexcept {
    const Start start = *static_cast<const Start*>(raw);
    prctl(PR_SET_NAME, start.name, 0, 0, 0);
    FaultGuard::begin_own_thread();
    leave_descriptors_of_program();
    // From here on `raw` is gone.
    start.thread->tid_.store(current_tid(), std::memory_order_release);
    start.body(start.self);
    start.thread->cpu_of_ended_ = current_thread_cpu_ns();
    return nullptr;
}

bool OwnThread::start(const char* name, void (*body)(void*) noexcept, void* self) noexcept {
    static_assert(sizeof handle_ >= sizeof(pthread_t), "room for a thread's handle");
    sigset_t all, before;
    sigfillset(&all);
    // A fault of ours is meant to be mended; were it blocked, it would end the process (the fault
    // guard blocks it where that is safe). So this is the whole mask, not added to a mask of the
    // program's that may block faults.
    for (const int fault : {SIGSEGV, SIGBUS}) {
        sigdelset(&all, fault);
    }
    Start start{this, name, body, self};
    tid_.store(0, std::memory_order_relaxed);
    pthread_t thread;
    running_ = true;
    pthread_sigmask(SIG_SETMASK, &all, &before);
    const int error = pthread_create(&thread, nullptr, main, &start);
    pthread_sigmask(SIG_SETMASK, &before, nullptr);
    if (error != 0) {
        running_ = false;
        return false;
    }
    std::memcpy(&handle_, &thread, sizeof thread);
    while (tid() == 0) {
        sched_yield();
    }
    return true;
}

void OwnThread::join() noexcept {
    if (running_) {
        pthread_t thread;
        std::memcpy(&thread, &handle_, sizeof thread);
        pthread_join(thread, nullptr);
        running_ = false;
        // The system lists a thread for a moment longer than it can be joined.
        constexpr std::int64_t kLongest = 5'000'000;
        const std::int64_t deadline = monotonic_ns() + kLongest;
        while (thread_cpu_ns(tid()) >= 0 && monotonic_ns() < deadline) {
            sched_yield();
        }
    }
}

std::int64_t OwnThread::cpu_ns() const noexcept {
    if (!running_) {
        return cpu_of_ended_;
    }
    const std::int64_t now = thread_cpu_ns(tid());
    return now < 0 ? 0 : now;
}

}  // namespace spprof::platform
