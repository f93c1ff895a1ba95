// Owns what is read of a Mach-O file (macOS) as it lies in memory: its commands, its code, and its
// functions' names, from the symbol table and the trie of exports. Knows no process; what it reads
// may be anything.
#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <vector>

#include "native/byte_source.h"
#include "native/module.h"

namespace spprof::native {

// All places are counted from where the file's header is in memory.
struct MachoFile {
    struct Place {
        uint64_t address = 0;
        uint64_t size = 0;
    };

    std::array<uint8_t, 16> id{};    // all 0: it has none
    uint64_t base = 0;               // where the header would be by the file's own addresses
    std::vector<AddressRange> code;  // ascending
    Place symbols;                   // 16 bytes each
    Place strings;                   // their names
    Place exports;                   // the trie
    Place function_starts;
    Place unwind_info;    // compact
    Place frame_entries;  // .eh_frame

    // False where this is no file of this machine's word size in memory.
    static bool parse(const ByteSource& image, MachoFile& file);
};

// A function ends where the next one starts, which the file says of all, with and without a name.
// Null where none has one.
std::unique_ptr<SymbolTables> macho_symbols(std::unique_ptr<ByteSource> image);

}  // namespace spprof::native
