// Owns the way from a loaded module to its call frame information: copies the bytes out of memory,
// so that a library unloaded meanwhile or a lying header is a failed read. Knows no DWARF itself.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "native/call_frame_info.h"
#include "native/modules.h"

namespace spprof::native {

class FrameInfoInMemory {
public:
    explicit FrameInfoInMemory(const LoadedModule& module);

    // The bytes of .eh_frame_hdr; empty when there is none.
    const std::string& header() const { return header_; }

    // False when the module has no information that can be read.
    bool compile(ModuleTable& table) const;

    // The code ranges the information describes, without the bias.
    std::vector<CodeRange> ranges() const;

private:
    std::vector<ExtraFunction> guess_functions(const ModuleTable& table) const;
    bool read(std::vector<uint8_t>& eh_frame, FrameInfoSource& source) const;

    const LoadedModule& module_;
    std::string header_;
    uint64_t header_address_ = 0;
};

}  // namespace spprof::native
