// Stacks made up by chance, walked with and without what the walk before has left.
#include "native/recent_steps.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <cstring>
#include <memory>
#include <random>
#include <vector>

#include "native/unwind.h"

using namespace spprof::native;

namespace {

constexpr uintptr_t kCode = 0x400000;
constexpr uintptr_t kBytesOfFunction = 16;
constexpr uintptr_t kStack = 0x7ffe00000000;
constexpr size_t kStackWords = 1 << 14;

// A stack without holes.
struct StackMemory {
    std::vector<uintptr_t> words = std::vector<uintptr_t>(kStackWords);
    mutable size_t loads = 0;
    mutable size_t copies = 0;

    uintptr_t& at(uintptr_t address) { return words.at((address - kStack) / 8); }
    bool load(uintptr_t address, uintptr_t& value) const noexcept {
        ++loads;
        return read(address, &value, 1);
    }
    bool copy(uintptr_t address, void* target, size_t bytes) const noexcept {
        ++copies;
        return read(address, target, bytes / 8);
    }

private:
    bool read(uintptr_t address, void* target, size_t count) const noexcept {
        const uintptr_t first = (address - kStack) / 8;
        if (address < kStack || address % 8 != 0 || first + count > kStackWords) {
            return false;
        }
        std::memcpy(target, &words[first], count * 8);
        return true;
    }
};

template <class Architecture>
struct World {
    static constexpr size_t kFunctions = 40;
    static constexpr size_t kSlots = sizeof(Architecture::kSaved);

    std::mt19937 chance;
    std::vector<Rule> rules;
    CodeSnapshot code;
    RuleCache cache;
    std::unique_ptr<RecentSteps> recent{new RecentSteps()};
    StackMemory memory;
    BasicRegisters<Architecture> registers;

    explicit World(unsigned seed) : chance(seed) {
        code.ranges.push_back({kCode, kCode + (kFunctions + 1) * kBytesOfFunction, {}, 1});
        for (size_t i = 0; i < kFunctions; ++i) {
            rules.push_back(make_rule());
        }
        keep_rules();
    }

    size_t below(size_t limit) { return chance() % limit; }
    bool one_in(size_t many) { return below(many) == 0; }

    uintptr_t return_address(size_t function) const {
        return kCode + function * kBytesOfFunction + 8;
    }

    void keep_rules() {
        for (size_t i = 0; i < kFunctions; ++i) {
            cache.keep(return_address(i) - 1, code.version, rules[i]);
        }
        Rule end;
        end.cfa = Cfa::end_of_stack;
        cache.keep(return_address(kFunctions) - 1, code.version, end);
        cache.keep(return_address(0), code.version, rules[0]);  // where the thread is interrupted
    }

    // Function 0 is the innermost one of every stack, and by the stack pointer, as every fourth.
    Rule make_rule() {
        Rule rule;
        const bool by_frame = !rules.empty() && one_in(4);
        const size_t words = 2 + below(one_in(5) ? 60 : 14);
        rule.cfa = Cfa::register_offset;
        rule.cfa_register = by_frame ? Architecture::kFramePointer : Architecture::kStackPointer;
        rule.cfa_offset = static_cast<int32_t>(8 * words);
        std::vector<int16_t> places;
        for (size_t i = 1; i <= words; ++i) {
            places.push_back(static_cast<int16_t>(-static_cast<int>(i)));
        }
        if (one_in(2)) {
            std::shuffle(places.begin(), places.end(), chance);
        }
        for (size_t i = 0; i < kSlots && i < places.size(); ++i) {
            if (i == 0 || one_in(2)) {
                rule.saved[i] = places[i];
            } else if (one_in(8)) {
                rule.saved[i] = kLost;
            }
        }
        if (one_in(10) && !by_frame) {
            rule.based = 2;  // counts from a register, and is not taken quickly
            rule.base_register = Architecture::kStackPointer;
            rule.saved[1] = 8;
        }
        return rule;
    }

    bool saves_frame(const Rule& rule) const {
        return rule.saved[1] != kUnchanged && rule.saved[1] != kLost && rule.based == 0;
    }

    // Lays out a stack of these functions, innermost first.
    void lay_out(const std::vector<size_t>& functions) {
        uintptr_t sp = kStack + 64 * 8;
        registers = {};
        for (uintptr_t& value : registers.value) {
            value = chance();
        }
        registers.sp() = sp;
        registers.pc = return_address(0);
        for (size_t i = 0; i < functions.size(); ++i) {
            const Rule& rule = rules[functions[i]];
            const uintptr_t cfa = sp + static_cast<uintptr_t>(rule.cfa_offset);
            const size_t caller = i + 1 < functions.size() ? functions[i + 1] : kFunctions;
            for (uintptr_t at = sp; at < cfa; at += 8) {
                memory.at(at) = chance();
            }
            const auto put = [&](size_t slot, uintptr_t value) {
                memory.at(cfa + static_cast<uintptr_t>(intptr_t{rule.saved[slot]} * 8)) = value;
            };
            put(0, return_address(caller));
            if (saves_frame(rule) && caller < kFunctions) {
                put(1, cfa);  // by which its frame is found, if that is its way
            }
            sp = cfa;
        }
    }

    std::vector<size_t> some_functions(size_t count) {
        std::vector<size_t> functions{0};
        while (functions.size() < count) {
            const size_t next = 1 + below(kFunctions - 1);
            const bool by_frame = rules[next].cfa_register == Architecture::kFramePointer;
            if (!by_frame || saves_frame(rules[functions.back()])) {
                functions.push_back(next);
            }
        }
        return functions;
    }

    struct Walk {
        std::vector<uintptr_t> addresses;
        End end;
        bool operator==(const Walk& other) const {
            return addresses == other.addresses && end == other.end;
        }
    };

    Walk walk(RecentSteps* steps) {
        UnwindContext context(code, cache);
        context.recent = steps;
        Walk result{std::vector<uintptr_t>(256), End::bad_memory};
        result.addresses.resize(
            unwind(context, registers, memory, result.addresses.data(), 256, &result.end));
        return result;
    }

    bool same_both_ways() { return walk(nullptr) == walk(recent.get()); }
};

template <class Architecture>
void walk_stacks_that_change(unsigned seed) {
    World<Architecture> world(seed);
    std::vector<size_t> functions = world.some_functions(30);
    size_t complete = 0;
    for (int round = 0; round < 2000; ++round) {
        // Most of the outer part stays, as in a program.
        const size_t kept = world.one_in(10) ? 0 : world.below(functions.size());
        std::vector<size_t> next = world.some_functions(1 + world.below(40));
        const auto outer = functions.end() - static_cast<std::ptrdiff_t>(kept);
        const bool joins =
            kept > 0 && (world.rules[*outer].cfa_register != Architecture::kFramePointer ||
                         world.saves_frame(world.rules[next.back()]));
        if (joins) {
            next.insert(next.end(), outer, functions.end());
        }
        functions = next;
        world.lay_out(functions);
        if (world.one_in(20)) {  // a word that somebody overwrote
            world.memory.words[64 + world.below(400)] = world.chance();
        }
        if (world.one_in(50)) {  // code went, and other code came
            ++world.code.version;
            for (Rule& rule : world.rules) {
                if (&rule != &world.rules[0] && world.one_in(3)) {
                    rule = world.make_rule();
                }
            }
            world.keep_rules();
        }
        REQUIRE(world.same_both_ways());
        REQUIRE(world.same_both_ways());
        complete += world.walk(nullptr).end == End::complete ? 1 : 0;
    }
    CHECK(complete > 1000);
}

}  // namespace

TEST_CASE("a walk that remembers the one before is the same walk") {
    for (unsigned seed = 1; seed <= 5; ++seed) {
        walk_stacks_that_change<X86_64>(seed);
        walk_stacks_that_change<Aarch64>(seed);
    }
}

TEST_CASE("frames that stand as they stood are passed by one access each") {
    World<X86_64> world(7);
    for (Rule& rule : world.rules) {
        rule = Rule{};
        rule.cfa = Cfa::register_offset;
        rule.cfa_register = X86_64::kStackPointer;
        rule.cfa_offset = 64;
        std::fill(rule.saved, rule.saved + 7, kUnchanged);
        for (int16_t slot = 0; slot < 7; ++slot) {
            rule.saved[slot] = static_cast<int16_t>(-1 - slot);
        }
    }
    ++world.code.version;
    world.keep_rules();
    std::vector<size_t> functions = world.some_functions(50);
    world.lay_out(functions);
    CHECK(world.walk(world.recent.get()).addresses.size() == 51);
    world.memory.loads = world.memory.copies = 0;
    CHECK(world.walk(world.recent.get()).addresses.size() == 51);
    CHECK(world.memory.copies == 49);
    CHECK(world.memory.loads == 7);  // the innermost one is searched for
    SUBCASE("more than are remembered") {
        functions = world.some_functions(RecentSteps::kMost + 50);
        world.lay_out(functions);
        CHECK(world.same_both_ways());
        world.memory.copies = 0;
        CHECK(world.same_both_ways());
        CHECK(world.memory.copies == RecentSteps::kMost);
    }
    SUBCASE("nothing is remembered of another version of the code") {
        ++world.code.version;
        world.keep_rules();
        world.memory.copies = 0;
        CHECK(world.same_both_ways());
        CHECK(world.memory.copies == 0);
    }
}

TEST_CASE("a step that leads nowhere is left to those who look closely") {
    Rule rule;
    rule.cfa = Cfa::register_offset;
    rule.cfa_register = X86_64::kStackPointer;
    rule.cfa_offset = 16;
    rule.saved[0] = -1;
    rule.saved[1] = -2;
    QuickStep step{};
    StackMemory memory;
    BasicRegisters<X86_64> r;
    r.sp() = kStack + 80;
    memory.at(kStack + 80) = 0xb0b;
    memory.at(kStack + 88) = 0x1234;
    REQUIRE(step.fit<X86_64>(rule));
    SUBCASE("it leads to the caller") {
        CHECK(step.take(r, memory));
        CHECK(r.pc == 0x1234);
        CHECK(r.fp() == 0xb0b);
        CHECK(r.sp() == kStack + 96);
    }
    SUBCASE("what it needs is not there") {
        r.sp() = kStack + kStackWords * 8 - 8;
        CHECK_FALSE(step.take(r, memory));
        CHECK(r.sp() == kStack + kStackWords * 8 - 8);
    }
    SUBCASE("there is no caller") {
        memory.at(kStack + 88) = 0;
        CHECK_FALSE(step.take(r, memory));
        CHECK(r.fp() == 0);
    }
    SUBCASE("the stack would grow the wrong way") {
        rule.cfa_register = X86_64::kFramePointer;
        REQUIRE(step.fit<X86_64>(rule));
        r.fp() = kStack + 16;
        CHECK_FALSE(step.take(r, memory));
    }
    SUBCASE("rules of other kinds do not fit") {
        Rule other = rule;
        other.cfa = Cfa::dereferenced;
        CHECK_FALSE(step.fit<X86_64>(other));
        other = rule;
        other.saved[0] = kUnchanged;
        CHECK_FALSE(step.fit<X86_64>(other));
        other = rule;
        other.saved[2] = -20;  // far from the others
        CHECK_FALSE(step.fit<X86_64>(other));
        other = rule;
        other.signed_return = true;
        CHECK_FALSE(step.fit<X86_64>(other));
    }
}
