// Owns the functions of one module: read from its file on disk, from the separate debug file that
// belongs to it, or from an image in memory. Knows no process.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "native/elf_image.h"

namespace spprof::native {

// The parts of a file that tell its functions, in memory. Read, never mapped: a file that shrinks
// while it is mapped kills the process.
class SymbolImage {
public:
    static std::unique_ptr<SymbolImage> of_file(const std::string& path);
    static std::unique_ptr<SymbolImage> of_bytes(std::vector<uint8_t> bytes);
    ~SymbolImage();
    SymbolImage(const SymbolImage&) = delete;
    SymbolImage& operator=(const SymbolImage&) = delete;

    const ElfImage& elf() const { return elf_; }

private:
    SymbolImage() = default;
    bool load(int file, uint64_t offset, uint64_t size);
    bool load_parts(int file);

    std::vector<uint8_t> bytes_;
    uint8_t* pages_ = nullptr;  // as large as the file; only what was loaded takes memory
    size_t size_ = 0;
    ElfImage elf_;
};

struct Function {
    uint64_t start;  // counted from the load bias
    uint64_t end;
    std::string_view name;  // as in the file: mangled, with the compiler's suffixes
};

// The functions of one module, ascending and disjoint.
class FunctionTable {
public:
    FunctionTable() = default;
    explicit FunctionTable(std::vector<std::unique_ptr<SymbolImage>> images);

    const Function* find(uint64_t offset) const;
    const std::vector<Function>& functions() const { return functions_; }
    // False for a stripped module: only what it exports has a name.
    bool complete() const { return complete_; }

private:
    std::vector<std::unique_ptr<SymbolImage>> images_;
    std::vector<Function> functions_;
    bool complete_ = false;
};

// What a file must be to belong to a loaded module.
struct ModuleIdentity {
    std::string path;
    std::string build_id;  // raw bytes; may be empty
    std::vector<ElfSegment> segments;
};

// The module's own file and its debug file, where they exist and belong to it. `debug_root` is
// "/usr/lib/debug" except in tests.
FunctionTable read_functions(const ModuleIdentity& module,
                             const std::string& debug_root = "/usr/lib/debug");

// Lower-case hexadecimal.
std::string hexadecimal(std::string_view bytes);

}  // namespace spprof::native
