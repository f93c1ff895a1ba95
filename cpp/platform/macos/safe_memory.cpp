// macOS behind safe_memory.h. The kernel copies, and says where it cannot: no signal is needed, and
// none of the process's is touched. Reached while a thread is being visited.
#include "platform/safe_memory.h"

#include <mach/mach.h>

namespace spprof::platform {

extern "C" bool spprof_safe_copy(const void* source, void* target, std::size_t words) noexcept {
    const vm_size_t bytes = words * sizeof(std::uintptr_t);
    vm_size_t done = 0;
    return bytes == 0 ||
           (vm_read_overwrite(mach_task_self(), reinterpret_cast<vm_address_t>(source), bytes,
                              reinterpret_cast<vm_address_t>(target), &done) == KERN_SUCCESS &&
            done == bytes);
}

}  // namespace spprof::platform
