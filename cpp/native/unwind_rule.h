// Reached from the signal handler. Owns the compiled form of unwind information: how the caller's
// registers are found from where a function stands. Knows no format that such information comes in.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>

namespace spprof::native {

// How the canonical frame address (the stack pointer before the call) is found.
enum class Cfa : uint8_t {
    none,             // nothing is known here
    end_of_stack,     // the outermost function: it has no caller
    register_offset,  // register + offset
    guessed,          // the same, from a look at the instructions: to be believed with care
    dereferenced,     // load(register + offset) + addend: realigned stacks
    plt,              // linkage stub: register + offset, and 8 more from byte `addend` of 16 on
    signal_frame,     // the kernel saved all registers here
};

// Where a rule keeps a register of the caller, in 8-byte words from the CFA.
constexpr int16_t kUnchanged = INT16_MIN;
constexpr int16_t kLost = INT16_MIN + 1;

struct Rule {
    static constexpr size_t kSlots = 12;

    Cfa cfa = Cfa::none;
    uint8_t cfa_register = 0;
    uint8_t base_register = 0;  // for the slots marked in `based`
    bool signed_return = false;
    int32_t cfa_offset = 0;
    int16_t cfa_addend = 0;
    uint16_t based = 0;  // bit i: slot i counts bytes from base_register, not words from the CFA
    int16_t saved[kSlots] = {kUnchanged, kUnchanged, kUnchanged, kUnchanged,
                             kUnchanged, kUnchanged, kUnchanged, kUnchanged,
                             kUnchanged, kUnchanged, kUnchanged, kUnchanged};

    bool operator==(const Rule& other) const {
        return cfa == other.cfa && cfa_register == other.cfa_register &&
               base_register == other.base_register && signed_return == other.signed_return &&
               cfa_offset == other.cfa_offset && cfa_addend == other.cfa_addend &&
               based == other.based && std::equal(saved, saved + kSlots, other.saved);
    }
    bool operator!=(const Rule& other) const { return !(*this == other); }
};
static_assert(sizeof(Rule) == 36);

// Where unwind information of a module's code is.
struct UnwindInfo {
    enum class Format : uint8_t {
        none,
        eh_frame_header,  // `address` is that of .eh_frame_hdr, which is searched
        eh_frame,         // a short .eh_frame without one, which is read through
        pe_functions,     // `address` is that of .pdata, `size` its size
        compact,          // `address` is that of macOS's __unwind_info, `size` its size
    };
    Format format = Format::none;
    uintptr_t address = 0;
    uint64_t size = 0;   // of .eh_frame
    uint64_t moved = 0;  // what it lacks to where the section says that it is
    uintptr_t module =
        0;  // pe_functions, compact: where the module lies, from which all is counted
    uintptr_t entries = 0;  // compact: where .eh_frame is, 0: there is none
    uint64_t entries_size = 0;
};

// How a walk ended. Whatever the end, the frames before it are right.
enum class End : uint8_t {
    complete,    // the outermost function was reached
    truncated,   // the caller's array is full
    no_info,     // neither unwind information nor a believable frame pointer
    bad_memory,  // a load failed, or the stack would have grown the wrong way
};

}  // namespace spprof::native
