// Reached from the signal handler. A ring of bytes with one producer (the handler on the sampled
// thread) and one consumer (the collector). Records are contiguous and never wrap.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>

namespace spprof::sampling {

class Ring {
public:
    // Address space: only what is written becomes memory, and an emptied ring starts over. The rest
    // is for the time during which the consumer gets no processor.
    static constexpr std::size_t kBytes = std::size_t{1024} * 1024;
    // From here on the consumer is called.
    static constexpr std::size_t kFarBehind = kBytes / 8;

    // Memory of kBytes, 8-aligned, that outlives the use of the ring.
    void attach(void* pages) noexcept {
        bytes_ = static_cast<std::uint8_t*>(pages);
        head_.store(0, std::memory_order_relaxed);
        tail_.store(0, std::memory_order_relaxed);
        base_.store(0, std::memory_order_relaxed);
        touched_ = 0;
    }
    void* detach() noexcept {
        void* pages = bytes_;
        bytes_ = nullptr;
        return pages;
    }
    bool attached() const noexcept { return bytes_ != nullptr; }

    // --- producer
    // ---------------------------------------------------------------------------------

    // Room for a record of up to `most` bytes, or nullptr when the consumer is too far behind.
    // A record begins with its size in bytes (u32, a multiple of 8); zero means "go on at the
    // beginning".
    std::uint8_t* begin(std::size_t most) noexcept {
        std::uint64_t head = head_.load(std::memory_order_relaxed);
        const std::uint64_t tail = tail_.load(std::memory_order_acquire);
        // An empty ring starts over at its beginning: few pages are ever touched, and those are
        // warm. The consumer looks for the base only after it has seen something beyond it.
        if (head == tail) {
            base_.store(head, std::memory_order_relaxed);
        }
        std::size_t at = place(head);
        if (at + most > kBytes) {
            const std::size_t rest = kBytes - at;
            if (kBytes - (head - tail) < rest + most) {
                return nullptr;
            }
            *reinterpret_cast<std::uint32_t*>(bytes_ + at) = 0;
            head += rest;
            head_.store(head, std::memory_order_release);
            at = 0;
        }
        if (kBytes - (head - tail) < most) {
            return nullptr;
        }
        return bytes_ + at;
    }

    void commit(std::size_t size) noexcept {
        const std::uint64_t head = head_.load(std::memory_order_relaxed);
        const std::size_t end = place(head) + size;
        if (end > touched_.load(std::memory_order_relaxed)) {
            touched_.store(end, std::memory_order_relaxed);
        }
        head_.store(head + size, std::memory_order_release);
    }

    // Handler-side view of how far behind the consumer is.
    std::size_t backlog() const noexcept {
        return static_cast<std::size_t>(head_.load(std::memory_order_relaxed) -
                                        tail_.load(std::memory_order_relaxed));
    }

    // --- consumer
    // ---------------------------------------------------------------------------------

    // Calls take(const uint8_t* record) for every record that is complete now. False where the
    // sizes of records do not add up, which only somebody else can have done who wrote here: the
    // rest is given up.
    template <class Take>
    bool drain(Take take) {
        std::uint64_t tail = tail_.load(std::memory_order_relaxed);
        const std::uint64_t head = head_.load(std::memory_order_acquire);
        while (tail != head) {
            const std::size_t at = place(tail);
            const std::uint32_t size = *reinterpret_cast<const std::uint32_t*>(bytes_ + at);
            const std::size_t step = size == 0 ? kBytes - at : size;
            if (step > head - tail || step > kBytes - at || step % 8 != 0) {
                tail_.store(head, std::memory_order_release);
                return false;
            }
            if (size != 0) {
                take(bytes_ + at);
            }
            tail += step;
            tail_.store(tail, std::memory_order_release);
        }
        return true;
    }

    // Bytes of memory in use: only pages that were written count.
    std::size_t touched() const noexcept { return touched_.load(std::memory_order_relaxed); }

private:
    std::size_t place(std::uint64_t count) const noexcept {
        return static_cast<std::size_t>((count - base_.load(std::memory_order_relaxed)) % kBytes);
    }

    std::uint8_t* bytes_ = nullptr;
    std::atomic<std::uint64_t> head_{0};  // bytes ever produced
    std::atomic<std::uint64_t> tail_{0};  // bytes ever consumed
    std::atomic<std::uint64_t> base_{0};  // what was produced when the ring last started over
    std::atomic<std::size_t> touched_{0};
};

}  // namespace spprof::sampling
