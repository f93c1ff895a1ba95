// What threads ask of a session for themselves; see session.h.
#include "interpreter/attached_lock.h"
#include "platform/clocks.h"
#include "sampling/session_run.h"

namespace spprof::sampling {

using interpreter::AttachedLock;

bool Session::register_current_thread(const std::string& name, std::uintptr_t ident) {
    notice_raw_fork();
    const AttachedLock session_lock(mutex_);
    if (!run_) {
        return false;
    }
    const std::lock_guard<std::mutex> lock(registry_.mutex());
    Subject* subject = registry_.find(platform::current_tid());
    if (subject == nullptr) {
        subject = registry_.add(platform::current_tid());
        if (subject == nullptr) {
            return false;
        }
    } else if (subject->following != Following::followed) {
        subject->account.rebase(platform::monotonic_ns(), platform::current_thread_cpu_ns());
    }
    subject->registered = true;
    subject->visits.not_python.store(false, std::memory_order_relaxed);
    subject->visits.ident.store(ident, std::memory_order_relaxed);
    subject->visits.state.store(interpreter::thread_state_here(), std::memory_order_relaxed);
    if (!name.empty()) {
        subject->name = name;
    }
    registry_.follow(*subject);
    return true;
}

bool Session::unregister_current_thread() {
    notice_raw_fork();
    const AttachedLock session_lock(mutex_);
    if (!run_) {
        return false;
    }
    Collector& collector = run_->collector;
    const std::lock_guard<std::mutex> collector_lock(collector.mutex());
    collector.drain();
    const std::lock_guard<std::mutex> lock(registry_.mutex());
    Subject* subject = registry_.find(platform::current_tid());
    if (subject == nullptr || subject->following == Following::muted) {
        return false;
    }
    if (run_->paused_since < 0) {
        collector.settle(*subject, platform::monotonic_ns());
    }
    registry_.mute(*subject, Following::muted);
    return true;
}

bool Session::current_thread_is_registered() {
    notice_raw_fork();
    const AttachedLock session_lock(mutex_);
    if (!run_) {
        return false;
    }
    const std::lock_guard<std::mutex> lock(registry_.mutex());
    const Subject* subject = registry_.find(platform::current_tid());
    return subject != nullptr && subject->following == Following::followed;
}

void Session::current_thread_closes_itself() {
    notice_raw_fork();
    const AttachedLock session_lock(mutex_);
    if (run_) {
        const std::lock_guard<std::mutex> lock(registry_.mutex());
        if (Subject* subject = registry_.find(platform::current_tid())) {
            registry_.about_to_close(*subject);
        }
    }
}

void Session::settle_current_thread(const std::string& name) {
    notice_raw_fork();
    const AttachedLock session_lock(mutex_);
    if (!run_ || run_->paused_since >= 0) {
        return;
    }
    Collector& collector = run_->collector;
    const std::lock_guard<std::mutex> collector_lock(collector.mutex());
    collector.drain();
    const std::lock_guard<std::mutex> lock(registry_.mutex());
    if (Subject* subject = registry_.find(platform::current_tid())) {
        subject->name = name;
        collector.settle(*subject, platform::monotonic_ns());
    }
}

void Session::follow_named(const std::vector<ThreadName>& names) {
    const std::lock_guard<std::mutex> lock(registry_.mutex());
    for (const ThreadName& thread : names) {
        Subject* subject =
            registry_.find(thread.tid) == nullptr && platform::thread_cpu_ns(thread.tid) >= 0
                ? registry_.add(thread.tid)
                : nullptr;
        if (subject != nullptr) {
            registry_.follow(*subject);
        }
    }
}

void Session::name_threads(const std::vector<ThreadName>& names) {
    const std::lock_guard<std::mutex> lock(registry_.mutex());
    for (const ThreadName& thread : names) {
        if (Subject* subject = registry_.find(thread.tid)) {
            subject->name = thread.name;
            subject->has_begun = true;
            subject->visits.ident.store(thread.ident, std::memory_order_relaxed);
        }
    }
}

}  // namespace spprof::sampling
