// Windows behind pages.h.
#include "platform/pages.h"

#include "platform/windows/system.h"

namespace spprof::platform {

// What is committed takes memory when it is touched, but counts against what may be committed.
void* map_pages(std::size_t bytes) noexcept {
    return VirtualAlloc(nullptr, bytes, MEM_RESERVE | MEM_COMMIT, PAGE_READWRITE);
}

void unmap_pages(void* pages, std::size_t) noexcept {
    if (pages != nullptr) {
        VirtualFree(pages, 0, MEM_RELEASE);
    }
}

}  // namespace spprof::platform
