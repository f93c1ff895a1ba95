// Owns the search for the functions at given addresses in the symbol tables of a module: one pass,
// nothing kept but what was asked for. Knows no process and no file format.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "native/module.h"

namespace spprof::native {

struct Function {
    uint64_t start = 0;  // counted from the load bias
    uint64_t end = 0;    // 0: no function
    std::string name;    // as in the file: mangled, with the compiler's suffixes
};

// One for each of `offsets`, which ascend.
std::vector<Function> find_functions(SymbolTables& tables, const std::vector<uint64_t>& offsets);

// All of them, ascending and disjoint.
std::vector<Function> all_functions(SymbolTables& tables);

}  // namespace spprof::native
