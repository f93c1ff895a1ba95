// Owns the reading of ELF files: segments, sections, symbols, notes. Works on bytes alone; a
// truncated or hostile file gives less, never a fault. Knows no process and no file system.
#include "native/elf_image.h"

#include <array>

namespace spprof::native {
namespace {

// The 64-bit little-endian structures of the ELF specification, as they lie in the file.
struct FileHeader {
    uint8_t ident[16];
    uint16_t type;
    uint16_t machine;
    uint32_t version;
    uint64_t entry;
    uint64_t program_headers;
    uint64_t section_headers;
    uint32_t flags;
    uint16_t header_size;
    uint16_t program_header_size;
    uint16_t program_header_count;
    uint16_t section_header_size;
    uint16_t section_header_count;
    uint16_t section_names;
};
static_assert(sizeof(FileHeader) == 64);

struct ProgramHeader {
    uint32_t type;
    uint32_t flags;
    uint64_t offset;
    uint64_t virtual_address;
    uint64_t physical_address;
    uint64_t file_size;
    uint64_t memory_size;
    uint64_t align;
};
static_assert(sizeof(ProgramHeader) == 56);

struct SectionHeader {
    uint32_t name;
    uint32_t type;
    uint64_t flags;
    uint64_t address;
    uint64_t offset;
    uint64_t size;
    uint32_t link;
    uint32_t info;
    uint64_t align;
    uint64_t entry_size;
};
static_assert(sizeof(SectionHeader) == 64);

struct SymbolEntry {
    uint32_t name;
    uint8_t info;
    uint8_t other;
    uint16_t section;
    uint64_t value;
    uint64_t size;
};
static_assert(sizeof(SymbolEntry) == 24);

constexpr uint32_t kSymbolTable = 2;
constexpr uint32_t kStringTable = 3;
constexpr uint32_t kDynamicSymbols = 11;
constexpr uint32_t kNoBits = 8;
constexpr uint32_t kNoteSection = 7;
constexpr uint32_t kBuildIdNote = 3;

}  // namespace

namespace {

bool read_file_header(ByteView image, FileHeader& header) {
    constexpr uint8_t kIdent[] = {0x7f, 'E', 'L', 'F', 2 /* 64 bit */, 1 /* little-endian */};
    return image.read(0, header) && std::memcmp(header.ident, kIdent, sizeof(kIdent)) == 0;
}

}  // namespace

bool ElfTables::of_header(ByteView image, ElfTables& out) {
    FileHeader header;
    if (!read_file_header(image, header)) {
        return false;
    }
    out = {header.program_headers, uint64_t{header.program_header_count} * sizeof(ProgramHeader),
           header.section_headers, uint64_t{header.section_header_count} * sizeof(SectionHeader)};
    return true;
}

bool ElfSection::holds_strings() const { return type == kStringTable && !bytes.empty(); }

bool ElfSection::holds_symbols_or_notes() const {
    return !bytes.empty() && (type == kSymbolTable || type == kDynamicSymbols ||
                              type == kNoteSection || name == ".gnu_debuglink");
}

bool ElfImage::parse(ByteView image, ElfImage& out) {
    FileHeader header;
    if (!read_file_header(image, header)) {
        return false;
    }
    out = ElfImage{};
    out.image_ = image;
    out.machine_ = header.machine;

    for (uint64_t i = 0; i < header.program_header_count; ++i) {
        ProgramHeader segment;
        if (header.program_header_size != sizeof(ProgramHeader) ||
            header.program_headers > image.size() ||
            !image.read(header.program_headers + i * sizeof(ProgramHeader), segment)) {
            break;
        }
        out.segments_.push_back({segment.type, segment.flags, segment.offset,
                                 segment.virtual_address, segment.file_size, segment.memory_size});
    }

    if (header.section_header_size != sizeof(SectionHeader) ||
        header.section_headers > image.size()) {
        return true;
    }
    SectionHeader names;
    ByteView name_bytes;
    if (image.read(header.section_headers + uint64_t{header.section_names} * sizeof(SectionHeader),
                   names) &&
        names.type != kNoBits) {
        name_bytes = image.slice(names.offset, names.size);
    }
    for (uint64_t i = 0; i < header.section_header_count; ++i) {
        SectionHeader section;
        if (!image.read(header.section_headers + i * sizeof(SectionHeader), section)) {
            break;
        }
        const ByteView bytes =
            section.type == kNoBits ? ByteView{} : image.slice(section.offset, section.size);
        out.sections_.push_back({name_bytes.string_at(section.name), section.type, section.address,
                                 section.size, section.link, bytes});
    }
    return true;
}

const ElfSection* ElfImage::section(std::string_view name) const {
    for (const ElfSection& section : sections_) {
        if (section.name == name) {
            return &section;
        }
    }
    return nullptr;
}

bool ElfImage::in_code(uint64_t address) const {
    for (const ElfSegment& segment : segments_) {
        if (segment.type == ElfSegment::kLoad && (segment.flags & ElfSegment::kExecutable) != 0 &&
            address >= segment.address && address - segment.address < segment.memory_size) {
            return true;
        }
    }
    return false;
}

void ElfImage::functions_of(const ElfSection& table, std::vector<ElfSymbol>& out) const {
    if (table.link >= sections_.size()) {
        return;
    }
    const ByteView names = sections_[table.link].bytes;
    for (uint64_t offset = 0; offset + sizeof(SymbolEntry) <= table.bytes.size();
         offset += sizeof(SymbolEntry)) {
        SymbolEntry symbol;
        table.bytes.read(offset, symbol);
        constexpr uint8_t kNoType = 0;
        constexpr uint8_t kFunction = 2;
        constexpr uint8_t kIndirectFunction = 10;
        const uint8_t type = symbol.info & 0xf;
        const bool function = type == kFunction || type == kIndirectFunction;
        // Assembly often forgets to say that its labels are functions.
        const bool label = type == kNoType && in_code(symbol.value);
        if (symbol.section == 0 || !(function || label)) {
            continue;
        }
        const std::string_view name = names.string_at(symbol.name);
        // "$x" and "$d" only mark code and data in aarch64 objects; ".L" is local to an assembler.
        if (name.empty() || name.front() == '$' || name.substr(0, 2) == ".L") {
            continue;
        }
        out.push_back({symbol.value, symbol.size, name, symbol.info >> 4 != 0});
    }
}

std::vector<ElfSymbol> ElfImage::functions() const {
    std::vector<ElfSymbol> result;
    for (const ElfSection& section : sections_) {
        if (section.type == kSymbolTable || section.type == kDynamicSymbols) {
            functions_of(section, result);
        }
    }
    return result;
}

bool ElfImage::has_symtab() const {
    for (const ElfSection& section : sections_) {
        if (section.type == kSymbolTable && !section.bytes.empty()) {
            return true;
        }
    }
    return false;
}

std::string build_id_of_notes(ByteView notes) {
    Cursor cursor(notes);
    while (!cursor.at_end()) {
        const uint32_t name_size = cursor.take<uint32_t>();
        const uint32_t size = cursor.take<uint32_t>();
        const uint32_t type = cursor.take<uint32_t>();
        const ByteView name = cursor.take_view(name_size);
        cursor.skip((4 - name_size % 4) % 4);
        const ByteView content = cursor.take_view(size);
        if (!cursor.ok()) {
            break;
        }
        if (type == kBuildIdNote && name.size() == 4 && std::memcmp(name.data(), "GNU", 4) == 0) {
            return {reinterpret_cast<const char*>(content.data()), content.size()};
        }
        cursor.skip((4 - size % 4) % 4);
    }
    return {};
}

std::string ElfImage::build_id() const {
    for (const ElfSegment& segment : segments_) {
        if (segment.type == ElfSegment::kNote) {
            std::string id = build_id_of_notes(image_.slice(segment.offset, segment.file_size));
            if (!id.empty()) {
                return id;
            }
        }
    }
    // Separate debug files may have no segments worth reading.
    for (const ElfSection& section : sections_) {
        if (section.type == kNoteSection) {
            std::string id = build_id_of_notes(section.bytes);
            if (!id.empty()) {
                return id;
            }
        }
    }
    return {};
}

bool ElfImage::debug_link(DebugLink& out) const {
    const ElfSection* link = section(".gnu_debuglink");
    if (link == nullptr) {
        return false;
    }
    const std::string_view name = link->bytes.string_at(0);
    const uint64_t crc_offset = (name.size() + 1 + 3) / 4 * 4;
    // A name with a slash would reach out of the directories meant for such files.
    if (name.empty() || name.find('/') != std::string_view::npos ||
        !link->bytes.read(crc_offset, out.crc)) {
        return false;
    }
    out.name = name;
    return true;
}

void Crc32::add(ByteView bytes) {
    static const std::array<uint32_t, 256> table = [] {
        std::array<uint32_t, 256> result{};
        for (uint32_t i = 0; i < 256; ++i) {
            uint32_t value = i;
            for (int bit = 0; bit < 8; ++bit) {
                value = (value & 1) != 0 ? 0xedb88320U ^ (value >> 1) : value >> 1;
            }
            result[i] = value;
        }
        return result;
    }();
    for (size_t i = 0; i < bytes.size(); ++i) {
        state_ = table[(state_ ^ bytes.data()[i]) & 0xff] ^ (state_ >> 8);
    }
}

}  // namespace spprof::native
