// Owns loaded modules whose format is ELF, behind the interface of module.h.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "native/elf_file.h"
#include "native/module.h"

namespace spprof::native {

constexpr const char* kVdsoPath = "[vdso]";

// `headers`: where its program headers are in memory. Null when they cannot be read.
std::unique_ptr<Module> elf_module(std::string path, uintptr_t bias, uintptr_t headers,
                                   size_t header_count);
// The whole image is in memory at `address`, as the vDSO is. Null when it is none.
std::unique_ptr<Module> elf_module_at(std::string path, uintptr_t address);

// An object of generated code, whose file is in memory at `address` and says where its sections
// are. Null when it has no code.
std::shared_ptr<Module> elf_object_at(uintptr_t address, uint64_t size);

// What a file must be to belong to a loaded module.
struct ElfIdentity {
    std::string path;
    std::string build_id;  // raw bytes; may be empty
    std::vector<ElfSegment> segments;
    // The first bytes of .eh_frame_hdr, which are the same in file and memory: where there is no
    // build id they tell a rebuilt library from the one it replaced.
    std::vector<uint8_t> frame_header;
};

// The module's own file and its debug file, where they exist and belong to it; null when neither
// does. `debug_path`: where the debug file was found the last time, "" not yet, "-" nowhere.
std::unique_ptr<SymbolTables> open_elf_symbols(const ElfIdentity& module, std::string& debug_path,
                                               const std::string& debug_root = "/usr/lib/debug");

// Tables of images that are open already.
std::unique_ptr<SymbolTables> elf_symbols(std::vector<std::unique_ptr<ByteSource>> images,
                                          uint64_t bias = 0);

}  // namespace spprof::native
