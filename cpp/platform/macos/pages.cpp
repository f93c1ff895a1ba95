// macOS behind pages.h.
#include "platform/pages.h"

#include <sys/mman.h>

namespace spprof::platform {

void* map_pages(std::size_t bytes) noexcept {
    void* pages =
        mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANON | MAP_NORESERVE, -1, 0);
    return pages == MAP_FAILED ? nullptr : pages;
}

void unmap_pages(void* pages, std::size_t bytes) noexcept {
    if (pages != nullptr) {
        munmap(pages, bytes);
    }
}

}  // namespace spprof::platform
