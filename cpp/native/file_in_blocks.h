// A file, in a folder or in memory, whose small reads come out of one block of it, whichever way
// the system reads.
#pragma once

#include <algorithm>
#include <cstring>
#include <vector>

#include "native/byte_source.h"

namespace spprof::native {

class FileInBlocks : public ByteSource {
public:
    explicit FileInBlocks(uint64_t size) : size_(size) {}
    uint64_t size() const override { return size_; }

protected:
    // Reads all of it, or is false.
    virtual bool fill(uint64_t offset, uint8_t* out, size_t size) const = 0;

    bool copy(uint64_t offset, void* out, size_t size) const override {
        if (size > kBlock / 4) {
            return fill(offset, static_cast<uint8_t*>(out), size);
        }
        const bool there = offset >= block_at_ && offset - block_at_ <= block_.size() &&
                           size <= block_.size() - (offset - block_at_);
        if (!there) {
            block_at_ = offset;
            block_.resize(static_cast<size_t>(std::min<uint64_t>(kBlock, size_ - offset)));
            if (!fill(offset, block_.data(), block_.size())) {
                block_.clear();  // not all of it is there, what is wanted may be
                return fill(offset, static_cast<uint8_t*>(out), size);
            }
        }
        if (size > 0) {
            std::memcpy(out, block_.data() + (offset - block_at_), size);
        }
        return true;
    }

private:
    static constexpr size_t kBlock = 65536;

    uint64_t size_;
    mutable uint64_t block_at_ = 0;
    mutable std::vector<uint8_t> block_;
};

}  // namespace spprof::native
