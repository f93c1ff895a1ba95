// Owns reading of bytes at offsets, wherever they lie: in a file, in this process, in a test. A
// read that leaves them, or that fails meanwhile, is a failed read. Knows no format.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <memory>
#include <string>
#include <vector>

#include "native/byte_view.h"
#include "native/process_memory.h"

namespace spprof::native {

class ByteSource {
public:
    virtual ~ByteSource() = default;
    virtual uint64_t size() const = 0;

    bool read(uint64_t offset, void* out, size_t size) const {
        return offset <= this->size() && size <= this->size() - offset && copy(offset, out, size);
    }
    template <class T>
    bool read(uint64_t offset, T& value) const {
        return read(offset, &value, sizeof(T));
    }
    // Empty when it cannot be read, or is larger than anybody needs.
    std::vector<uint8_t> bytes(uint64_t offset, uint64_t size) const {
        constexpr uint64_t kLargest = uint64_t{1} << 24;
        std::vector<uint8_t> result;
        if (size <= kLargest && offset <= this->size() && size <= this->size() - offset) {
            result.resize(size);
            if (!copy(offset, result.data(), size)) {
                result.clear();
            }
        }
        return result;
    }

protected:
    // Within size().
    virtual bool copy(uint64_t offset, void* out, size_t size) const = 0;
};

class ViewSource : public ByteSource {
public:
    explicit ViewSource(ByteView view) : view_(view) {}
    uint64_t size() const override { return view_.size(); }

protected:
    bool copy(uint64_t offset, void* out, size_t size) const override {
        if (size > 0) {
            std::memcpy(out, view_.data() + offset, size);
        }
        return true;
    }

private:
    ByteView view_;
};

class MemorySource : public ByteSource {
public:
    MemorySource(uintptr_t address, uint64_t size) : address_(address), size_(size) {}
    uint64_t size() const override { return size_; }

protected:
    bool copy(uint64_t offset, void* out, size_t size) const override {
        return copy_memory(address_ + offset, out, size);
    }

private:
    uintptr_t address_;
    uint64_t size_;
};

// Which file it is that has a name.
struct FileStatus {
    uint64_t device = 0;
    uint64_t number = 0;
    bool trusted = false;  // it belongs to us or to the system
    bool operator==(const FileStatus& other) const {
        return device == other.device && number == other.number;
    }
};

// Null when there is no such regular file, or it is empty. Small reads come out of one block.
std::unique_ptr<ByteSource> open_file(const std::string& path, FileStatus* status = nullptr);

}  // namespace spprof::native
