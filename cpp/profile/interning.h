// Plain containers of the profile: a hash map from 64-bit keys to row numbers, and columns that
// grow without ever copying what they hold. Knows neither Python nor the OS.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <memory>
#include <vector>

namespace spprof::profile {

constexpr std::uint32_t kNone = 0xFFFFFFFFu;

// Open addressing, linear probing. Erasing is rare (code objects that died) and shifts back.
class RowMap {
public:
    std::uint32_t find(std::uint64_t key) const noexcept {
        if (slots_.empty()) {
            return kNone;
        }
        for (std::size_t i = home(key);; i = (i + 1) & mask()) {
            if (slots_[i].row == kNone) {
                return kNone;
            }
            if (slots_[i].key == key) {
                return slots_[i].row;
            }
        }
    }

    // Where there is no memory (std::bad_alloc) nothing has changed.
    void insert(std::uint64_t key, std::uint32_t row) {
        if ((used_ + 1) * 4 > slots_.size() * 3) {
            grow();
        }
        place(key, row);
        ++used_;
    }

    void erase(std::uint64_t key) noexcept {
        if (slots_.empty()) {
            return;
        }
        std::size_t hole = home(key);
        while (slots_[hole].row != kNone && slots_[hole].key != key) {
            hole = (hole + 1) & mask();
        }
        if (slots_[hole].row == kNone) {
            return;
        }
        for (std::size_t next = (hole + 1) & mask(); slots_[next].row != kNone;
             next = (next + 1) & mask()) {
            const std::size_t wanted = home(slots_[next].key);
            if (((next - wanted) & mask()) >= ((next - hole) & mask())) {
                slots_[hole] = slots_[next];
                hole = next;
            }
        }
        slots_[hole].row = kNone;
        --used_;
    }

    std::size_t bytes() const noexcept { return slots_.capacity() * sizeof(Slot); }

private:
    struct Slot {
        std::uint64_t key = 0;
        std::uint32_t row = kNone;
    };

    std::size_t mask() const noexcept { return slots_.size() - 1; }

    std::size_t home(std::uint64_t key) const noexcept {
        key ^= key >> 32;
        key *= 0x9E3779B97F4A7C15ull;
        return static_cast<std::size_t>(key >> 32) & mask();
    }

    void place(std::uint64_t key, std::uint32_t row) noexcept {
        std::size_t i = home(key);
        while (slots_[i].row != kNone) {
            i = (i + 1) & mask();
        }
        slots_[i] = {key, row};
    }

    void grow() {
        std::vector<Slot> old(slots_.empty() ? 64 : slots_.size() * 2);
        old.swap(slots_);
        for (const Slot& slot : old) {
            if (slot.row != kNone) {
                place(slot.key, slot.row);
            }
        }
    }

    std::vector<Slot> slots_;
    std::size_t used_ = 0;
};

template <class T>
class Column {
public:
    // Room for one value more: the next push_back() cannot fail.
    void make_room() {
        if (size_ == chunks_.size() * kChunk) {
            chunks_.push_back(std::unique_ptr<T[]>(new T[kChunk]));
        }
    }
    void push_back(T value) {
        make_room();
        chunks_.back()[size_ % kChunk] = value;
        ++size_;
    }

    T& operator[](std::size_t row) noexcept { return chunks_[row / kChunk][row % kChunk]; }
    const T& operator[](std::size_t row) const noexcept {
        return chunks_[row / kChunk][row % kChunk];
    }

    std::size_t size() const noexcept { return size_; }
    std::size_t bytes() const noexcept { return chunks_.size() * kChunk * sizeof(T); }

    void copy_to(void* target) const noexcept {
        auto* out = static_cast<char*>(target);
        std::size_t left = size_;
        for (const auto& chunk : chunks_) {
            const std::size_t count = std::min(left, kChunk);
            std::memcpy(out, chunk.get(), count * sizeof(T));
            out += count * sizeof(T);
            left -= count;
        }
    }

    Column copy() const {
        Column result;
        for (std::size_t row = 0; row < size_; row += kChunk) {
            result.chunks_.push_back(std::unique_ptr<T[]>(new T[kChunk]));
            const std::size_t count = std::min(size_ - row, kChunk);
            std::memcpy(result.chunks_.back().get(), chunks_[row / kChunk].get(),
                        count * sizeof(T));
        }
        result.size_ = size_;
        return result;
    }

    void clear() noexcept {
        chunks_.clear();
        size_ = 0;
    }

private:
    static constexpr std::size_t kChunk = 4096;
    std::vector<std::unique_ptr<T[]>> chunks_;
    std::size_t size_ = 0;
};

}  // namespace spprof::profile
