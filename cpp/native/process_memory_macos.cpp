// Owns the reading of this process's own memory outside of a visit, as macOS offers it.
#include <mach/mach.h>

#include "native/process_memory.h"

namespace spprof::native {

bool copy_memory(uintptr_t address, void* out, size_t size) noexcept {
    vm_size_t done = 0;
    return size == 0 ||
           (vm_read_overwrite(mach_task_self(), address, size, reinterpret_cast<vm_address_t>(out),
                              &done) == KERN_SUCCESS &&
            done == size);
}

}  // namespace spprof::native
