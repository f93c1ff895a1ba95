// Reached from the signal handler: no allocation, no lock, no lazily bound symbols, no Python call
// that faulthandler would not make here.
#include "sampling/signal_handler.h"

#include <algorithm>

#include "interpreter/walk.h"
#include "native/code_map.h"
#include "native/registers_linux.h"
#include "native/unwind.h"
#include "platform/safe_memory.h"
#include "profile/recording.h"
#include "sampling/record.h"
#include "sampling/thread_registry.h"

namespace spprof::sampling {

namespace {

HandlerControl control;

template <class T>
void increase(std::atomic<T>& counter, T by = 1) noexcept {
    // Only the handler of one thread writes it: no locked instruction is needed.
    counter.store(counter.load(std::memory_order_relaxed) + by, std::memory_order_relaxed);
}

// Within this time a thread is sampled after a signal that may be met at a system call only: long
// enough that the moment has nothing to do with it.
constexpr std::int64_t kSoon = 50'000;

// Interrupts of the processor a thread runs on take less; on virtual machines usually a good part
// of it...
constexpr std::int64_t kMaybeLate = 50'000;
// ...and hardly ever as much as this.
constexpr std::int64_t kLate = 200'000;

// A thread that ran for a part of the interval is expected to run again before the next is over.
// What the timer's signals cost a thread that sleeps is less.
constexpr std::int64_t kShortNap = 4;

void call_collector() noexcept {
    if (!control.collector_called.exchange(true, std::memory_order_relaxed)) {
        if (platform::WakeUp* collector = control.collector.load(std::memory_order_acquire)) {
            collector->post();
        }
    }
}

std::uint8_t gil_state([[maybe_unused]] PyThreadState* thread) noexcept {
#ifdef Py_GIL_DISABLED
    return 0;
#else
    return interpreter::unchecked_thread_state() == thread ? profile::SampleState::kGilHeld
                                                           : profile::SampleState::kGilNotHeld;
#endif
}

// What the handler has cost so far. The CPU clock costs as much as all the rest (a system call that
// takes the scheduler's lock), so it is only asked again where the thread may have been kept off
// the processor meanwhile.
std::int64_t time_since(std::int64_t begin, std::int64_t cpu_at_begin) noexcept {
    constexpr std::int64_t kUnlikelyLong = 20'000;
    const std::int64_t elapsed = platform::monotonic_ns() - begin;
    return elapsed < kUnlikelyLong ? elapsed : platform::current_thread_cpu_ns() - cpu_at_begin;
}

// What is known of a signal before anything is captured.
struct Signal {
    std::int64_t time_ns, cpu_ns;  // now, on the two clocks
    std::int64_t interval_ns;
    bool by_timer;
    bool waiting;       // it interrupted a system call
    bool running_only;  // where threads wait is not of interest
    const void* context;
};

// Keeps the local timer of a thread going. Whether the thread is to be captured now.
bool keep_time(ThreadRecord& thread, const Signal& signal) noexcept {
    LocalTimer& timer = thread.local_timer;
    if (!timer.running()) {
        if (signal.waiting) {
            return !signal.running_only;
        }
        if (signal.by_timer) {  // its CPU timer: it was idle until now
            timer.start(signal.time_ns, signal.cpu_ns, signal.interval_ns, signal.interval_ns);
            return true;
        }
        // The ticker found it running: it is met where the signal happens to arrive, and will be
        // sampled where its own timer does.
        timer.start(signal.time_ns, signal.cpu_ns, std::min(signal.interval_ns, kSoon),
                    signal.interval_ns);
        return false;
    }
    if (!signal.by_timer) {
        return false;
    }
    const std::int64_t late = timer.take_expiry(signal.time_ns);
    const std::int64_t used = signal.cpu_ns - thread.sampled_cpu.load(std::memory_order_relaxed);
    if (signal.waiting) {
        // Short naps are slept through; in wall time each is of interest by itself.
        if (used >= signal.interval_ns / kShortNap && signal.running_only) {
            timer.vary_pace(signal.time_ns, signal.interval_ns);
        } else {
            timer.end();
        }
        return !signal.running_only;
    }
    // It may have been off the processor from the moment the timer fired until now.
    const std::int64_t passed =
        signal.time_ns - thread.sampled_time.load(std::memory_order_relaxed);
    if (signal.running_only && late > kMaybeLate && passed - used >= late) {
        if (late > kLate) {
            timer.vary_pace(signal.time_ns, signal.interval_ns);
            return false;
        }
        if (platform::just_left_syscall(signal.context)) {
            timer.repeat(signal.time_ns, std::min(signal.interval_ns, kSoon));
            return false;
        }
    }
    timer.vary_pace(signal.time_ns, signal.interval_ns);
    return !signal.running_only || timer.take_due(signal.cpu_ns, signal.interval_ns);
}

// False where the interpreter was about to change its chain of frames, which cannot be trusted
// then.
bool capture(ThreadRecord& thread, const Signal& signal) noexcept {
    const platform::SafeMemory memory;
    native::CodeMap* code_map = control.code_map.load(std::memory_order_acquire);
    PyThreadState* state = interpreter::current_thread_state();
    thread.not_python.store(state == nullptr && code_map == nullptr, std::memory_order_relaxed);
    std::uint8_t* room = thread.ring.begin(kMaxRecordBytes);
    if (room == nullptr) {
        increase(thread.dropped);
        call_collector();
        return true;
    }
    auto* record = reinterpret_cast<SampleRecord*>(room);
    interpreter::WalkResult walked;
    if (state != nullptr) {
        walked = interpreter::walk(memory, state, record->python(), SampleRecord::kMaxPythonFrames);
        if (walked.end == interpreter::WalkEnd::torn) {
            return false;
        }
    }
    record->python_count = static_cast<std::uint16_t>(walked.count);
    record->native_count = 0;
    record->native_end = static_cast<std::uint8_t>(native::End::complete);
    if (code_map != nullptr) {
        const native::CodeMap::Use use(*code_map);
        native::UnwindContext context(use);
        native::End end = native::End::complete;
        record->native_count = static_cast<std::uint16_t>(
            native::unwind(context, native::registers_from_ucontext(signal.context), memory,
                           record->native(), SampleRecord::kMaxNativeFrames, &end));
        record->native_end = static_cast<std::uint8_t>(end);
        if (context.unknown != 0) {
            // The collector will know better the next time.
            use.ask(context.unknown);
            call_collector();
            return false;
        }
    }
    // A record without frames tells that the time until now was not spent in Python.
    record->time_ns = signal.time_ns;
    record->cpu_ns = signal.cpu_ns;
    record->state =
        static_cast<std::uint8_t>((state == nullptr ? 0 : gil_state(state)) |
                                  (signal.waiting ? profile::SampleState::kWaiting : 0));
    record->truncated = walked.end == interpreter::WalkEnd::truncated;
    record->bytes = static_cast<std::uint32_t>(record->size());
    thread.ring.commit(record->bytes);
    increase(thread.captured);
    if (thread.ring.backlog() > Ring::kFarBehind) {
        call_collector();
    }
    return true;
}

// A chain of frames is in order again a few instructions later.
bool try_again(ThreadRecord& thread, const Signal& signal) noexcept {
    if (!signal.by_timer || !thread.local_timer.running() || thread.tried_again) {
        thread.tried_again = false;
        return false;
    }
    thread.tried_again = true;
    thread.local_timer.repeat(signal.time_ns, std::min(signal.interval_ns, kSoon));
    return true;
}

}  // namespace

HandlerControl& handler_control() noexcept { return control; }

void call_ticker() noexcept {
    if (control.ticker_parked.exchange(false, std::memory_order_seq_cst)) {
        if (platform::WakeUp* ticker = control.ticker.load(std::memory_order_acquire)) {
            ticker->post();
        }
    }
}

void set_handler_does_nothing(bool nothing) noexcept { control.do_nothing = nothing; }

void on_sampling_signal(platform::Cookie cookie, platform::Sender sender, void* context) noexcept {
    const bool by_timer = sender == platform::Sender::timer;
    // The ticker's own signals start the timers that keep the rate.
    if (by_timer && control.do_nothing.load(std::memory_order_relaxed)) {
        return;
    }
    const std::int64_t begin = platform::monotonic_ns();
    const ThreadRegistry& registry = ThreadRegistry::instance();
    ThreadRecord* thread = registry.resolve(cookie);
    if (thread == nullptr) {
        return;
    }
    // Announce, then look: whoever turns sampling off looks for announced handlers afterwards.
    thread->in_handler.store(true, std::memory_order_seq_cst);
    if (control.sampling.load(std::memory_order_seq_cst) && registry.resolve(cookie) == thread) {
        const std::int64_t cpu = platform::current_thread_cpu_ns();
        // Without the guard even a look at the interrupted instruction may fault.
        const bool guarded = platform::FaultGuard::armed();
        Signal signal;
        signal.time_ns = begin;
        signal.cpu_ns = cpu;
        signal.interval_ns = control.interval_ns.load(std::memory_order_relaxed);
        signal.by_timer = by_timer;
        signal.running_only = control.running_only.load(std::memory_order_relaxed);
        signal.context = context;
        const bool by_ticker = thread->by_ticker.load(std::memory_order_relaxed);
        const bool has_local_timer = by_ticker && thread->local_timer.allowed();
        // A CPU timer fires on a thread that runs.
        signal.waiting = guarded && (by_ticker || !signal.running_only) &&
                         platform::interrupted_in_syscall(context);
        if (!guarded) {
            // Somebody took SIGSEGV over ours: nothing is read until the collector has put it
            // right.
            increase(thread->torn);
            call_collector();
        } else if (has_local_timer ? keep_time(*thread, signal)
                                   : !(signal.waiting && signal.running_only)) {
            if (capture(*thread, signal)) {
                thread->tried_again = false;
            } else if (!try_again(*thread, signal)) {
                increase(thread->torn);
            }
        }
        thread->sampled_waiting.store(signal.waiting, std::memory_order_relaxed);
        thread->awake.store(true, std::memory_order_relaxed);
        if (by_ticker && !thread->local_timer.running()) {
            call_ticker();
        }
        const auto spent = static_cast<std::uint64_t>(time_since(begin, cpu));
        thread->sampled_cpu.store(cpu + static_cast<std::int64_t>(spent),
                                  std::memory_order_relaxed);
        thread->sampled_time.store(begin + static_cast<std::int64_t>(spent),
                                   std::memory_order_relaxed);
        increase(thread->handler_calls);
        increase(thread->handler_ns, spent);
        if (spent > thread->handler_worst_ns.load(std::memory_order_relaxed)) {
            thread->handler_worst_ns.store(spent, std::memory_order_relaxed);
        }
    }
    thread->in_handler.store(false, std::memory_order_release);
}

}  // namespace spprof::sampling
