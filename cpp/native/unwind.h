// Reached from the signal handler. Owns the walk over native frames: no allocation, no lock, no
// TLS, and every load through a fault-tolerant Memory. What is met for the first time is looked up
// where the module keeps it, and kept.
#pragma once

#include <cstddef>
#include <cstdint>

#include "native/call_frame_info.h"
#include "native/code_map.h"
#include "native/compact_unwind_info.h"
#include "native/pe_unwind_info.h"
#include "native/recent_steps.h"
#include "native/registers.h"
#include "native/rule_cache.h"

namespace spprof::native {

// What a walk works with.
struct UnwindContext {
    const CodeSnapshot& code;
    RuleCache& cache;
    // Bytes of unwind information that may still be read: it may be anything, and time is short.
    uint64_t budget = 131072;
    // Where the walk met code without information of which nobody has tried to guess anything. Its
    // frames from there on may be wrong: the sample is better given up, and CodeMap::Use::ask()ed.
    uintptr_t unknown = 0;
    // It met code that is not known to be loaded: the look for what was loaded since is due.
    bool outside = false;
    RecentSteps* recent = nullptr;  // of the thread whose stack it is; null: it is walked this once

    UnwindContext(const CodeSnapshot& code, RuleCache& cache) : code(code), cache(cache) {}
    explicit UnwindContext(const CodeMap::Use& use) : UnwindContext(use.code(), use.cache()) {}
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

// What stands between a call and the return of its function, where that is nothing but `add, rsp`
// and pops: running it here leads to the caller, whatever else the function did. True when that is
// a call in a module's code.
template <class Architecture, class Memory>
bool step_epilogue(const CodeSnapshot& code, BasicRegisters<Architecture>& r,
                   const Memory& memory) noexcept {
    if (!Architecture::kCallPushes) {
        return false;
    }
    // The numbers in instructions are not DWARF's.
    constexpr uint8_t kPopped[] = {0, 2, 1, 3, 7, 6, 4, 5};
    constexpr int kMostInstructions = 12;
    BasicRegisters<Architecture> caller = r;
    uintptr_t at = r.pc;
    for (int i = 0; i < kMostInstructions; ++i) {
        uintptr_t word = 0;
        uintptr_t value = 0;
        if (!memory.load(at, word) || !memory.load(caller.sp(), value)) {
            return false;
        }
        const bool extended = (word & 0xff) == 0x41;
        const auto op = static_cast<uint8_t>(extended ? word >> 8 : word);
        if ((word & 0xffffff) == 0xc48348 && (word >> 24 & 0x87) == 0) {  // add, rsp
            caller.sp() += word >> 24 & 0xff;
            at += 4;
        } else if (op >> 3 == 0x58 >> 3 && (extended || op != 0x5c)) {  // pop
            caller.value[extended ? 8 + (op & 7) : kPopped[op & 7]] = value;
            caller.sp() += sizeof(uintptr_t);
            at += extended ? 2 : 1;
        } else {
            if ((word & 0xff) != 0xc3 /* ret */ || code.find(value - 1) == nullptr ||
                !follows_call<Architecture>(value, memory)) {
                return false;
            }
            caller.sp() += sizeof(uintptr_t);
            caller.pc = value;
            r = caller;
            return true;
        }
    }
    return false;
}

// Is this the frame pointer of some function further out?
template <class Architecture, class Memory>
bool is_frame(const CodeSnapshot& code, uintptr_t fp, uintptr_t sp, const Memory& memory) noexcept {
    uintptr_t back = 0;
    return fp >= sp && fp % sizeof(fp) == 0 && fp - sp < INT32_MAX && memory.load(fp + 8, back) &&
           code.find(back - 1) != nullptr && follows_call<Architecture>(back, memory);
}

// CPython's JIT tells nobody of its code before 3.15. That keeps little on the stack above a fixed
// place, where the call is that entered it; behind that call is an epilogue. The frame pointer may
// be used for something else meanwhile, and then is among that little.
template <class Architecture, class Memory>
bool step_to_entry(const CodeSnapshot& code, BasicRegisters<Architecture>& r,
                   const Memory& memory) noexcept {
    constexpr size_t kWords = Architecture::kCallPushes ? 32 : 0;
    BasicRegisters<Architecture> entry = r;
    for (size_t i = 0; i < kWords; ++i) {
        if (!memory.load(entry.sp(), entry.pc)) {
            return false;
        }
        entry.sp() += sizeof(uintptr_t);
        // Beside it, or in the interpreter.
        const bool near = entry.pc - r.pc + INT32_MAX <= UINT32_MAX;
        BasicRegisters<Architecture> caller = entry;
        if ((!near && code.find(entry.pc) == nullptr) ||
            !follows_call<Architecture>(entry.pc, memory) || !step_epilogue(code, caller, memory)) {
            continue;
        }
        for (uintptr_t at = entry.sp() - sizeof(at);
             caller.fp() == r.fp() && at > r.sp() &&
             !is_frame<Architecture>(code, entry.fp(), caller.sp(), memory);) {
            at -= sizeof(at);
            if (!memory.load(at, entry.fp())) {
                return false;
            }
        }
        r = entry;
        return true;
    }
    return false;
}

template <class Architecture, class Memory>
Step step_frame_pointer(const CodeSnapshot& code, BasicRegisters<Architecture>& r,
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
    if (!code.ranges.empty() && code.find(return_address - 1) == nullptr) {
        return Step::no_info;
    }
    r.sp() = fp + 2 * sizeof(uintptr_t);
    r.fp() = caller_fp;
    r.pc = return_address;
    return Step::called;
}

// Hand-written code comes without information, and keeps little on the stack: the nearest word that
// is a return address is its own. On aarch64 that is still in its register. Where the frame pointer
// leads to the same one, a frame is set up already, and holds its caller's.
template <class Architecture, class Memory>
bool step_nearby(const CodeSnapshot& code, BasicRegisters<Architecture>& r,
                 const Memory& memory) noexcept {
    constexpr size_t kWords = Architecture::kCallPushes ? 16 : 1;
    for (size_t i = 0; i < kWords; ++i) {
        uintptr_t word = r.value[Architecture::kReturnAddress];
        const uintptr_t slot = r.sp() + i * sizeof(uintptr_t);
        if (Architecture::kCallPushes && !memory.load(slot, word)) {
            return false;
        }
        word &= Architecture::kAddressMask;
        if (code.find(word - 1) != nullptr && follows_call<Architecture>(word, memory)) {
            BasicRegisters<Architecture> caller = r;
            const bool framed =
                step_frame_pointer(code, caller, memory) == Step::called && caller.pc == word;
            if (Architecture::kCallPushes) {
                r.sp() = slot + sizeof(uintptr_t);
            }
            r.pc = word;
            if (framed && (caller.sp() == r.sp() || !Architecture::kCallPushes)) {
                r = caller;
            }
            return true;
        }
    }
    return false;
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

inline bool is_generated(const CodeSnapshot& code, uintptr_t pc) noexcept {
    const CodeSnapshot::Range* range = code.find(pc);
    return range == nullptr || range->unwind.format == UnwindInfo::Format::eh_frame;
}

// Where no rule is known, or the guessed one proved wrong.
template <class Architecture, class Memory>
Step step_unguided(const CodeSnapshot& code, BasicRegisters<Architecture>& r, const Memory& memory,
                   bool interrupted) noexcept {
    if (at_signal_return<Architecture>(r.pc, memory)) {
        return step_signal_frame(r, memory);
    }
    if (step_epilogue(code, r, memory) ||
        (is_generated(code, r.pc) && step_to_entry(code, r, memory))) {
        return Step::called;
    }
    if (interrupted && step_nearby(code, r, memory)) {
        return Step::called;
    }
    return step_frame_pointer(code, r, memory);
}

// The rule at `pc`, Cfa::none where there is none. Where code is not known to be loaded nothing is
// kept: it may be known the next time.
template <class Architecture, class Memory>
Rule rule_at(UnwindContext& context, uintptr_t pc, const Memory& memory) noexcept {
    Rule rule;
    const uint32_t version = context.code.version;
    if (!context.cache.find(pc, version, rule)) {
        const CodeSnapshot::Range* range = context.code.find(pc);
        if (range == nullptr) {
            context.outside = true;
            return rule;
        }
        if (range->unwind.format == UnwindInfo::Format::pe_functions) {
            rule = PeUnwindInfo<Memory>(memory, range->unwind).rule_at(pc);
        } else if (range->unwind.format == UnwindInfo::Format::compact) {
            rule = CompactUnwindInfo<Architecture, Memory>(memory, range->unwind, context.budget)
                       .rule_at(pc);
        } else {
            rule = CallFrameInfo<Architecture, Memory>(memory, range->unwind, context.budget)
                       .rule_at(pc);
        }
        if (context.budget == 0) {
            return {};
        }
        context.cache.keep(pc, version, rule);
    }
    if (rule.cfa == Cfa::none && Architecture::kCallPushes) {
        if (const CodeSnapshot::Guessed* guessed = context.code.guessed_at(pc)) {
            return guessed->rule_at(pc);
        }
        context.unknown = pc;
    }
    return rule;
}

template <class Architecture, class Memory>
Step step(UnwindContext& context, BasicRegisters<Architecture>& r, const Memory& memory,
          bool interrupted) noexcept {
    const CodeSnapshot& code = context.code;
    // A return address may already belong to the next function: the call behind it never returns.
    const uintptr_t pc = interrupted ? r.pc : r.pc - 1;
    RecentSteps* recent = interrupted ? nullptr : context.recent;
    if (recent != nullptr) {
        const QuickStep* quick = recent->find(pc, r.sp());
        if (quick != nullptr && quick->take(r, memory)) {
            return Step::called;
        }
    }
    const Rule rule = rule_at<Architecture>(context, pc, memory);
    switch (rule.cfa) {
        case Cfa::none:
            return step_unguided(code, r, memory, interrupted);
        case Cfa::end_of_stack:
            return Step::complete;
        case Cfa::signal_frame:
            return step_signal_frame(r, memory);
        case Cfa::guessed: {
            BasicRegisters<Architecture> caller = r;
            if (step_rule(rule, caller, memory, interrupted) == Step::called &&
                code.find(caller.pc - 1) != nullptr &&
                follows_call<Architecture>(caller.pc, memory)) {
                r = caller;
                return Step::called;
            }
            return step_unguided(code, r, memory, interrupted);
        }
        default:
            if (recent != nullptr) {
                recent->keep<Architecture>(pc, r.sp(), rule);
            }
            return step_rule(rule, r, memory, interrupted);
    }
}

}  // namespace detail

// Walks from `r` outwards. out[0] is the interrupted pc, every further entry a return address; the
// function of out[i > 0] is the one that contains out[i] - 1. That holds for a frame which another
// signal interrupted, too: its pc is given plus one. Returns the number of entries.
template <class Architecture, class Memory>
size_t unwind(UnwindContext& context, BasicRegisters<Architecture> r, const Memory& memory,
              uintptr_t* out, size_t max, End* end) noexcept {
    using detail::Step;
    bool interrupted = true;
    if (context.recent != nullptr) {
        context.recent->begin(context.code.version);
    }
    for (size_t count = 0; count < max;) {
        out[count] = interrupted && count > 0 ? r.pc + 1 : r.pc;
        ++count;
        const Step step = detail::step(context, r, memory, interrupted);
        interrupted = step == Step::interrupted;
        if (step != Step::called && step != Step::interrupted) {
            *end = step == Step::complete  ? End::complete
                   : step == Step::no_info ? End::no_info
                                           : End::bad_memory;
            return count;
        }
    }
    *end = End::truncated;
    return max;
}

}  // namespace spprof::native
