// Owns the DWARF call frame information of one module: compiles `.eh_frame` into a ModuleTable.
// Works on bytes alone, so that any file, truncated or hostile, can be fed to it. Knows no process.
#pragma once

#include <cstdint>
#include <vector>

#include "native/byte_view.h"
#include "native/prologue.h"
#include "native/unwind_rule.h"

namespace spprof::native {

// Where the bytes came from. Addresses count from the module's load bias, except that a relocated
// image (one read from memory) has the bias in its absolute pointers: `bias` is taken off those.
struct FrameInfoSource {
    ByteView eh_frame;
    uint64_t eh_frame_address = 0;
    ByteView header;  // .eh_frame_hdr; may be empty
    uint64_t header_address = 0;
    uint64_t bias = 0;
};

// What .eh_frame_hdr says about itself.
struct FrameInfoHeader {
    uint64_t eh_frame_address = 0;
    uint64_t entries = 0;
    uint64_t table_offset = 0;  // 0: there is no search table in the one form in use
};

// False when it is not a header this reader understands.
bool parse_frame_info_header(ByteView header, uint64_t header_address, uint64_t bias,
                             FrameInfoHeader& out);

// The highest address at which the search table says an entry starts, 0 without a table: the
// section's own length is not in a loaded image.
uint64_t last_entry_address(ByteView header, uint64_t header_address, const FrameInfoHeader& info);

// The code that one entry describes: a function, or a part that the compiler split off.
struct CodeRange {
    uint64_t start;
    uint64_t end;
    bool entry;  // false: begins with a frame already made, so nobody calls it
};

// A function without an entry whose rules are known from elsewhere.
struct ExtraFunction {
    uint64_t start;
    uint64_t end;
    std::vector<GuessedRule> rules;
};

// Rows count from `base`, which must not be above the lowest code; entries outside the 4 GiB
// behind it are left out. `extra`, ascending and disjoint, fills holes and replaces nothing.
template <class Architecture>
ModuleTable compile_frame_info(const FrameInfoSource& source, uint64_t base,
                               const std::vector<ExtraFunction>& extra = {});

// The code ranges that the entries describe, ascending and disjoint.
template <class Architecture>
std::vector<CodeRange> code_ranges(const FrameInfoSource& source);

}  // namespace spprof::native
