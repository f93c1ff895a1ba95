// Owns the list of what is loaded into this process: program, libraries, vDSO. Knows where their
// bytes are, not what they mean.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "native/elf_image.h"

namespace spprof::native {

struct LoadedModule {
    std::string path;  // absolute; "[vdso]" for the kernel's own
    uintptr_t bias = 0;
    std::vector<ElfSegment> segments;  // addresses without the bias
    bool vdso = false;

    // Lowest and highest address, bias included.
    uintptr_t start() const;
    uintptr_t end() const;
};

// What tells whether anything was loaded or unloaded since.
struct ModuleGeneration {
    uint64_t adds = 0;
    uint64_t subs = 0;
    bool operator==(const ModuleGeneration& other) const {
        return adds == other.adds && subs == other.subs;
    }
};

// Takes the dynamic loader's lock for a moment: never from the signal handler. Empty, with the
// generation left alone, on systems that this list was not written for.
std::vector<LoadedModule> loaded_modules(ModuleGeneration& generation);
ModuleGeneration module_generation();

// Copies memory of this process; false when any of it cannot be read. The library may be unloaded
// meanwhile, or its headers may lie.
bool copy_memory(uintptr_t address, size_t size, std::vector<uint8_t>& out);

// Raw bytes; empty when the module carries none.
std::string build_id_in_memory(const LoadedModule& module);

}  // namespace spprof::native
