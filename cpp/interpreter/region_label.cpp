// Reached from a visit of a thread. See regions.h.
#include "interpreter/region_label.h"

#include "interpreter/regions.h"
#include "platform/safe_memory.h"

namespace spprof::interpreter {

RegionId region_of(ThreadState* thread) noexcept {
    return region_of_thread(platform::SafeMemory{}, reinterpret_cast<std::uintptr_t>(thread));
}

}  // namespace spprof::interpreter
