// Reached from the signal handler. Loads that fail instead of crashing: the one instruction that
// may fault is known to the fault handler (platform.h: FaultGuard), which makes it report failure.
#pragma once

#include <cstddef>
#include <cstdint>

namespace spprof::platform {

// Copies `words` machine words; false when any of them cannot be read (what was copied until then
// is undefined).
extern "C" bool spprof_safe_copy(const void* source, void* target, std::size_t words) noexcept;

#if defined(__linux__)
// The same by a system call, which takes a hundred times as long and cannot fault.
__attribute__((cold, noinline)) bool copy_by_system_call(std::uintptr_t address, void* target,
                                                         std::size_t words) noexcept;

// Whether the calling thread loads by system calls: one that cannot take a fault, because it has
// blocked the signal or has no stack for its handler. (Not `thread_local`, which would be a call.)
extern __thread bool loads_by_system_call __attribute__((tls_model("initial-exec")));

// Threads of ours have faults blocked, or one that somebody sends to the process might be handled
// there by a handler of the program's; so they load by system calls. While this lives they do not:
// for many loads at once.
class ManyLoads {
public:
    ManyLoads() noexcept;
    ~ManyLoads();
    ManyLoads(const ManyLoads&) = delete;
    ManyLoads& operator=(const ManyLoads&) = delete;

private:
    bool opened_;
};
#else
class ManyLoads {
public:
    ManyLoads() noexcept {}
    ~ManyLoads() {}  // not trivial: it is not unused where it stands
};
#endif

// Only meaningful while FaultGuard::armed(): otherwise a bad address is an ordinary crash.
struct SafeMemory {
    bool load(std::uintptr_t address, std::uintptr_t& value) const noexcept {
        return copy_words(address, &value, 1);
    }

    // `bytes` is rounded up to whole words: the target must have room for them.
    bool copy(std::uintptr_t address, void* target, std::size_t bytes) const noexcept {
        return copy_words(address, target,
                          (bytes + sizeof(std::uintptr_t) - 1) / sizeof(std::uintptr_t));
    }

private:
    static bool copy_words(std::uintptr_t address, void* target, std::size_t words) noexcept {
#if defined(__linux__)
        if (__builtin_expect(loads_by_system_call, 0)) {
            return copy_by_system_call(address, target, words);
        }
#endif
        return spprof_safe_copy(reinterpret_cast<const void*>(address), target, words);
    }
};

}  // namespace spprof::platform
