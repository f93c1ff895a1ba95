// Reached from a visit of a thread: no allocation, no lock, every load through a fault-tolerant
// Memory, and a bound on their number. Owns the unwind information of Windows on x86-64: finds the
// function of an address in a module's `.pdata`, and in its UNWIND_INFO the rule that holds there.
// Knows no process and no file: it reads addresses, and what it finds there may be anything.
//
// The format: "x64 exception handling" in Microsoft's documentation.
#pragma once

#include <cstddef>
#include <cstdint>

#include "native/call_frame_info.h"
#include "native/registers.h"
#include "native/unwind_rule.h"

namespace spprof::native {

template <class Memory>
class PeUnwindInfo {
public:
    PeUnwindInfo(const Memory& memory, const UnwindInfo& table) : view_(memory), table_(table) {}

    // What holds at `pc`; Cfa::none where nothing can be known. A function that is not in the table
    // has not touched the stack.
    Rule rule_at(uintptr_t pc) {
        Function function;
        bool found = false;
        if (pc < table_.module || pc - table_.module > UINT32_MAX) {
            return {};
        }
        const auto offset = static_cast<uint32_t>(pc - table_.module);
        if (!find(offset, function, found)) {
            return {};
        }
        if (!found) {
            return Frame().rule();
        }
        Frame ending;
        return in_epilogue(pc, function, ending) ? ending.rule()
                                                 : rule_of(function, offset - function.begin);
    }

    // The entry that `pc` is in, by addresses. False where it is in none.
    bool range_at(uintptr_t pc, CodeRange& range) {
        Function function;
        bool found = false;
        Header header;
        if (pc < table_.module || pc - table_.module > UINT32_MAX ||
            !find(static_cast<uint32_t>(pc - table_.module), function, found) || !found) {
            return false;
        }
        const bool elsewhere = (function.info & 1) != 0;
        if (!elsewhere && !read_header(table_.module + function.info, header)) {
            return false;
        }
        range.start = table_.module + function.begin;
        range.end = table_.module + function.end;
        range.entry = !elsewhere && !header.chained;
        return true;
    }

private:
    struct Function {
        uint32_t begin = 0, end = 0, info = 0;
    };
    static constexpr uint64_t kFunctionBytes = 12;
    static constexpr int kMostChained = 32;
    static constexpr uint32_t kWholePrologue = UINT32_MAX;

    // Microsoft's numbers of registers, as DWARF's.
    static constexpr uint8_t kDwarf[] = {0, 2, 1, 3, 7, 6, 4, 5, 8, 9, 10, 11, 12, 13, 14, 15};

    // A frame that is being taken down: where the stack pointer has come to, counted from what a
    // register holds, and which registers lie where, counted from the same.
    struct Frame {
        uint8_t base = X86_64::kStackPointer;
        int64_t at = 0;
        int64_t saved[sizeof(X86_64::kSaved)] = {};
        uint32_t has = 0;  // bit i: saved[i]

        void keep(uint8_t windows_number, int64_t place) {
            const int slot = slot_of<X86_64>(kDwarf[windows_number & 15]);
            if (slot >= 0) {
                saved[slot] = place;
                has |= 1u << slot;
            }
        }
        // The return address is where the stack pointer has come to.
        Rule rule() const {
            Rule rule;
            const int64_t cfa = at + 8;
            if (cfa > INT32_MAX || cfa < INT32_MIN) {
                return rule;
            }
            for (size_t slot = 0; slot < sizeof(X86_64::kSaved); ++slot) {
                if ((has >> slot & 1) == 0) {
                    continue;
                }
                const int64_t words = (saved[slot] - cfa) / 8;
                if ((saved[slot] - cfa) % 8 != 0 || words <= kLost || words > INT16_MAX) {
                    return rule;
                }
                rule.saved[slot] = static_cast<int16_t>(words);
            }
            rule.saved[slot_of<X86_64>(X86_64::kReturnAddress)] = -1;
            rule.cfa = Cfa::register_offset;
            rule.cfa_register = base;
            rule.cfa_offset = static_cast<int32_t>(cfa);
            return rule;
        }
    };

    struct Header {
        uint8_t version = 0, prologue = 0, codes = 0;
        uint8_t frame_register = 0;  // Microsoft's number; 0: none
        int64_t frame_offset = 0;
        bool chained = false;
    };

    // One thing that was done in the prologue, and where that was complete.
    enum Operation : uint8_t {
        kPush = 0,
        kAllocateLarge = 1,
        kAllocateSmall = 2,
        kSetFrameRegister = 3,
        kSave = 4,
        kSaveFar = 5,
        kEpilogues = 6,  // in the first version a register of another kind is saved
        kSpare = 7,      // the same
        kSaveVector = 8,
        kSaveVectorFar = 9,
    };
    struct Code {
        uint8_t done_at = 0, operation = 0, info = 0;
        uint32_t operand = 0;
        unsigned entries = 1;
    };

    bool read_function(uint64_t address, Function& function) {
        return view_.read(address, function.begin) && view_.read(address + 4, function.end) &&
               view_.read(address + 8, function.info);
    }

    // False where the table cannot be read. It is in the order of addresses.
    bool find(uint32_t offset, Function& function, bool& found) {
        uint64_t low = 0, high = table_.size / kFunctionBytes;
        while (low < high) {
            const uint64_t middle = low + (high - low) / 2;
            uint32_t begin = 0;
            if (!view_.read(table_.address + middle * kFunctionBytes, begin)) {
                return false;
            }
            if (begin <= offset) {
                low = middle + 1;
            } else {
                high = middle;
            }
        }
        if (low == 0) {
            return true;
        }
        if (!read_function(table_.address + (low - 1) * kFunctionBytes, function)) {
            return false;
        }
        found = offset < function.end;
        return true;
    }

    bool read_header(uint64_t info, Header& header) {
        constexpr uint8_t kChained = 4;
        uint8_t first = 0, frame = 0;
        if (!view_.read(info, first) || !view_.read(info + 1, header.prologue) ||
            !view_.read(info + 2, header.codes) || !view_.read(info + 3, frame)) {
            return false;
        }
        header.version = first & 7;
        header.chained = (first >> 3 & kChained) != 0;
        header.frame_register = frame & 15;
        header.frame_offset = int64_t{frame >> 4} * 16;
        return header.version == 1 || header.version == 2;
    }

    bool read_code(uint64_t at, uint8_t version, Code& code) {
        uint8_t both = 0;
        if (!view_.read(at, code.done_at) || !view_.read(at + 1, both)) {
            return false;
        }
        code.operation = both & 15;
        code.info = both >> 4;
        const bool first_version = version == 1;
        switch (code.operation) {
            case kAllocateLarge:
                code.entries = code.info == 0 ? 2 : 3;
                break;
            case kSave:
            case kSaveVector:
                code.entries = 2;
                break;
            case kSaveFar:
            case kSaveVectorFar:
                code.entries = 3;
                break;
            case kEpilogues:
                code.entries = first_version ? 2 : 1;
                break;
            case kSpare:
                code.entries = first_version ? 3 : 2;
                break;
            default:
                break;
        }
        uint16_t half = 0;
        if (code.entries == 3) {
            return view_.read(at + 2, code.operand);
        }
        if (code.entries == 2 && !view_.read(at + 2, half)) {
            return false;
        }
        code.operand = half;
        return true;
    }

    // What was done of the prologue is undone, last things first.
    Rule rule_of(Function function, uint32_t offset) {
        Frame frame;
        for (int i = 0; i < kMostChained; ++i) {
            if ((function.info & 1) != 0) {  // it is told with another function
                if (!read_function(table_.module + (function.info & ~1u), function)) {
                    return {};
                }
                continue;
            }
            const uint64_t info = table_.module + function.info;
            Header header;
            if (!read_header(info, header) || !undo(info + 4, header, offset, frame)) {
                return {};
            }
            if (!header.chained) {
                return frame.rule();
            }
            if (!read_function(info + 4 + 2 * ((header.codes + 1u) & ~1u), function)) {
                return {};
            }
            offset = kWholePrologue;
        }
        return {};
    }

    // Whether the frame register holds what it is for at this place. False where it cannot be read.
    bool is_framed(uint64_t codes, const Header& header, uint32_t offset, bool& framed) {
        framed = header.frame_register != 0 && (offset >= header.prologue || header.chained);
        Code code;
        for (unsigned i = 0; i < header.codes && !framed; i += code.entries) {
            code = {};
            if (!read_code(codes + uint64_t{2} * i, header.version, code)) {
                return false;
            }
            framed = code.operation == kSetFrameRegister && offset >= code.done_at;
        }
        return true;
    }

    bool undo(uint64_t codes, const Header& header, uint32_t offset, Frame& frame) {
        bool framed = false;
        if (!is_framed(codes, header, offset, framed)) {
            return false;
        }
        // What is saved with a distance is counted from the lower end of the frame.
        const int64_t lower_end = framed ? -header.frame_offset : 0;
        if (framed && frame.base == X86_64::kStackPointer) {
            if (frame.has != 0) {
                return false;  // where that is from this register is not known
            }
            frame.base = kDwarf[header.frame_register];
            frame.at = lower_end;
        }
        Code code;
        for (unsigned i = 0; i < header.codes; i += code.entries) {
            code = {};
            if (!read_code(codes + uint64_t{2} * i, header.version, code)) {
                return false;
            }
            if (code.operation > kSaveVectorFar) {
                return false;  // a trap: the registers lie elsewhere
            }
            if (offset < code.done_at) {
                continue;
            }
            switch (code.operation) {
                case kPush:
                    frame.keep(code.info, frame.at);
                    frame.at += 8;
                    break;
                case kAllocateLarge:
                    frame.at += code.info == 0 ? int64_t{code.operand} * 8 : int64_t{code.operand};
                    break;
                case kAllocateSmall:
                    frame.at += code.info * 8 + 8;
                    break;
                case kSetFrameRegister:
                    frame.at = lower_end;
                    break;
                case kSave:
                    frame.keep(code.info, lower_end + int64_t{code.operand} * 8);
                    break;
                case kSaveFar:
                    frame.keep(code.info, lower_end + int64_t{code.operand});
                    break;
                default:  // vector registers, and where epilogues are
                    break;
            }
        }
        return true;
    }

    // An epilogue takes the frame down by a few kinds of instructions, and nothing else: what is
    // left of it from here on is run. False where something else comes: this is no epilogue.
    bool in_epilogue(uint64_t pc, const Function& function, Frame& frame) {
        constexpr int kMostInstructions = 16;
        for (int i = 0; i < kMostInstructions; ++i) {
            uint64_t bytes = 0;
            if (!view_.read(pc, bytes)) {
                return false;
            }
            const auto first = static_cast<uint8_t>(bytes);
            const bool extended = first >= 0x40 && first < 0x50;
            const auto op = static_cast<uint8_t>(extended ? bytes >> 8 : bytes);
            const auto next = static_cast<uint8_t>(extended ? bytes >> 16 : bytes >> 8);
            const unsigned prefix = extended ? 1 : 0;
            if (op >= 0x58 && op < 0x60) {  // pop
                frame.keep(static_cast<uint8_t>((op & 7) | ((first & 1) != 0 && extended ? 8 : 0)),
                           frame.at);
                frame.at += 8;
                pc += prefix + 1;
            } else if (i == 0 && first == 0x48 && op == 0x83 && next == 0xc4) {  // add rsp, byte
                frame.at += static_cast<int8_t>(bytes >> 24);
                pc += 4;
            } else if (i == 0 && first == 0x48 && op == 0x81 && next == 0xc4) {  // add rsp, long
                frame.at += static_cast<int32_t>(bytes >> 24);
                pc += 7;
            } else if (i == 0 && (first & 0xfe) == 0x48 && op == 0x8d && (next >> 3 & 7) == 4 &&
                       (next & 7) != 4 && (next >> 6 == 1 || next >> 6 == 2)) {  // lea rsp
                const bool near = next >> 6 == 1;
                frame.base = kDwarf[(next & 7) | (first & 1) << 3];
                frame.at =
                    near ? static_cast<int8_t>(bytes >> 24) : static_cast<int32_t>(bytes >> 24);
                pc += near ? 4 : 7;
            } else {
                return leaves(pc, bytes, function, i > 0);
            }
        }
        return false;
    }

    // ret, or a jump to another function.
    bool leaves(uint64_t pc, uint64_t bytes, const Function& function, bool frame_was_left) const {
        const auto first = static_cast<uint8_t>(bytes);
        if (first == 0xc3 || first == 0xc2 || (bytes & 0xffff) == 0xc3f3) {
            return true;
        }
        if (first == 0xe9 || first == 0xeb) {
            const bool near = first == 0xeb;
            const int64_t distance =
                near ? static_cast<int8_t>(bytes >> 8) : static_cast<int32_t>(bytes >> 8);
            const uint64_t target = pc + (near ? 2 : 5) + static_cast<uint64_t>(distance);
            return frame_was_left && (target < table_.module + function.begin ||
                                      target >= table_.module + function.end);
        }
        // Through a pointer; within a function that is a table of a switch.
        return frame_was_left && ((bytes & 0xffff) == 0x25ff || (bytes & 0xffffff) == 0x25ff48);
    }

    MemoryView<Memory> view_;
    const UnwindInfo table_;
};

}  // namespace spprof::native
