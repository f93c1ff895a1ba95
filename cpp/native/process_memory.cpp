// Owns what every system's reading of this process's own memory has in common: see the *_linux,
// *_macos and *_windows files for the copy itself.
#include "native/process_memory.h"

#include <cstring>

namespace spprof::native {

bool copy_memory(uintptr_t address, size_t size, std::vector<uint8_t>& out) {
    // No part of a module that is copied is this large; a lying header must not make us allocate
    // without end.
    constexpr size_t kLargest = size_t{256} << 20;
    if (size > kLargest) {
        return false;
    }
    out.resize(size);
    return copy_memory(address, out.data(), size);
}

bool ProcessMemory::load(uintptr_t address, uintptr_t& value) const noexcept {
    const uintptr_t page = address & ~(kPage - 1);
    if (address - page > kPage - sizeof(value)) {
        return copy_memory(address, &value, sizeof(value));
    }
    if (page != page_ || page == 0) {
        page_ = page;
        readable_ = copy_memory(page, bytes_.data(), kPage);
    }
    if (readable_) {
        std::memcpy(&value, bytes_.data() + (address - page), sizeof(value));
    }
    return readable_;
}

}  // namespace spprof::native
