// Reached from the signal handler. Owns the walk over native frames: no allocation, no lock, no
// TLS, and every load through a fault-tolerant Memory. Knows no ELF and no DWARF.
#pragma once

#include <cstddef>
#include <cstdint>

#include "native/registers.h"
#include "native/unwind_rule.h"

namespace spprof::native {

constexpr size_t kMaxNativeFrames = 256;

// How a walk ended. Whatever the end, the frames before it are right.
enum class End : uint8_t {
    complete,    // the outermost function was reached
    truncated,   // the caller's array is full
    no_info,     // neither unwind information nor a believable frame pointer
    bad_memory,  // a load failed, or the stack would have grown the wrong way
};

namespace detail {

enum class Step : uint8_t { called, interrupted, complete, no_info, bad_memory };

// `rt_sigreturn` as every Linux libc calls it; musl gives its own no unwind information.
template <class Architecture, class Memory>
bool at_signal_return(uintptr_t pc, const Memory& memory) noexcept {
    uintptr_t first = 0;
    uintptr_t second = 0;
    if (Architecture::kCallPushes) {
        return memory.load(pc, first) && first == 0x0f0000000fc0c748 &&
               memory.load(pc + 1, second) && second == 0x050f0000000fc0c7;
    }
    return memory.load(pc, first) && first == 0xd4000001d2801168;
}

template <class Architecture, class Memory>
Step step_signal_frame(BasicRegisters<Architecture>& r, const Memory& memory) noexcept {
    const uintptr_t ucontext = r.sp() + Architecture::kUcontextAtSignalReturn;
    return load_ucontext(ucontext, memory, r) ? Step::interrupted : Step::bad_memory;
}

// Does a call instruction end where `return_address` points?
template <class Architecture, class Memory>
bool follows_call(uintptr_t return_address, const Memory& memory) noexcept {
    uintptr_t word = 0;
    if (!memory.load(return_address - 8, word)) {
        return false;
    }
    if (!Architecture::kCallPushes) {
        const uintptr_t instruction = word >> 32;
        return instruction >> 26 == 0x25 /* bl */ ||
               (instruction & 0xfffffc1f) == 0xd63f0000 /* blr */;
    }
    const auto byte = [word](size_t from_end) {
        return static_cast<uint8_t>(word >> (8 * (8 - from_end)));
    };
    if (byte(5) == 0xe8) {  // call rel32
        return true;
    }
    // call r/m64: opcode 0xff /2, then what its mode asks for.
    for (size_t length = 2; length <= 7; ++length) {
        if (byte(length) != 0xff || (byte(length - 1) >> 3 & 7) != 2) {
            continue;
        }
        const uint8_t mode = byte(length - 1) >> 6;
        const bool index = mode != 3 && (byte(length - 1) & 7) == 4;
        const bool absolute = mode == 0 && (byte(length - 1) & 7) == 5;
        const size_t displacement = mode == 1 ? 1 : mode == 2 || absolute ? 4 : 0;
        if (length == 2 + (index ? 1U : 0U) + displacement) {
            return true;
        }
    }
    return false;
}

// Hand-written code comes without information, and keeps little on the stack: the nearest word that
// is a return address is its own. On aarch64 that is still in its register.
template <class Architecture, class Memory>
bool step_nearby(const TableSet& tables, BasicRegisters<Architecture>& r,
                 const Memory& memory) noexcept {
    constexpr size_t kWords = Architecture::kCallPushes ? 16 : 1;
    for (size_t i = 0; i < kWords; ++i) {
        uintptr_t word = r.value[Architecture::kReturnAddress];
        const uintptr_t slot = r.sp() + i * sizeof(uintptr_t);
        if (Architecture::kCallPushes && !memory.load(slot, word)) {
            return false;
        }
        word &= Architecture::kAddressMask;
        if (tables.find(word - 1) != nullptr && follows_call<Architecture>(word, memory)) {
            if (Architecture::kCallPushes) {
                r.sp() = slot + sizeof(uintptr_t);
            }
            r.pc = word;
            return true;
        }
    }
    return false;
}

template <class Architecture, class Memory>
Step step_frame_pointer(const TableSet& tables, BasicRegisters<Architecture>& r,
                        const Memory& memory) noexcept {
    const uintptr_t fp = r.fp();
    uintptr_t caller_fp = 0;
    uintptr_t return_address = 0;
    if (fp < r.sp() || fp % sizeof(uintptr_t) != 0 || !memory.load(fp, caller_fp) ||
        !memory.load(fp + sizeof(uintptr_t), return_address)) {
        return Step::no_info;
    }
    return_address &= Architecture::kAddressMask;
    if (return_address == 0) {
        return Step::complete;
    }
    // Without information a frame pointer may be any number; a return address outside all code
    // gives it away. Platforms without tables have nothing to compare with.
    if (!tables.ranges.empty() && tables.find(return_address - 1) == nullptr) {
        return Step::no_info;
    }
    r.sp() = fp + 2 * sizeof(uintptr_t);
    r.fp() = caller_fp;
    r.pc = return_address;
    return Step::called;
}

template <class Architecture, class Memory>
Step step_rule(const Rule& rule, BasicRegisters<Architecture>& r, const Memory& memory,
               bool interrupted) noexcept {
    if (rule.cfa_register >= Architecture::kRegisters ||
        rule.base_register >= Architecture::kRegisters) {
        return Step::no_info;
    }
    uintptr_t cfa = r.value[rule.cfa_register] + static_cast<uintptr_t>(intptr_t{rule.cfa_offset});
    if (rule.cfa == Cfa::dereferenced) {
        if (!memory.load(cfa, cfa)) {
            return Step::bad_memory;
        }
        cfa += static_cast<uintptr_t>(intptr_t{rule.cfa_addend});
    } else if (rule.cfa == Cfa::plt && (r.pc & 15) >= static_cast<uintptr_t>(rule.cfa_addend)) {
        cfa += 8;
    }
    // Only where no call has happened may the return address still be in its register and the stack
    // stand still. Anything else would walk in circles.
    const bool leaf = interrupted && !Architecture::kCallPushes;
    if (rule.saved[0] == kUnchanged && !leaf) {
        return Step::no_info;
    }
    if (cfa < r.sp() || (cfa == r.sp() && !leaf)) {
        return Step::bad_memory;
    }
    const uintptr_t base = r.value[rule.base_register];
    for (size_t i = 0; i < sizeof(Architecture::kSaved); ++i) {
        const int16_t saved = rule.saved[i];
        if (saved == kUnchanged) {
            continue;
        }
        uintptr_t& target = r.value[Architecture::kSaved[i]];
        if (saved == kLost) {
            target = 0;
            continue;
        }
        const bool based = (rule.based >> i & 1) != 0;
        const intptr_t distance = based ? intptr_t{saved} : intptr_t{saved} * 8;
        if (!memory.load((based ? base : cfa) + static_cast<uintptr_t>(distance), target)) {
            return Step::bad_memory;
        }
    }
    r.sp() = cfa;
    r.pc = r.value[Architecture::kReturnAddress];
    if (rule.signed_return) {
        r.pc &= Architecture::kAddressMask;
    }
    return r.pc == 0 ? Step::complete : Step::called;
}

// Where no rule is known, or the guessed one proved wrong.
template <class Architecture, class Memory>
Step step_unguided(const TableSet& tables, BasicRegisters<Architecture>& r, const Memory& memory,
                   bool interrupted) noexcept {
    if (at_signal_return<Architecture>(r.pc, memory)) {
        return step_signal_frame(r, memory);
    }
    if (interrupted && step_nearby(tables, r, memory)) {
        return Step::called;
    }
    return step_frame_pointer(tables, r, memory);
}

template <class Architecture, class Memory>
Step step(const TableSet& tables, BasicRegisters<Architecture>& r, const Memory& memory,
          bool interrupted) noexcept {
    // A return address may already belong to the next function: the call behind it never returns.
    const uintptr_t pc = interrupted ? r.pc : r.pc - 1;
    const TableSet::Range* range = tables.find(pc);
    const Rule* rule =
        range == nullptr || range->table == nullptr ? nullptr : range->table->find(pc);
    if (rule == nullptr || rule->cfa == Cfa::none) {
        return step_unguided(tables, r, memory, interrupted);
    }
    switch (rule->cfa) {
        case Cfa::end_of_stack:
            return Step::complete;
        case Cfa::signal_frame:
            return step_signal_frame(r, memory);
        case Cfa::guessed: {
            BasicRegisters<Architecture> caller = r;
            if (step_rule(*rule, caller, memory, interrupted) == Step::called &&
                tables.find(caller.pc - 1) != nullptr &&
                follows_call<Architecture>(caller.pc, memory)) {
                r = caller;
                return Step::called;
            }
            return step_unguided(tables, r, memory, interrupted);
        }
        default:
            return step_rule(*rule, r, memory, interrupted);
    }
}

}  // namespace detail

// Walks from `r` outwards. out[0] is the interrupted pc, every further entry a return address; the
// function of out[i > 0] is the one that contains out[i] - 1. That holds for a frame which another
// signal interrupted, too: its pc is given plus one. Returns the number of entries.
template <class Architecture, class Memory>
size_t unwind(const TableSet& tables, BasicRegisters<Architecture> r, const Memory& memory,
              uintptr_t* out, size_t max, End* end) noexcept {
    size_t count = 0;
    bool interrupted = true;
    while (count < max) {
        out[count] = interrupted && count > 0 ? r.pc + 1 : r.pc;
        ++count;
        switch (detail::step(tables, r, memory, interrupted)) {
            case detail::Step::called:
                interrupted = false;
                break;
            case detail::Step::interrupted:
                interrupted = true;
                break;
            case detail::Step::complete:
                *end = End::complete;
                return count;
            case detail::Step::no_info:
                *end = End::no_info;
                return count;
            case detail::Step::bad_memory:
                *end = End::bad_memory;
                return count;
        }
    }
    *end = End::truncated;
    return count;
}

}  // namespace spprof::native
