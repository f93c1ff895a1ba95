// Owns the reading of this process's own memory outside of the handler, as Linux offers it.
#include <fcntl.h>
#include <sys/uio.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

#include "native/process_memory.h"

namespace spprof::native {
namespace {

bool copy_by_system_call(uintptr_t address, uint8_t* out, size_t size) {
    while (size > 0) {
        iovec local{out, size};
        iovec remote{reinterpret_cast<void*>(address), size};
        const ssize_t done = process_vm_readv(getpid(), &local, 1, &remote, 1, 0);
        if (done <= 0) {
            return false;
        }
        address += static_cast<size_t>(done);
        out += done;
        size -= static_cast<size_t>(done);
    }
    return true;
}

// For sandboxes that forbid the system call.
bool copy_through_proc(uintptr_t address, uint8_t* out, size_t size) {
    const int file = open("/proc/self/mem", O_RDONLY | O_CLOEXEC);
    if (file < 0) {
        return false;
    }
    while (size > 0) {
        const ssize_t done = pread(file, out, size, static_cast<off_t>(address));
        if (done < 0 && errno == EINTR) {
            continue;
        }
        if (done <= 0) {
            break;
        }
        address += static_cast<size_t>(done);
        out += done;
        size -= static_cast<size_t>(done);
    }
    close(file);
    return size == 0;
}

}  // namespace

bool copy_memory(uintptr_t address, void* out, size_t size) noexcept {
    auto* bytes = static_cast<uint8_t*>(out);
    return copy_by_system_call(address, bytes, size) || copy_through_proc(address, bytes, size);
}

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
