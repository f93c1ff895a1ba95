// macOS behind threads.h.
#include "platform/threads.h"

#include <libproc.h>
#include <pthread.h>
#include <pthread/qos.h>
#include <sched.h>
#include <signal.h>
#include <sys/resource.h>
#include <unistd.h>

#include <cstring>
#include <system_error>

#include "platform/clocks.h"
#include "platform/macos/thread_ports.h"

namespace spprof::platform {

Tid current_tid() noexcept {
    std::uint64_t id = 0;
    pthread_threadid_np(nullptr, &id);
    return static_cast<Tid>(id);
}

int current_pid() noexcept { return static_cast<int>(getpid()); }

void forget_cached_tids() noexcept { known_ports().forget_all(); }

int thread_count() noexcept {
    proc_taskinfo info;
    const int size = proc_pidinfo(getpid(), PROC_PIDTASKINFO, 0, &info, sizeof info);
    return size == static_cast<int>(sizeof info) ? info.pti_threadnum : -1;
}

std::vector<Tid> list_threads() {
    std::vector<Tid> result;
    each_thread_port([&](mach_port_t port) noexcept {
        if (const Tid tid = port_tid(port)) {
            try {
                result.push_back(tid);
            } catch (const std::bad_alloc&) {
                return;  // a list without it
            }
        }
    });
    return result;
}

std::string thread_os_name(Tid tid) {
    const mach_port_t port = known_ports().retain(tid);
    if (port == MACH_PORT_NULL) {
        return {};
    }
    thread_extended_info_data_t info;
    mach_msg_type_number_t count = THREAD_EXTENDED_INFO_COUNT;
    const kern_return_t result =
        thread_info(port, THREAD_EXTENDED_INFO, reinterpret_cast<thread_info_t>(&info), &count);
    ThreadPorts::release(port);
    if (result != KERN_SUCCESS) {
        return {};
    }
    return std::string(info.pth_name, strnlen(info.pth_name, sizeof info.pth_name));
}

bool is_runnable(Tid tid) noexcept {
    const mach_port_t port = known_ports().retain(tid);
    if (port == MACH_PORT_NULL) {
        return true;
    }
    const bool running = port_is_running(port);
    ThreadPorts::release(port);
    return running;
}

// Not told of a single thread.
long current_thread_sleeps() noexcept { return -1; }

long thread_sleeps(Tid) noexcept { return -1; }

bool waiting_call(Tid, WaitingCall&) noexcept { return false; }

std::uint64_t blocked_signals(Tid) noexcept { return 0; }

void on_fork(void (*before)(), void (*after_in_parent)(), void (*after_in_child)()) {
    if (const int error = pthread_atfork(before, after_in_parent, after_in_child)) {
        throw std::system_error(error, std::generic_category(), "spprof: pthread_atfork");
    }
}

bool threads_can_wake_promptly() noexcept { return true; }

bool wake_current_thread_promptly() noexcept {
    pthread_set_qos_class_self_np(QOS_CLASS_USER_INTERACTIVE, 0);
    thread_latency_qos_policy_data_t latency = {LATENCY_QOS_TIER_0};
    thread_policy_set(pthread_mach_thread_np(pthread_self()), THREAD_LATENCY_QOS_POLICY,
                      reinterpret_cast<thread_policy_t>(&latency), THREAD_LATENCY_QOS_POLICY_COUNT);
    return false;  // asked for, and not promised
}

// --- threads of our own -------------------------------------------------------------------------

struct OwnThread::Start {
    OwnThread* thread;
    const char* name;
    void (*body)(void*) noexcept;
    void* self;
};

void* OwnThread::main(void* raw) noexcept {
    const Start start = *static_cast<const Start*>(raw);
    pthread_setname_np(start.name);
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
    Start start{this, name, body, self};
    tid_.store(0, std::memory_order_relaxed);
    running_ = true;
    pthread_t thread;
    pthread_sigmask(SIG_BLOCK, &all, &before);
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
        // The system may list a thread for a moment longer than it can be joined.
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
