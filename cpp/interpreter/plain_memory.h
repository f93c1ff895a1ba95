// Reached from a visit of a thread. Loads without a net, for what the visiting thread owns itself.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>

namespace spprof::interpreter {

struct PlainMemory {
    bool load(std::uintptr_t address, std::uintptr_t& value) const noexcept {
        return copy(address, &value, sizeof value);
    }
    bool copy(std::uintptr_t address, void* target, std::size_t bytes) const noexcept {
        std::memcpy(target, reinterpret_cast<const void*>(address), bytes);
        return true;
    }
};

}  // namespace spprof::interpreter
