// See thread_registry.h. `resolve` is reached from the signal handler.
#include "sampling/thread_registry.h"

#include <algorithm>

namespace spprof::sampling {

void HandlerTotals::add(const ThreadRecord& record) noexcept {
    captured += record.captured.load(std::memory_order_relaxed);
    dropped += record.dropped.load(std::memory_order_relaxed);
    torn += record.torn.load(std::memory_order_relaxed);
    handler_ns += record.handler_ns.load(std::memory_order_relaxed);
    handler_calls += record.handler_calls.load(std::memory_order_relaxed);
    handler_worst_ns =
        std::max(handler_worst_ns, record.handler_worst_ns.load(std::memory_order_relaxed));
}

ThreadRegistry& ThreadRegistry::instance() {
    static auto* registry = new ThreadRegistry;  // never destroyed: signals may come late
    return *registry;
}

ThreadRecord* ThreadRegistry::resolve(platform::Cookie cookie) const noexcept {
    const std::size_t index = cookie & 0xFFFFFF;
    if (index / kBlock >= kBlocks) {
        return nullptr;
    }
    ThreadRecord* block = blocks_[index / kBlock].load(std::memory_order_acquire);
    if (block == nullptr) {
        return nullptr;
    }
    ThreadRecord* record = &block[index % kBlock];
    // The producer of a ring is its own thread and nobody else.
    return record->cookie() == cookie &&
                   record->tid.load(std::memory_order_acquire) == platform::current_tid()
               ? record
               : nullptr;
}

ThreadRecord* ThreadRegistry::add(platform::Tid tid) {
    if (free_.empty()) {
        if (block_count_ == kBlocks) {
            return nullptr;
        }
        auto* block = new ThreadRecord[kBlock];
        for (std::size_t i = kBlock; i-- > 0;) {
            block[i].index = static_cast<std::uint32_t>(block_count_ * kBlock + i);
            free_.push_back(&block[i]);
        }
        blocks_[block_count_++].store(block, std::memory_order_release);
    }
    void* pages = nullptr;
    if (!spare_rings_.empty()) {
        pages = spare_rings_.back();
        spare_rings_.pop_back();
    } else if ((pages = platform::map_pages(Ring::kBytes)) == nullptr) {
        return nullptr;
    }
    // A new thread may have the number of one that is gone.
    farewells_.erase(std::remove(farewells_.begin(), farewells_.end(), tid), farewells_.end());
    ThreadRecord* record = free_.back();
    free_.pop_back();
    live_.push_back(record);

    record->ring.attach(pages);
    record->not_python = false;
    record->tried_again = false;
    record->awake = false;
    record->sampled_cpu = -1;
    record->sampled_time = 0;
    record->sampled_waiting = false;
    record->captured = 0;
    record->dropped = 0;
    record->torn = 0;
    record->handler_ns = 0;
    record->handler_calls = 0;
    record->handler_worst_ns = 0;
    record->by_ticker = false;
    record->has_begun = false;
    record->muted = false;
    record->dormant = false;
    record->probe_at = 0;
    record->probe_wait = 0;
    record->idle = false;
    record->quiet_ticks = 0;
    record->credit = 0;
    record->ticked_cpu = -1;
    record->next_look = 0;
    record->settled_cpu = -1;
    record->settling = false;
    record->capture_pending = false;
    record->name.clear();
    record->thread_row = 0xFFFFFFFFu;
    record->last_time = platform::monotonic_ns();
    record->last_cpu = std::max<std::int64_t>(0, platform::thread_cpu_ns(tid));
    record->last_waiting = false;
    record->last_outside = false;
    record->seen.clear();
    record->seen_stacks.clear();
    record->final_cpu = -1;
    record->final_time = -1;
    record->os_tid = tid;
    record->tid.store(tid, std::memory_order_release);
    return record;
}

ThreadRecord* ThreadRegistry::find(platform::Tid tid) const noexcept {
    for (ThreadRecord* record : live_) {
        if (record->os_tid == tid) {
            return record;
        }
    }
    return nullptr;
}

void ThreadRegistry::retire(ThreadRecord* record) {
    // Called on the thread itself, or when it is gone: no handler is running for the record, and a
    // signal that comes late finds a record that is not its own.
    record->tid.store(0, std::memory_order_release);
    record->timer.destroy();
    record->local_timer.destroy();
    record->final_time = platform::monotonic_ns();
    live_.erase(std::find(live_.begin(), live_.end(), record));
    retired_.push_back(record);
}

void ThreadRegistry::say_farewell(ThreadRecord* record) {
    farewells_.push_back(record->os_tid);
    retire(record);
}

bool ThreadRegistry::said_farewell(platform::Tid tid) const noexcept {
    return std::find(farewells_.begin(), farewells_.end(), tid) != farewells_.end();
}

void ThreadRegistry::forget_farewells_but_of(const std::vector<platform::Tid>& tids) {
    farewells_.erase(std::remove_if(farewells_.begin(), farewells_.end(),
                                    [&](platform::Tid tid) {
                                        return !std::binary_search(tids.begin(), tids.end(), tid);
                                    }),
                     farewells_.end());
}

void ThreadRegistry::recycle(ThreadRecord* record) {
    gone_.add(*record);
    ++record->generation;
    spare_rings_.push_back(record->ring.detach());
    free_.push_back(record);
}

void ThreadRegistry::clear() {
    while (!live_.empty()) {
        retire(live_.back());
    }
    for (ThreadRecord* record : retired_) {
        recycle(record);
        record->seen = {};
        record->seen_stacks = {};
    }
    retired_.clear();
    farewells_.clear();
    for (void* pages : spare_rings_) {
        platform::unmap_pages(pages, Ring::kBytes);
    }
    spare_rings_.clear();
    gone_ = {};
}

void ThreadRegistry::clear_after_fork() {
    for (ThreadRecord* record : live_) {
        record->timer.forget();
        record->local_timer.forget_after_fork();
        record->in_handler = false;
    }
    clear();
}

HandlerTotals ThreadRegistry::totals() const noexcept {
    HandlerTotals sum = gone_;
    for (const ThreadRecord* record : live_) {
        sum.add(*record);
    }
    for (const ThreadRecord* record : retired_) {
        sum.add(*record);
    }
    return sum;
}

std::size_t ThreadRegistry::ring_bytes() const noexcept {
    std::size_t sum = 0;
    for (const ThreadRecord* record : live_) {
        sum += record->ring.touched();
    }
    for (const ThreadRecord* record : retired_) {
        sum += record->ring.touched();
    }
    return sum;
}

}  // namespace spprof::sampling
