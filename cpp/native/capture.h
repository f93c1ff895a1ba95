// Owns the capture of the calling thread's native stack outside of any signal.
#pragma once

#include <cstdint>
#include <vector>

#include "native/unwind_tables.h"

namespace spprof::native {

// Return addresses of the callers of this function, innermost first. Refreshes the tables.
std::vector<uintptr_t> capture_here(UnwindTables& tables);

}  // namespace spprof::native
