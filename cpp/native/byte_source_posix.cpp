// Owns reading of bytes out of a file, as POSIX offers it.
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>

#include "native/byte_source.h"

namespace spprof::native {
namespace {

class File : public ByteSource {
public:
    File(int descriptor, uint64_t size) : descriptor_(descriptor), size_(size) {}
    ~File() override { close(descriptor_); }
    File(const File&) = delete;
    File& operator=(const File&) = delete;
    uint64_t size() const override { return size_; }

protected:
    bool copy(uint64_t offset, void* out, size_t size) const override {
        if (size > kBlock / 4) {
            return fill(offset, static_cast<uint8_t*>(out), size);
        }
        const bool there = offset >= block_at_ && offset - block_at_ <= block_.size() &&
                           size <= block_.size() - (offset - block_at_);
        if (!there) {
            block_at_ = offset;
            block_.resize(std::min<uint64_t>(kBlock, size_ - offset));
            if (!fill(offset, block_.data(), block_.size())) {
                block_.clear();
                return false;
            }
        }
        if (size > 0) {
            std::memcpy(out, block_.data() + (offset - block_at_), size);
        }
        return true;
    }

private:
    static constexpr size_t kBlock = 65536;

    bool fill(uint64_t offset, uint8_t* out, size_t size) const {
        while (size > 0) {
            const ssize_t done = pread(descriptor_, out, size, static_cast<off_t>(offset));
            if (done < 0 && errno == EINTR) {
                continue;
            }
            if (done <= 0) {
                return false;
            }
            out += done;
            offset += static_cast<uint64_t>(done);
            size -= static_cast<size_t>(done);
        }
        return true;
    }

    int descriptor_;
    uint64_t size_;
    mutable uint64_t block_at_ = 0;
    mutable std::vector<uint8_t> block_;
};

}  // namespace

std::unique_ptr<ByteSource> open_file(const std::string& path, FileStatus* which) {
    const int descriptor = open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    struct stat status{};
    if (descriptor < 0) {
        return nullptr;
    }
    if (fstat(descriptor, &status) != 0 || !S_ISREG(status.st_mode) || status.st_size <= 0) {
        close(descriptor);
        return nullptr;
    }
    if (which != nullptr) {
        const bool trusted = status.st_uid == geteuid() || status.st_uid == 0;
        *which = {static_cast<std::uint64_t>(status.st_dev),
                  static_cast<std::uint64_t>(status.st_ino), trusted};
    }
    return std::make_unique<File>(descriptor, static_cast<uint64_t>(status.st_size));
}

}  // namespace spprof::native
