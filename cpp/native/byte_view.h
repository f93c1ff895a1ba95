// Owns bounds-checked reading of bytes that came from a file or from memory: nothing read through
// a view can leave it. Knows no file format. Reached from the signal handler, too.
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

// Reads bytes from front to back, out of anything that has `bool read(offset, value)`. A read past
// the end or one that fails gives 0 and makes every later one fail too, so that a parser checks
// once, where it uses what it read.
template <class Source>
class BasicCursor {
public:
    BasicCursor(Source source, uint64_t offset, uint64_t end)
        : source_(source), offset_(offset), end_(end), failed_(offset > end) {}

    bool ok() const { return !failed_; }
    bool at_end() const { return failed_ || offset_ >= end_; }
    uint64_t offset() const { return offset_; }

    template <class T>
    T take() {
        T value{};
        if (failed_ || sizeof(T) > end_ - offset_ || !source_.read(offset_, value)) {
            failed_ = true;
            return T{};
        }
        offset_ += sizeof(T);
        return value;
    }

    uint64_t uleb() {
        unsigned bits = 0;
        return leb(bits);
    }

    int64_t sleb() {
        unsigned bits = 0;
        uint64_t value = leb(bits);
        if (bits < 64 && bits > 0 && (value >> (bits - 1) & 1) != 0) {
            value |= ~uint64_t{0} << bits;
        }
        return static_cast<int64_t>(value);
    }

    void skip(uint64_t count) {
        if (failed_ || count > end_ - offset_) {
            failed_ = true;
            return;
        }
        offset_ += count;
    }

    // The next `count` bytes as a cursor of their own, which this one steps over.
    BasicCursor part(uint64_t count) {
        BasicCursor result = *this;
        skip(count);
        result.failed_ = failed_;
        result.end_ = failed_ ? result.offset_ : offset_;
        return result;
    }

protected:
    // `bits`: how many were written.
    uint64_t leb(unsigned& bits) {
        uint64_t value = 0;
        for (;; bits += 7) {
            const uint8_t byte = take<uint8_t>();
            if (failed_ || bits > 63) {
                failed_ = true;
                return 0;
            }
            value |= static_cast<uint64_t>(byte & 0x7f) << bits;
            if ((byte & 0x80) == 0) {
                bits += 7;
                return value;
            }
        }
    }

    Source source_;
    uint64_t offset_;
    uint64_t end_;
    bool failed_;
};

class Cursor : public BasicCursor<ByteView> {
public:
    explicit Cursor(ByteView view, uint64_t offset = 0)
        : BasicCursor<ByteView>(view, offset, view.size()) {}

    ByteView take_view(uint64_t count) {
        const uint64_t start = offset_;
        skip(count);
        return failed_ ? ByteView{} : source_.slice(start, count);
    }
};

}  // namespace spprof::native
