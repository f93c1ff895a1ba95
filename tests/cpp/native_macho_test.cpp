// Mach-O files in memory: names out of a recorded one, and out of tables whose bytes are written
// down here, whole and broken.
#include <doctest/doctest.h>

#include <cstring>
#include <string>
#include <vector>

#include "native/function_search.h"
#include "native/macho_file.h"
#include "native_objects.h"

using namespace spprof::native;

namespace {

// A header with a segment of code from 0x1000 to 0x2000 and the tables behind 0x3000, where the
// file's own addresses begin at kBase.
class Image {
public:
    static constexpr uint64_t kBase = 0x100000000;
    static constexpr uint32_t kTables = 0x3000, kTrie = 0x3000, kStarts = 0x3100, kSymbols = 0x3200,
                              kStrings = 0x3400;

    Image() : bytes(0x3800) {
        put<uint32_t>(0, 0xfeedfacf);
        add_segment("__TEXT", kBase, 0x3000, 0);
        add_section("__text", kBase + 0x1000, 0x1000, 0x80000400);
        add_section("__unwind_info", kBase + 0x2800, 0x100, 0);
        end_segment(2);
        // The file is shorter than what is loaded of it.
        add_segment("__LINKEDIT", kBase + kTables, 0x800, kFileOffset);
        end_segment(0);
        add_command(0x1b, {1, 2, 3, 4});
        add_command(0x80000033, {at(kTrie), 0x100});
        add_command(0x26, {at(kStarts), 0x100});
        add_command(0x2, {at(kSymbols), 3, at(kStrings), 0x100});
        fill_tables();
    }
    template <class T>
    void put(uint32_t place, T value) {
        std::memcpy(&bytes[place], &value, sizeof value);
    }
    void put(uint32_t place, const std::string& text) {
        std::memcpy(&bytes[place], text.data(), text.size());
    }
    std::unique_ptr<SymbolTables> symbols() const {
        return macho_symbols(std::make_unique<ViewSource>(ByteView(bytes.data(), bytes.size())));
    }
    bool parse(MachoFile& file) const {
        return MachoFile::parse(ViewSource({bytes.data(), bytes.size()}), file);
    }
    uint32_t end_of_commands() const { return end_; }

    std::vector<uint8_t> bytes;

private:
    static constexpr uint32_t kFileOffset = 0x2000;

    static uint32_t at(uint32_t place) { return place - kTables + kFileOffset; }
    void add_segment(const char* name, uint64_t address, uint64_t size, uint64_t offset) {
        segment_ = end_;
        put<uint32_t>(end_, 0x19);
        put(end_ + 8, std::string(name));
        put(end_ + 24, address);
        put(end_ + 32, size);
        put(end_ + 40, offset);
        put(end_ + 48, size);
        end_ += 72;
    }
    void add_section(const char* name, uint64_t address, uint64_t size, uint32_t flags) {
        put(end_, std::string(name));
        put(end_ + 32, address);
        put(end_ + 40, size);
        put(end_ + 64, flags);
        end_ += 80;
    }
    void end_segment(uint32_t sections) {
        put(segment_ + 64, sections);
        put(segment_ + 4, end_ - segment_);
        count();
    }
    void add_command(uint32_t command, std::initializer_list<uint32_t> words) {
        put(end_, command);
        put(end_ + 4, static_cast<uint32_t>(8 + 4 * words.size()));
        end_ += 8;
        for (const uint32_t word : words) {
            put(end_, word);
            end_ += 4;
        }
        count();
    }
    void count() {
        put(16, ++commands_);
        put(20, end_ - 32);
    }
    void fill_tables() {
        // _ab at 0x1000, _ac at 0x1040, _data, and one that another library has.
        put(kTrie, std::string("\x00\x01_\x00\x05", 5));
        put(kTrie + 5, std::string("\x00\x03"
                                   "ab\x00\x20"
                                   "ac\x00\x30"
                                   "d\x00\x40",
                                   13));
        put(kTrie + 0x20, std::string("\x03\x00\x80\x20\x00", 5));
        put(kTrie + 0x30, std::string("\x03\x00\xc0\x20\x00", 5));
        put(kTrie + 0x40, std::string("\x04\x00\x80\x80\x01\x01r\x00\x50", 9));
        put(kTrie + 0x50, std::string("\x03\x08\x01\x00\x00", 5));
        // Functions at 0x1000, 0x1040, 0x1080 (without a name) and 0x1100.
        put(kStarts, std::string("\x80\x20\x40\x40\x80\x01\x00", 7));
        // _local at 0x1100, a line for debuggers, data.
        add_symbol(0, 1, 0x0e, kBase + 0x1100);
        add_symbol(1, 1, 0x64, kBase + 0x1080);
        add_symbol(2, 1, 0x0f, kBase + 0x2000);
        put(kStrings, std::string("\0_local\0", 8));
    }
    void add_symbol(uint32_t index, uint32_t name, uint8_t type, uint64_t address) {
        put(kSymbols + index * 16, name);
        put(kSymbols + index * 16 + 4, type);
        put(kSymbols + index * 16 + 8, address);
    }

    uint32_t end_ = 32, segment_ = 0, commands_ = 0;
};

std::vector<std::string> names_at(SymbolTables& tables, const std::vector<uint64_t>& offsets) {
    std::vector<std::string> names;
    for (const Function& function : find_functions(tables, offsets)) {
        names.push_back(function.name);
    }
    return names;
}

}  // namespace

TEST_CASE("a recorded Mach-O file has the names of its symbol table and of its exports") {
    auto source = open_file(test_data("frames.macho"));
    REQUIRE(source != nullptr);
    MachoFile file;
    REQUIRE(MachoFile::parse(*source, file));
    REQUIRE(file.code.size() == 1);
    CHECK(file.code[0].start == 0x1468);
    CHECK(file.unwind_info.address == 0x155c);
    CHECK(file.frame_entries.address == 0x15c0);
    CHECK(file.exports.size > 0);
    const auto symbols = macho_symbols(std::move(source));
    REQUIRE(symbols != nullptr);
    CHECK(symbols->complete());
    CHECK(names_at(*symbols, {0x1400, 0x1468, 0x1473, 0x1474, 0x14b0, 0x14d8, 0x155b, 0x155c}) ==
          std::vector<std::string>{"", "leaf", "leaf", "with_frame", "only_in_symbol_table",
                                   "with_registers", "with_registers", ""});
}

TEST_CASE("a function of a Mach-O file reaches up to the next one, with or without a name") {
    const Image image;
    MachoFile file;
    REQUIRE(image.parse(file));
    CHECK(file.id[4] == 2);
    CHECK(file.unwind_info.address == 0x2800);
    const auto symbols = image.symbols();
    REQUIRE(symbols != nullptr);
    CHECK(names_at(*symbols, {0xfff, 0x1000, 0x103f, 0x1040, 0x107f, 0x1080, 0x10ff, 0x1100, 0x1fff,
                              0x2000}) ==
          std::vector<std::string>{"", "ab", "ab", "ac", "ac", "", "", "local", "local", ""});
}

TEST_CASE("a broken Mach-O file has no names, or fewer") {
    const Image whole;
    const auto read = [](const Image& image) {
        const auto tables = image.symbols();
        if (tables == nullptr) return;
        uint64_t last = 0;
        for (const Function& function : all_functions(*tables)) {
            CHECK(function.start >= last);
            CHECK(function.end > function.start);
            last = function.end;
        }
    };
    MachoFile file;
    Image other = whole;
    other.put<uint32_t>(0, 0xfeedface);
    CHECK_FALSE(other.parse(file));
    // Every word of the commands, every byte of the trie and of the starts.
    for (uint32_t at = 0; at < whole.end_of_commands(); at += 4) {
        for (const uint32_t value : {0U, 1U, 0x7fffffffU, 0xffffffffU}) {
            Image image = whole;
            image.put(at, value);
            read(image);
        }
    }
    for (uint32_t at = Image::kTrie; at < Image::kTrie + 0x60; ++at) {
        for (const int value : {0, 1, 5, 0x7f, 0x80, 0xff}) {
            Image image = whole;
            image.put(at, static_cast<uint8_t>(value));
            image.put(at - Image::kTrie + Image::kStarts, static_cast<uint8_t>(value));
            read(image);
        }
    }
    for (size_t size = 0; size < whole.bytes.size(); size += 61) {
        Image image = whole;
        image.bytes.resize(size);
        read(image);
    }
}
