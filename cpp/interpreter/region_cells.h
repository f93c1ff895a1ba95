// Reached from a visit of a thread. Where entered regions are kept so that a visit may touch them
// whatever happens: memory that stays theirs for ever. Knows nothing of Python.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <string>
#include <utility>
#include <vector>

namespace spprof::interpreter {

using Labels = std::vector<std::pair<std::string, std::string>>;  // outermost first

// A region that was entered. A cell is used again, with another generation.
struct RegionCell {
    std::atomic<std::uint32_t> generation{0};
    std::atomic<bool> met{false};    // by a visit
    std::uint32_t around = 0;        // number of the cell of the region around it; 0: none
    const Labels* labels = nullptr;  // the region's own; null: free
};

// Cells by their numbers, from 1 on.
class RegionCells {
public:
    static constexpr std::size_t kInBlock = 1024;
    static constexpr std::size_t kBlocks = 4096;

    static constexpr std::uint64_t id(std::uint32_t number, std::uint32_t generation) noexcept {
        return (static_cast<std::uint64_t>(generation) << 32) | number;
    }
    RegionCell* find(std::uint32_t number) const noexcept {
        const std::size_t place = static_cast<std::size_t>(number) - 1;
        if (number == 0 || place >= kInBlock * kBlocks) {
            return nullptr;
        }
        RegionCell* block = blocks_[place / kInBlock].load(std::memory_order_acquire);
        return block == nullptr ? nullptr : block + place % kInBlock;
    }
    // A cell that is still the same region's.
    RegionCell* find_id(std::uint64_t id) const noexcept {
        RegionCell* cell = find(static_cast<std::uint32_t>(id));
        return cell != nullptr && cell->generation.load(std::memory_order_acquire) == id >> 32
                   ? cell
                   : nullptr;
    }

    // --- under the owner's lock -----------------------------------------------------------------

    // The number of a free cell; 0 where there is no memory, or there are too many.
    std::uint32_t take() noexcept {
        if (free_ == 0 && !add_block()) {
            return 0;
        }
        const std::uint32_t number = free_;
        RegionCell* cell = find(number);
        free_ = cell->around;
        cell->around = 0;
        cell->met.store(false, std::memory_order_relaxed);
        ++used_;
        return number;
    }
    void give_back(std::uint32_t number) noexcept {
        RegionCell* cell = find(number);
        cell->generation.store(cell->generation.load(std::memory_order_relaxed) + 1,
                               std::memory_order_release);
        cell->labels = nullptr;
        cell->around = free_;
        free_ = number;
        --used_;
    }
    std::size_t used() const noexcept { return used_; }

private:
    bool add_block() noexcept;

    std::atomic<RegionCell*> blocks_[kBlocks] = {};
    std::size_t block_count_ = 0;
    std::uint32_t free_ = 0;
    std::size_t used_ = 0;
};

}  // namespace spprof::interpreter
