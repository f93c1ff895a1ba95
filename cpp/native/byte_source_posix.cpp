// Owns reading of bytes out of a file, as POSIX offers it.
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>

#include "native/file_in_blocks.h"

namespace spprof::native {
namespace {

class File : public FileInBlocks {
public:
    File(int descriptor, uint64_t size) : FileInBlocks(size), descriptor_(descriptor) {}
    ~File() override { close(descriptor_); }
    File(const File&) = delete;
    File& operator=(const File&) = delete;

protected:
    bool fill(uint64_t offset, uint8_t* out, size_t size) const override {
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

private:
    int descriptor_;
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
