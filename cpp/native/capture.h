// Owns the capture of the calling thread's native stack outside of any signal.
#pragma once

#include <cstdint>
#include <vector>

#include "native/code_map.h"

namespace spprof::native {

// Return addresses of the callers of this function, innermost first. Refreshes the map.
std::vector<uintptr_t> capture_here(CodeMap& map);

}  // namespace spprof::native
