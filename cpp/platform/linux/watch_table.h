// All watches there have ever been: a signal carries the number of its watch. Reached from the
// signal handler.
#pragma once

#include <atomic>
#include <cstddef>
#include <new>

#include "platform/linux/watch.h"

namespace spprof::platform {

class WatchTable {
public:
    // nullptr when it has a new owner by now: only the thread itself visits itself.
    Watch* resolve(Cookie cookie) const noexcept {
        const std::size_t index = cookie & 0xFFFFFF;
        Watch* block = index / kBlock < kBlocks
                           ? blocks_[index / kBlock].load(std::memory_order_acquire)
                           : nullptr;
        Watch* watch = block == nullptr ? nullptr : &block[index % kBlock];
        return watch != nullptr && watch->tid.load(std::memory_order_acquire) == current_tid() &&
                       watch->cookie() == cookie
                   ? watch
                   : nullptr;
    }

    // Of the calling thread; nullptr: it is not followed. For the rare signal that cannot say.
    Watch* of_current_thread() const noexcept {
        const Tid tid = current_tid();
        for (const auto& each : blocks_) {
            Watch* block = each.load(std::memory_order_acquire);
            if (block == nullptr) {
                break;
            }
            for (std::size_t i = 0; i < kBlock; ++i) {
                if (block[i].tid.load(std::memory_order_acquire) == tid) {
                    return &block[i];
                }
            }
        }
        return nullptr;
    }

    // Under the observer's mutex.
    Watch* take() noexcept {
        if (free_ == nullptr && !grow()) {
            return nullptr;
        }
        Watch* watch = free_;
        free_ = static_cast<Watch*>(watch->subject);
        return watch;
    }
    void give_back(Watch* watch) noexcept {
        ++watch->generation;
        watch->subject = free_;
        free_ = watch;
    }

private:
    static constexpr std::size_t kBlock = 64;
    static constexpr std::size_t kBlocks = 4096;

    bool grow() noexcept {
        auto* block = count_ == kBlocks ? nullptr : new (std::nothrow) Watch[kBlock];
        if (block == nullptr) {
            return false;
        }
        for (std::size_t i = kBlock; i-- > 0;) {
            block[i].index = static_cast<std::uint32_t>(count_ * kBlock + i);
            block[i].subject = free_;
            free_ = &block[i];
        }
        blocks_[count_++].store(block, std::memory_order_release);
        return true;
    }

    std::atomic<Watch*> blocks_[kBlocks] = {};
    std::size_t count_ = 0;
    Watch* free_ = nullptr;  // linked by their subjects
};

}  // namespace spprof::platform
