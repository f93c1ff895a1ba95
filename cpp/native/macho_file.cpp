// See macho_file.h. The format: <mach-o/loader.h> and <mach-o/nlist.h> of Apple's SDK.
#include "native/macho_file.h"

#include <algorithm>
#include <cstring>
#include <string>
#include <utility>

namespace spprof::native {
namespace {

constexpr uint64_t kLongestName = 4096;
constexpr uint8_t kExported = 1;  // FileSymbol::table

struct Symbol {  // nlist_64
    uint32_t name = 0;
    uint8_t type = 0, section = 0;
    uint16_t description = 0;
    uint64_t address = 0;
};
static_assert(sizeof(Symbol) == 16);

uint64_t end_of_code(const MachoFile& file, uint64_t address) {
    for (const AddressRange& range : file.code) {
        if (address >= range.start && address < range.end) {
            return range.end;
        }
    }
    return 0;
}

// Places of functions, ascending.
std::vector<uint64_t> function_starts(const ByteSource& image, const MachoFile& file) {
    const std::vector<uint8_t> bytes =
        image.bytes(file.function_starts.address, file.function_starts.size);
    std::vector<uint64_t> starts;
    Cursor cursor({bytes.data(), bytes.size()});
    for (uint64_t at = 0; !cursor.at_end();) {
        const uint64_t distance = cursor.uleb();
        if (distance == 0 || !cursor.ok() || distance > UINT32_MAX) {
            break;
        }
        at += distance;
        starts.push_back(at);
    }
    return starts;
}

struct Export {
    uint64_t address;
    std::string name;
};

// The trie's nodes: what ends here, and where each further piece of a name leads. Whoever wrote it
// may lead in circles: a node is read once.
std::vector<Export> read_exports(ByteView trie) {
    constexpr uint64_t kKindAndReexport = 3 | 8;
    struct Node {
        uint64_t offset;
        std::string name;
    };
    std::vector<Export> exports;
    std::vector<bool> seen(trie.size());
    std::vector<Node> open;
    if (!trie.empty()) {
        open.push_back({0, {}});
    }
    size_t pieces = 0;
    while (!open.empty()) {
        const Node node = std::move(open.back());
        open.pop_back();
        if (node.offset >= trie.size() || seen[node.offset]) {
            continue;
        }
        seen[node.offset] = true;
        Cursor cursor(trie, node.offset);
        Cursor ended = cursor;
        const uint64_t size = cursor.uleb();
        ended.uleb();
        cursor.skip(size);
        if (size != 0) {
            const uint64_t flags = ended.uleb();
            const uint64_t address = ended.uleb();
            if (ended.ok() && (flags & kKindAndReexport) == 0) {
                exports.push_back({address, node.name});
            }
        }
        const auto children = cursor.take<uint8_t>();
        for (unsigned i = 0; i < children && cursor.ok(); ++i) {
            const std::string_view piece = trie.string_at(cursor.offset());
            cursor.skip(piece.size() + 1);
            const uint64_t next = cursor.uleb();
            // There are no more of them than bytes: else they overlap.
            if (cursor.ok() && ++pieces <= trie.size() &&
                node.name.size() + piece.size() <= kLongestName) {
                open.push_back({next, node.name + std::string(piece)});
            }
        }
    }
    return exports;
}

class MachoSymbols final : public SymbolTables {
public:
    MachoSymbols(std::unique_ptr<ByteSource> image, MachoFile file)
        : image_(std::move(image)),
          file_(std::move(file)),
          starts_(function_starts(*image_, file_)) {
        const std::vector<uint8_t> trie = image_->bytes(file_.exports.address, file_.exports.size);
        exports_ = read_exports({trie.data(), trie.size()});
    }

    bool empty() const { return exports_.empty() && file_.symbols.size == 0; }

    void each(const std::function<void(const FileSymbol&)>& visit) override {
        constexpr uint8_t kDebugging = 0xe0, kKind = 0x0e, kInSection = 0x0e, kExternal = 1;
        constexpr uint64_t kAtOnce = 4096 * sizeof(Symbol);
        for (uint64_t at = 0; at < file_.symbols.size; at += kAtOnce) {
            const std::vector<uint8_t> bytes = image_->bytes(
                file_.symbols.address + at, std::min(kAtOnce, file_.symbols.size - at));
            for (size_t i = 0; i + sizeof(Symbol) <= bytes.size(); i += sizeof(Symbol)) {
                Symbol symbol;
                std::memcpy(&symbol, bytes.data() + i, sizeof symbol);
                if ((symbol.type & kDebugging) == 0 && (symbol.type & kKind) == kInSection) {
                    show(visit, symbol.address - base(), (symbol.type & kExternal) != 0, 0,
                         symbol.name);
                }
            }
        }
        for (size_t i = 0; i < exports_.size(); ++i) {
            show(visit, exports_[i].address, true, kExported, i);
        }
    }

    // Without the underscore that C compilers put before every name.
    std::string name(const FileSymbol& symbol) override {
        std::string result =
            symbol.table == kExported ? exports_[symbol.name].name : string_at(symbol.name);
        return result.empty() || result[0] != '_' ? result : result.substr(1);
    }
    uint64_t latest_end(uint64_t start) override { return end_of_code(file_, start); }
    uint64_t find_data(const std::string&, uint64_t) override { return 0; }
    bool complete() override {
        bool local = false;
        each([&](const FileSymbol& symbol) { local = local || !symbol.global; });
        return local;
    }

private:
    uint64_t base() const { return file_.base; }

    void show(const std::function<void(const FileSymbol&)>& visit, uint64_t start, bool global,
              uint8_t table, uint64_t name) const {
        const uint64_t end = end_of_code(file_, start);
        if (end == 0) {
            return;  // data
        }
        FileSymbol symbol;
        symbol.start = start;
        symbol.global = global;
        symbol.table = table;
        symbol.name = name;
        const auto next = std::upper_bound(starts_.begin(), starts_.end(), start);
        if (!starts_.empty()) {
            symbol.size = (next == starts_.end() ? end : std::min(end, *next)) - start;
        }
        visit(symbol);
    }

    std::string string_at(uint64_t offset) const {
        std::array<char, 64> part;
        std::string result;
        while (offset < file_.strings.size && result.size() < kLongestName) {
            const size_t count = std::min<uint64_t>(part.size(), file_.strings.size - offset);
            if (!image_->read(file_.strings.address + offset, part.data(), count)) {
                return {};
            }
            const auto length = static_cast<size_t>(
                std::find(part.begin(), part.begin() + count, '\0') - part.begin());
            result.append(part.data(), length);
            if (length < count) {
                return result;
            }
            offset += count;
        }
        return {};
    }

    std::unique_ptr<ByteSource> image_;
    MachoFile file_;
    std::vector<uint64_t> starts_;
    std::vector<Export> exports_;
};

// A segment or section of an executable file.
struct Segment {
    uint64_t address = 0, size = 0, file_offset = 0, file_size = 0;
};

class Parser {
public:
    Parser(const ByteSource& image, MachoFile& file) : image_(image), file_(file) {}

    bool parse() {
        constexpr uint32_t kMagic = 0xfeedfacf;
        constexpr uint64_t kCommands = 32;
        uint32_t magic = 0, count = 0, bytes = 0;
        if (!image_.read(0, magic) || magic != kMagic || !image_.read(16, count) ||
            !image_.read(20, bytes)) {
            return false;
        }
        uint64_t at = kCommands;
        for (uint32_t i = 0; i < count; ++i) {
            uint32_t command = 0, size = 0;
            if (!image_.read(at, command) || !image_.read(at + 4, size) || size < 8 ||
                size > kCommands + bytes - at) {
                return false;
            }
            take(command, at);
            at += size;
        }
        if (!has_text_) {
            return false;
        }
        resolve();
        return true;
    }

private:
    enum Command : uint32_t {
        kSymbolTable = 0x2,
        kSegment = 0x19,
        kUuid = 0x1b,
        kDyldInfo = 0x22,
        kDyldInfoOnly = 0x80000022,
        kFunctionStarts = 0x26,
        kExportsTrie = 0x80000033,
    };

    void take(uint32_t command, uint64_t at) {
        uint32_t words[4] = {};
        switch (command) {
            case kSegment:
                take_segment(at);
                break;
            case kUuid:
                image_.read(at + 8, file_.id);
                break;
            case kSymbolTable:
                if (image_.read(at + 8, words)) {
                    file_.symbols = {words[0], uint64_t{words[1]} * sizeof(Symbol)};
                    file_.strings = {words[2], words[3]};
                }
                break;
            case kDyldInfo:
            case kDyldInfoOnly:
                take_place(at + 40, file_.exports);
                break;
            case kExportsTrie:
                take_place(at + 8, file_.exports);
                break;
            case kFunctionStarts:
                take_place(at + 8, file_.function_starts);
                break;
            default:
                break;
        }
    }

    void take_place(uint64_t at, MachoFile::Place& place) {
        uint32_t words[2] = {};
        if (image_.read(at, words)) {
            place = {words[0], words[1]};
        }
    }

    void take_segment(uint64_t at) {
        std::array<char, 16> name{};
        Segment segment;
        uint32_t sections = 0;
        if (!image_.read(at + 8, name) || !image_.read(at + 24, segment) ||
            !image_.read(at + 64, sections)) {
            return;
        }
        if (is_called(name, "__LINKEDIT")) {
            linkedit_ = segment;
        } else if (is_called(name, "__TEXT")) {
            has_text_ = true;
            file_.base = segment.address;
        }
        constexpr uint64_t kSegmentBytes = 72, kSectionBytes = 80;
        constexpr uint32_t kMostSections = 255;
        for (uint32_t i = 0; i < std::min(sections, kMostSections); ++i) {
            take_section(at + kSegmentBytes + kSectionBytes * i);
        }
    }

    void take_section(uint64_t at) {
        constexpr uint32_t kInstructions = 0x80000400;  // only, or some
        std::array<char, 16> name{};
        uint64_t place[2] = {};
        uint32_t flags = 0;
        if (!image_.read(at, name) || !image_.read(at + 32, place) ||
            !image_.read(at + 64, flags) || place[1] == 0 || place[0] + place[1] < place[0]) {
            return;
        }
        if ((flags & kInstructions) != 0) {
            file_.code.push_back(
                {static_cast<uintptr_t>(place[0]), static_cast<uintptr_t>(place[0] + place[1])});
        } else if (is_called(name, "__unwind_info")) {
            file_.unwind_info = {place[0], place[1]};
        } else if (is_called(name, "__eh_frame")) {
            file_.frame_entries = {place[0], place[1]};
        }
    }

    static bool is_called(const std::array<char, 16>& name, const char* text) {
        return std::strncmp(name.data(), text, name.size()) == 0;
    }

    // Addresses in the file become distances from its header.
    void resolve() {
        std::vector<AddressRange> code;
        for (const AddressRange& range : file_.code) {
            if (range.start >= file_.base) {
                code.push_back({static_cast<uintptr_t>(range.start - file_.base),
                                static_cast<uintptr_t>(range.end - file_.base)});
            }
        }
        std::sort(code.begin(), code.end(),
                  [](const AddressRange& a, const AddressRange& b) { return a.start < b.start; });
        file_.code = std::move(code);
        for (MachoFile::Place* place : {&file_.unwind_info, &file_.frame_entries}) {
            if (place->address < file_.base) {
                *place = {};
            }
            place->address -= place->address == 0 ? 0 : file_.base;
        }
        for (MachoFile::Place* place :
             {&file_.symbols, &file_.strings, &file_.exports, &file_.function_starts}) {
            const uint64_t offset = place->address - linkedit_.file_offset;
            if (place->address < linkedit_.file_offset || offset > linkedit_.file_size ||
                place->size > linkedit_.file_size - offset || linkedit_.address < file_.base) {
                *place = {};
            } else {
                place->address = linkedit_.address - file_.base + offset;
            }
        }
    }

    const ByteSource& image_;
    MachoFile& file_;
    Segment linkedit_;
    bool has_text_ = false;
};

}  // namespace

bool MachoFile::parse(const ByteSource& image, MachoFile& file) {
    return Parser(image, file).parse();
}

std::unique_ptr<SymbolTables> macho_symbols(std::unique_ptr<ByteSource> image) {
    MachoFile file;
    if (image == nullptr || !MachoFile::parse(*image, file)) {
        return nullptr;
    }
    auto symbols = std::make_unique<MachoSymbols>(std::move(image), std::move(file));
    return symbols->empty() ? nullptr : std::move(symbols);
}

}  // namespace spprof::native
