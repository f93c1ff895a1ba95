// See attached_lock.h.
#include "interpreter/attached_lock.h"

#include <atomic>
#include <chrono>
#include <thread>

#include "interpreter/python_internals.h"
#include "platform/safe_memory.h"

namespace spprof::interpreter {

namespace {

// The calling thread's attached thread state; nullptr where it is not attached.
PyThreadState* attached_thread_state() noexcept {
    PyThreadState* current = unchecked_thread_state();
#if PY_VERSION_HEX < 0x030C0000
    // This is whoever holds the GIL. Mostly the thread's own state tells; in another interpreter
    // than the one it was born in, that is another one. A state that is not ours may be freed while
    // it is looked at.
    PyThreadState* own = PyGILState_GetThisThreadState();
    if (current == nullptr || own == nullptr || current == own) {
        return current == own ? current : nullptr;
    }
    std::uintptr_t ident = 0;
    const bool ours =
        platform::SafeMemory{}.load(reinterpret_cast<std::uintptr_t>(&current->thread_id), ident) &&
        static_cast<unsigned long>(ident) == PyThread_get_thread_ident();
    return ours ? current : nullptr;
#else
    return current;
#endif
}

}  // namespace

namespace {

// Threads that wait for any of our locks. Who comes while there are some waits in turn: else a
// thread that takes a lock over and over would keep it from all that must attach first.
std::atomic<int> waiting{0};

struct Waits {
    Waits() noexcept { waiting.fetch_add(1, std::memory_order_relaxed); }
    ~Waits() { waiting.fetch_sub(1, std::memory_order_relaxed); }
};

}  // namespace

void lock_detached(std::mutex& mutex) {
    if (waiting.load(std::memory_order_relaxed) == 0 && mutex.try_lock()) {
        return;
    }
    PyThreadState* thread = attached_thread_state();
    if (thread == nullptr) {
        mutex.lock();
        return;
    }
    const Waits waits;
    do {
        PyEval_SaveThread();
        // Waits until it is free, and leaves it to others: one of those who wait gets it, so that
        // always somebody moves on.
        mutex.lock();
        mutex.unlock();
        PyEval_RestoreThread(thread);
    } while (!mutex.try_lock());
}

void forget_waiting_after_fork() { waiting.store(0, std::memory_order_relaxed); }

bool lock_for_fork(std::mutex& mutex) {
#ifdef Py_GIL_DISABLED
    constexpr auto kPatience = std::chrono::milliseconds(200);
    const auto deadline = std::chrono::steady_clock::now() + kPatience;
    while (!mutex.try_lock()) {
        if (std::chrono::steady_clock::now() > deadline) {
            return false;
        }
        std::this_thread::yield();
    }
#else
    lock_detached(mutex);
#endif
    return true;
}

}  // namespace spprof::interpreter
