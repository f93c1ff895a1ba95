// See thread_registry.h.
#include "sampling/thread_registry.h"

#include <algorithm>
#include <new>
#include <utility>

#include "platform/clocks.h"
#include "platform/pages.h"

namespace spprof::sampling {

namespace {

// What a thread's visits write to.
constexpr std::size_t kThreadBytes = Ring::kBytes + sizeof(native::RecentSteps);

}  // namespace

Subject* ThreadRegistry::add(platform::Tid tid) noexcept {
    void* pages = nullptr;
    Subject* subject = nullptr;
    try {
        if (free_.empty()) {
            // Room for all of them in every list, so that nothing below can fail.
            all_.push_back(std::make_unique<Subject>());
            live_.reserve(all_.size());
            retired_.reserve(all_.size());
            spare_rings_.reserve(all_.size());
            free_.reserve(all_.size());
            free_.push_back(all_.back().get());
        }
        subject = free_.back();
        if (!spare_rings_.empty()) {
            pages = spare_rings_.back();
            spare_rings_.pop_back();
        } else {
            pages = platform::map_pages(kThreadBytes);
            if (pages == nullptr) {
                return nullptr;
            }
        }
        by_tid_[tid] = subject;
    } catch (const std::bad_alloc&) {
        if (pages != nullptr) {
            platform::unmap_pages(pages, kThreadBytes);
        }
        return nullptr;
    }
    free_.pop_back();
    // A new thread may have the number of one that is gone.
    ended_.erase(tid);

    subject->tid = tid;
    subject->place = live_.size();
    subject->name.clear();
    subject->following = Following::muted;
    subject->watch = nullptr;
    subject->figures = {};
    subject->has_begun = false;
    subject->registered = false;
    subject->probe_at = 0;
    subject->probe_wait = 0;
    subject->visits.begin();
    subject->visits.ring.attach(pages);
    subject->visits.recent_steps =
        reinterpret_cast<native::RecentSteps*>(static_cast<char*>(pages) + Ring::kBytes);
    subject->written.begin();
    subject->account = {};
    subject->account.rebase(platform::monotonic_ns(),
                            std::max<std::int64_t>(0, platform::thread_cpu_ns(tid)));
    live_.push_back(subject);
    return subject;
}

Subject* ThreadRegistry::find(platform::Tid tid) const noexcept {
    const auto found = by_tid_.find(tid);
    return found == by_tid_.end() ? nullptr : found->second;
}

Subject* ThreadRegistry::by_ident(std::uintptr_t ident) const noexcept {
    for (Subject* subject : live_) {
        if (ident != 0 && subject->visits.ident.load(std::memory_order_relaxed) == ident) {
            return subject;
        }
    }
    return nullptr;
}

void ThreadRegistry::follow(Subject& subject) noexcept {
    subject.following = Following::followed;
    if (subject.watch == nullptr && observer_ != nullptr) {
        subject.watch = observer_->follow(subject.tid, &subject);
    }
}

void ThreadRegistry::mute(Subject& subject, Following why) noexcept {
    subject.following = why;
    if (subject.watch != nullptr && observer_ != nullptr) {
        subject.figures.add(observer_->leave(subject.watch));
    }
    subject.watch = nullptr;
}

void ThreadRegistry::retire(Subject& subject) noexcept {
    mute(subject, subject.following);
    subject.account.end(platform::monotonic_ns());
    live_[subject.place] = live_.back();
    live_[subject.place]->place = subject.place;
    live_.pop_back();
    by_tid_.erase(subject.tid);
    retired_.push_back(&subject);
}

void ThreadRegistry::retire_ended(Subject& subject) noexcept {
    try {
        ended_.insert(subject.tid);
    } catch (const std::bad_alloc&) {
        // At worst the collector follows it once more until the system has forgotten it.
        retire(subject);
        return;
    }
    retire(subject);
}

void ThreadRegistry::forget_ended_but(const std::vector<platform::Tid>& tids) {
    for (auto thread = ended_.begin(); thread != ended_.end();) {
        thread = std::binary_search(tids.begin(), tids.end(), *thread) ? std::next(thread)
                                                                       : ended_.erase(thread);
    }
}

void ThreadRegistry::add_to(Totals& totals, const Subject& subject) const noexcept {
    totals.captured += subject.visits.captured.load(std::memory_order_relaxed);
    totals.dropped += subject.visits.dropped.load(std::memory_order_relaxed);
    totals.visits.add(figures(subject));
}

platform::VisitFigures ThreadRegistry::figures(const Subject& subject) const noexcept {
    platform::VisitFigures sum = subject.figures;
    if (subject.watch != nullptr && observer_ != nullptr) {
        sum.add(observer_->figures(subject.watch));
    }
    return sum;
}

void ThreadRegistry::look_again(Subject& subject) noexcept {
    if (subject.watch != nullptr && observer_ != nullptr) {
        observer_->look_again(subject.watch);
    }
}

void ThreadRegistry::about_to_close(Subject& subject) noexcept {
    if (subject.watch != nullptr && observer_ != nullptr) {
        observer_->about_to_close(subject.watch);
    }
}

void ThreadRegistry::recycle(Subject& subject) noexcept {
    add_to(gone_, subject);
    spare_rings_.push_back(subject.visits.ring.detach());
    free_.push_back(&subject);
}

void ThreadRegistry::close() {
    while (!live_.empty()) {
        retire(*live_.back());
    }
    observer_ = nullptr;
    recycle_retired([](Subject&) {});
    for (void* pages : spare_rings_) {
        platform::unmap_pages(pages, kThreadBytes);
    }
    spare_rings_.clear();
    free_.clear();
    all_.clear();
    by_tid_.clear();
    ended_.clear();
    gone_ = {};
    paused_ = false;
}

void ThreadRegistry::abandon_after_fork() {
    for (Subject* subject : live_) {
        subject->watch = nullptr;
    }
    close();
}

ThreadRegistry::Totals ThreadRegistry::totals() const noexcept {
    Totals sum = gone_;
    for (const Subject* subject : live_) {
        add_to(sum, *subject);
    }
    for (const Subject* subject : retired_) {
        add_to(sum, *subject);
    }
    return sum;
}

std::size_t ThreadRegistry::visit_bytes() const noexcept {
    std::size_t sum = 0;
    for (const auto* subjects : {&live_, &retired_}) {
        for (const Subject* subject : *subjects) {
            sum += subject->visits.ring.touched() + subject->visits.recent_steps->bytes();
        }
    }
    return sum;
}

// --- what threads tell of themselves ------------------------------------------------------------

bool ThreadRegistry::current_thread_begins() noexcept {
    const std::lock_guard<std::mutex> lock(mutex_);
    if (observer_ == nullptr) {
        return false;
    }
    Subject* subject = find(platform::current_tid());
    if (subject == nullptr) {
        subject = add(platform::current_tid());
        if (subject == nullptr) {
            return false;
        }
        follow(*subject);
    } else if (!subject->has_begun && subject->following != Following::muted) {
        // The collector found it earlier, perhaps before it had a thread state, or while the system
        // still kept all signals from it.
        mute(*subject, Following::dormant);
        subject->account.rebase(platform::monotonic_ns(), platform::current_thread_cpu_ns());
        follow(*subject);
    }
    subject->visits.state.store(interpreter::thread_state_here(), std::memory_order_relaxed);
    return !std::exchange(subject->has_begun, true);
}

void ThreadRegistry::current_thread_ends(const char* name, std::int64_t left_python_ns) noexcept {
    const std::lock_guard<std::mutex> lock(mutex_);
    Subject* subject = observer_ == nullptr ? nullptr : find(platform::current_tid());
    if (subject == nullptr) {
        return;
    }
    if (name != nullptr && *name != '\0') {
        try {
            subject->name = name;
        } catch (const std::bad_alloc&) {
            subject->name.clear();
        }
    }
    if (subject->following != Following::muted && !paused_) {
        subject->account.end_cpu(platform::current_thread_cpu_ns(), left_python_ns);
    }
    retire_ended(*subject);
}

}  // namespace spprof::sampling
