// Reached from the signal handler. Loads that fail instead of crashing: the one instruction that
// may fault is known to the fault handler (platform.h: FaultGuard), which makes it report failure.
#pragma once

#include <cstddef>
#include <cstdint>

namespace spprof::platform {

// Copies `words` machine words; false when any of them cannot be read (what was copied until then
// is undefined).
extern "C" bool spprof_safe_copy(const void* source, void* target, std::size_t words) noexcept;

// Only meaningful while FaultGuard::armed(): otherwise a bad address is an ordinary crash.
struct SafeMemory {
    bool load(std::uintptr_t address, std::uintptr_t& value) const noexcept {
        return spprof_safe_copy(reinterpret_cast<const void*>(address), &value, 1);
    }

    // `bytes` is rounded up to whole words: the target must have room for them.
    bool copy(std::uintptr_t address, void* target, std::size_t bytes) const noexcept {
        return spprof_safe_copy(reinterpret_cast<const void*>(address), target,
                                (bytes + sizeof(std::uintptr_t) - 1) / sizeof(std::uintptr_t));
    }
};

}  // namespace spprof::platform
