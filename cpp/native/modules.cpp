// Owns what is the same about loaded modules on every system.
#include "native/modules.h"

#include <algorithm>

namespace spprof::native {

uintptr_t LoadedModule::start() const {
    uint64_t lowest = UINT64_MAX;
    for (const ElfSegment& segment : segments) {
        if (segment.type == ElfSegment::kLoad) {
            lowest = std::min(lowest, segment.address);
        }
    }
    return lowest == UINT64_MAX ? bias : bias + lowest;
}

uintptr_t LoadedModule::end() const {
    uint64_t highest = 0;
    for (const ElfSegment& segment : segments) {
        if (segment.type == ElfSegment::kLoad) {
            highest = std::max(highest, segment.address + segment.memory_size);
        }
    }
    return bias + highest;
}

std::string build_id_in_memory(const LoadedModule& module) {
    for (const ElfSegment& segment : module.segments) {
        std::vector<uint8_t> notes;
        if (segment.type == ElfSegment::kNote &&
            copy_memory(module.bias + segment.address, segment.memory_size, notes)) {
            std::string id = build_id_of_notes({notes.data(), notes.size()});
            if (!id.empty()) {
                return id;
            }
        }
    }
    return {};
}

#if !defined(__linux__)
// macOS and Windows unwind without tables of ours, and name their modules elsewhere.
std::vector<LoadedModule> loaded_modules(ModuleGeneration&) { return {}; }
ModuleGeneration module_generation() { return {}; }
bool copy_memory(uintptr_t, size_t, std::vector<uint8_t>&) { return false; }
#endif

}  // namespace spprof::native
