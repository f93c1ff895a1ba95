// See collector.h.
#include "sampling/collector.h"

#include <algorithm>

#include "sampling/signal_handler.h"

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

Collector::Collector(const Settings& settings, Engine& engine, std::int64_t start_ns)
    : settings_(settings),
      engine_(engine),
      start_ns_(start_ns),
      recording_(settings.memory_limit_bytes, settings.aggregate),
      native_(settings.native ? std::make_unique<NativeStacks>() : nullptr) {}

Collector::~Collector() { stop(); }

void Collector::start() {
    const platform::SignalFreeZone zone;
    thread_ = std::thread([this] { run(); });
    while (tid() == 0) {
        std::this_thread::yield();
    }
}

void Collector::abandon_after_fork() {
    // Never joined or destroyed: the thread it stands for does not exist here.
    static_cast<void>(new std::thread(std::move(thread_)));
}

void Collector::stop() {
    stop_.store(true, std::memory_order_release);
    wake_up_.post();
    if (thread_.joinable()) {
        thread_.join();
    }
}

void Collector::run() noexcept {
    tid_.store(platform::current_tid(), std::memory_order_release);
    platform::name_current_thread("spprof-collect");
    HandlerControl& control = handler_control();
    while (!stop_.load(std::memory_order_acquire)) {
        wake_up_.wait_until(platform::monotonic_ns() + kPeriod);
        control.collector_called.store(false, std::memory_order_relaxed);
        if (native_ != nullptr) {
            native_->refresh();
        }
        {
            const std::lock_guard<std::mutex> lock(mutex_);
            // While paused, the signals may be somebody else's.
            if (control.sampling.load(std::memory_order_acquire)) {
                platform::FaultGuard::reinstall_if_taken();
                platform::SamplingSignal::reinstall_if_taken();
            }
            drain();
            scan_threads();
        }
        cpu_ns_.store(platform::current_thread_cpu_ns(), std::memory_order_relaxed);
    }
}

// --- records to rows ----------------------------------------------------------------------------

void Collector::drain() {
    ThreadRegistry& registry = ThreadRegistry::instance();
    const std::lock_guard<std::mutex> lock(registry.mutex());
    const auto drain_one = [this](ThreadRecord* thread) {
        thread->ring.drain([this, thread](const std::uint8_t* bytes) {
            take(*thread, *reinterpret_cast<const SampleRecord*>(bytes));
        });
    };
    for (ThreadRecord* thread : registry.live()) {
        drain_one(thread);
    }
    for (ThreadRecord* thread : registry.retired()) {
        drain_one(thread);
        close(*thread);
        registry.recycle(thread);
    }
    registry.retired().clear();
    recording_.set_outside_bytes(registry.ring_bytes() +
                                 (native_ != nullptr ? native_->bytes() : 0));
}

void Collector::take(ThreadRecord& thread, const SampleRecord& record) {
    bool mismatched = false;
    const std::uint32_t stack = stack_of(thread, record, mismatched);
    if (stack == profile::kNone) {
        thread.last_time = record.time_ns;
        thread.last_cpu = record.cpu_ns;
        thread.last_outside = true;
        return;
    }
    if (thread.thread_row == profile::kNone) {
        thread.thread_row = recording_.add_thread(thread.os_tid, thread.name);
    }
    const std::int64_t time = record.time_ns - start_ns_;
    const std::int64_t used = std::max<std::int64_t>(0, record.cpu_ns - thread.last_cpu);
    std::uint8_t state = record.state;
    if (mismatched) {
        state |= profile::SampleState::kMismatched;
        ++mismatched_count_;
    }
    std::int64_t weight = used;
    if (settings_.mode == Mode::cpu) {
        state &= static_cast<std::uint8_t>(~profile::SampleState::kWaiting);
    } else {
        const std::int64_t passed = std::max<std::int64_t>(0, record.time_ns - thread.last_time);
        // It may have waited outside of Python before it came here.
        weight = thread.last_outside ? std::min(used, passed) : passed;
        // While it stood still it was where it was last seen waiting; only what it ran since
        // belongs to this stack.
        if (thread.last_waiting && !thread.last_outside && passed > used) {
            const std::int64_t waited = passed - used;
            const auto ticks = static_cast<std::uint32_t>(waited / settings_.interval_ns);
            if (recording_.extend_last(thread.thread_row, time - used, ticks, waited)) {
                weight = used;
            }
        }
        thread.last_waiting = (record.state & profile::SampleState::kWaiting) != 0;
    }
    thread.last_time = record.time_ns;
    thread.last_cpu = record.cpu_ns;
    thread.last_outside = false;
    recording_.add_sample(thread.thread_row, stack, state, time, 1, weight);
}

// Successive stacks of a thread share most of their callers: only what changed is looked up.
std::uint32_t Collector::stack_of(ThreadRecord& thread, const SampleRecord& record,
                                  bool& mismatched) {
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
    if (thread.seen_epoch != epoch_ || record.truncated) {
        thread.seen.clear();
        thread.seen_stacks.clear();
        thread.seen_epoch = epoch_;
    }
    std::size_t shared = 0;
    while (shared < thread.seen.size() && shared < frames_.size() &&
           thread.seen[shared] == frames_[frames_.size() - 1 - shared]) {
        ++shared;
    }
    thread.seen.resize(shared);
    thread.seen_stacks.resize(shared);
    std::uint32_t parent = shared > 0 ? thread.seen_stacks.back() : profile::kNone;
    if (record.truncated) {
        parent =
            recording_.stack(parent, recording_.special_frame(profile::SpecialFrame::truncated));
    }
    for (std::size_t i = frames_.size() - shared; i-- > 0;) {
        const ThreadRecord::SeenFrame& frame = frames_[i];
        parent = recording_.stack(parent, frame.native
                                              ? recording_.native_frame(frame.value)
                                              : recording_.python_frame(frame.value, frame.offset));
        thread.seen.push_back(frame);
        thread.seen_stacks.push_back(parent);
    }
    if (record.truncated) {
        thread.seen.clear();
        thread.seen_stacks.clear();
    }
    return parent;
}

// --- what passed since the last sample
// ------------------------------------------------------------

void Collector::credit(ThreadRecord& thread, std::int64_t now_ns, std::int64_t cpu_ns) {
    if (thread.muted || thread.last_outside) {
        return;
    }
    const std::int64_t used = std::max<std::int64_t>(0, cpu_ns - thread.last_cpu);
    if (thread.thread_row == profile::kNone) {
        unsampled_ns_ += used;
    } else if (settings_.mode == Mode::cpu) {
        recording_.extend_last(thread.thread_row, now_ns - start_ns_, 0, used);
    } else {
        const std::int64_t passed = std::max<std::int64_t>(0, now_ns - thread.last_time);
        const auto ticks =
            static_cast<std::uint32_t>(thread.last_waiting ? passed / settings_.interval_ns : 0);
        recording_.extend_last(thread.thread_row, now_ns - start_ns_, ticks, passed);
    }
}

void Collector::settle(std::int64_t now_ns) {
    ThreadRegistry& registry = ThreadRegistry::instance();
    const std::lock_guard<std::mutex> lock(registry.mutex());
    for (ThreadRecord* thread : registry.live()) {
        settle(*thread, now_ns);
    }
}

void Collector::settle(ThreadRecord& thread, std::int64_t now_ns) {
    const std::int64_t cpu = platform::thread_cpu_ns(thread.os_tid);
    credit(thread, now_ns, cpu < 0 ? thread.last_cpu : cpu);
    thread.last_time = now_ns;
    thread.last_cpu = std::max(thread.last_cpu, cpu);
}

void Collector::keep_names() {
    ThreadRegistry& registry = ThreadRegistry::instance();
    const std::lock_guard<std::mutex> lock(registry.mutex());
    for (const ThreadRecord* thread : registry.live()) {
        if (thread->thread_row != profile::kNone && !thread->name.empty()) {
            recording_.rename_thread(thread->thread_row, thread->name);
        }
    }
}

void Collector::rebase(std::int64_t now_ns) {
    ThreadRegistry& registry = ThreadRegistry::instance();
    const std::lock_guard<std::mutex> lock(registry.mutex());
    for (ThreadRecord* thread : registry.live()) {
        rebase(*thread, now_ns);
    }
}

void Collector::rebase(ThreadRecord& thread, std::int64_t now_ns) {
    thread.last_time = now_ns;
    thread.last_cpu = std::max(thread.last_cpu, platform::thread_cpu_ns(thread.os_tid));
    // Where it waits may have changed meanwhile: look again.
    thread.last_waiting = false;
    thread.settled_cpu = -1;
    thread.settling = false;
    thread.idle = false;
    thread.ticked_cpu = -1;
}

void Collector::close(ThreadRecord& thread) {
    credit(thread, thread.final_time, thread.final_cpu < 0 ? thread.last_cpu : thread.final_cpu);
    if (thread.thread_row != profile::kNone && !thread.name.empty()) {
        recording_.rename_thread(thread.thread_row, thread.name);
    }
}

// --- threads that come and go
// -----------------------------------------------------------------------

void Collector::scan_threads() {
    ThreadRegistry& registry = ThreadRegistry::instance();
    const std::int64_t now = platform::monotonic_ns();
    const int count = thread_list_.count();
    {
        const std::lock_guard<std::mutex> lock(registry.mutex());
        probe_dormant(now);
        if (count >= 0 && static_cast<std::size_t>(count) == known_threads_.size() &&
            now < next_full_scan_) {
            return;
        }
    }
    std::vector<platform::Tid> tids = thread_list_.tids();
    std::sort(tids.begin(), tids.end());
    // One that is in a list may be about to end while the next is born: twice the same tells more.
    next_full_scan_ =
        tids != known_threads_
            ? now
            : now + std::clamp(kScanOfOneThread * static_cast<std::int64_t>(tids.size()),
                               kSoonestScan, kRarestScan);
    known_threads_ = tids;
    const std::lock_guard<std::mutex> lock(registry.mutex());
    // Gone without telling: threads that C++ made.
    std::vector<ThreadRecord*> gone;
    for (ThreadRecord* thread : registry.live()) {
        if (!std::binary_search(tids.begin(), tids.end(), thread->os_tid) &&
            platform::thread_cpu_ns(thread->os_tid) < 0) {
            gone.push_back(thread);
        }
    }
    for (ThreadRecord* thread : gone) {
        registry.retire(thread);
    }
    registry.forget_farewells_but_of(tids);
    for (const platform::Tid tid : tids) {
        if (engine_.is_own_thread(tid) || registry.find(tid) != nullptr ||
            registry.said_farewell(tid)) {
            continue;
        }
        // The list may be older than the end of the thread.
        if (platform::thread_cpu_ns(tid) < 0) {
            continue;
        }
        if (ThreadRecord* thread = registry.add(tid)) {
            thread->name = platform::thread_os_name(tid);
            engine_.watch(*thread);
        }
    }
}

void Collector::awaken(ThreadRecord& thread, std::int64_t now_ns) {
    thread.dormant = false;
    rebase(thread, now_ns);
    thread.not_python.store(false, std::memory_order_relaxed);
    engine_.watch(thread);
}

void Collector::probe_dormant(std::int64_t now_ns) {
    for (ThreadRecord* thread : ThreadRegistry::instance().live()) {
        if (thread->muted) {
            continue;
        }
        if (thread->dormant) {
            if (now_ns >= thread->probe_at) {
                awaken(*thread, now_ns);
            }
        } else if (thread->not_python.load(std::memory_order_relaxed) &&
                   thread->thread_row == profile::kNone) {
            thread->dormant = true;
            thread->probe_wait = std::min(
                kLongestProbe, thread->probe_wait == 0 ? kFirstProbe : 2 * thread->probe_wait);
            thread->probe_at = now_ns + thread->probe_wait;
            engine_.mute(*thread);
        }
    }
}

}  // namespace spprof::sampling
