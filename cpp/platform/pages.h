// Memory straight from the system.
#pragma once

#include <cstddef>

namespace spprof::platform {

// Zeroed pages, committed when touched. nullptr when there is no memory.
void* map_pages(std::size_t bytes) noexcept;
void unmap_pages(void* pages, std::size_t bytes) noexcept;

}  // namespace spprof::platform
