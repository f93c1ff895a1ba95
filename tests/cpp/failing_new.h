// Memory that runs out at a moment of the test's choosing, in the thread that chose it.
#pragma once

namespace spprof::testing {

// How many allocations are left until one fails; negative: none does.
extern thread_local int allocations_left;

}  // namespace spprof::testing
