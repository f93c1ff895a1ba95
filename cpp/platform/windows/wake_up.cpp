// Windows behind wake_up.h: an event of the kernel's. (Waiting for an address would take locks of
// the process.) Partly reached while a thread is being visited.
#include "platform/wake_up.h"

#include "platform/clocks.h"
#include "platform/windows/system.h"

namespace spprof::platform {

WakeUp::~WakeUp() {
    if (void* event = event_.load()) {
        CloseHandle(event);
    }
}

// Either whoever waits sees the word, or we see its event: both are written before they are read.
void WakeUp::post() noexcept {
    if (posted_.exchange(1) == 0) {
        if (void* event = event_.load()) {
            SetEvent(event);
        }
    }
}

void WakeUp::wait_until(std::int64_t deadline_ns) noexcept {
    void* event = event_.load();
    if (event == nullptr) {
        event = CreateEventW(nullptr, FALSE, FALSE, nullptr);
        event_.store(event);
    }
    const HANDLE timer = create_exact_timer();
    while (posted_.exchange(0) == 0 && monotonic_ns() < deadline_ns) {
        const HANDLE both[] = {timer, event};
        if (timer == nullptr || event == nullptr || !arm_timer(timer, deadline_ns) ||
            WaitForMultipleObjects(2, both, FALSE, INFINITE) == WAIT_FAILED) {
            Sleep(1);  // any other way of waiting will do
        }
    }
    if (timer != nullptr) {
        CloseHandle(timer);
    }
}

}  // namespace spprof::platform
