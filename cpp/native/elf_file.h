// Owns the reading of ELF files: segments, sections, symbols, notes. Reads a ByteSource piece by
// piece; a truncated or hostile file gives less, never a fault. Knows no process and no file
// system.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "native/byte_source.h"

namespace spprof::native {

// As it lies in the file and in memory.
struct ElfSegment {
    uint32_t type = 0;
    uint32_t flags = 0;
    uint64_t offset = 0;
    uint64_t address = 0;
    uint64_t physical_address = 0;
    uint64_t file_size = 0;
    uint64_t memory_size = 0;
    uint64_t align = 0;

    static constexpr uint32_t kLoad = 1;
    static constexpr uint32_t kNote = 4;
    static constexpr uint32_t kEhFrame = 0x6474e550;
    static constexpr uint32_t kExecutable = 1;

    bool executable() const { return type == kLoad && (flags & kExecutable) != 0; }
    bool contains(uint64_t at) const { return at >= address && at - address < memory_size; }
};
static_assert(sizeof(ElfSegment) == 56);

struct ElfSection {
    std::string name;
    uint32_t type = 0;
    uint64_t address = 0;
    uint64_t offset = 0;
    uint64_t size = 0;
    uint32_t link = 0;
    uint64_t flags = 0;

    // Loaded, and executable.
    bool is_code() const { return (flags & 6) == 6; }

    static constexpr uint32_t kSymbols = 2;
    static constexpr uint32_t kNoBits = 8;
    static constexpr uint32_t kNote = 7;
    static constexpr uint32_t kDynamicSymbols = 11;
};

// A function, by its address counted from the load bias. Size 0: the file does not say.
struct ElfSymbol {
    uint64_t address;
    uint64_t size;
    uint64_t name;  // offset in the file
    bool global;
};

// .gnu_debuglink: the name of the file with the symbols, and its CRC-32.
struct DebugLink {
    std::string name;
    uint32_t crc = 0;
};

class ElfFile {
public:
    // The source must outlive the object. False when it is no 64-bit little-endian ELF file.
    static bool parse(const ByteSource& source, ElfFile& out);

    uint16_t machine() const { return machine_; }
    const std::vector<ElfSegment>& segments() const { return segments_; }
    const ElfSection* section(const std::string& name) const;
    // The one that holds an address; null when none does.
    const ElfSection* section_at(uint64_t address) const;

    // Functions of .symtab and .dynsym, and labels in code.
    void each_function(const std::function<void(const ElfSymbol&)>& visit) const;
    std::string name(const ElfSymbol& symbol) const;
    // The address of the data of this name and size; 0: nowhere.
    uint64_t find_data(const std::string& name, uint64_t size) const;
    const std::vector<ElfSection>& sections() const { return sections_; }
    bool has_symtab() const;

    // Raw bytes; empty when the file carries none.
    std::string build_id() const;
    bool debug_link(DebugLink& out) const;

private:
    std::string string_at(uint64_t offset) const;
    struct SymbolEntry;
    // In all symbol tables; `name`: the offset of its name in the file.
    void each_symbol(const std::function<void(const SymbolEntry&, uint64_t name)>& visit) const;

    const ByteSource* source_ = nullptr;
    uint16_t machine_ = 0;
    bool relocatable_ = false;  // symbols count from their sections
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
