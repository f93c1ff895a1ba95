// The threads of this process that are sampled. Guards who they are and which of them are followed;
// its mutex also guards their accounts. Outlives sessions: the hooks on threads ask it whether
// there is one.
//
// Nobody waits for the interpreter, nor for another lock but the observer's, with its mutex held:
// so it may be waited for by threads that are attached.
#pragma once

#include <memory>
#include <mutex>
#include <unordered_map>
#include <unordered_set>
#include <vector>

#include "platform/observer.h"
#include "sampling/subject.h"

namespace spprof::sampling {

class ThreadRegistry {
public:
    std::mutex& mutex() noexcept { return mutex_; }

    // --- all that follows with the mutex held ---------------------------------------------------

    // Threads are followed by this observer until close(), which leaves all of them.
    void open(platform::Observer& observer) noexcept { observer_ = &observer; }
    void close();
    bool is_open() const noexcept { return observer_ != nullptr; }
    // In a forked child: the observer has forgotten everybody already.
    void abandon_after_fork();

    // A fresh subject with a ring for this thread, not followed yet; nullptr when there is no
    // memory.
    Subject* add(platform::Tid tid) noexcept;
    Subject* find(platform::Tid tid) const noexcept;
    // By Python's identifier of the thread, where that has been told; 0 finds nobody.
    Subject* by_ident(std::uintptr_t ident) const noexcept;
    const std::vector<Subject*>& live() const noexcept { return live_; }

    void follow(Subject& subject) noexcept;
    void mute(Subject& subject, Following why) noexcept;
    // The thread is gone or left: its subject waits until it has been drained.
    void retire(Subject& subject) noexcept;
    // As retire(), by the thread itself: the system goes on listing it for a moment.
    void retire_ended(Subject& subject) noexcept;
    bool has_ended(platform::Tid tid) const noexcept { return ended_.count(tid) > 0; }
    // `tids`: those that the system still lists, sorted.
    void forget_ended_but(const std::vector<platform::Tid>& tids);
    // Calls drained(Subject&) for each retired subject, whose memory may then serve another thread.
    template <class Drained>
    void recycle_retired(Drained drained) {
        for (Subject* subject : retired_) {
            drained(*subject);
            recycle(*subject);
        }
        retired_.clear();
    }

    struct Totals {
        std::uint64_t captured = 0, dropped = 0;
        platform::VisitFigures visits;
    };
    Totals totals() const noexcept;
    std::size_t visit_bytes() const noexcept;  // memory that visits write to
    platform::VisitFigures figures(const Subject& subject) const noexcept;
    // What was read of it from outside was not all there is to know: read it again.
    void look_again(Subject& subject) noexcept;
    void about_to_close(Subject& subject) noexcept;

    // The calling thread has just begun: followed from now on. False when it is known already, or
    // nobody is followed. Takes the mutex itself; no exception, no destructor that matters: the
    // interpreter may end the thread in its caller.
    bool current_thread_begins() noexcept;
    // The calling thread is about to end: its last CPU time is credited, its ring released. Its
    // CPU clock said so much when it left Python.
    void current_thread_ends(const char* name, std::int64_t left_python_ns) noexcept;
    void set_paused(bool paused) noexcept { paused_ = paused; }

private:
    void add_to(Totals& totals, const Subject& subject) const noexcept;
    void recycle(Subject& subject) noexcept;

    std::mutex mutex_;
    platform::Observer* observer_ = nullptr;
    bool paused_ = false;
    std::vector<std::unique_ptr<Subject>> all_;
    std::vector<Subject*> free_, live_, retired_;
    std::unordered_map<platform::Tid, Subject*> by_tid_;
    std::unordered_set<platform::Tid> ended_;
    std::vector<void*> spare_rings_;
    Totals gone_;  // of subjects that are not there any more
};

}  // namespace spprof::sampling
