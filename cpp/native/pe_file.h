// Owns what is read of a PE file (Windows) as it lies in memory: its headers, its code, and the
// names that it exports. Knows no process; what it reads may be anything.
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "native/byte_source.h"
#include "native/module.h"

namespace spprof::native {

// All places are counted from where the file begins in memory.
struct PeFile {
    struct Directory {
        uint32_t address = 0;
        uint32_t size = 0;
    };

    uint32_t stamp = 0;  // with the size that tells one build of a file from another
    uint32_t size = 0;
    std::vector<AddressRange> code;  // ascending
    Directory exports;
    Directory functions;  // unwind information: .pdata

    // False where this is no file of x86-64 in memory.
    static bool parse(const ByteSource& image, PeFile& file);
};

// What the file exports. A function ends where its unwind information says: behind it there may be
// others that have no name, so nothing reaches up to the next export only because that is far. Null
// where nothing is exported.
std::unique_ptr<SymbolTables> pe_exports(std::unique_ptr<ByteSource> image);

}  // namespace spprof::native
