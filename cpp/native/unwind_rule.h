// Reached from the signal handler. Owns the compiled form of unwind information: which rule holds
// at which address. Reading only; unwind_tables.h builds and publishes it.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <vector>

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

// `rule` holds from `pc` (counted from the module's base) up to the next row.
struct Row {
    uint32_t pc;
    uint32_t rule;
};

// The rules of one module. Rules are shared: a module of a million rows has some thousand.
struct ModuleTable {
    uintptr_t base = 0;
    std::vector<Row> rows;    // ascending pc
    std::vector<Rule> rules;  // rules[0] is Cfa::none
    std::vector<uint32_t>
        buckets;  // first row at or behind pc = index << shift; one extra at the end
    unsigned shift = 0;

    const Rule* find(uintptr_t address) const noexcept {
        const uintptr_t pc = address - base;
        const size_t bucket = pc >> shift;
        if (address < base || bucket + 1 >= buckets.size()) {
            return nullptr;
        }
        const Row* first = rows.data() + buckets[bucket];
        const Row* last = rows.data() + buckets[bucket + 1];
        const Row* above = std::upper_bound(
            first, last, pc, [](uintptr_t value, const Row& row) { return value < row.pc; });
        if (above == rows.data()) {
            return nullptr;
        }
        return &rules[above[-1].rule];
    }
};

// Every executable range of the process at one moment, ascending.
struct TableSet {
    struct Range {
        uintptr_t start;
        uintptr_t end;
        const ModuleTable* table;  // null: no unwind information
        uint32_t module;           // Module::id
    };
    std::vector<Range> ranges;

    const Range* find(uintptr_t address) const noexcept {
        const auto above = std::upper_bound(
            ranges.begin(), ranges.end(), address,
            [](uintptr_t value, const Range& range) { return value < range.start; });
        if (above == ranges.begin() || address >= above[-1].end) {
            return nullptr;
        }
        return &above[-1];
    }
};

}  // namespace spprof::native
