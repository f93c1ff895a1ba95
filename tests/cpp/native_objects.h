// Reads the recorded objects under data/ for the unit tests.
#pragma once

#include <doctest/doctest.h>

#include <fstream>
#include <iterator>
#include <map>
#include <string>
#include <vector>

#include "native/call_frame_info.h"
#include "native/elf_image.h"

namespace spprof::native {

inline std::string test_data(const std::string& name) {
    const std::string here = __FILE__;
    return here.substr(0, here.rfind('/') + 1) + "data/" + name;
}

inline std::vector<uint8_t> read_file(const std::string& path) {
    std::ifstream file(path, std::ios::binary);
    return {std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>()};
}

// An object as it lies on disk.
struct Object {
    explicit Object(const std::string& name) : bytes(read_file(test_data(name))) {
        REQUIRE(ElfImage::parse({bytes.data(), bytes.size()}, elf));
        for (const ElfSymbol& symbol : elf.functions()) {
            address[std::string(symbol.name)] = symbol.address;
        }
    }

    FrameInfoSource frame_info(bool with_header = true) const {
        FrameInfoSource source;
        const ElfSection* eh_frame = elf.section(".eh_frame");
        REQUIRE(eh_frame != nullptr);
        source.eh_frame = eh_frame->bytes;
        source.eh_frame_address = eh_frame->address;
        const ElfSection* header = elf.section(".eh_frame_hdr");
        if (with_header && header != nullptr) {
            source.header = header->bytes;
            source.header_address = header->address;
        }
        return source;
    }

    std::vector<uint8_t> bytes;
    ElfImage elf;
    std::map<std::string, uint64_t> address;
};

}  // namespace spprof::native
