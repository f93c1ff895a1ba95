// See collector.h.
#include "sampling/collector.h"

#include <algorithm>
#include <new>

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

// `generation` is counted from 1.
std::uint64_t collection_frame(std::uint8_t generation) noexcept {
    return static_cast<std::uint64_t>(profile::SpecialFrame::collection_0) +
           std::min<std::uint64_t>(generation, profile::kCollections) - 1;
}

// Whether the time since its last sample is anybody's.
bool is_in_profile(const Subject& subject) noexcept {
    return subject.following != Following::muted && !subject.account.outside();
}

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
    if (!thread_.start(
            "spprof-collect", [](void* self) noexcept { static_cast<Collector*>(self)->run(); },
            this)) {
        return false;
    }
    observer_.accompanied_by(thread_.tid());
    return true;
}

void Collector::end_thread() noexcept {
    if (thread_.running()) {
        stop_.store(true, std::memory_order_release);
        collector_wake_up().post();
        thread_.join();
        observer_.accompanied_by(0);
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
    interpreter::begin_round_of_regions();
    const auto drain_one = [this, now](Subject& subject) {
        const bool in_order = subject.visits.ring.drain([&](const std::uint8_t* bytes) {
            const auto& record = *reinterpret_cast<const SampleRecord*>(bytes);
            if (!record.is_sound(now)) {
                ++subject.figures.torn;
                return;
            }
            const Account before = subject.account;
            try {
                take(subject, record);
            } catch (const std::bad_alloc&) {
                // The next sample has its time.
                subject.account = before;
                subject.written.forget_seen();
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
    recording_.set_outside_bytes(registry_.visit_bytes() +
                                 (native_ != nullptr ? native_->bytes() : 0));
}

void Collector::take(Subject& subject, const SampleRecord& record) {
    bool mismatched = false;
    const std::uint32_t stack = stack_of(subject.written, record, mismatched);
    Met met;
    met.time_ns = record.time_ns;
    met.cpu_ns = record.cpu_ns;
    met.stood_still_until_ns = record.stood_still_until_ns;
    met.waiting = (record.state & profile::SampleState::kWaiting) != 0;
    met.outside = stack == profile::kNone;
    met.never_slept = record.never_slept;
    met.could_run = record.could_run;
    const Shares shares = subject.account.take(met, settings_);
    if (met.outside) {
        return;
    }
    std::uint32_t& row = subject.written.row;
    if (row == profile::kNone) {
        row = recording_.add_thread(subject.tid, subject.name);
    }
    std::uint8_t state = record.state;
    // Of a thread that waits in machine code only its innermost frames may be known.
    if (mismatched && !(met.waiting && record.python_count == 0)) {
        state |= profile::SampleState::kMismatched;
        ++mismatched_count_;
    }
    const Share& waited = shares.where_it_waited;
    if (waited.weight_ns > 0) {
        recording_.extend(row, true, waited.time_ns - start_ns_, waited.count, waited.weight_ns);
    }
    const std::uint32_t label = label_of(subject.written, record.region);
    const auto add = [&](const Share& share, int also) {
        recording_.add_sample(row, stack, static_cast<std::uint8_t>(state | also),
                              share.time_ns - start_ns_, share.count, share.weight_ns, label);
    };
    if (shares.kept_waiting.count > 0) {
        add(shares.kept_waiting, profile::SampleState::kWaiting);
    }
    add(shares.here, 0);
}

std::uint32_t Collector::row_of(const Written::SeenFrame& frame) {
    if (frame.special) {
        return recording_.special_frame(static_cast<profile::SpecialFrame>(frame.value));
    }
    return frame.native ? recording_.native_frame(frame.value)
                        : recording_.python_frame(frame.value, frame.offset);
}

// Successive stacks of a thread share most of their callers: only what changed is looked up.
std::uint32_t Collector::stack_of(Written& written, const SampleRecord& record, bool& mismatched) {
    frames_.clear();
    // Garbage collection is a frame on top of whoever set it off.
    bool collecting = record.collecting != 0;
    const auto add_collection = [&] {
        if (collecting) {
            collecting = false;
            frames_.push_back({collection_frame(record.collecting), 0, false, true});
        }
    };
    const auto add_python = [&](std::size_t i) {
        const interpreter::PyFrameRecord& frame = record.python()[i];
        if (i >= record.collecting_at) {
            add_collection();
        }
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
    add_collection();
    if (written.seen_epoch != epoch_ || record.truncated) {
        written.forget_seen();
        written.seen_epoch = epoch_;
    }
    std::size_t shared = 0;
    while (shared < written.seen.size() && shared < frames_.size() &&
           written.seen[shared] == frames_[frames_.size() - 1 - shared]) {
        ++shared;
    }
    written.seen.resize(shared);
    written.seen_stacks.resize(shared);
    std::uint32_t parent = shared > 0 ? written.seen_stacks.back() : profile::kNone;
    if (record.truncated) {
        parent =
            recording_.stack(parent, recording_.special_frame(profile::SpecialFrame::truncated));
    }
    for (std::size_t i = frames_.size() - shared; i-- > 0;) {
        const Written::SeenFrame& frame = frames_[i];
        parent = recording_.stack(parent, row_of(frame));
        written.seen.push_back(frame);
        written.seen_stacks.push_back(parent);
    }
    if (record.truncated) {
        written.forget_seen();
    }
    return parent;
}

std::uint32_t Collector::label_of(Written& written, interpreter::RegionId region) {
    if (region == 0) {
        return profile::kNone;
    }
    if (region != written.seen_region) {
        std::uint32_t label = profile::kNone;
        if (interpreter::labels_of_region(region, labels_)) {
            for (const auto& [key, value] : labels_) {
                label = recording_.label(label, key, value);
            }
        }
        written.seen_region = region;
        written.seen_label = label;
    }
    return written.seen_label;
}

// --- what passed since the last sample ----------------------------------------------------------

void Collector::pay_out(Subject& subject, const Account::Rest& rest) {
    const std::uint32_t row = subject.written.row;
    const std::int64_t time = rest.time_ns - start_ns_;
    if (row == profile::kNone || !recording_.extend(row, false, time, 0, rest.ran_ns)) {
        unsampled_ns_ += rest.ran_ns;
    }
    if (row != profile::kNone && rest.waited.weight_ns > 0) {
        // Where it was never met waiting, nobody gets it.
        recording_.extend(row, true, time, rest.waited.count, rest.waited.weight_ns);
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
    if (is_in_profile(subject)) {
        pay_out(subject, subject.account.rest(now_ns, cpu, settings_));
    }
    subject.account.settle(now_ns, cpu);
}

void Collector::keep_names() {
    const std::lock_guard<std::mutex> lock(registry_.mutex());
    for (const Subject* subject : registry_.live()) {
        if (subject->written.row != profile::kNone && !subject->name.empty()) {
            recording_.rename_thread(subject->written.row, subject->name);
        }
    }
}

void Collector::judge_living() {
    const std::lock_guard<std::mutex> lock(registry_.mutex());
    for (const Subject* subject : registry_.live()) {
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
    if (is_in_profile(subject)) {
        pay_out(subject, subject.account.rest_at_end(settings_));
    }
    if (subject.written.row != profile::kNone && !subject.name.empty()) {
        recording_.rename_thread(subject.written.row, subject.name);
    }
    judge(subject, subject.figures);
}

void Collector::judge(const Subject& subject, const platform::VisitFigures& figures) {
    // Of fewer samples a part this large may be missing by chance.
    constexpr std::int64_t kTelling = 100;
    const std::int64_t due = subject.account.due_running(settings_);
    const std::int64_t met = subject.account.met_running();
    if (figures.unreachable_ns > 0) {
        out_of_reach_.push_back({subject.name, figures.unreachable_ns});
    } else if (due >= kTelling && met < due - due / 4) {
        hardly_met_.push_back({subject.name, met, due});
    }
}

// --- threads that come and go -------------------------------------------------------------------

void Collector::scan_threads() {
    const std::int64_t now = platform::monotonic_ns();
    const int count = platform::thread_count();
    {
        const std::lock_guard<std::mutex> lock(registry_.mutex());
        probe_dormant(now);
        // Where the system does not tell how many there are, time alone decides.
        const bool as_many = count < 0 || static_cast<std::size_t>(count) == known_threads_.size();
        if (as_many && now < next_full_scan_) {
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
    // Where they are visited on themselves, threads that run tell it, and others are not visited.
    if ((settings_.mode != Mode::wall && !observer_.only_from_outside()) ||
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
                } else if (!subject->registered && subject->written.row == profile::kNone &&
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
