// Owns the reading of this process's own memory outside of the handler, as Linux offers it.
#include <fcntl.h>
#include <sys/uio.h>
#include <unistd.h>

#include <cerrno>

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

}  // namespace spprof::native
