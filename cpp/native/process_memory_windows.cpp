// Owns the reading of this process's own memory outside of a visit, as Windows offers it.
#include "native/process_memory.h"
#include "platform/windows/system.h"

namespace spprof::native {

bool copy_memory(uintptr_t address, void* out, size_t size) noexcept {
    SIZE_T done = 0;
    return size == 0 ||
           (ReadProcessMemory(GetCurrentProcess(), reinterpret_cast<const void*>(address), out,
                              size, &done) != 0 &&
            done == size);
}

}  // namespace spprof::native
