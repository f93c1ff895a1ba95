// The registers of an interrupted thread, numbered as DWARF numbers them. Plain data.
#pragma once

#include <cstddef>
#include <cstdint>

namespace spprof::platform {

struct MachineRegisters {
#if defined(__aarch64__) || defined(_M_ARM64)
    static constexpr std::size_t kCount = 33;  // x0 to x30, sp, pc
    static constexpr std::size_t kStackPointer = 31;
#else
    static constexpr std::size_t kCount = 17;
    static constexpr std::size_t kStackPointer = 7;
#endif
    std::uintptr_t pc = 0;
    std::uintptr_t value[kCount] = {};
};

}  // namespace spprof::platform
