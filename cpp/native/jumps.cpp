// Owns the reading of jump instructions.
#include "native/jumps.h"

#include <algorithm>

#include "native/registers.h"

namespace spprof::native {
namespace {

uint64_t displaced(uint64_t address, int64_t distance) {
    return address + static_cast<uint64_t>(distance);
}

// The low `bits` of `value` as a signed number.
int64_t sign_extended(uint32_t value, unsigned bits) {
    const uint64_t sign = uint64_t{1} << (bits - 1);
    const uint64_t low = value & ((uint64_t{1} << bits) - 1);
    return static_cast<int64_t>((low ^ sign) - sign);
}

}  // namespace

template <>
std::vector<uint64_t> jump_targets<X86_64>(ByteView code, uint64_t address) {
    std::vector<uint64_t> targets;
    for (uint64_t at = 0; at + 5 <= code.size(); ++at) {
        const uint8_t* byte = code.data() + at;
        uint64_t operand = 0;
        if (byte[0] == 0xe9) {  // jmp
            operand = at + 1;
        } else if (byte[0] == 0x0f && byte[1] >> 4 == 8) {  // jcc
            operand = at + 2;
        }
        int32_t distance = 0;
        if (operand != 0 && code.read(operand, distance)) {
            targets.push_back(displaced(address + operand + 4, distance));
        }
    }
    std::sort(targets.begin(), targets.end());
    return targets;
}

template <>
std::vector<uint64_t> jump_targets<Aarch64>(ByteView code, uint64_t address) {
    std::vector<uint64_t> targets;
    uint32_t word = 0;
    for (uint64_t at = 0; code.read(at, word); at += 4) {
        if (word >> 26 == 0x05) {  // b
            targets.push_back(displaced(address + at, sign_extended(word, 26) * 4));
        } else if (word >> 24 == 0x54 || (word >> 25 & 0x3f) == 0x1a) {  // b.cond, cbz, cbnz
            targets.push_back(displaced(address + at, sign_extended(word >> 5, 19) * 4));
        } else if ((word >> 25 & 0x3f) == 0x1b) {  // tbz, tbnz
            targets.push_back(displaced(address + at, sign_extended(word >> 5, 14) * 4));
        }
    }
    std::sort(targets.begin(), targets.end());
    return targets;
}

}  // namespace spprof::native
