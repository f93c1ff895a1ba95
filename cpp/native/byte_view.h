// Owns bounds-checked reading of bytes that came from a file or from memory: nothing read through
// a view can leave it. Knows no file format.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <string_view>

namespace spprof::native {

class ByteView {
public:
    ByteView() = default;
    ByteView(const void* data, size_t size)
        : data_(static_cast<const uint8_t*>(data)), size_(size) {}

    const uint8_t* data() const { return data_; }
    size_t size() const { return size_; }
    bool empty() const { return size_ == 0; }

    // Empty when any part of the range lies outside.
    ByteView slice(uint64_t offset, uint64_t length) const {
        if (offset > size_ || length > size_ - offset) {
            return {};
        }
        return {data_ + offset, static_cast<size_t>(length)};
    }

    ByteView from(uint64_t offset) const {
        return offset > size_ ? ByteView{} : ByteView{data_ + offset, size_ - offset};
    }

    template <class T>
    bool read(uint64_t offset, T& value) const {
        if (offset > size_ || sizeof(T) > size_ - offset) {
            return false;
        }
        std::memcpy(&value, data_ + offset, sizeof(T));
        return true;
    }

    // Empty when the string does not end inside the view.
    std::string_view string_at(uint64_t offset) const {
        if (offset >= size_) {
            return {};
        }
        const char* start = reinterpret_cast<const char*>(data_ + offset);
        const void* end = std::memchr(start, 0, size_ - offset);
        if (end == nullptr) {
            return {};
        }
        return {start, static_cast<size_t>(static_cast<const char*>(end) - start)};
    }

private:
    const uint8_t* data_ = nullptr;
    size_t size_ = 0;
};

// Reads a view from front to back. A read past the end gives 0 and makes every later one fail too,
// so that a parser checks once, where it uses what it read.
class Cursor {
public:
    explicit Cursor(ByteView view, uint64_t offset = 0) : view_(view), offset_(offset) {
        failed_ = offset > view.size();
    }

    bool ok() const { return !failed_; }
    bool at_end() const { return failed_ || offset_ >= view_.size(); }
    uint64_t offset() const { return offset_; }

    template <class T>
    T take() {
        T value{};
        if (failed_ || !view_.read(offset_, value)) {
            failed_ = true;
            return T{};
        }
        offset_ += sizeof(T);
        return value;
    }

    uint64_t uleb() {
        uint64_t value = 0;
        for (unsigned shift = 0;; shift += 7) {
            const uint8_t byte = take<uint8_t>();
            if (failed_ || shift > 63) {
                failed_ = true;
                return 0;
            }
            value |= static_cast<uint64_t>(byte & 0x7f) << shift;
            if ((byte & 0x80) == 0) {
                return value;
            }
        }
    }

    int64_t sleb() {
        uint64_t value = 0;
        for (unsigned shift = 0;; shift += 7) {
            const uint8_t byte = take<uint8_t>();
            if (failed_ || shift > 63) {
                failed_ = true;
                return 0;
            }
            value |= static_cast<uint64_t>(byte & 0x7f) << shift;
            if ((byte & 0x80) == 0) {
                if ((byte & 0x40) != 0 && shift + 7 < 64) {
                    value |= ~uint64_t{0} << (shift + 7);
                }
                return static_cast<int64_t>(value);
            }
        }
    }

    std::string_view string() {
        const std::string_view text = failed_ ? std::string_view{} : view_.string_at(offset_);
        // An empty result is a real empty string only when its terminator is there.
        if (failed_ || offset_ >= view_.size() || (text.empty() && view_.data()[offset_] != 0)) {
            failed_ = true;
            return {};
        }
        offset_ += text.size() + 1;
        return text;
    }

    void skip(uint64_t count) {
        if (failed_ || count > view_.size() - offset_) {
            failed_ = true;
            return;
        }
        offset_ += count;
    }

    ByteView take_view(uint64_t count) {
        const uint64_t start = offset_;
        skip(count);
        return failed_ ? ByteView{} : view_.slice(start, count);
    }

private:
    ByteView view_;
    uint64_t offset_ = 0;
    bool failed_ = false;
};

}  // namespace spprof::native
