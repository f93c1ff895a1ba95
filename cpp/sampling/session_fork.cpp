// What becomes of a session when the process forks; see session.h.
#include "interpreter/attached_lock.h"
#include "interpreter/code_lifetime.h"
#include "sampling/session_run.h"

namespace spprof::sampling {

using interpreter::AttachedLock;

// All our locks are held across the fork, so that the child finds everything consistent.
void Session::before_fork() {
    Session* session = in_force();
    if (session == nullptr) {
        return;
    }
    interpreter::lock_detached(session->mutex_);
    interpreter::CodeLifetime::lock_for_fork();
    if (session->run_) {
        interpreter::lock_detached(session->run_->collector.mutex());
    }
    session->registry_.mutex().lock();
    if (session->run_) {
        session->run_->observer->lock_for_fork();
    }
    native_before_fork();
}

void Session::release_locks_after_fork() {
    if (run_) {
        run_->observer->unlock_after_fork();
    }
    registry_.mutex().unlock();
    if (run_) {
        run_->collector.mutex().unlock();
    }
    mutex_.unlock();
}

void Session::after_fork_in_parent() {
    Session* session = in_force();
    if (session != nullptr) {
        native_after_fork_in_parent();
        interpreter::CodeLifetime::unlock_after_fork();
        session->release_locks_after_fork();
    }
}

void Session::after_fork_in_child_unlocked() {
    platform::forget_cached_tid();
    Session* session = in_force();
    if (session == nullptr) {
        return;
    }
    native_after_fork_in_child();
    interpreter::CodeLifetime::unlock_after_fork_in_child();
    session->release_locks_after_fork();
    session->forks_ = 0;
    if (session->run_) {
        session->active_.store(false, std::memory_order_release);
        session->run_->observer->abandon_after_fork();
        session->registry_.abandon_after_fork();
        session->run_->collector.abandon_after_fork();
        session->run_.reset();
    }
}

void Session::after_fork_in_child() {
    if (!active()) {
        interpreter::CodeLifetime::uninstall();
        interpreter::CodeLifetime::free_parked();
    }
}

void Session::end_threads() {
    const AttachedLock session_lock(mutex_);
    if (forks_++ > 0 || !run_) {
        return;
    }
    run_->collector.end_thread();
    run_->observer->end_threads();
}

void Session::begin_threads() {
    const AttachedLock session_lock(mutex_);
    if (forks_ > 0 && --forks_ == 0 && run_) {
        run_->observer->begin_threads();
        run_->collector.begin_thread();
    }
}

}  // namespace spprof::sampling
