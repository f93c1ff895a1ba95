// See capture.h.
#include "sampling/capture.h"

#include <algorithm>

#include "interpreter/gil.h"
#include "interpreter/python_thread.h"
#include "native/code_map.h"
#include "native/unwind.h"
#include "platform/safe_memory.h"
#include "sampling/record.h"
#include "sampling/subject.h"

namespace spprof::sampling {

namespace {

struct Shared {
    std::atomic<native::CodeMap*> code{nullptr};  // null: Python frames only
    platform::WakeUp collector;
    std::atomic<bool> collector_called{false};
    std::atomic<std::int64_t> asked_for_code_ns{0};  // of what is loaded, the last time
};
Shared shared;

void increase(std::atomic<std::uint64_t>& counter) noexcept {
    // Only one visit at a time writes it: no locked instruction is needed.
    counter.store(counter.load(std::memory_order_relaxed) + 1, std::memory_order_relaxed);
}

void call_collector() noexcept {
    if (!shared.collector_called.exchange(true, std::memory_order_relaxed)) {
        shared.collector.post();
    }
}

// Whether the collector should look at once for what was loaded since it last did. Code that
// somebody generates and tells nobody of is met again and again.
bool may_ask_for_code(std::int64_t now_ns) noexcept {
    constexpr std::int64_t kAgain = 25'000'000;
    const std::int64_t last = shared.asked_for_code_ns.load(std::memory_order_relaxed);
    if (now_ns - last < kAgain && now_ns >= last) {
        return false;
    }
    shared.asked_for_code_ns.store(now_ns, std::memory_order_relaxed);
    return true;
}

std::uint8_t gil_state(interpreter::GilHolding holding) noexcept {
    switch (holding) {
        case interpreter::GilHolding::held:
            return profile::SampleState::kGilHeld;
        case interpreter::GilHolding::not_held:
            return profile::SampleState::kGilNotHeld;
        case interpreter::GilHolding::unknown:
            break;
    }
    return 0;
}

std::uint8_t waits_for(const platform::Moment& moment) noexcept {
    using profile::SampleState;
    switch (moment.wait) {
        case platform::Wait::unknown:
            break;
        case platform::Wait::word:
            return interpreter::belongs_to_gil(moment.waits_at) ? SampleState::kForGil
                                                                : SampleState::kForLock;
        case platform::Wait::sleep:
            return SampleState::kForTime;
        case platform::Wait::socket:
            return SampleState::kForSocket;
        case platform::Wait::file:
            return SampleState::kForFile;
        case platform::Wait::child:
            return SampleState::kForChild;
    }
    return 0;
}

native::Registers to_unwind(const platform::MachineRegisters& registers) noexcept {
    static_assert(std::size(native::Registers{}.value) == platform::MachineRegisters::kCount);
    native::Registers result;
    result.pc = registers.pc;
    std::copy(std::begin(registers.value), std::end(registers.value), std::begin(result.value));
    return result;
}

// The native frames of a record whose Python frames are there already. False where code was met
// of which nothing is known yet: the collector will know better the next time.
bool add_native(SampleRecord& record, const platform::Moment& moment,
                native::RecentSteps* recent) noexcept {
    record.native_count = 0;
    record.native_end = static_cast<std::uint8_t>(native::End::complete);
    native::CodeMap* code = shared.code.load(std::memory_order_acquire);
    if (code == nullptr || moment.registers == nullptr) {
        return true;
    }
    const native::CodeMap::Use use(*code);
    native::UnwindContext context(use);
    context.recent = recent;
    native::End end = native::End::complete;
    const std::size_t count =
        native::unwind(context, to_unwind(*moment.registers), platform::SafeMemory(),
                       record.native(), SampleRecord::kMaxNativeFrames, &end);
    if (context.unknown != 0 && moment.all_registers) {
        use.ask(context.unknown);
        call_collector();
        return false;
    }
    if (context.outside && moment.all_registers && may_ask_for_code(moment.time_ns)) {
        call_collector();
        return false;
    }
    // Where a register was needed that is not known, what was found hangs in the air.
    if (moment.all_registers || end == native::End::complete || record.python_count == 0) {
        record.native_count = static_cast<std::uint16_t>(count);
        record.native_end = static_cast<std::uint8_t>(end);
    }
    return true;
}

platform::Visited record_subject(void* raw, const platform::Moment& moment) noexcept {
    using platform::Visited;
    Visits& visits = static_cast<Subject*>(raw)->visits;
    const bool here = moment.on_own_thread;
    interpreter::ThreadState* state =
        here ? interpreter::thread_state_here() : visits.state.load(std::memory_order_relaxed);
    const bool with_native = shared.code.load(std::memory_order_relaxed) != nullptr;
    if (here) {
        visits.state.store(state, std::memory_order_relaxed);
        visits.not_python.store(state == nullptr && !with_native, std::memory_order_relaxed);
    } else if (state == nullptr && moment.registers == nullptr) {
        return Visited::refused;
    }
    std::uint8_t* room = visits.ring.begin(kMaxRecordBytes);
    if (room == nullptr) {
        increase(visits.dropped);
        call_collector();
        return Visited::refused;
    }
    auto& record = *reinterpret_cast<SampleRecord*>(room);
    interpreter::WalkResult walked;
    if (state != nullptr) {
        walked =
            here ? interpreter::walk_here(state, record.python(), SampleRecord::kMaxPythonFrames)
                 : interpreter::walk_from_outside(state,
                                                  visits.ident.load(std::memory_order_relaxed),
                                                  static_cast<Subject*>(raw)->tid, record.python(),
                                                  SampleRecord::kMaxPythonFrames);
        if (walked.end == interpreter::WalkEnd::torn) {
            return Visited::torn;
        }
        if (walked.end == interpreter::WalkEnd::gone) {
            visits.state.store(nullptr, std::memory_order_relaxed);
            if (moment.registers == nullptr) {
                return Visited::refused;
            }
            state = nullptr;
            walked = {};
        }
    }
    if (!here && with_native && walked.count == 0 && moment.registers == nullptr) {
        return Visited::refused;  // it is in machine code, and where is not to be learned
    }
    record.python_count = static_cast<std::uint16_t>(walked.count);
    if (!add_native(record, moment, visits.recent_steps)) {
        return Visited::torn;
    }
    // A record without frames tells that the time until now was not spent in Python.
    record.time_ns = moment.time_ns;
    record.cpu_ns = moment.cpu_ns;
    record.never_slept = moment.never_slept;
    record.could_run = moment.could_run;
    record.stood_still_until_ns = moment.stood_still_until_ns;
    record.state = moment.doing == platform::Doing::waiting ? profile::SampleState::kWaiting : 0;
    record.state |= waits_for(moment);
    if (state != nullptr) {
        record.state |=
            gil_state(here ? interpreter::gil_here(state) : interpreter::gil_from_outside(state));
    }
    record.region = state != nullptr ? interpreter::region_of(state) : 0;
    record.collecting = walked.collecting;
    record.collecting_at = walked.collecting_at;
    record.truncated = walked.end == interpreter::WalkEnd::truncated;
    record.bytes = static_cast<std::uint32_t>(record.size());
    visits.unkept_bytes = record.bytes;
    return Visited::recorded;
}

void keep_record(void* raw) noexcept {
    Visits& visits = static_cast<Subject*>(raw)->visits;
    visits.ring.commit(visits.unkept_bytes);
    increase(visits.captured);
    if (visits.ring.backlog() > Ring::kFarBehind) {
        call_collector();
    }
}

}  // namespace

platform::Visitor capturing_visitor(native::CodeMap* code) noexcept {
    shared.code.store(code, std::memory_order_release);
    return {record_subject, keep_record, call_collector};
}

platform::WakeUp& collector_wake_up() noexcept { return shared.collector; }

void collector_has_woken() noexcept {
    shared.collector_called.store(false, std::memory_order_relaxed);
}

}  // namespace spprof::sampling
