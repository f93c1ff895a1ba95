// Owns what the rest of native/ knows of a loaded module, whatever format it has: where its code
// is, how that is unwound, and who can tell its functions' names. Knows no format; elf_module.cpp
// is one.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "native/unwind_rule.h"

namespace spprof::native {

struct AddressRange {
    uintptr_t start = 0;
    uintptr_t end = 0;
};

// A function as one of a module's files tells it.
struct FileSymbol {
    uint64_t start = 0;  // counted from the load bias
    uint64_t size = 0;   // 0: the file does not say
    bool global = false;
    uint8_t table = 0;  // which of the files' symbol tables it comes from
    uint64_t name = 0;  // where its name is; to be asked for with SymbolTables::name
};

// The symbol tables of one module, while they are open. They are read piece by piece and never
// mapped: a file that shrinks while it is mapped ends the process.
class SymbolTables {
public:
    virtual ~SymbolTables() = default;
    virtual void each(const std::function<void(const FileSymbol&)>& visit) = 0;
    // As in the file: mangled, with the compiler's suffixes.
    virtual std::string name(const FileSymbol& symbol) = 0;
    // Where a symbol without size ends at the latest.
    virtual uint64_t latest_end(uint64_t start) = 0;
    // Where the data of this name and size is, behind the load bias; 0: nowhere.
    virtual uint64_t find_data(const std::string& name, uint64_t size) = 0;
    // False for a stripped module: only what it exports has a name.
    virtual bool complete() = 0;
};

// What the format of a module's file answers.
class ModuleFormat {
public:
    virtual ~ModuleFormat() = default;
    // Raw bytes; empty when the module carries none.
    virtual std::string build_id() const = 0;
    // Opens the module's own file and its debug file, where they exist and are still what was
    // loaded.
    virtual std::unique_ptr<SymbolTables> open_symbols() const = 0;
    // Is `other`, which was found at the same place under the same name, the same module?
    virtual bool same_as(const ModuleFormat& other) const = 0;
};

// One loaded module as it was when it was first seen. Ids are never used twice, so what was
// recorded of a module can be named after it was unloaded.
struct Module {
    uint32_t id = 0;
    std::string path;                // absolute; "[vdso]" for the kernel's own; "": generated code
    uintptr_t bias = 0;              // added to the addresses in its file
    std::vector<AddressRange> code;  // executable, ascending, bias included
    UnwindInfo unwind;
    std::unique_ptr<ModuleFormat> format;
};

// One whose code is counted from where it lies, as images tell it that are read in memory.
inline std::unique_ptr<Module> module_at(uintptr_t base, std::string path,
                                         const std::vector<AddressRange>& code) {
    auto module = std::make_unique<Module>();
    module->path = std::move(path);
    module->bias = base;
    for (const AddressRange& range : code) {
        module->code.push_back({base + range.start, base + range.end});
    }
    return module;
}

// What tells whether anything was loaded or unloaded since.
struct ModuleGeneration {
    uint64_t adds = 0;
    uint64_t subs = 0;
    bool operator==(const ModuleGeneration& other) const {
        return adds == other.adds && subs == other.subs;
    }
};

// Both take the dynamic loader's lock for a moment, and allocate nothing meanwhile: never from the
// signal handler. The modules have no ids yet.
std::vector<std::unique_ptr<Module>> loaded_modules(ModuleGeneration& generation);
ModuleGeneration module_generation();

}  // namespace spprof::native
