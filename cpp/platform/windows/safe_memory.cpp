// Windows behind safe_memory.h. The kernel copies, and says where it cannot: a handler of
// exceptions would take the system's locks on its way. Reached while a thread is being visited.
#include "platform/safe_memory.h"

#include "platform/windows/system.h"

namespace spprof::platform {

extern "C" bool spprof_safe_copy(const void* source, void* target, std::size_t words) noexcept {
    const SIZE_T bytes = words * sizeof(std::uintptr_t);
    SIZE_T done = 0;
    return bytes == 0 ||
           (ReadProcessMemory(GetCurrentProcess(), source, target, bytes, &done) != 0 &&
            done == bytes);
}

}  // namespace spprof::platform
