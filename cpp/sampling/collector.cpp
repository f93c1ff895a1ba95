// See collector.h.
#include "sampling/collector.h"

#include <algorithm>
#include <new>
#include <utility>

#include "platform/clocks.h"
#include "sampling/capture.h"

namespace spprof::sampling {

namespace {

// A full ring calls earlier; this bounds how late a new C++ thread or a stolen handler is noticed.
constexpr std::int64_t kPeriod = 50'000'000;
// The list of threads is read when their number changed; and now and then, because one may have
// ended when another was born. That takes 50 us, and 2 us more a thread.
constexpr std::int64_t kSoonestScan = 200'000'000;
constexpr std::int64_t kScanOfOneThread = 2'000'000;
constexpr std::int64_t kRarestScan = 1'000'000'000;

// A thread without Python is asked again now and then: it may call into Python later.
constexpr std::int64_t kFirstProbe = 200'000'000;
constexpr std::int64_t kLongestProbe = 2'000'000'000;

}  // namespace

Collector::Collector(const Settings& settings, ThreadRegistry& registry,
                     platform::Observer& observer, std::unique_ptr<NativeStacks> native,
                     std::int64_t start_ns)
    : settings_(settings),
      registry_(registry),
      observer_(observer),
      start_ns_(start_ns),
      recording_(settings.memory_limit_bytes, settings.aggregate),
      native_(std::move(native)) {}

bool Collector::begin_thread() noexcept {
    stop_.store(false, std::memory_order_relaxed);
    return thread_.start(
        "spprof-collect", [](void* self) noexcept { static_cast<Collector*>(self)->run(); }, this);
}

void Collector::end_thread() noexcept {
    if (thread_.running()) {
        stop_.store(true, std::memory_order_release);
        collector_wake_up().post();
        thread_.join();
        ended_cpu_ns_ += thread_.cpu_ns();
    }
}

void Collector::run() noexcept {
    while (!stop_.load(std::memory_order_acquire)) {
        collector_wake_up().wait_until(platform::monotonic_ns() + kPeriod);
        collector_has_woken();
        if (native_ != nullptr) {
            try {
                native_->refresh();
            } catch (const std::bad_alloc&) {
                ran_out_of_memory_ = true;  // what was known of the code goes on being known
            }
        }
        observer_.keep();
        const std::lock_guard<std::mutex> lock(mutex_);
        drain();
        try {
            scan_threads();
            find_thread_states();
        } catch (const std::bad_alloc&) {
            ran_out_of_memory_ = true;  // next time
        }
    }
}

// --- records to rows ----------------------------------------------------------------------------

void Collector::drain() noexcept {
    const std::lock_guard<std::mutex> lock(registry_.mutex());
    const std::int64_t now = platform::monotonic_ns();
    const auto drain_one = [this, now](Subject& subject) {
        const bool in_order = subject.visits.ring.drain([&](const std::uint8_t* bytes) {
            const auto& record = *reinterpret_cast<const SampleRecord*>(bytes);
            if (!record.is_sound(now)) {
                ++subject.figures.torn;
                return;
            }
            const Times before = subject.account;
            try {
                take(subject, record);
            } catch (const std::bad_alloc&) {
                // The next sample has its time.
                static_cast<Times&>(subject.account) = before;
                subject.account.forget_seen();
                ran_out_of_memory_ = true;
                ++lost_samples_;
            }
        });
        if (!in_order) {
            ++subject.figures.torn;
        }
    };
    for (Subject* subject : registry_.live()) {
        drain_one(*subject);
    }
    registry_.recycle_retired([&](Subject& subject) {
        drain_one(subject);
        try {
            close(subject);
        } catch (const std::bad_alloc&) {
            ran_out_of_memory_ = true;  // at worst it goes without its name
        }
    });
    recording_.set_outside_bytes(registry_.ring_bytes() +
                                 (native_ != nullptr ? native_->bytes() : 0));
}

void Collector::take(Subject& subject, const SampleRecord& record) {
    Account& account = subject.account;
    bool mismatched = false;
    const std::uint32_t stack = stack_of(account, record, mismatched);
    const std::int64_t used = std::max<std::int64_t>(0, record.cpu_ns - account.cpu_ns);
    const std::int64_t passed = std::max<std::int64_t>(0, record.time_ns - account.time_ns);
    const std::int64_t before = account.time_ns;
    const bool was_waiting = account.waiting;
    const bool was_outside = account.outside;
    account.time_ns = record.time_ns;
    account.cpu_ns = record.cpu_ns;
    account.waiting = (record.state & profile::SampleState::kWaiting) != 0;
    account.outside = stack == profile::kNone;
    if (account.outside) {
        // The time until now was not spent in Python.
        account.owed_running_ns = 0;
        account.owed_waiting_ns = 0;
        return;
    }
    if (account.row == profile::kNone) {
        account.row = recording_.add_thread(subject.tid, subject.name);
    }
    const std::int64_t time = record.time_ns - start_ns_;
    std::uint8_t state = record.state;
    // Of a thread that waits in machine code only its innermost frames may be known.
    if (mismatched && !(account.waiting && record.python_count == 0)) {
        state |= profile::SampleState::kMismatched;
        ++mismatched_count_;
    }
    if (!account.waiting) {
        ++account.met_running;
        account.ran_ns += used + account.owed_running_ns;
    }
    if (settings_.mode == Mode::cpu) {
        recording_.add_sample(account.row, stack, state, time, 1, used);
        return;
    }
    // The clocks tell exactly how much of the time the thread ran. That time belongs to a stack
    // that is met running, the rest to one that is met waiting.
    const std::int64_t waited = was_outside ? 0 : std::max<std::int64_t>(0, passed - used);
    account.owed_running_ns += used;
    std::int64_t unseen = waited;  // of it nobody knows yet where that was
    if (was_waiting && !was_outside) {
        // It stood still where it was met, for as long as that is known.
        const std::int64_t known =
            std::clamp<std::int64_t>(record.stood_still_until_ns - before, 0, waited);
        unseen -= known;
        recording_.extend(account.row, true, before + known - start_ns_,
                          count_waiting(account, known), known);
    }
    if (!record.never_slept || account.waiting || was_outside) {
        account.owed_waiting_ns += unseen;
    } else {
        // It waited for a processor, and where it did is where it runs.
        account.kept_waiting_ns += unseen;
        if (account.kept_waiting_ns >= settings_.interval_ns) {
            const std::int64_t weight = std::exchange(account.kept_waiting_ns, 0);
            recording_.add_sample(
                account.row, stack,
                static_cast<std::uint8_t>(state | profile::SampleState::kWaiting), time - used,
                std::max<std::uint32_t>(1, count_waiting(account, weight)), weight);
        }
    }
    if (account.waiting) {
        // What it waited unseen was hardly for a processor: that is owed to where it sleeps.
        const std::int64_t weight =
            record.could_run ? 0 : std::exchange(account.owed_waiting_ns, 0);
        // A place where it was met is a sample at least; what that is too much is made up for.
        const std::uint32_t whole = count_waiting(account, weight);
        const std::uint32_t count = std::max<std::uint32_t>(1, whole);
        account.uncounted_waiting_ns -= (count - whole) * settings_.interval_ns;
        recording_.add_sample(account.row, stack, state, time, count, weight);
    } else {
        recording_.add_sample(account.row, stack, state, time, 1,
                              std::exchange(account.owed_running_ns, 0));
    }
}

std::uint32_t Collector::count_waiting(Account& account, std::int64_t waited_ns) {
    account.uncounted_waiting_ns += waited_ns;
    const std::int64_t count =
        std::max<std::int64_t>(0, account.uncounted_waiting_ns / settings_.interval_ns);
    account.uncounted_waiting_ns -= count * settings_.interval_ns;
    return static_cast<std::uint32_t>(count);
}

// Successive stacks of a thread share most of their callers: only what changed is looked up.
std::uint32_t Collector::stack_of(Account& account, const SampleRecord& record, bool& mismatched) {
    frames_.clear();
    const auto add_python = [&](std::size_t i) {
        const interpreter::PyFrameRecord& frame = record.python()[i];
        if (frame.code != 0) {
            frames_.push_back({frame.code, frame.offset, false});
        }
    };
    if (native_ != nullptr && record.native_count > 0) {
        mismatched = !native_->merge(record, merged_);
        for (const NativeStacks::Frame& frame : merged_) {
            if (frame.native) {
                frames_.push_back({frame.value, 0, true});
            } else {
                add_python(static_cast<std::size_t>(frame.value));
            }
        }
    } else {
        for (std::size_t i = 0; i < record.python_count; ++i) {
            add_python(i);
        }
    }
    if (account.seen_epoch != epoch_ || record.truncated) {
        account.forget_seen();
        account.seen_epoch = epoch_;
    }
    std::size_t shared = 0;
    while (shared < account.seen.size() && shared < frames_.size() &&
           account.seen[shared] == frames_[frames_.size() - 1 - shared]) {
        ++shared;
    }
    account.seen.resize(shared);
    account.seen_stacks.resize(shared);
    std::uint32_t parent = shared > 0 ? account.seen_stacks.back() : profile::kNone;
    if (record.truncated) {
        parent =
            recording_.stack(parent, recording_.special_frame(profile::SpecialFrame::truncated));
    }
    for (std::size_t i = frames_.size() - shared; i-- > 0;) {
        const Account::SeenFrame& frame = frames_[i];
        parent = recording_.stack(parent, frame.native
                                              ? recording_.native_frame(frame.value)
                                              : recording_.python_frame(frame.value, frame.offset));
        account.seen.push_back(frame);
        account.seen_stacks.push_back(parent);
    }
    if (record.truncated) {
        account.forget_seen();
    }
    return parent;
}

// --- what passed since the last sample ----------------------------------------------------------

void Collector::pay_out(Subject& subject, std::int64_t now_ns, std::int64_t cpu_ns) {
    Account& account = subject.account;
    if (subject.following == Following::muted || account.outside) {
        return;
    }
    const std::int64_t time = now_ns - start_ns_;
    const std::int64_t used = std::max<std::int64_t>(0, cpu_ns - account.cpu_ns);
    const std::int64_t running = used + std::exchange(account.owed_running_ns, 0);
    if (account.row == profile::kNone || !recording_.extend(account.row, false, time, 0, running)) {
        unsampled_ns_ += running;
    }
    if (settings_.mode == Mode::wall && account.row != profile::kNone) {
        const std::int64_t passed = std::max<std::int64_t>(0, now_ns - account.time_ns);
        const std::int64_t waited =
            std::max<std::int64_t>(0, passed - used) + std::exchange(account.owed_waiting_ns, 0);
        const std::uint32_t count = account.waiting ? count_waiting(account, waited) : 0;
        // Where it was never met waiting, nobody gets it.
        recording_.extend(account.row, true, time, count, waited);
    }
}

void Collector::settle(std::int64_t now_ns) {
    const std::lock_guard<std::mutex> lock(registry_.mutex());
    for (Subject* subject : registry_.live()) {
        settle(*subject, now_ns);
    }
}

void Collector::settle(Subject& subject, std::int64_t now_ns) {
    const std::int64_t cpu = platform::thread_cpu_ns(subject.tid);
    pay_out(subject, now_ns, cpu < 0 ? subject.account.cpu_ns : cpu);
    subject.account.time_ns = now_ns;
    subject.account.cpu_ns = std::max(subject.account.cpu_ns, cpu);
}

void Collector::keep_names() {
    const std::lock_guard<std::mutex> lock(registry_.mutex());
    for (const Subject* subject : registry_.live()) {
        if (subject->account.row != profile::kNone && !subject->name.empty()) {
            recording_.rename_thread(subject->account.row, subject->name);
        }
        judge(*subject, registry_.figures(*subject));
    }
}

void Collector::rebase(std::int64_t now_ns) {
    const std::lock_guard<std::mutex> lock(registry_.mutex());
    for (Subject* subject : registry_.live()) {
        subject->account.rebase(now_ns, platform::thread_cpu_ns(subject->tid));
    }
}

void Collector::close(Subject& subject) {
    const Account& account = subject.account;
    pay_out(subject, account.final_time_ns,
            account.final_cpu_ns < 0 ? account.cpu_ns : account.final_cpu_ns);
    if (account.row != profile::kNone && !subject.name.empty()) {
        recording_.rename_thread(account.row, subject.name);
    }
    judge(subject, subject.figures);
}

void Collector::judge(const Subject& subject, const platform::VisitFigures& figures) {
    // Of fewer samples a part this large may be missing by chance.
    constexpr std::int64_t kTelling = 100;
    const Account& account = subject.account;
    const std::int64_t due = account.ran_ns / settings_.interval_ns;
    if (figures.unreachable_ns > 0) {
        out_of_reach_.push_back({subject.name, figures.unreachable_ns});
    } else if (due >= kTelling && account.met_running < due - due / 4) {
        hardly_met_.push_back({subject.name, account.met_running, due});
    }
}

// --- threads that come and go -------------------------------------------------------------------

void Collector::scan_threads() {
    const std::int64_t now = platform::monotonic_ns();
    const int count = platform::thread_count();
    {
        const std::lock_guard<std::mutex> lock(registry_.mutex());
        probe_dormant(now);
        if (count >= 0 && static_cast<std::size_t>(count) == known_threads_.size() &&
            now < next_full_scan_) {
            return;
        }
    }
    std::vector<platform::Tid> tids = platform::list_threads();
    std::sort(tids.begin(), tids.end());
    // One that is in a list may be about to end while the next is born: twice the same tells more.
    next_full_scan_ =
        tids != known_threads_
            ? now
            : now + std::clamp(kScanOfOneThread * static_cast<std::int64_t>(tids.size()),
                               kSoonestScan, kRarestScan);
    known_threads_ = tids;
    const std::lock_guard<std::mutex> lock(registry_.mutex());
    // Gone without telling: threads that C++ made.
    std::vector<Subject*> gone;
    for (Subject* subject : registry_.live()) {
        if (!std::binary_search(tids.begin(), tids.end(), subject->tid) &&
            platform::thread_cpu_ns(subject->tid) < 0) {
            gone.push_back(subject);
        }
    }
    for (Subject* subject : gone) {
        registry_.retire(*subject);
    }
    registry_.forget_ended_but(tids);
    for (const platform::Tid tid : tids) {
        if (tid == this->tid() || observer_.owns(tid) || registry_.find(tid) != nullptr ||
            registry_.has_ended(tid)) {
            continue;
        }
        // The list may be older than the end of the thread.
        if (platform::thread_cpu_ns(tid) < 0) {
            continue;
        }
        if (Subject* subject = registry_.add(tid)) {
            registry_.follow(*subject);
            subject->name = platform::thread_os_name(tid);
        }
    }
}

void Collector::find_thread_states() {
    const std::lock_guard<std::mutex> lock(registry_.mutex());
    const auto is_missing = [](const Subject* subject) {
        return subject->watch != nullptr && subject->visits.state.load() == nullptr;
    };
    if (settings_.mode != Mode::wall ||
        std::none_of(registry_.live().begin(), registry_.live().end(), is_missing)) {
        return;
    }
    constexpr std::size_t kMoreThanThreads = 64;
    const std::size_t room = registry_.live().size() + kMoreThanThreads;
    if (states_.size() < room) {
        states_.resize(2 * room);
    }
    const std::size_t count = interpreter::list_thread_states(states_.data(), states_.size());
    for (std::size_t i = count; i-- > 0;) {  // the oldest first: what a thread began with
        const interpreter::ThreadStateEntry& entry = states_[i];
        Subject* subject = entry.native_id != 0 ? registry_.find(entry.native_id)
                                                : registry_.by_ident(entry.ident);
        if (subject != nullptr && subject->visits.state.load() == nullptr) {
            subject->visits.ident.store(entry.ident, std::memory_order_relaxed);
            subject->visits.state.store(entry.state, std::memory_order_relaxed);
            registry_.look_again(*subject);
        }
    }
}

void Collector::probe_dormant(std::int64_t now_ns) {
    for (Subject* subject : registry_.live()) {
        switch (subject->following) {
            case Following::muted:
                break;
            case Following::dormant:
                if (now_ns >= subject->probe_at) {
                    subject->account.rebase(now_ns, platform::thread_cpu_ns(subject->tid));
                    subject->visits.not_python.store(false, std::memory_order_relaxed);
                    registry_.follow(*subject);
                }
                break;
            case Following::followed:
                if (subject->watch == nullptr) {
                    registry_.follow(*subject);  // there was nothing to follow it with
                } else if (!subject->registered && subject->account.row == profile::kNone &&
                           subject->visits.not_python.load(std::memory_order_relaxed)) {
                    subject->probe_wait =
                        std::min(kLongestProbe,
                                 subject->probe_wait == 0 ? kFirstProbe : 2 * subject->probe_wait);
                    subject->probe_at = now_ns + subject->probe_wait;
                    registry_.mute(*subject, Following::dormant);
                }
                break;
        }
    }
}

}  // namespace spprof::sampling
