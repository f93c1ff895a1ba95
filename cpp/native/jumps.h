// Owns the reading of jump instructions: what tells to which function a split-off part belongs, and
// who is called by a jump. Works on bytes alone; no more of the instruction sets is known here.
#pragma once

#include <cstdint>
#include <vector>

#include "native/byte_view.h"

namespace spprof::native {

// Where the instructions in `code`, which lies at `address`, may jump to; ascending. On x86-64
// every byte may begin an instruction, so a few of the targets are none: who asks must expect that.
template <class Architecture>
std::vector<uint64_t> jump_targets(ByteView code, uint64_t address);

}  // namespace spprof::native
