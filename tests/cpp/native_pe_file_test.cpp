// Names that a PE file exports, in files whose bytes are written down here: right ones, and broken
// ones.
#include <doctest/doctest.h>

#include <cstring>
#include <string>
#include <vector>

#include "native/function_search.h"
#include "native/pe_file.h"

using namespace spprof::native;

namespace {

// A file as it lies in memory: headers, code from 0x1000 to 0x2000, the exports at 0x3000, unwind
// information at 0x4000.
class Image {
public:
    static constexpr uint32_t kHeaders = 0x80, kOptional = kHeaders + 24, kSections = 0x200;
    static constexpr uint32_t kExports = 0x3000, kFunctions = 0x4000, kInfo = 0x4800;

    Image() : bytes(0x5000) {
        put<uint16_t>(0, 0x5a4d);
        put<uint32_t>(0x3c, kHeaders);
        put<uint32_t>(kHeaders, 0x4550);
        put<uint16_t>(kHeaders + 4, 0x8664);
        put<uint16_t>(kHeaders + 6, 1);
        put<uint32_t>(kHeaders + 8, 0x12345678);
        put<uint16_t>(kHeaders + 20, kSections - kOptional);
        put<uint16_t>(kOptional, 0x20b);
        put<uint32_t>(kOptional + 56, static_cast<uint32_t>(bytes.size()));
        put<uint32_t>(kOptional + 108, 16);
        put<uint32_t>(kOptional + 112, kExports);
        put<uint32_t>(kOptional + 116, 0x1000);
        put<uint32_t>(kOptional + 112 + 24, kFunctions);
        put<uint32_t>(kSections + 8, 0x1000);
        put<uint32_t>(kSections + 12, 0x1000);
        put<uint32_t>(kSections + 36, 0x60000020);
    }
    template <class T>
    void put(uint32_t at, T value) {
        std::memcpy(&bytes[at], &value, sizeof value);
    }
    // At most 16, so that the tables have room.
    void add_export(const char* name, uint32_t place) {
        const uint32_t names = kExports + 0x100, places = kExports + 0x200,
                       ordinals = kExports + 0x300;
        const uint32_t text = kExports + 0x400 + exports_ * 0x40;
        // In another order than the names: the ordinals tell.
        const auto ordinal = static_cast<uint16_t>(15 - exports_);
        std::memcpy(&bytes[text], name, std::strlen(name) + 1);
        put(names + exports_ * 4, text);
        put(ordinals + exports_ * 2, ordinal);
        put(places + ordinal * 4, place);
        ++exports_;
        put<uint32_t>(kExports + 20, 16);
        put(kExports + 24, exports_);
        put(kExports + 28, places);
        put(kExports + 32, names);
        put(kExports + 36, ordinals);
    }
    void add_function(uint32_t begin, uint32_t end, uint32_t info = kInfo) {
        const uint32_t at = kFunctions + functions_ * 12;
        put(at, begin);
        put(at + 4, end);
        put(at + 8, info);
        ++functions_;
        put(kOptional + 112 + 28, functions_ * 12);
    }
    std::unique_ptr<SymbolTables> symbols() const {
        return pe_exports(std::make_unique<ViewSource>(ByteView(bytes.data(), bytes.size())));
    }
    std::string name_at(uint64_t offset) const {
        const auto tables = symbols();
        return tables == nullptr ? "" : find_functions(*tables, {offset})[0].name;
    }

    std::vector<uint8_t> bytes;

private:
    uint32_t exports_ = 0, functions_ = 0;
};

Image some_image() {
    Image image;
    image.put<uint8_t>(Image::kInfo, 1);
    image.add_function(0x1000, 0x1040);
    image.add_function(0x1040, 0x1080);  // without a name
    image.add_function(0x1100, 0x1140);
    image.add_export("first", 0x1000);
    image.add_export("last", 0x1100);
    image.add_export("leaf", 0x10a0);  // not described
    image.add_export("data", 0x2800);
    image.add_export("elsewhere", Image::kExports + 0x400);
    return image;
}

}  // namespace

TEST_CASE("what a PE file exports has its name, and nothing else has") {
    const Image image = some_image();
    CHECK(image.name_at(0x1000) == "first");
    CHECK(image.name_at(0x103f) == "first");
    CHECK(image.name_at(0x1040) == "");
    CHECK(image.name_at(0x107f) == "");
    CHECK(image.name_at(0x1090) == "");
    CHECK(image.name_at(0x10a0) == "leaf");
    CHECK(image.name_at(0x10ff) == "leaf");
    CHECK(image.name_at(0x1100) == "last");
    CHECK(image.name_at(0x1140) == "");
    CHECK(image.name_at(0x2800) == "");                   // data
    CHECK(image.name_at(Image::kExports + 0x400) == "");  // the name of another file's function
    PeFile file;
    REQUIRE(PeFile::parse(ViewSource({image.bytes.data(), image.bytes.size()}), file));
    CHECK(file.stamp == 0x12345678);
    CHECK(file.size == image.bytes.size());
    REQUIRE(file.code.size() == 1);
    CHECK(file.code[0].start == 0x1000);
    CHECK(file.code[0].end == 0x2000);
}

TEST_CASE("a part that was moved away from its function has that function's name") {
    Image image = some_image();
    // Its information is chained to another one, which is told with the first function.
    constexpr uint32_t kPart = 0x4820, kMiddle = 0x4840;
    image.put<uint8_t>(kPart, 1 | 4 << 3);
    image.put<uint8_t>(kPart + 2, 1);  // an odd number of codes: one more for the alignment
    image.put<uint32_t>(kPart + 4 + 4, 0x1500);
    image.put<uint32_t>(kPart + 4 + 8, 0x1510);
    image.put<uint32_t>(kPart + 4 + 12, kMiddle | 1);
    image.put<uint32_t>(kMiddle, 0x1000);
    image.put<uint32_t>(kMiddle + 4, 0x1040);
    image.put<uint32_t>(kMiddle + 8, Image::kInfo);
    image.add_function(0x1800, 0x1820, kPart);
    CHECK(image.name_at(0x1800) == "first");
    CHECK(image.name_at(0x181f) == "first");
    CHECK(image.name_at(0x1820) == "");
    // Information that leads back to itself.
    image.put<uint32_t>(kMiddle + 8, kMiddle | 1);
    CHECK(image.name_at(0x1900) == "");
}

TEST_CASE("a broken PE file has no names, or fewer") {
    const Image whole = some_image();
    const auto parses = [](const Image& image) {
        PeFile file;
        return PeFile::parse(ViewSource({image.bytes.data(), image.bytes.size()}), file);
    };
    for (const uint32_t at : {0U, Image::kHeaders, Image::kHeaders + 4, Image::kOptional}) {
        Image image = whole;
        image.put<uint16_t>(at, 0xffff);
        CHECK_FALSE(parses(image));
        CHECK(image.symbols() == nullptr);
    }
    // Every table, every number of items: too far, too many, in the middle of nothing.
    for (const uint32_t at :
         {0x3cU, Image::kOptional + 112, Image::kOptional + 116, Image::kOptional + 136,
          Image::kOptional + 140, Image::kExports + 20, Image::kExports + 24, Image::kExports + 28,
          Image::kExports + 32, Image::kExports + 36, Image::kExports + 0x100,
          Image::kExports + 0x300, Image::kFunctions, Image::kFunctions + 8}) {
        for (const uint32_t value : {0U, 1U, 0x4fffU, 0x5000U, 0x7fffffffU, 0xffffffffU}) {
            Image image = whole;
            image.put(at, value);
            CAPTURE(at);
            CAPTURE(value);
            const auto tables = image.symbols();
            if (tables != nullptr) {
                uint64_t last = 0;
                for (const Function& function : all_functions(*tables)) {
                    CHECK(function.start >= last);
                    CHECK(function.end > function.start);
                    last = function.end;
                }
            }
        }
    }
    for (size_t size = 0; size < whole.bytes.size(); size += 61) {
        Image image = whole;
        image.bytes.resize(size);
        image.symbols();
    }
    // A name that does not end.
    Image image = whole;
    std::fill(image.bytes.begin() + Image::kExports + 0x400, image.bytes.end(), 'x');
    CHECK(image.name_at(0x1000) == "");
}
