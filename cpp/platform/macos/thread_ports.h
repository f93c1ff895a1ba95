// Mach ports of this process's threads, by the numbers that threads have in the rest of spprof: the
// lower half of the system-wide thread id, which Python's native_id is, too. A port is held as long
// as it is kept here, so that its name does not come to mean another thread.
#pragma once

#include <mach/mach.h>

#include <cstdint>
#include <mutex>
#include <unordered_map>

#include "platform/threads.h"

namespace spprof::platform {

// CPU time of the thread behind a port; -1 once it is gone. One system call: visit-safe.
std::int64_t port_cpu_ns(mach_port_t port) noexcept;
// Visit-safe, too. False when unknown.
bool port_is_running(mach_port_t port) noexcept;
// 0 when unknown.
Tid port_tid(mach_port_t port) noexcept;

class ThreadPorts {
public:
    // What the caller must release; MACH_PORT_NULL where there is no such thread.
    mach_port_t retain(Tid tid) noexcept;
    static void release(mach_port_t port) noexcept;

    // -1 where there is no such thread. Takes a lock: not to be asked in a visit.
    std::int64_t cpu_ns(Tid tid) noexcept;

    // In a forked child, where the names mean nothing, or something else.
    void forget_all() noexcept;

private:
    mach_port_t find(Tid tid) noexcept;  // with the lock
    void learn_all() noexcept;
    void forget(Tid tid) noexcept;

    std::mutex mutex_;
    std::unordered_map<Tid, mach_port_t> ports_;
};

// Those of this process. Never destroyed.
ThreadPorts& known_ports() noexcept;

// Calls `visit(port)` for each thread of this process. Allocates nothing of the heap.
template <class Visit>
bool each_thread_port(Visit visit) noexcept {
    thread_act_array_t threads = nullptr;
    mach_msg_type_number_t count = 0;
    if (task_threads(mach_task_self(), &threads, &count) != KERN_SUCCESS) {
        return false;
    }
    for (mach_msg_type_number_t i = 0; i < count; ++i) {
        visit(threads[i]);
        mach_port_deallocate(mach_task_self(), threads[i]);
    }
    vm_deallocate(mach_task_self(), reinterpret_cast<vm_address_t>(threads),
                  count * sizeof(*threads));
    return true;
}

}  // namespace spprof::platform
