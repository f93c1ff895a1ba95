// What runs in the signal handler, and the switch that turns it on and off.
#pragma once

#include <atomic>
#include <cstdint>

#include "platform/platform.h"

namespace spprof::native {
class CodeMap;
}

namespace spprof::sampling {

// Read by the handler; written by the session.
struct HandlerControl {
    std::atomic<bool> sampling{false};  // off: signals are taken and ignored (stopped or paused)
    std::atomic<platform::WakeUp*> collector{nullptr};
    std::atomic<bool> collector_called{false};
    std::atomic<platform::WakeUp*> ticker{nullptr};
    std::atomic<bool> ticker_parked{false};  // nobody needs it; see call_ticker()
    std::atomic<std::int64_t> interval_ns{0};
    // CPU time is what counts: where a thread only waits is not of interest.
    std::atomic<bool> running_only{false};
    std::atomic<bool> do_nothing{false};
    std::atomic<native::CodeMap*> code_map{nullptr};  // null: Python frames only
};

HandlerControl& handler_control() noexcept;

// Somebody needs the ticker (again). Handler-safe.
void call_ticker() noexcept;

// For benchmarks: what does a signal cost when nothing is done with it?
void set_handler_does_nothing(bool nothing) noexcept;

// The handler itself; see platform::SamplingSignal.
void on_sampling_signal(platform::Cookie cookie, platform::Sender sender, void* context) noexcept;

}  // namespace spprof::sampling
