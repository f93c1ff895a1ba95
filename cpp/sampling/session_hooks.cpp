// What a session hooks into the process: code that dies, and forks. See session.h.
#include <new>

#include "interpreter/attached_lock.h"
#include "interpreter/code_lifetime.h"
#include "interpreter/regions.h"
#include "sampling/naming.h"
#include "sampling/session_run.h"

namespace spprof::sampling {

using interpreter::AttachedLock;

// --- code that dies -----------------------------------------------------------------------------

namespace {

std::atomic<Session*> session_in_force{nullptr};

}  // namespace

Session* Session::in_force() noexcept { return session_in_force.load(std::memory_order_acquire); }

Session::Session() {
    session_in_force.store(this, std::memory_order_release);
    static const bool hooked = [] {
        platform::on_fork(before_fork, after_fork_in_parent, after_fork_in_child_unlocked);
        return true;
    }();
    static_cast<void>(hooked);
}

Session::~Session() { session_in_force.store(nullptr, std::memory_order_release); }

// Only called while a session is installed, by whom its Run outlives the call (CodeLifetime).
void Session::name_dying(const std::uintptr_t* dying, std::size_t count) noexcept {
    Session* session = in_force();
    if (session == nullptr || !session->run_) {
        return;
    }
    Collector& collector = session->run_->collector;
    const std::lock_guard<std::mutex> lock(collector.mutex());
    collector.drain();
    bool sampled = false;
    for (std::size_t i = 0; i < count; ++i) {
        const std::uint32_t row = collector.recording().find_code(dying[i]);
        if (row != profile::kNone) {
            try {
                name_code(collector.recording(), row);
            } catch (const std::bad_alloc&) {
                collector.out_of_memory();
                collector.recording().codes()[row].address = 0;  // nobody reads it any more
            }
            collector.recording().forget_code(dying[i]);
            sampled = true;
        }
    }
    if (sampled) {
        collector.forget_seen_frames();
    }
}

// --- forks --------------------------------------------------------------------------------------

// All our locks are held across the fork, so that the child finds everything consistent.
void Session::before_fork() {
    Session* session = in_force();
    if (session == nullptr) {
        return;
    }
    session->notice_raw_fork();
    session->locked_for_fork_ = interpreter::lock_for_fork(session->mutex_);
    interpreter::CodeLifetime::lock_for_fork();
    if (session->run_) {
        session->run_->collector.mutex().lock();
    }
    session->registry_.mutex().lock();
    if (session->run_) {
        session->run_->observer->lock_for_fork();
    }
    native_before_fork();
    interpreter::lock_regions_for_fork();
}

void Session::release_locks_after_fork() {
    if (run_) {
        run_->observer->unlock_after_fork();
    }
    registry_.mutex().unlock();
    if (run_) {
        run_->collector.mutex().unlock();
    }
    if (locked_for_fork_) {
        mutex_.unlock();
    }
}

void Session::after_fork_in_parent() {
    Session* session = in_force();
    if (session != nullptr) {
        interpreter::unlock_regions_after_fork();
        native_after_fork_in_parent();
        interpreter::CodeLifetime::unlock_after_fork();
        session->release_locks_after_fork();
    }
}

void Session::after_fork_in_child_unlocked() {
    platform::forget_cached_tids();
    interpreter::forget_waiting_after_fork();
    Session* session = in_force();
    if (session == nullptr) {
        return;
    }
    interpreter::unlock_regions_after_fork();
    native_after_fork_in_child();
    interpreter::CodeLifetime::unlock_after_fork_in_child();
    session->release_locks_after_fork();
    session->forks_ = 0;
    if (!session->locked_for_fork_) {
        // Whoever had it is not there, and what it was doing with the session is not done.
        new (&session->mutex_) std::mutex;
        session->active_.store(false, std::memory_order_release);
        static_cast<void>(session->run_.release());
    }
    if (session->run_) {
        session->active_.store(false, std::memory_order_release);
        session->run_->observer->abandon_after_fork();
        session->registry_.abandon_after_fork();
        session->run_->collector.abandon_after_fork();
        session->run_.reset();
    }
}

bool Session::is_same_process() noexcept {
    const Session* session = in_force();
    return session != nullptr && session->pid_ == platform::current_pid();
}

// In a child of the bare system call nobody was told of the fork: locks may be held by threads that
// are not here, and what they guard may be half written. All of it is left as it is.
void Session::notice_raw_fork() noexcept {
    if (!active_.load(std::memory_order_acquire) || active()) {
        return;
    }
    platform::forget_cached_tids();
    interpreter::forget_waiting_after_fork();
    interpreter::CodeLifetime::abandon_after_raw_fork();
    active_.store(false, std::memory_order_release);
    new (&mutex_) std::mutex;
    static_cast<void>(run_.release());
    new (&registry_) ThreadRegistry;
    forks_ = 0;
}

void Session::after_fork_in_child() {
    if (!active()) {
        interpreter::CodeLifetime::uninstall();
        interpreter::CodeLifetime::free_parked();
    }
}

void Session::end_threads() {
    notice_raw_fork();
    const AttachedLock session_lock(mutex_);
    if (forks_++ > 0 || !run_) {
        return;
    }
    run_->collector.end_thread();
    run_->observer->end_threads();
}

void Session::begin_threads() {
    notice_raw_fork();
    const AttachedLock session_lock(mutex_);
    if (forks_ == 0) {
        return;
    }
    --forks_;
    if (forks_ == 0 && run_) {
        run_->observer->begin_threads();
        run_->collector.begin_thread();
    }
}

}  // namespace spprof::sampling
