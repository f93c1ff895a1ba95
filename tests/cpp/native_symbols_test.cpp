// Symbols: from files, separate debug files and memory; readable names; what is loaded here.
#include "native/pe_file.h"
#include "native/symbols.h"

#include <doctest/doctest.h>

#include <cstdlib>
#include <filesystem>

#include "native/capture.h"
#include "native/demangle.h"
#include "native/elf_module.h"
#include "native/hexadecimal.h"
#include "native/process_memory.h"
#include "native_objects.h"

using namespace spprof::native;
namespace fs = std::filesystem;

namespace {

class Directory {
public:
    Directory() {
        char pattern[] = "/tmp/spprof-test-XXXXXX";
        REQUIRE(mkdtemp(pattern) != nullptr);
        path_ = pattern;
    }
    ~Directory() { fs::remove_all(path_); }
    Directory(const Directory&) = delete;
    Directory& operator=(const Directory&) = delete;

    std::string put(const std::string& data, const std::string& as) const {
        const fs::path target = path_ / as;
        fs::create_directories(target.parent_path());
        fs::copy_file(test_data(data), target, fs::copy_options::overwrite_existing);
        return target.string();
    }
    std::string path(const std::string& name = "") const { return (path_ / name).string(); }

private:
    fs::path path_;
};

ElfIdentity identity_of(const std::string& path, const Object& object) {
    ElfIdentity identity{path, object.elf.build_id(), object.elf.segments(), {}};
    if (const ElfSection* header = object.elf.section(".eh_frame_hdr")) {
        identity.frame_header = object.source.bytes(header->offset, header->size);
    }
    return identity;
}

// What is told of the functions of a file.
struct Functions {
    explicit Functions(const ElfIdentity& identity, const std::string& debug_root = "/none") {
        std::string debug_path;
        tables = open_elf_symbols(identity, debug_path, debug_root);
    }
    bool complete() const { return tables != nullptr && tables->complete(); }
    bool empty() const { return tables == nullptr || all_functions(*tables).empty(); }
    std::string at(uint64_t offset) const {
        return tables == nullptr ? "" : find_functions(*tables, {offset}).front().name;
    }
    std::unique_ptr<SymbolTables> tables;
};

}  // namespace

TEST_CASE("functions of a file with all its symbols") {
    const Object object("named.elf");
    const Functions table(identity_of(test_data("named.elf"), object));
    CHECK(table.complete());
    const uint64_t hidden = object.address.at("only_in_symtab");
    CHECK(table.at(hidden) == "only_in_symtab");
    CHECK(table.at(hidden + 3) == "only_in_symtab");
    CHECK(table.at(object.address.at("_ZNK6shapes6Circle4areaEi")) == "_ZNK6shapes6Circle4areaEi");
    SUBCASE("of several names the one without the library's underscores") {
        REQUIRE(object.address.at("exported") == object.address.at("_alias_of_exported"));
        CHECK(table.at(object.address.at("exported")) == "exported");
    }
    SUBCASE("a label without a size reaches up to the next one") {
        const uint64_t label = object.address.at("label_without_size");
        CHECK(table.at(label) == "label_without_size");
        CHECK(table.at(label + 1) == "inner_label");
        CHECK(table.at(label + 2) == "inner_label");
    }
    SUBCASE("a label inside a function does not cut it") {
        CHECK(table.at(object.address.at("inside_sized")) == "sized_after_label");
    }
    SUBCASE("between and behind the functions there is none") {
        CHECK(table.at(0) == "");
        CHECK(table.at(UINT64_MAX) == "");
    }
    SUBCASE("all at once are the same as one by one") {
        const std::vector<Function> all = all_functions(*table.tables);
        REQUIRE(all.size() > 5);
        uint64_t last = 0;
        for (const Function& function : all) {
            CHECK(function.start >= last);
            CHECK(function.end > function.start);
            last = function.end;
            for (const uint64_t offset : {function.start, function.end - 1}) {
                const Function one = find_functions(*table.tables, {offset}).front();
                CHECK(one.name == function.name);
                CHECK(one.start == function.start);
                CHECK(one.end == function.end);
            }
        }
    }
}

TEST_CASE("a stripped file knows what it exports, its debug file the rest") {
    const Directory directory;
    const Object full("named.elf");
    const Object stripped("named.stripped.elf");
    REQUIRE(full.elf.build_id().size() == 20);
    REQUIRE(stripped.elf.build_id() == full.elf.build_id());
    const std::string path = directory.put("named.stripped.elf", "lib/libnamed.so");
    const uint64_t hidden = full.address.at("only_in_symtab");
    const ElfIdentity identity = identity_of(path, stripped);

    SUBCASE("alone") {
        const Functions table(identity, directory.path("debug"));
        CHECK_FALSE(table.complete());
        CHECK(table.at(full.address.at("exported")) == "exported");
        CHECK(table.at(hidden) == "");
    }
    SUBCASE("by build id") {
        const std::string id = hexadecimal(full.elf.build_id());
        directory.put("named.debug.elf",
                      "debug/.build-id/" + id.substr(0, 2) + "/" + id.substr(2) + ".debug");
        const Functions table(identity, directory.path("debug"));
        CHECK(table.complete());
        CHECK(table.at(hidden) == "only_in_symtab");
        CHECK(table.at(full.address.at("exported")) == "exported");
    }
    SUBCASE("a debug file of another build is not believed") {
        const std::string id = hexadecimal(full.elf.build_id());
        directory.put("frames_x86_64.elf",
                      "debug/.build-id/" + id.substr(0, 2) + "/" + id.substr(2) + ".debug");
        CHECK_FALSE(Functions(identity, directory.path("debug")).complete());
    }
    for (const char* place : {"lib/named.debug.elf", "lib/.debug/named.debug.elf"}) {
        CAPTURE(place);
        directory.put("named.debug.elf", place);
        const Functions table(identity, directory.path("debug"));
        CHECK(table.at(hidden) == "only_in_symtab");
        fs::remove(directory.path(place));
    }
    SUBCASE("a linked file with another checksum is not believed") {
        directory.put("frames_x86_64.elf", "lib/named.debug.elf");
        CHECK_FALSE(Functions(identity, directory.path("debug")).complete());
    }
}

TEST_CASE("a file that was replaced since it was loaded names nothing") {
    const Directory directory;
    const Object loaded("named.elf");
    const std::string path = directory.put("frames_x86_64.elf", "libnamed.so");
    CHECK(Functions(identity_of(path, loaded)).empty());
    fs::remove(path);
    CHECK(Functions(identity_of(path, loaded)).empty());
    SUBCASE("without a build id other things tell") {
        ElfIdentity without_id = identity_of(test_data("named.elf"), loaded);
        without_id.build_id.clear();
        CHECK_FALSE(Functions(without_id).empty());
        SUBCASE("a segment") { without_id.segments.front().memory_size += 1; }
        SUBCASE("or its unwind information") { without_id.frame_header.back() ^= 1; }
        CHECK(Functions(without_id).empty());
    }
}

TEST_CASE("suffixes of compilers and linkers") {
    CHECK(strip_suffixes("f.cold") == "f");
    CHECK(strip_suffixes("f.part.0.cold") == "f");
    CHECK(strip_suffixes("f.constprop.0.isra.0") == "f");
    CHECK(strip_suffixes("f.lto_priv.12") == "f");
    CHECK(strip_suffixes("f.llvm.1234") == "f");
    CHECK(strip_suffixes("f@@GLIBC_2.14") == "f");
    CHECK(strip_suffixes("f@GLIBC_2.2.5") == "f");
    CHECK(strip_suffixes("plain") == "plain");
    CHECK(strip_suffixes("") == "");
}

TEST_CASE("names are readable") {
    CHECK(demangle("main") == "main");
    CHECK(demangle("_ZNK6shapes6Circle4areaEi") == "shapes::Circle::area(int) const");
    CHECK(demangle("_Znot_a_name") == "_Znot_a_name");
    SUBCASE("Rust, the older scheme") {
        CHECK(demangle("_ZN4core3fmt5Write9write_fmt17h0123456789abcdefE") ==
              "core::fmt::Write::write_fmt");
        CHECK(demangle("_ZN66_$LT$alloc..vec..Vec$LT$T$GT$$u20$as$u20$core..ops..drop..Drop$GT$"
                       "4drop17h0123456789abcdefE") ==
              "<alloc::vec::Vec<T> as core::ops::drop::Drop>::drop");
    }
    // The examples of RFC 2603, and compilers' own output.
    SUBCASE("Rust, the current scheme") {
        CHECK(demangle("_RNvNtCs1234_7mycrate3foo3bar") == "mycrate::foo::bar");
        CHECK(demangle("_RNCNvCs1234_7mycrate3foo0") == "mycrate::foo::{closure#0}");
        CHECK(demangle("_RNCNvCs1234_7mycrate3foos_0") == "mycrate::foo::{closure#1}");
        CHECK(demangle("_RINvCs1234_7mycrate3maxlE") == "mycrate::max::<i32>");
        CHECK(demangle("_RNvMCs1234_7mycrateNtB2_3Foo3bar") == "<mycrate::Foo>::bar");
        CHECK(demangle("_RNvXCs1234_7mycrateNtB2_3FooNtB2_5Trait3bar") ==
              "<mycrate::Foo as mycrate::Trait>::bar");
        CHECK(demangle("_RINvCs1234_7mycrate3fooRShTlbEE") == "mycrate::foo::<&[u8], (i32, bool)>");
    }
    SUBCASE("broken ones stay as they are") {
        for (const char* name : {"_R", "_RNv", "_RNvC", "_RB_", "_RNvB9_3foo", "_RIC3abc",
                                 "_ZN3foo17h0123456789abcdeE"}) {
            CHECK(demangle(name) == name);
        }
        const std::string deep = "_R" + std::string(5000, 'I');
        CHECK(demangle(deep) == deep);
    }
}

TEST_CASE("build ids in notes") {
    const Object object("named.elf");
    CHECK(hexadecimal(object.elf.build_id()).size() == 40);
    SUBCASE("a note that is longer than the file is none") {
        const uint8_t note[] = {4, 0, 0, 0, 0xff, 0, 0, 0, 3, 0, 0, 0, 'G', 'N', 'U', 0, 1, 2};
        CHECK(build_id_of_notes({note, sizeof(note)}).empty());
        CHECK(build_id_of_notes({}).empty());
    }
}

TEST_CASE("the checksum of debug links") {
    Crc32 crc;
    crc.add({"12345", 5});
    crc.add({"6789", 4});
    CHECK(crc.value() == 0xcbf43926);  // the check value of CRC-32
}

TEST_CASE("locations survive their key") {
    for (const Location location : {Location{1, 0}, Location{7, 0xffffffff},
                                    Location{0, 0x7fffdeadbeef}, Location{40000, 0x1234}}) {
        const Location back = Location::from_key(location.key());
        CHECK(back.module == location.module);
        CHECK(back.offset == location.offset);
    }
}

#if defined(__linux__)
namespace {

#ifdef __GNUC__
[[gnu::noinline]]
#endif
std::vector<uintptr_t> captured_below_here(CodeMap& map) {
    std::vector<uintptr_t> addresses = capture_here(map);
    CHECK(!addresses.empty());  // keeps the call from being the last thing done
    return addresses;
}

}  // namespace

TEST_CASE("the stack of this very thread") {
    CodeMap map;
    const std::vector<uintptr_t> addresses = captured_below_here(map);
    Symbolizer symbolizer(map);
    std::vector<std::string> names;
    for (const uintptr_t address : addresses) {
        names.push_back(symbolizer.symbolize(map.locate(address - 1)).name);
    }
    REQUIRE(names.size() > 3);
    CHECK(names[0].find("captured_below_here") != std::string::npos);
    CHECK(std::find(names.begin(), names.end(), "main") != names.end());
}

namespace {

#ifdef __GNUC__
[[gnu::noinline]]
#endif
size_t depth_with_locals(CodeMap& map, size_t bytes) {
    volatile char* locals = static_cast<volatile char*>(__builtin_alloca(bytes + 1));
    locals[0] = 1;
    const size_t depth = capture_here(map).size();
    locals[bytes] = 0;
    return depth;
}

}  // namespace

TEST_CASE("where in a page the stack happens to be does not matter") {
    CodeMap map;
    const size_t depth = depth_with_locals(map, 0);
    CHECK(depth > 3);
    for (size_t bytes = 0; bytes < 2 * 4096; bytes += 8) {
        REQUIRE(depth_with_locals(map, bytes) == depth);
    }
}

TEST_CASE("a recorded PE file has the names that it exports") {
    const auto symbols = pe_exports(open_file(test_data("exports.pe")));
    REQUIRE(symbols != nullptr);
    const std::vector<Function> found =
        find_functions(*symbols, {0x1000, 0x100e, 0x1020, 0x1050, 0x1070, 0x10e3, 0x10e4});
    const std::vector<std::string> names = {
        "leaf", "leaf", "with_frame", "", "with_registers", "with_registers", ""};
    for (size_t i = 0; i < names.size(); ++i) {
        CAPTURE(i);
        CHECK(found[i].name == names[i]);
    }
    CHECK_FALSE(symbols->complete());
}

TEST_CASE("modules are listed with path, range and build id; the vDSO has names") {
    CodeMap map;
    CHECK(map.refresh());
    CHECK_FALSE(map.refresh());
    const auto modules = map.modules();
    REQUIRE(modules.size() >= 2);  // a static program has no libraries
    CHECK(modules[0]->path == fs::read_symlink("/proc/self/exe"));
    Symbolizer symbolizer(map);
    bool vdso_found = false;
    for (const auto& module : modules) {
        REQUIRE(!module->code.empty());
        CHECK(module->code.front().start < module->code.back().end);
        CHECK(map.locate(module->code.front().start).module == module->id);
        CHECK((module->path == kVdsoPath || fs::path(module->path).is_absolute()));
        if (module->path == kVdsoPath) {
            vdso_found = true;
            const auto functions = symbolizer.functions(module->id).functions;
            CHECK(std::any_of(functions.begin(), functions.end(), [](const Function& function) {
                return function.name.find("clock_gettime") != std::string::npos;
            }));
        }
    }
    CHECK(vdso_found);
}

TEST_CASE("learned names fill holes and replace nothing") {
    CodeMap map;
    map.refresh();
    Symbolizer symbolizer(map);
    const auto malloc_at = reinterpret_cast<uintptr_t>(&std::malloc);
    const Location location = map.locate(malloc_at);
    const std::string before = symbolizer.symbolize(location).name;
    symbolizer.learn({{malloc_at, "another name"}});
    CHECK(symbolizer.symbolize(location).name == before);
    CHECK(symbolizer.symbolize({0, 0x1234}).name == "[generated code]");
    CHECK_FALSE(symbolizer.symbolize({0, 0x1234}).resolved);
}

TEST_CASE("memory that is not there is not copied") {
    std::vector<uint8_t> out;
    CHECK_FALSE(copy_memory(16, 64, out));
    CHECK_FALSE(copy_memory(16, SIZE_MAX, out));
    const int value = 42;
    REQUIRE(copy_memory(reinterpret_cast<uintptr_t>(&value), sizeof(value), out));
    CHECK(out[0] == 42);
}
#endif
