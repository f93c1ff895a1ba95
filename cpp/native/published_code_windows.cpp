// Native stacks are not to be had on Windows yet (sampling/native_stacks.h says so to whoever
// asks), so nobody asks what makers of code write down there.
#include "native/published_code.h"

namespace spprof::native {

void PublishedCode::read(bool, uint64_t) {}

}  // namespace spprof::native
