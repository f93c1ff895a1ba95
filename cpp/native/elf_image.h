// Owns the reading of ELF files: segments, sections, symbols, notes. Works on bytes alone; a
// truncated or hostile file gives less, never a fault. Knows no process and no file system.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "native/byte_view.h"

namespace spprof::native {

struct ElfSegment {
    uint32_t type = 0;
    uint32_t flags = 0;
    uint64_t offset = 0;
    uint64_t address = 0;
    uint64_t file_size = 0;
    uint64_t memory_size = 0;

    static constexpr uint32_t kLoad = 1;
    static constexpr uint32_t kDynamic = 2;
    static constexpr uint32_t kNote = 4;
    static constexpr uint32_t kEhFrame = 0x6474e550;
    static constexpr uint32_t kExecutable = 1;
};

struct ElfSection {
    std::string_view name;
    uint32_t type = 0;
    uint64_t address = 0;
    uint64_t size = 0;
    uint32_t link = 0;
    ByteView bytes;  // empty for sections without bytes in the file

    // What ElfImage reads of a file beyond its headers.
    bool holds_strings() const;
    bool holds_symbols_or_notes() const;
};

// A function, by its address counted from the load bias. Size 0: the file does not say.
struct ElfSymbol {
    uint64_t address;
    uint64_t size;
    std::string_view name;  // points into the image
    bool global;
};

// .gnu_debuglink: the name of the file with the symbols, and its CRC-32.
struct DebugLink {
    std::string name;
    uint32_t crc = 0;
};

// Where a file's own tables are.
struct ElfTables {
    uint64_t program_headers = 0;
    uint64_t program_headers_size = 0;
    uint64_t section_headers = 0;
    uint64_t section_headers_size = 0;

    static bool of_header(ByteView image, ElfTables& out);
};

class ElfImage {
public:
    // The image must outlive the object and everything taken out of it.
    static bool parse(ByteView image, ElfImage& out);

    uint16_t machine() const { return machine_; }
    const std::vector<ElfSegment>& segments() const { return segments_; }
    const std::vector<ElfSection>& sections() const { return sections_; }
    const ElfSection* section(std::string_view name) const;

    // Functions of .symtab and .dynsym, and labels in code, in file order.
    std::vector<ElfSymbol> functions() const;
    bool has_symtab() const;

    // Raw bytes; empty when the file carries none.
    std::string build_id() const;
    bool debug_link(DebugLink& out) const;

private:
    void functions_of(const ElfSection& table, std::vector<ElfSymbol>& out) const;
    bool in_code(uint64_t address) const;

    ByteView image_;
    uint16_t machine_ = 0;
    std::vector<ElfSegment> segments_;
    std::vector<ElfSection> sections_;
};

// The build id among notes; empty when there is none.
std::string build_id_of_notes(ByteView notes);

// The checksum that .gnu_debuglink uses.
class Crc32 {
public:
    void add(ByteView bytes);
    uint32_t value() const { return ~state_; }

private:
    uint32_t state_ = 0xffffffffU;
};

}  // namespace spprof::native
