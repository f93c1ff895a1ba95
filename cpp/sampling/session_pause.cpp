// See session.h. A session that is interrupted for a while, or lends its signal.
#include "interpreter/attached_lock.h"
#include "platform/clocks.h"
#include "sampling/session.h"
#include "sampling/session_run.h"

namespace spprof::sampling {

using interpreter::AttachedLock;

bool Session::pause() {
    notice_raw_fork();
    const AttachedLock session_lock(mutex_);
    Run& run = running();
    if (run.paused_since >= 0) {
        return false;
    }
    run.observer->pause();
    const std::int64_t now = platform::monotonic_ns();
    const std::lock_guard<std::mutex> lock(run.collector.mutex());
    run.paused_since = now;
    {
        const std::lock_guard<std::mutex> registry_lock(registry_.mutex());
        registry_.set_paused(true);
    }
    run.collector.drain();
    run.collector.settle(now);
    return true;
}

void Session::resume() {
    notice_raw_fork();
    const AttachedLock session_lock(mutex_);
    Run& run = running();
    if (run.paused_since < 0) {
        return;
    }
    const std::int64_t now = platform::monotonic_ns();
    const std::lock_guard<std::mutex> lock(run.collector.mutex());
    run.collector.rebase(now);
    {
        const std::lock_guard<std::mutex> registry_lock(registry_.mutex());
        registry_.set_paused(false);
    }
    run.paused_ns += now - run.paused_since;
    run.paused_since = -1;
    run.observer->resume();
}

void Session::give_signal_back() {
    notice_raw_fork();
    const AttachedLock session_lock(mutex_);
    running().observer->give_back();
}

void Session::take_signal_again() {
    notice_raw_fork();
    const AttachedLock session_lock(mutex_);
    running().observer->take_again();
}

}  // namespace spprof::sampling
