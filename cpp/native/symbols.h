// Owns the names of machine code: from a location to symbol and module. Never used by the handler.
// Knows no DWARF line tables: those are read by the Python package, when wanted.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <unordered_map>
#include <vector>

#include "native/call_frame_info.h"
#include "native/symbol_file.h"
#include "native/unwind_tables.h"

namespace spprof::native {

struct Symbol {
    std::string name;    // readable; "libfoo.so+0x1230" (its function's start) when not resolved
    std::string module;  // path; "" for generated code
    uint64_t module_offset = 0;    // behind the module's load bias, as in its file
    uint64_t function_offset = 0;  // behind the start of the function
    bool resolved = false;
};

// A function that has no symbol but whose name is known from elsewhere: a builtin of a stripped
// interpreter, found through its method tables.
struct KnownFunction {
    uintptr_t address;  // its first instruction
    std::string name;
};

// Reads a module's symbols once. Not thread-safe.
class Symbolizer {
public:
    explicit Symbolizer(const UnwindTables& tables) : tables_(tables) {}

    // `location` lies in the function: for a caller that is its return address minus one.
    Symbol symbolize(const Location& location);

    // Names win over nothing only: a symbol of the file is never replaced.
    void learn(const std::vector<KnownFunction>& functions);

    // A module's functions and code ranges, offsets behind its load bias. Empty for id 0.
    const FunctionTable& functions(uint32_t module);
    const std::vector<CodeRange>& code(uint32_t module);

    enum class Origin : uint8_t {
        none,
        symbol,   // of the file, as it stands there
        learned,  // told by learn()
    };
    struct Name {
        Origin origin = Origin::none;
        std::string text;
        uint64_t start = 0;  // of the code that the name stands for
    };
    // What is at `offset`. A part that the compiler split off has the name of the function that
    // jumps to it; so has a nameless function to which only functions with learned names jump.
    Name name(uint32_t module, uint64_t offset);

    // Lets go of symbol tables; what was learned is kept.
    void release() { names_.clear(); }

private:
    struct Names {
        FunctionTable functions;
        std::vector<CodeRange> code;
        bool code_read = false;
        // By the start of a nameless range.
        std::unordered_map<uint64_t, uint64_t> owners;     // start of the function it is a part of
        std::unordered_map<uint64_t, std::string> called;  // name of who jumps to it
        bool jumps_read = false;
    };

    std::shared_ptr<const Module> module(uint32_t id);
    Names& names(uint32_t module);
    void read_jumps(uint32_t module);
    const std::string* learned(uint32_t module, uint64_t start) const;

    const UnwindTables& tables_;
    std::vector<std::shared_ptr<const Module>> modules_;
    std::unordered_map<uint32_t, Names> names_;
    std::unordered_map<uint32_t, std::map<uint64_t, std::string>> learned_;
};

}  // namespace spprof::native
