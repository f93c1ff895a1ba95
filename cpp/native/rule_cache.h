// Reached from the signal handler. Owns the rules of the addresses that were met lately, in memory
// of a fixed size: what finds no place is worked out again. Knows nothing of where rules come from.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <new>

#include "native/unwind_rule.h"

namespace spprof::native {

// Handlers of several threads read and write at once. A slot that is being written counts as
// absent, for whoever reads and for whoever would write: nobody waits.
class RuleCache {
public:
    // What is kept under one version is not found under another: addresses change their meaning.
    bool find(uintptr_t pc, uint32_t version, Rule& rule) const noexcept {
        for (size_t way = 0; way < kWays; ++way) {
            const Slot& slot = slots_[place(pc) + way];
            const uint32_t sequence = slot.sequence.load(std::memory_order_acquire);
            if ((sequence & 1) != 0 || slot.pc.load(std::memory_order_relaxed) != pc ||
                slot.version.load(std::memory_order_relaxed) != version) {
                continue;
            }
            uint64_t words[kWords];
            for (size_t i = 0; i < kWords; ++i) {
                words[i] = slot.rule[i].load(std::memory_order_relaxed);
            }
            std::atomic_thread_fence(std::memory_order_acquire);
            if (slot.sequence.load(std::memory_order_relaxed) == sequence) {
                std::memcpy(&rule, words, sizeof(rule));
                return true;
            }
        }
        return false;
    }

    void keep(uintptr_t pc, uint32_t version, const Rule& rule) noexcept {
        // A free or outdated place, else one that depends on the address.
        Slot* slot = &slots_[place(pc) + (pc >> 4) % kWays];
        for (size_t way = 0; way < kWays; ++way) {
            Slot& other = slots_[place(pc) + way];
            if (other.version.load(std::memory_order_relaxed) != version) {
                slot = &other;
                break;
            }
        }
        uint32_t sequence = slot->sequence.load(std::memory_order_relaxed);
        if ((sequence & 1) != 0 || !slot->sequence.compare_exchange_strong(
                                       sequence, sequence + 1, std::memory_order_acquire)) {
            return;
        }
        std::atomic_thread_fence(std::memory_order_release);
        uint64_t words[kWords] = {};
        std::memcpy(words, &rule, sizeof(rule));
        slot->pc.store(pc, std::memory_order_relaxed);
        slot->version.store(version, std::memory_order_relaxed);
        for (size_t i = 0; i < kWords; ++i) {
            slot->rule[i].store(words[i], std::memory_order_relaxed);
        }
        slot->sequence.store(sequence + 2, std::memory_order_release);
    }

    static constexpr size_t bytes() { return kSlots * sizeof(Slot); }

private:
    static constexpr size_t kWords = (sizeof(Rule) + 7) / 8;
    static constexpr size_t kSlots = size_t{1} << 15;
    static constexpr size_t kWays = 4;

    struct alignas(64) Slot {
        std::atomic<uint32_t> sequence{0};  // odd: being written
        std::atomic<uint32_t> version{0};   // 0: empty
        std::atomic<uint64_t> pc{0};
        std::atomic<uint64_t> rule[kWords] = {};
    };
    static_assert(sizeof(Slot) == 64 && std::atomic<uint64_t>::is_always_lock_free);

    static size_t place(uintptr_t pc) noexcept {
        const uint64_t mixed = uint64_t{pc} * 0x9e3779b97f4a7c15U;
        return static_cast<size_t>(mixed >> 32) % (kSlots / kWays) * kWays;
    }

    // Zeroes are empty slots: pages that nobody writes to take no memory.
    struct Free {
        void operator()(void* memory) const noexcept { std::free(memory); }
    };
    std::unique_ptr<void, Free> memory_{std::calloc(kSlots + 1, sizeof(Slot))};
    Slot* const slots_ = aligned(memory_.get());

    static Slot* aligned(void* memory) {
        if (memory == nullptr) {
            throw std::bad_alloc();
        }
        const auto address = reinterpret_cast<uintptr_t>(memory);
        return reinterpret_cast<Slot*>((address + sizeof(Slot) - 1) / sizeof(Slot) * sizeof(Slot));
    }
};

}  // namespace spprof::native
