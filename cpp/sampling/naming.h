// Turns what was sampled into names: of code objects with the interpreter's help, of machine code
// with the symbolizer's. Needs the interpreter's lock and the collector's mutex.
#pragma once

#include <cstdint>
#include <vector>

#include "profile/recording.h"
#include "profile/tables.h"
#include "sampling/native_stacks.h"

namespace spprof::sampling {

// Of a code object that is alive: it has a reference, or it is parked.
void name_code(profile::Recording& recording, std::uint32_t row);

// Everything that has no name yet, and what is alive: it may have been met at further lines since.
// `native`: null where there are Python frames only.
std::vector<profile::ResolvedFrame> name_all(profile::Recording& recording, NativeStacks* native);

// The modules that native functions are in, with their build ids.
void name_modules(profile::Tables& tables, NativeStacks* native);

}  // namespace spprof::sampling
