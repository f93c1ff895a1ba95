// Owns the guess at the frames of hand-written x86-64 functions that come without call frame
// information, such as the kernels of BLAS: from the instructions they begin with. Works on bytes
// alone.
#pragma once

#include <cstdint>
#include <vector>

#include "native/byte_view.h"
#include "native/unwind_rule.h"

namespace spprof::native {

// Where rules of a function begin; ascending. They hold up to the function's end.
struct GuessedRule {
    uint64_t offset;  // from the function's first instruction
    Rule rule;
};

// Empty when the beginning is not understood, or leaves no way back.
std::vector<GuessedRule> guess_rules(ByteView function);

}  // namespace spprof::native
