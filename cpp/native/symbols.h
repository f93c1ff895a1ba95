// Owns the names of machine code: from a location to symbol and module, for addresses that were
// seen, once in the life of the process. Never used by the handler. Knows no file format, and no
// DWARF line tables: those are read by the Python package, when wanted.
#pragma once

#include <atomic>
#include <cstdint>
#include <map>
#include <mutex>
#include <string>
#include <unordered_map>
#include <vector>

#include "native/code_map.h"
#include "native/function_search.h"
#include "native/published_code.h"

namespace spprof::native {

struct Symbol {
    std::string name;    // readable; "libfoo.so+0x1230" (its function's start) when not resolved
    std::string module;  // path; "" for generated code
    uint64_t module_offset = 0;    // behind the module's load bias, as in its file
    uint64_t function_offset = 0;  // behind the start of the function
    bool resolved = false;
    bool learned = false;  // resolved by a name that learn() was told
};

// A function that has no symbol but whose name is known from elsewhere: a builtin of a stripped
// interpreter, found through its method tables.
struct KnownFunction {
    uintptr_t address;  // its first instruction
    std::string name;
};

class Symbolizer {
public:
    explicit Symbolizer(CodeMap& map) : map_(map) {}

    // Puts a location on the list of those that will want a name. It lies in the function: for a
    // caller that is its return address minus one. Cheap.
    void want(const Location& location);

    // Looks up what is on the list, and reads files for it: all, or only as much as takes a small
    // part of the time.
    void look_up();
    void look_up_some();

    // Where code was seen that belongs to no module: tells the map who may have generated it, and
    // reads on in what was published of it.
    void look_for_makers();

    // Tells the map what can be guessed of a function that has no unwind information.
    void guess_rules_around(uintptr_t address);

    // Has something been seen without a symbol, whose name learn() may be told?
    bool wants_known_functions() const;
    // A symbol of the file is never replaced.
    void learn(const std::vector<KnownFunction>& functions);

    Symbol symbolize(const Location& location);

    struct ModuleFunctions {
        // Ascending and disjoint. What a compiler split off from a function has the same name, with
        // a symbol or without.
        std::vector<Function> functions;
        bool complete = false;  // false: a stripped module
    };
    ModuleFunctions functions(uint32_t module);

    size_t bytes() const { return bytes_.load(std::memory_order_relaxed); }

    // Around fork(), in the order of CodeMap's.
    void before_fork();
    void after_fork();

private:
    struct Known {
        uint64_t end = 0;
        std::string name;      // as in the file
        std::string readable;  // once it was asked for
    };
    // Code without a symbol, as its unwind information delimits it.
    struct Nameless {
        uint64_t end = 0;
        bool entry = false;  // false: a part of the function at `owner`, where that is not 0
        uint64_t owner = 0;
        bool asked = false;  // learn() was called since it was seen
    };
    struct Names {
        std::map<uint64_t, Known> known;  // both by start
        std::map<uint64_t, Nameless> nameless;
        std::map<uint64_t, std::string> learned;
        // Where the whole module was searched for jumps: who jumps to a nameless function.
        bool jumps_read = false;
        std::map<uint64_t, std::vector<uint64_t>> callers;
        int64_t next_look_ns = 0;
    };
    struct Name {
        std::string text;
        uint64_t start = 0;  // of the code that it stands for
        bool learned = false;
    };

    void look_up_listed(bool all);
    void look_up(const Module& module, Names& names, std::vector<uint64_t> offsets);
    void note_nameless(const Module& module, Names& names, const std::vector<uint64_t>& offsets,
                       std::vector<uint64_t>& owners);
    void read_jumps(const Module& module, Names& names, const std::vector<Function>& functions);
    Name name_at(Names& names, uint64_t offset) const;
    bool is_loaded(const Module& module) const;
    void count_bytes();

    CodeMap& map_;
    std::atomic<size_t> bytes_{0};
    std::atomic<bool> saw_generated_{false};
    std::atomic<bool> generated_wanted_{false};  // since the last look

    mutable std::mutex wanted_mutex_;
    std::unordered_map<uint32_t, std::vector<uint64_t>> wanted_;

    mutable std::mutex mutex_;  // what follows; held while files are read
    std::unordered_map<uint32_t, Names> names_;
    size_t looked_for_makers_ = 0;  // in so many modules
    PublishedCode published_;
};

}  // namespace spprof::native
