// Reads the recorded objects under data/ for the unit tests.
#pragma once

#include <doctest/doctest.h>

#include <fstream>
#include <iterator>
#include <map>
#include <string>
#include <vector>

#include "native/call_frame_info.h"
#include "native/elf_file.h"

namespace spprof::native {

inline std::string test_data(const std::string& name) {
    const std::string here = __FILE__;
    return here.substr(0, here.rfind('/') + 1) + "data/" + name;
}

inline std::vector<uint8_t> read_file(const std::string& path) {
    std::ifstream file(path, std::ios::binary);
    return {std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>()};
}

// An object as it lies on disk. In memory its one segment begins with the file's first byte.
struct Object {
    explicit Object(const std::string& name) : bytes(read_file(test_data(name))) {
        bytes.resize((bytes.size() + 7) / 8 * 8);
        REQUIRE(ElfFile::parse(source, elf));
        elf.each_function(
            [this](const ElfSymbol& symbol) { address[elf.name(symbol)] = symbol.address; });
    }
    Object(const Object&) = delete;
    Object& operator=(const Object&) = delete;

    // Where its unwind information is when the object is at `base`.
    uintptr_t frame_header(uintptr_t base = 0) const {
        const ElfSection* header = elf.section(".eh_frame_hdr");
        REQUIRE(header != nullptr);
        return base + header->address;
    }

    std::vector<uint8_t> bytes;
    ViewSource source{{bytes.data(), bytes.size()}};
    ElfFile elf;
    std::map<std::string, uint64_t> address;
};

}  // namespace spprof::native
