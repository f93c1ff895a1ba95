// The threads of this process that are sampled: one record each, with its ring, its timer and what
// the handler, the ticker and the collector keep of it. Records are never freed, only reused: a
// late signal always finds memory that is a record.
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "platform/platform.h"
#include "sampling/local_timer.h"
#include "sampling/record.h"
#include "sampling/ring.h"

namespace spprof::sampling {

// What the handler itself and the way back into an interrupted system call may cost: CPU time that
// is no sign that the thread went on.
constexpr std::int64_t kStandingStill = 15'000;

struct ThreadRecord {
    // --- identity; changes only while no handler can run for this record
    // --------------------------
    std::uint32_t index = 0;
    std::uint32_t generation = 0;
    std::atomic<platform::Tid> tid{0};  // whose signals are taken; 0: nobody's (any more)
    platform::Tid os_tid = 0;           // whose record this is or was
    Ring ring;

    // --- written by the handler
    // --------------------------------------------------------------------
    std::atomic<bool> in_handler{false};
    std::atomic<bool> not_python{false};        // the last signal found no thread state
    bool tried_again = false;                   // the last signal found a chain it could not trust
    std::atomic<bool> awake{false};             // it took a signal: its idle timer may have fired
    std::atomic<std::int64_t> sampled_cpu{-1};  // CPU clock at the end of the last signal...
    std::atomic<std::int64_t> sampled_time{0};  // ...and the monotonic clock
    std::atomic<bool> sampled_waiting{false};   // it interrupted a system call
    std::atomic<std::uint64_t> captured{0};     // samples written to the ring
    std::atomic<std::uint64_t> dropped{0};      // ring full
    std::atomic<std::uint64_t> torn{0};         // chains that could not be trusted
    std::atomic<std::uint64_t> handler_ns{0};
    std::atomic<std::uint64_t> handler_calls{0};
    std::atomic<std::uint64_t> handler_worst_ns{0};

    // --- engine: guarded by the registry's mutex
    // -----------------------------------------------------
    platform::ThreadTimer timer;  // on its CPU clock: samples it, or tells that it woke up
    LocalTimer local_timer;       // samples it while it runs, where the ticker looks after it
    // The ticker looks after it; else its timer does. Read by the handler.
    std::atomic<bool> by_ticker{false};
    bool has_begun = false;  // its beginning was before the session, or was reported
    bool muted = false;      // unregister_thread() was called for it
    bool dormant = false;    // no Python there: signals are off until `probe_at`
    std::int64_t probe_at = 0;
    std::int64_t probe_wait = 0;
    bool idle = false;  // ticker: left to its timer, or looked at rarely
    int quiet_ticks = 0;
    std::int64_t credit = 0;       // CPU time used and not yet asked for by a signal
    std::int64_t ticked_cpu = -1;  // CPU clock at the last look
    std::int64_t next_look = 0;
    std::int64_t settled_cpu = -1;  // wall mode: CPU clock of a stack that is known to be current
    bool settling = false;          // wall mode: on its way back to where it was captured waiting
    bool capture_pending = false;   // wall mode: a capture was asked for at the last look...
    std::uint64_t calls_before_capture = 0;  // ...when the handler had run so often
    std::string name;

    // --- collector
    // -------------------------------------------------------------------------------------
    std::uint32_t thread_row = 0xFFFFFFFFu;  // in the recording; none until the first sample
    std::int64_t last_time = 0;
    std::int64_t last_cpu = 0;
    bool last_waiting = false;
    bool last_outside = false;  // no Python was found there
    struct SeenFrame {
        std::uint64_t value;  // code object or native location
        std::uint32_t offset;
        bool native;
        bool operator==(const SeenFrame& other) const noexcept {
            return value == other.value && offset == other.offset && native == other.native;
        }
    };
    std::vector<SeenFrame> seen;             // root first: the frames of the last sample...
    std::vector<std::uint32_t> seen_stacks;  // ...and the stacks they make
    std::uint64_t seen_epoch = 0;
    std::int64_t final_cpu = -1;  // CPU clock when the thread ended
    std::int64_t final_time = -1;

    platform::Cookie cookie() const noexcept {
        return (static_cast<platform::Cookie>(generation & 0xFFFFFF) << 24) | index;
    }
};

// Counters of records that are gone.
struct HandlerTotals {
    std::uint64_t captured = 0, dropped = 0, torn = 0;
    std::uint64_t handler_ns = 0, handler_calls = 0, handler_worst_ns = 0;
    void add(const ThreadRecord& record) noexcept;
};

class ThreadRegistry {
public:
    static ThreadRegistry& instance();

    // Guards everything below but `resolve`.
    std::mutex& mutex() noexcept { return mutex_; }

    // A fresh record with a ring for this thread; nullptr when there is no memory.
    ThreadRecord* add(platform::Tid tid);
    ThreadRecord* find(platform::Tid tid) const noexcept;
    const std::vector<ThreadRecord*>& live() const noexcept { return live_; }
    // The thread is gone or left: its record waits until the collector has drained it.
    void retire(ThreadRecord* record);
    // As retire(), by the thread itself: the system goes on listing it for a moment.
    void say_farewell(ThreadRecord* record);
    bool said_farewell(platform::Tid tid) const noexcept;
    // `tids`: those that the system still lists, sorted.
    void forget_farewells_but_of(const std::vector<platform::Tid>& tids);
    std::vector<ThreadRecord*>& retired() noexcept { return retired_; }
    // Drained: the record may be used for another thread.
    void recycle(ThreadRecord* record);
    // Forgets all threads and gives the rings back. No handler may be running.
    void clear();
    // In a forked child, which has neither the timers nor the threads of its parent.
    void clear_after_fork();

    HandlerTotals totals() const noexcept;
    std::size_t ring_bytes() const noexcept;

    // Handler-safe: the record a signal was sent for; nullptr when it has a new owner by now.
    ThreadRecord* resolve(platform::Cookie cookie) const noexcept;

private:
    static constexpr std::size_t kBlock = 64;
    static constexpr std::size_t kBlocks = 4096;

    std::mutex mutex_;
    std::atomic<ThreadRecord*> blocks_[kBlocks] = {};
    std::size_t block_count_ = 0;
    std::vector<ThreadRecord*> free_, live_, retired_;
    std::vector<platform::Tid> farewells_;
    std::vector<void*> spare_rings_;
    HandlerTotals gone_;
};

}  // namespace spprof::sampling
