// Owns reading of bytes out of a file, as Windows offers it. Paths are UTF-8.
#include <algorithm>
#include <string>

#include "native/file_in_blocks.h"
#include "platform/windows/system.h"

namespace spprof::native {
namespace {

class File : public FileInBlocks {
public:
    File(HANDLE file, uint64_t size) : FileInBlocks(size), file_(file) {}
    ~File() override { CloseHandle(file_); }
    File(const File&) = delete;
    File& operator=(const File&) = delete;

protected:
    bool fill(uint64_t offset, uint8_t* out, size_t size) const override {
        while (size > 0) {
            OVERLAPPED at = {};
            at.Offset = static_cast<DWORD>(offset);
            at.OffsetHigh = static_cast<DWORD>(offset >> 32);
            constexpr size_t kAtOnce = size_t{1} << 30;
            DWORD done = 0;
            if (ReadFile(file_, out, static_cast<DWORD>(std::min(size, kAtOnce)), &done, &at) ==
                    0 ||
                done == 0) {
                return false;
            }
            out += done;
            offset += done;
            size -= done;
        }
        return true;
    }

private:
    HANDLE file_;
};

}  // namespace

std::unique_ptr<ByteSource> open_file(const std::string& path, FileStatus* which) {
    const int bytes = static_cast<int>(path.size());
    const int length = MultiByteToWideChar(CP_UTF8, 0, path.data(), bytes, nullptr, 0);
    if (length <= 0) {
        return nullptr;
    }
    std::wstring wide(static_cast<size_t>(length), L'\0');
    MultiByteToWideChar(CP_UTF8, 0, path.data(), bytes, &wide[0], length);
    // It may be replaced meanwhile: we are in nobody's way.
    const HANDLE file = CreateFileW(wide.c_str(), GENERIC_READ,
                                    FILE_SHARE_READ | FILE_SHARE_WRITE | FILE_SHARE_DELETE, nullptr,
                                    OPEN_EXISTING, FILE_ATTRIBUTE_NORMAL, nullptr);
    if (file == INVALID_HANDLE_VALUE) {
        return nullptr;
    }
    LARGE_INTEGER size;
    if (GetFileType(file) != FILE_TYPE_DISK || GetFileSizeEx(file, &size) == 0 ||
        size.QuadPart <= 0) {
        CloseHandle(file);
        return nullptr;
    }
    if (which != nullptr) {
        // Whose file it is is not asked: none is trusted.
        BY_HANDLE_FILE_INFORMATION about;
        if (GetFileInformationByHandle(file, &about) == 0) {
            CloseHandle(file);
            return nullptr;
        }
        which->device = about.dwVolumeSerialNumber;
        which->number = static_cast<uint64_t>(about.nFileIndexHigh) << 32 | about.nFileIndexLow;
        which->trusted = false;
    }
    return std::make_unique<File>(file, static_cast<uint64_t>(size.QuadPart));
}

}  // namespace spprof::native
