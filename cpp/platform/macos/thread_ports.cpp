// See thread_ports.h.
#include "platform/macos/thread_ports.h"

#include <new>

namespace spprof::platform {

namespace {

std::int64_t to_ns(const time_value_t& time) noexcept {
    return std::int64_t{time.seconds} * 1'000'000'000 + std::int64_t{time.microseconds} * 1'000;
}

bool basic_info(mach_port_t port, thread_basic_info_data_t& info) noexcept {
    mach_msg_type_number_t count = THREAD_BASIC_INFO_COUNT;
    return thread_info(port, THREAD_BASIC_INFO, reinterpret_cast<thread_info_t>(&info), &count) ==
           KERN_SUCCESS;
}

}  // namespace

std::int64_t port_cpu_ns(mach_port_t port) noexcept {
    thread_basic_info_data_t info;
    return basic_info(port, info) ? to_ns(info.user_time) + to_ns(info.system_time) : -1;
}

bool port_is_running(mach_port_t port) noexcept {
    thread_basic_info_data_t info;
    return basic_info(port, info) && info.run_state == TH_STATE_RUNNING;
}

Tid port_tid(mach_port_t port) noexcept {
    thread_identifier_info_data_t info;
    mach_msg_type_number_t count = THREAD_IDENTIFIER_INFO_COUNT;
    const kern_return_t result =
        thread_info(port, THREAD_IDENTIFIER_INFO, reinterpret_cast<thread_info_t>(&info), &count);
    return result == KERN_SUCCESS ? static_cast<Tid>(info.thread_id) : 0;
}

ThreadPorts& known_ports() noexcept {
    alignas(ThreadPorts) static unsigned char room[sizeof(ThreadPorts)];
    static auto* ports = new (room) ThreadPorts;
    return *ports;
}

void ThreadPorts::release(mach_port_t port) noexcept {
    mach_port_deallocate(mach_task_self(), port);
}

mach_port_t ThreadPorts::retain(Tid tid) noexcept {
    const std::lock_guard<std::mutex> lock(mutex_);
    const mach_port_t port = find(tid);
    const bool held =
        port != MACH_PORT_NULL &&
        mach_port_mod_refs(mach_task_self(), port, MACH_PORT_RIGHT_SEND, 1) == KERN_SUCCESS;
    return held ? port : MACH_PORT_NULL;
}

std::int64_t ThreadPorts::cpu_ns(Tid tid) noexcept {
    const std::lock_guard<std::mutex> lock(mutex_);
    const mach_port_t port = find(tid);
    const std::int64_t cpu = port == MACH_PORT_NULL ? -1 : port_cpu_ns(port);
    if (cpu < 0) {
        forget(tid);
    }
    return cpu;
}

mach_port_t ThreadPorts::find(Tid tid) noexcept {
    auto found = ports_.find(tid);
    if (found == ports_.end()) {
        learn_all();
        found = ports_.find(tid);
    }
    return found == ports_.end() ? MACH_PORT_NULL : found->second;
}

void ThreadPorts::learn_all() noexcept {
    for (auto one = ports_.begin(); one != ports_.end();) {
        if (port_cpu_ns(one->second) < 0) {
            release(one->second);
            one = ports_.erase(one);
        } else {
            ++one;
        }
    }
    each_thread_port([this](mach_port_t port) noexcept {
        const Tid tid = port_tid(port);
        if (tid == 0 || ports_.count(tid) != 0) {
            return;
        }
        try {
            ports_.emplace(tid, port);
        } catch (const std::bad_alloc&) {
            return;  // it is looked for the next time
        }
        if (mach_port_mod_refs(mach_task_self(), port, MACH_PORT_RIGHT_SEND, 1) != KERN_SUCCESS) {
            ports_.erase(tid);
        }
    });
}

void ThreadPorts::forget(Tid tid) noexcept {
    const auto found = ports_.find(tid);
    if (found != ports_.end()) {
        release(found->second);
        ports_.erase(found);
    }
}

void ThreadPorts::forget_all() noexcept {
    // Whoever held the lock is not here.
    new (&mutex_) std::mutex;
    new (&ports_) std::unordered_map<Tid, mach_port_t>;
}

}  // namespace spprof::platform
