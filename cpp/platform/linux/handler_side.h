// What the interrupting observer and the handler of its signals share. Reached from the signal
// handler.
#pragma once

#include <atomic>
#include <cstdint>

#include "platform/linux/interrupted_call.h"
#include "platform/linux/shared_signal.h"
#include "platform/linux/watch_table.h"
#include "platform/observer.h"
#include "platform/pacing.h"
#include "platform/wake_up.h"

namespace spprof::platform {

// What a handler needs of the observer in force. It outlives every observer: signals may come late.
struct HandlerSide {
    std::atomic<bool> visiting{false};  // off: signals are taken and ignored (none, or paused)
    std::atomic<bool> do_nothing{false};
    std::int64_t interval_ns = 0;
    std::atomic<bool> prompt{true};
    Visitor visitor;
    bool registers = false;
    bool wall = false;
    WatchTable watches;
    CallFigures calls;
    WakeUp ticker;
    std::atomic<bool> ticker_parked{false};    // nobody needs it; see call_ticker()
    std::atomic<bool> signals_threads{false};  // the ticker may have sent signals of its own

    pacing::Rhythm rhythm() const noexcept {
        return {interval_ns, prompt.load(std::memory_order_relaxed)};
    }

    // Somebody needs the ticker (again).
    void call_ticker() noexcept {
        if (ticker_parked.exchange(false, std::memory_order_seq_cst)) {
            ticker.post();
        }
    }
};

extern HandlerSide handler_side;  // trivially constructed and never destroyed
extern SharedSignal sampling_signal;

}  // namespace spprof::platform
