// The engine below the kernel's tick and in wall mode: one thread with absolute deadlines that
// signals exactly the threads that have something new to show.
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
    void abandon_after_fork();
    std::int32_t tid() const noexcept { return tid_.load(std::memory_order_acquire); }
    std::int64_t cpu_ns() const noexcept { return cpu_ns_.load(std::memory_order_relaxed); }

private:
    void run() noexcept;
    void tick(std::int64_t now) noexcept;

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
