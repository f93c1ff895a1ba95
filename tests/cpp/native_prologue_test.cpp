// Rules guessed from the instructions of hand-written x86-64 functions.
#include "native/prologue.h"

#include <doctest/doctest.h>

#include <memory>

#include "native/registers.h"
#include "native/unwind.h"

using namespace spprof::native;

namespace {

std::vector<GuessedRule> guess(const std::vector<uint8_t>& code) {
    return guess_rules({code.data(), code.size()});
}

// The rule that holds at an offset.
Rule rule_at(const std::vector<GuessedRule>& rules, uint64_t offset) {
    Rule rule;
    for (const GuessedRule& guessed : rules) {
        if (guessed.offset <= offset) {
            rule = guessed.rule;
        }
    }
    return rule;
}

constexpr int kRbp = 1, kRbx = 2, kR12 = 3;  // slots

}  // namespace

TEST_CASE("a leaf leaves the return address where the call put it") {
    // lea 0(,%rdx,8), %rdx; ret
    const auto rules = guess({0x48, 0x8d, 0x14, 0xd5, 0, 0, 0, 0, 0xc3});
    REQUIRE(rules.size() == 1);
    CHECK(rules[0].rule.cfa == Cfa::guessed);
    CHECK(rules[0].rule.cfa_register == X86_64::kStackPointer);
    CHECK(rules[0].rule.cfa_offset == 8);
    CHECK(rules[0].rule.saved[0] == -1);
}

TEST_CASE("registers stored below the return address, then a realigned stack") {
    const auto rules = guess({
        0x48, 0x83, 0xec, 0x60,                    //  0 sub $0x60, %rsp
        0x48, 0x89, 0x1c, 0x24,                    //  4 mov %rbx, (%rsp)
        0x48, 0x89, 0x6c, 0x24, 0x08,              //  8 mov %rbp, 8(%rsp)
        0x4c, 0x89, 0x64, 0x24, 0x10,              // 13 mov %r12, 16(%rsp)
        0xc5, 0xf8, 0x77,                          // 18 vzeroupper
        0x4c, 0x8b, 0x54, 0x24, 0x68,              // 21 mov 0x68(%rsp), %r10
        0x48, 0x89, 0xe3,                          // 26 mov %rsp, %rbx
        0x48, 0x81, 0xec, 0x80, 0x70, 0x00, 0x00,  // 29 sub $0x7080, %rsp
        0x48, 0x81, 0xe4, 0x00, 0xf0, 0xff, 0xff,  // 36 and $-4096, %rsp
        0x48, 0x83, 0xff, 0x00,                    // 43 cmp $0, %rdi
        0xc3,
    });
    CHECK(rule_at(rules, 0).cfa_offset == 8);
    CHECK(rule_at(rules, 4).cfa_offset == 0x68);
    CHECK(rule_at(rules, 4).saved[kRbx] == kUnchanged);
    CHECK(rule_at(rules, 8).saved[kRbx] == -13);
    const Rule body = rule_at(rules, 47);
    CHECK(body.cfa_register == 3);  // rbx
    CHECK(body.cfa_offset == 0x68);
    CHECK(body.saved[kRbp] == -12);
    CHECK(body.saved[kR12] == -11);
}

TEST_CASE("pushes, and the epilogue that undoes them") {
    const std::vector<uint8_t> code = {
        0x55,                    //  0 push %rbp
        0x41, 0x54,              //  1 push %r12
        0x48, 0x83, 0xec, 0x18,  //  3 sub $24, %rsp
        0x90,                    //  7 nop: the body
        0x48, 0x83, 0xc4, 0x18,  //  8 add $24, %rsp
        0x41, 0x5c,              // 12 pop %r12
        0x5d,                    // 14 pop %rbp
        0xc3,                    // 15 ret
        0x90,                    // 16 the body again
    };
    const auto rules = guess(code);
    CHECK(rule_at(rules, 1).cfa_offset == 16);
    CHECK(rule_at(rules, 1).saved[kRbp] == -2);
    CHECK(rule_at(rules, 3).saved[kR12] == -3);
    CHECK(rule_at(rules, 7).cfa_offset == 48);
    CHECK(rule_at(rules, 11).cfa_offset == 48);
    CHECK(rule_at(rules, 12).cfa_offset == 24);
    CHECK(rule_at(rules, 14).cfa_offset == 16);
    CHECK(rule_at(rules, 14).saved[kR12] == kUnchanged);
    CHECK(rule_at(rules, 15).cfa_offset == 8);
    CHECK(rule_at(rules, 16).cfa_offset == 48);
}

TEST_CASE("no rule where nothing remembers where the stack was") {
    // sub $64, %rsp; and $-64, %rsp
    CHECK(guess({0x48, 0x83, 0xec, 0x40, 0x48, 0x83, 0xe4, 0xc0, 0xc3}).empty());
}

TEST_CASE("a base register whose old value was not saved ends the prologue") {
    // mov %rsp, %rbx
    const auto rules = guess({0x48, 0x89, 0xe3, 0xc3});
    REQUIRE(rules.size() == 1);
    CHECK(rules[0].rule.cfa_register == X86_64::kStackPointer);
}

TEST_CASE("nothing of nothing") {
    CHECK(guess({}).size() == 1);
    CHECK(guess({0x48}).size() == 1);
    CHECK(guess({0x48, 0x81, 0xec}).size() == 1);
}

TEST_CASE("what takes back more of the stack than there is, or less than nothing, is no epilogue") {
    for (const uint8_t high : {uint8_t{0x80}, uint8_t{0x7f}, uint8_t{0xff}}) {
        // sub $8, %rsp; nop; add $high << 24, %rsp; ret
        const auto rules =
            guess({0x48, 0x83, 0xec, 8, 0x90, 0x48, 0x81, 0xc4, 0, 0, 0, high, 0xc3, 0x90});
        CHECK(rules.back().rule.cfa_offset == 16);
    }
}

TEST_CASE("a guess is believed only where it leads behind a call") {
    struct Memory {
        bool load(uintptr_t address, uintptr_t& value) const noexcept {
            if (address == 0x8000) {  // the guessed place
                value = guessed;
            } else if (address == 0x8008) {  // the right one
                value = 0x1105;
            } else {
                value = address == 0x1105 - 8 ? uintptr_t{0xe8} << 24 : 0;  // call behind 0x1100
            }
            return true;
        }
        uintptr_t guessed = 0;
    };
    Rule rule;
    rule.cfa = Cfa::guessed;
    rule.cfa_register = X86_64::kStackPointer;
    rule.cfa_offset = 8;
    rule.saved[0] = -1;
    Rule end;
    end.cfa = Cfa::end_of_stack;
    CodeSnapshot code;
    code.ranges.push_back({0x1000, 0x2000, {UnwindInfo::Format::eh_frame_header, 0x9000, 0}, 1});
    RuleCache cache;
    cache.keep(0x1010, code.version, Rule{});
    for (const uintptr_t pc : {0x1104, 0x117f}) {
        cache.keep(pc, code.version, end);
    }
    BasicRegisters<X86_64> registers;
    registers.pc = 0x1010;
    registers.sp() = 0x8000;
    uintptr_t out[4];
    End how = End::truncated;
    {
        UnwindContext context(code, cache);
        unwind(context, registers, Memory{}, out, 4, &how);
        CHECK(context.unknown == 0x1010);  // nobody has guessed yet
    }
    code.guessed.push_back({0x1000, 0x1100, {{0, rule}}});
    for (const uintptr_t word : {uintptr_t{0x1105}, uintptr_t{0x1180}, uintptr_t{7}}) {
        UnwindContext context(code, cache);
        REQUIRE(unwind(context, registers, Memory{word}, out, 4, &how) == 2);
        CHECK(out[1] == 0x1105);
        CHECK(how == End::complete);
        CHECK(context.unknown == 0);
    }
}
