// Reached from a visit of a thread: no allocation, no lock, every load through a fault-tolerant
// Memory, and a bound on their number. Owns macOS's compact unwind information: finds what a
// module's `__unwind_info` says of an address, and the rule that holds there. Knows no process and
// no file: it reads addresses, and what it finds there may be anything.
//
// The format: <mach-o/compact_unwind_encoding.h> of LLVM's libunwind. It says what holds in a
// function's body. Where a frame is being made or taken down is seen in the instructions to come.
// What it leaves to DWARF is read there.
#pragma once

#include <cstddef>
#include <cstdint>

#include "native/call_frame_info.h"
#include "native/registers.h"
#include "native/unwind_rule.h"

namespace spprof::native {

template <class Architecture, class Memory>
class CompactUnwindInfo {
public:
    // `budget`: how many bytes of DWARF may still be read, less afterwards.
    CompactUnwindInfo(const Memory& memory, const UnwindInfo& info, uint64_t& budget)
        : memory_(memory), view_(memory), info_(info), budget_(budget) {}

    // What holds at `pc`; Cfa::none where nothing is known.
    Rule rule_at(uintptr_t pc) {
        uint32_t encoding = 0;
        if (pc < info_.module || pc - info_.module > UINT32_MAX ||
            !find(static_cast<uint32_t>(pc - info_.module), encoding)) {
            return {};
        }
        constexpr uint32_t kDwarf = Architecture::kCallPushes ? 0x04000000 : 0x03000000;
        if ((encoding & kMode) == kDwarf) {
            return rule_of_entry(encoding & 0xffffff, pc);
        }
        return Architecture::kCallPushes ? x86_64_rule(pc, encoding) : aarch64_rule(pc, encoding);
    }

private:
    static constexpr uint32_t kMode = 0x0f000000;
    static constexpr int kReturnSlot = 0;

    // --- where it is said ------------------------------------------------------------------------

    bool read(uint64_t offset, uint32_t& value) {
        return offset <= info_.size && sizeof value <= info_.size - offset &&
               view_.read(info_.address + offset, value);
    }

    // The last of `count` entries, `stride` bytes each, whose first word under `mask` is at most
    // `wanted`; false where there is none.
    bool find_entry(uint64_t table, uint32_t count, uint32_t stride, uint32_t mask, uint32_t wanted,
                    uint64_t& entry) {
        uint32_t low = 0, high = count;
        while (low < high) {
            const uint32_t middle = low + (high - low) / 2;
            uint32_t start = 0;
            if (!read(table + uint64_t{stride} * middle, start)) {
                return false;
            }
            if ((start & mask) <= wanted) {
                low = middle + 1;
            } else {
                high = middle;
            }
        }
        entry = table + uint64_t{stride} * (low - 1);
        return low > 0;
    }

    bool find(uint32_t offset, uint32_t& encoding) {
        constexpr uint32_t kIndexEntry = 12, kRegular = 2, kCompressed = 3;
        uint32_t version = 0, index = 0, count = 0, start = 0, page = 0, kind = 0, where = 0;
        uint64_t entry = 0;
        if (!read(0, version) || version != 1 || !read(20, index) || !read(24, count) ||
            !find_entry(index, count, kIndexEntry, UINT32_MAX, offset, entry) ||
            !read(entry, start) || !read(entry + 4, page) || page == 0 || !read(page, kind) ||
            !read(page + uint64_t{4}, where)) {
            return false;
        }
        const uint64_t entries = page + uint64_t{where & 0xffff};
        if (kind == kRegular) {
            return find_entry(entries, where >> 16, 8, UINT32_MAX, offset, entry) &&
                   read(entry + 4, encoding);
        }
        uint32_t word = 0, own = 0, commons = 0, common_count = 0;
        if (kind != kCompressed ||
            !find_entry(entries, where >> 16, 4, 0xffffff, offset - start, entry) ||
            !read(entry, word) || !read(4, commons) || !read(8, common_count) ||
            !read(page + uint64_t{8}, own)) {
            return false;
        }
        const uint32_t number = word >> 24;
        if (number < common_count) {
            return read(commons + uint64_t{4} * number, encoding);
        }
        return number - common_count < own >> 16 &&
               read(page + uint64_t{own & 0xffff} + uint64_t{4} * (number - common_count),
                    encoding);
    }

    // --- what it means ---------------------------------------------------------------------------

    Rule rule_of_entry(uint64_t offset, uintptr_t pc) {
        if (offset >= info_.entries_size) {
            return {};
        }
        UnwindInfo section;
        section.format = UnwindInfo::Format::eh_frame;
        section.address = info_.entries;
        section.size = info_.entries_size;
        return CallFrameInfo<Architecture, Memory>(memory_, section, budget_)
            .rule_of_entry(info_.entries + offset, pc);
    }

    static Rule frame_rule() {
        Rule rule;
        rule.cfa = Cfa::register_offset;
        rule.cfa_register = Architecture::kFramePointer;
        rule.cfa_offset = 16;
        rule.saved[kReturnSlot] = -1;
        rule.saved[slot_of<Architecture>(Architecture::kFramePointer)] = -2;
        rule.signed_return = !Architecture::kCallPushes;
        return rule;
    }

    static Rule stack_rule(int32_t cfa_offset) {
        Rule rule;
        rule.cfa = Cfa::register_offset;
        rule.cfa_register = Architecture::kStackPointer;
        rule.cfa_offset = cfa_offset;
        if (Architecture::kCallPushes) {
            rule.saved[kReturnSlot] = -1;
        }
        rule.signed_return = !Architecture::kCallPushes;
        return rule;
    }

    Rule aarch64_rule(uintptr_t pc, uint32_t encoding) {
        constexpr uint32_t kFrameless = 0x02000000, kFrame = 0x04000000;
        switch (encoding & kMode) {
            case kFrameless:  // it calls nobody: the return address is still in its register
                return stack_rule(static_cast<int32_t>((encoding >> 12 & 0xfff) * 16));
            case kFrame:
                return has_frame(pc) ? frame_rule() : stack_rule(0);
            default:
                return {};
        }
    }

    // Before its frame is complete and after it was taken down a function's return address is in
    // its register, and the frame pointer is its caller's. A jump to another function, which may
    // follow the end of a frame, looks like any other: there the caller is missed.
    bool has_frame(uintptr_t pc) {
        constexpr int kMostInstructions = 16;
        for (int i = 0; i < kMostInstructions; ++i) {
            uint32_t word = 0;
            if (!view_.read(pc + 4 * static_cast<uintptr_t>(i), word)) {
                return true;
            }
            const bool sets_frame_pointer = (word & 0xff8003ff) == 0x910003fd;  // add x29, sp, #
            const bool loads_it = (word & 0xfe407fff) == 0xa8407bfd;            // ldp x29, x30
            const bool returns = (word & 0xfffffc1f) == 0xd65f0000 ||           // ret
                                 (word & 0xfffffbff) == 0xd65f0bff;             // retaa, retab
            const bool is_hint = (word & 0xfffff01f) == 0xd503201f;             // and paciasp
            if (sets_frame_pointer || returns) {
                return false;
            }
            // Any other change of the way of control ends what is known.
            if (loads_it || (!is_hint && (word & 0x1c000000) == 0x14000000)) {
                return true;
            }
        }
        return true;
    }

    Rule x86_64_rule(uintptr_t pc, uint32_t encoding) {
        constexpr uint32_t kFrame = 0x01000000, kStack = 0x02000000, kFarStack = 0x03000000;
        uint32_t bytes = 0;
        if (!view_.read(pc, bytes)) {
            return {};
        }
        const bool at_return = (bytes & 0xff) == 0xc3;
        switch (encoding & kMode) {
            case kFrame:
                if (at_return || bytes == 0xe5894855) {  // push %rbp; mov %rsp, %rbp
                    return stack_rule(8);
                }
                if ((bytes & 0xffffff) == 0xe58948) {
                    Rule rule = stack_rule(16);
                    rule.saved[slot_of<Architecture>(Architecture::kFramePointer)] = -2;
                    return rule;
                }
                return frame_rule();
            case kStack:
                return at_return ? stack_rule(8) : frameless_rule(encoding);
            case kFarStack:  // the size is in an instruction
            default:
                return {};
        }
    }

    // True in the function's body only: it is to be believed where it leads to a caller.
    Rule frameless_rule(uint32_t encoding) {
        const auto size = static_cast<int32_t>((encoding >> 16 & 0xff) * 8);
        const uint32_t count = encoding >> 10 & 7;
        Rule rule = stack_rule(size);
        rule.cfa = Cfa::guessed;
        constexpr uint8_t kRegisters[] = {3, 12, 13, 14, 15, 6};  // by DWARF's numbers
        uint8_t saved[6] = {};
        if (count > 6 || !unpack(encoding & 0x3ff, count, saved)) {
            return {};
        }
        for (uint32_t i = 0; i < count; ++i) {
            const int slot = slot_of<Architecture>(kRegisters[saved[i]]);
            if (slot >= 0) {
                rule.saved[slot] =
                    static_cast<int16_t>(static_cast<int>(i) - 1 - static_cast<int>(count));
            }
        }
        return rule;
    }

    // Which registers were saved, in their order, is packed into one number: each digit counts
    // those that were not named before.
    static bool unpack(uint32_t permutation, uint32_t count, uint8_t (&saved)[6]) {
        uint32_t digits[6] = {};
        for (uint32_t i = count; i-- > 0;) {
            const uint32_t base = 6 - i;
            digits[i] = permutation % base;
            permutation /= base;
        }
        bool used[6] = {};
        for (uint32_t i = 0; i < count; ++i) {
            uint32_t left = digits[i];
            uint8_t number = 0;
            while (number < 6 && (used[number] || left > 0)) {
                left -= used[number] ? 0 : 1;
                ++number;
            }
            if (number == 6) {
                return false;
            }
            used[number] = true;
            saved[i] = number;
        }
        return permutation == 0;
    }

    const Memory& memory_;
    MemoryView<Memory> view_;
    const UnwindInfo info_;
    uint64_t& budget_;
};

}  // namespace spprof::native
