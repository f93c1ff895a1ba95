// Owns the reading of ELF files: segments, sections, symbols, notes.
#include "native/elf_file.h"

#include <algorithm>
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

// Longer than any linker's name is worth being shown.
constexpr size_t kLongestName = 65536;
// Notes and the like.
constexpr uint64_t kLargestNote = 65536;

}  // namespace

struct ElfFile::SymbolEntry {
    uint32_t name;
    uint8_t info;
    uint8_t other;
    uint16_t section;
    uint64_t value;
    uint64_t size;
};

bool ElfFile::parse(const ByteSource& source, ElfFile& out) {
    constexpr uint8_t kIdent[] = {0x7f, 'E', 'L', 'F', 2 /* 64 bit */, 1 /* little-endian */};
    FileHeader header;
    if (!source.read(0, header) || std::memcmp(header.ident, kIdent, sizeof(kIdent)) != 0) {
        return false;
    }
    out = ElfFile{};
    out.source_ = &source;
    out.machine_ = header.machine;
    constexpr uint16_t kRelocatable = 1;
    out.relocatable_ = header.type == kRelocatable;
    for (uint64_t i = 0; i < header.program_header_count; ++i) {
        ElfSegment segment;
        if (header.program_header_size != sizeof(ElfSegment) ||
            header.program_headers > source.size() ||
            !source.read(header.program_headers + i * sizeof(ElfSegment), segment)) {
            break;
        }
        out.segments_.push_back(segment);
    }
    if (header.section_header_size != sizeof(SectionHeader) ||
        header.section_headers > source.size()) {
        return true;
    }
    const auto section_header = [&](uint64_t index, SectionHeader& section) {
        return source.read(header.section_headers + index * sizeof(SectionHeader), section);
    };
    SectionHeader names{};
    if (!section_header(header.section_names, names) || names.type == ElfSection::kNoBits) {
        names = {};
    }
    for (uint64_t i = 0; i < header.section_header_count; ++i) {
        SectionHeader section;
        if (!section_header(i, section)) {
            break;
        }
        out.sections_.push_back(
            {section.name < names.size ? out.string_at(names.offset + section.name) : "",
             section.type, section.address, section.offset, section.size, section.link,
             section.flags});
    }
    return true;
}

const ElfSection* ElfFile::section(const std::string& name) const {
    const auto found = std::find_if(sections_.begin(), sections_.end(),
                                    [&](const ElfSection& other) { return other.name == name; });
    return found == sections_.end() ? nullptr : &*found;
}

const ElfSection* ElfFile::section_at(uint64_t address) const {
    const auto found =
        std::find_if(sections_.begin(), sections_.end(), [&](const ElfSection& other) {
            return other.address != 0 && address >= other.address &&
                   address - other.address < other.size;
        });
    return found == sections_.end() ? nullptr : &*found;
}

std::string ElfFile::string_at(uint64_t offset) const {
    std::string result;
    std::array<char, 128> part;
    while (offset < source_->size() && result.size() < kLongestName) {
        const size_t size = std::min<uint64_t>(part.size(), source_->size() - offset);
        if (!source_->read(offset, part.data(), size)) {
            break;
        }
        const auto end = std::find(part.begin(), part.begin() + size, '\0');
        result.append(part.begin(), end);
        if (end != part.begin() + size) {
            return result;
        }
        offset += size;
    }
    return {};
}

void ElfFile::each_symbol(
    const std::function<void(const SymbolEntry&, uint64_t name)>& visit) const {
    static_assert(sizeof(SymbolEntry) == 24);
    // Sections of a hostile file may overlap without end.
    uint64_t budget = 2 * source_->size();
    std::vector<SymbolEntry> block(2048);
    uint64_t largest = 0;
    for (const uint32_t type : {ElfSection::kSymbols, ElfSection::kDynamicSymbols}) {
        for (const ElfSection& table : sections_) {
            // A whole .symtab has all of .dynsym.
            if (table.type != type || table.link >= sections_.size() || table.size > budget ||
                (type == ElfSection::kDynamicSymbols && table.size < largest)) {
                continue;
            }
            budget -= table.size;
            largest = std::max(largest, table.size);
            const ElfSection& names = sections_[table.link];
            const uint64_t end = table.size / sizeof(SymbolEntry);
            for (uint64_t done = 0; done < end; done += block.size()) {
                const size_t count = std::min<uint64_t>(block.size(), end - done);
                if (!source_->read(table.offset + done * sizeof(SymbolEntry), block.data(),
                                   count * sizeof(SymbolEntry))) {
                    break;
                }
                for (size_t i = 0; i < count; ++i) {
                    SymbolEntry& symbol = block[i];
                    if (symbol.section == 0 || symbol.name == 0 || symbol.name >= names.size) {
                        continue;
                    }
                    if (relocatable_) {
                        symbol.value += symbol.section < sections_.size()
                                            ? sections_[symbol.section].address
                                            : 0;
                    }
                    visit(symbol, names.offset + symbol.name);
                }
            }
        }
    }
}

void ElfFile::each_function(const std::function<void(const ElfSymbol&)>& visit) const {
    const auto in_code = [&](uint64_t address) {
        return std::any_of(segments_.begin(), segments_.end(), [&](const ElfSegment& segment) {
            return segment.executable() && segment.contains(address);
        });
    };
    // "$x" and "$d" only mark code and data in aarch64 objects; ".L" is local to an assembler.
    const auto is_mark = [&](uint64_t name) {
        char first[2] = {};
        source_->read(name, first);
        return first[0] == '$' || (first[0] == '.' && first[1] == 'L');
    };
    each_symbol([&](const SymbolEntry& symbol, uint64_t name) {
        constexpr uint8_t kNoType = 0;
        constexpr uint8_t kFunction = 2;
        constexpr uint8_t kIndirectFunction = 10;
        const uint8_t type = symbol.info & 0xf;
        // Assembly often forgets to say that its labels are functions.
        if (type == kFunction || type == kIndirectFunction ||
            (type == kNoType && in_code(symbol.value) && !is_mark(name))) {
            const bool fits = symbol.size <= UINT64_MAX - symbol.value;
            visit({symbol.value, fits ? symbol.size : 0, name, symbol.info >> 4 != 0});
        }
    });
}

uint64_t ElfFile::find_data(const std::string& name, uint64_t size) const {
    uint64_t address = 0;
    each_symbol([&](const SymbolEntry& symbol, uint64_t at) {
        constexpr uint8_t kObject = 1;
        // Read-only after relocation are the many tables of C++ classes.
        if (address == 0 && (symbol.info & 0xf) == kObject && symbol.size == size &&
            symbol.section < sections_.size() &&
            sections_[symbol.section].name.find(".rel.ro") == std::string::npos &&
            string_at(at) == name) {
            address = symbol.value;
        }
    });
    return address;
}

std::string ElfFile::name(const ElfSymbol& symbol) const { return string_at(symbol.name); }

bool ElfFile::has_symtab() const {
    return std::any_of(sections_.begin(), sections_.end(), [&](const ElfSection& section) {
        return section.type == ElfSection::kSymbols && section.size > 0 &&
               section.offset < source_->size();
    });
}

std::string build_id_of_notes(ByteView notes) {
    constexpr uint32_t kBuildIdNote = 3;
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

std::string ElfFile::build_id() const {
    const auto id_at = [&](uint64_t offset, uint64_t size) {
        const std::vector<uint8_t> notes = source_->bytes(offset, std::min(size, kLargestNote));
        return build_id_of_notes({notes.data(), notes.size()});
    };
    std::string id;
    for (size_t i = 0; i < segments_.size() && id.empty(); ++i) {
        if (segments_[i].type == ElfSegment::kNote) {
            id = id_at(segments_[i].offset, segments_[i].file_size);
        }
    }
    // Separate debug files may have no segments worth reading.
    for (size_t i = 0; i < sections_.size() && id.empty(); ++i) {
        if (sections_[i].type == ElfSection::kNote) {
            id = id_at(sections_[i].offset, sections_[i].size);
        }
    }
    return id;
}

bool ElfFile::debug_link(DebugLink& out) const {
    const ElfSection* link = section(".gnu_debuglink");
    if (link == nullptr) {
        return false;
    }
    out.name = string_at(link->offset);
    // A name with a slash would reach out of the directories meant for such files.
    return !out.name.empty() && out.name.find('/') == std::string::npos &&
           source_->read(link->offset + (out.name.size() + 1 + 3) / 4 * 4, out.crc);
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
