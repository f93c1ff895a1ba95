// The engine below the kernel's tick and in wall mode: one thread with absolute deadlines that
// finds the threads that have something new to show. Those that run are then sampled by a timer of
// their own (local_timer.h) for as long as they do; while all others sleep, so does the ticker.
#pragma once

#include <atomic>
#include <cstdint>
#include <thread>

#include "platform/platform.h"

namespace spprof::sampling {

enum class Mode : std::uint8_t { cpu, wall };

class Ticker {
public:
    Ticker(std::int64_t interval_ns, Mode mode, bool timers_allowed);
    ~Ticker();  // stops and joins
    Ticker(const Ticker&) = delete;
    Ticker& operator=(const Ticker&) = delete;

    void start();
    // Between the two it sleeps: nobody pays for ticks that signal nobody.
    void pause() noexcept { paused_.store(true, std::memory_order_release); }
    void resume() noexcept;
    platform::WakeUp& wake_up() noexcept { return woken_; }
    void abandon_after_fork();
    std::int32_t tid() const noexcept { return tid_.load(std::memory_order_acquire); }
    std::int64_t cpu_ns() const noexcept { return cpu_ns_.load(std::memory_order_relaxed); }

private:
    void run() noexcept;
    // Whether any thread needs another tick.
    bool tick(std::int64_t now) noexcept;
    void park() noexcept;

    const std::int64_t interval_;
    const Mode mode_;
    const bool timers_allowed_;
    std::atomic<bool> stop_{false};
    std::atomic<bool> paused_{false};
    platform::WakeUp woken_;
    std::atomic<std::int32_t> tid_{0};
    std::atomic<std::int64_t> cpu_ns_{0};
    std::thread thread_;
};

}  // namespace spprof::sampling
