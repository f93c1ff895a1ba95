// What runs in the signal handler, and the switch that turns it on and off.
#pragma once

#include <atomic>
#include <cstdint>

#include "platform/platform.h"

namespace spprof::sampling {

// Read by the handler; written by the session.
struct HandlerControl {
    std::atomic<bool> sampling{false};  // off: signals are taken and ignored (stopped or paused)
    std::atomic<platform::WakeUp*> collector{nullptr};
    std::atomic<bool> collector_called{false};
    // Somebody took SIGSEGV over ours: no stack is read until the collector has put it right.
    std::atomic<bool> guard_lost{false};
};

HandlerControl& handler_control() noexcept;

// The handler itself; see platform::SamplingSignal.
void on_sampling_signal(platform::Cookie cookie, void* context) noexcept;

}  // namespace spprof::sampling
