// Owns the reading of this process's own memory outside of the handler: what is not there, or no
// longer, is a failed read. Knows nothing of what lies there.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <vector>

namespace spprof::native {

// False when any of it cannot be read.
bool copy_memory(uintptr_t address, void* out, size_t size) noexcept;
bool copy_memory(uintptr_t address, size_t size, std::vector<uint8_t>& out);

// Words, by a copy of the page that was asked for last. For one task at a time: memory may change.
class ProcessMemory {
public:
    bool load(uintptr_t address, uintptr_t& value) const noexcept;

private:
    static constexpr size_t kPage = 4096;
    mutable uintptr_t page_ = 0;
    mutable bool readable_ = false;
    mutable std::array<uint8_t, kPage> bytes_;
};

}  // namespace spprof::native
