// Rules read out of recorded objects, and walks over stacks laid out by hand, on both architectures
// whatever the host; the cache between them, and the list of what is loaded.
#include "native/unwind.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <atomic>
#include <map>
#include <thread>

#include "native_objects.h"

using namespace spprof::native;

namespace {

constexpr uintptr_t kBase = 0x7f0000000000;
constexpr uintptr_t kStack = 0x7ffe00000000;

struct FakeMemory {
    std::map<uintptr_t, uintptr_t> words;

    bool load(uintptr_t address, uintptr_t& value) const noexcept {
        const auto found = words.find(address);
        if (found != words.end()) {
            value = found->second;
            return true;
        }
        // Code is read at any address: only whole objects are there.
        if (code != nullptr && address >= kBase && address - kBase + 8 <= code->size()) {
            return ByteView(code->data(), code->size()).read(address - kBase, value);
        }
        return ByteView(generated.data(), generated.size()).read(address - generated_at, value);
    }
    const std::vector<uint8_t>* code = nullptr;
    // In no module.
    uintptr_t generated_at = 0;
    std::vector<uint8_t> generated;
};

template <class Architecture>
struct Process {
    explicit Process(const std::string& name) : object(name) {
        code.ranges.push_back({kBase,
                               kBase + object.bytes.size(),
                               {UnwindInfo::Format::eh_frame_header, object.frame_header(kBase), 0},
                               1});
        memory.code = &object.bytes;
        registers.sp() = kStack;
    }

    uintptr_t at(const std::string& function, uintptr_t offset = 0) const {
        REQUIRE(object.address.count(function) == 1);
        return kBase + object.address.at(function) + offset;
    }

    CallFrameInfo<Architecture, FakeMemory> info() {
        return {memory, code.ranges.front().unwind, budget};
    }

    Rule rule(const std::string& function, uintptr_t offset = 0) {
        return info().rule_at(at(function, offset));
    }

    // Twice: what was looked up, and then what was kept of it.
    std::vector<uintptr_t> walk(size_t max = 256) {
        std::vector<uintptr_t> first = walk_once(max);
        CHECK(walk_once(max) == first);
        return first;
    }

    std::vector<uintptr_t> walk_once(size_t max) {
        UnwindContext context(code, cache);
        std::vector<uintptr_t> out(max);
        out.resize(unwind(context, registers, memory, out.data(), max, &end));
        unknown = context.unknown;
        return out;
    }

    void put(uintptr_t address, uintptr_t value) { memory.words[address] = value; }

    Object object;
    CodeSnapshot code;
    RuleCache cache;
    FakeMemory memory;
    BasicRegisters<Architecture> registers;
    uint64_t budget = 1 << 20;
    uintptr_t unknown = 0;
    End end = End::bad_memory;
};

using Addresses = std::vector<uintptr_t>;

}  // namespace

TEST_CASE("x86-64: rules are those of the source") {
    Process<X86_64> process("frames_x86_64.elf");
    SUBCASE("pushes move the CFA and save registers") {
        const Rule entry = process.rule("pushes");
        CHECK(entry.cfa == Cfa::register_offset);
        CHECK(entry.cfa_register == X86_64::kStackPointer);
        CHECK(entry.cfa_offset == 8);
        CHECK(entry.saved[0] == -1);
        CHECK(entry.saved[1] == kUnchanged);
        const Rule body = process.rule("pushes", 9);
        CHECK(body.cfa_offset == 280);
        CHECK(body.saved[1] == -2);
        CHECK(body.saved[2] == -3);
        CHECK(body.saved[3] == kUnchanged);
    }
    SUBCASE("a remembered state comes back") {
        CHECK(process.rule("pushes", 0x17).cfa_offset == 8);
        CHECK(process.rule("pushes", 0x18) == process.rule("pushes", 9));
    }
    SUBCASE("expressions of realigned stacks") {
        CHECK(process.rule("realigned", 5).cfa_register == 10);
        const Rule body = process.rule("realigned", 0x14);
        CHECK(body.cfa == Cfa::dereferenced);
        CHECK(body.cfa_register == X86_64::kFramePointer);
        CHECK(body.cfa_offset == -8);
        CHECK(body.base_register == X86_64::kFramePointer);
        CHECK(body.based == 0b110);
        CHECK(body.saved[1] == 0);
        CHECK(body.saved[2] == -16);
        const Rule crypto = process.rule("loaded_cfa");
        CHECK(crypto.cfa == Cfa::dereferenced);
        CHECK(crypto.cfa_offset == 40);
        CHECK(crypto.cfa_addend == 8);
    }
    SUBCASE("the linkage stub") {
        CHECK(process.rule("stub").cfa == Cfa::plt);
        CHECK(process.rule("stub").cfa_addend == 11);
    }
    SUBCASE("ends, signal frames and holes") {
        CHECK(process.rule("outermost").cfa == Cfa::end_of_stack);
        CHECK(process.rule("trampoline").cfa == Cfa::signal_frame);
        CHECK(process.rule("bare").cfa == Cfa::none);
    }
    SUBCASE("an expression that is not understood is no information") {
        CHECK(process.rule("unknown").cfa == Cfa::register_offset);
        CHECK(process.rule("unknown", 1).cfa == Cfa::none);
    }
}

TEST_CASE("code ranges tell functions from parts") {
    Process<X86_64> process("frames_x86_64.elf");
    auto info = process.info();
    std::map<uint64_t, CodeRange> ranges;
    for (uint64_t i = 0; i < info.entries(); ++i) {
        CodeRange range;
        REQUIRE(info.range_number(i, range));
        CodeRange found;
        REQUIRE(info.range_at(range.end - 1, found));
        CHECK(found.start == range.start);
        ranges[range.start] = range;
    }
    CHECK(ranges.at(process.at("pushes")).entry);
    CHECK(ranges.at(process.at("pushes")).end == process.at("realigned"));
    CHECK_FALSE(ranges.at(process.at("stub")).entry);
    CHECK_FALSE(ranges.at(process.at("split_off")).entry);
    CHECK(ranges.count(process.at("bare")) == 0);
    CodeRange range;
    CHECK_FALSE(info.range_at(process.at("bare"), range));
    CHECK_FALSE(info.range_number(info.entries(), range));
    uint64_t start = 0;
    uint64_t end = 0;
    CHECK_FALSE(info.hole_at(process.at("pushes"), start, end));
    CHECK(info.hole_at(process.at("bare"), start, end));
    CHECK(start <= process.at("bare"));
    CHECK(end > process.at("bare"));
    CodeRange neighbour;
    CHECK((start == 0 || info.range_at(start - 1, neighbour)));
}

TEST_CASE("unwind information that costs too much is none, and is not kept") {
    Process<X86_64> process("frames_x86_64.elf");
    process.budget = 8;
    CHECK(process.rule("pushes").cfa == Cfa::none);
    CHECK(process.budget == 0);
}

TEST_CASE("rules are kept by address and version") {
    RuleCache cache;
    Rule rule;
    rule.cfa = Cfa::register_offset;
    Rule found;
    CHECK_FALSE(cache.find(0, 1, found));
    CHECK_FALSE(cache.find(0x1000, 1, found));
    cache.keep(0x1000, 1, rule);
    REQUIRE(cache.find(0x1000, 1, found));
    CHECK(found == rule);
    CHECK_FALSE(cache.find(0x1000, 2, found));
    CHECK_FALSE(cache.find(0x1001, 1, found));
    SUBCASE("more addresses than there is room for take each other's place") {
        size_t kept = 0;
        for (uintptr_t pc = 0x10000; pc < 0x40000; ++pc) {
            rule.cfa_offset = static_cast<int32_t>(pc);
            cache.keep(pc, 1, rule);
            REQUIRE(cache.find(pc, 1, found));
            REQUIRE(found.cfa_offset == static_cast<int32_t>(pc));
        }
        for (uintptr_t pc = 0x10000; pc < 0x40000; ++pc) {
            if (cache.find(pc, 1, found)) {
                ++kept;
                REQUIRE(found.cfa_offset == static_cast<int32_t>(pc));
            }
        }
        CHECK(kept > 10'000);
        CHECK(kept * 64 <= RuleCache::bytes());
    }
    SUBCASE("whoever reads while others write finds a whole rule or none") {
        std::atomic<bool> stop{false};
        std::vector<std::thread> writers;
        for (int16_t mark = 1; mark <= 2; ++mark) {
            writers.emplace_back([&, mark] {
                Rule own;
                own.cfa_addend = mark;
                std::fill(std::begin(own.saved), std::end(own.saved), mark);
                while (!stop) {
                    cache.keep(0x2000, static_cast<uint32_t>(mark), own);
                }
            });
        }
        for (int i = 0; i < 200'000; ++i) {
            for (const uint32_t mark : {1U, 2U}) {
                if (cache.find(0x2000, mark, found)) {
                    const auto value = static_cast<int16_t>(mark);
                    REQUIRE(found.cfa_addend == value);
                    REQUIRE(std::count(std::begin(found.saved), std::end(found.saved), value) ==
                            Rule::kSlots);
                }
            }
        }
        stop = true;
        for (std::thread& writer : writers) {
            writer.join();
        }
    }
}

TEST_CASE("x86-64: a walk through saved, realigned and register-based frames") {
    Process<X86_64> process("frames_x86_64.elf");
    auto& r = process.registers;
    // outermost > rbx_based > realigned > pushes > leaf, built from the outside in.
    const uintptr_t outer_sp = kStack + 0x1000;
    const uintptr_t outer_rbp = 0xb0b;
    const uintptr_t outer_rbx = 0xb0b0;
    process.put(outer_sp - 8, process.at("outermost", 5));
    process.put(outer_sp - 16, outer_rbx);
    const uintptr_t based_rbx = outer_sp - 16;  // rbx = rsp after the push
    const uintptr_t based_sp = (outer_sp - 16) & ~uintptr_t{63};
    process.put(based_sp - 8, process.at("rbx_based", 13));  // call realigned
    const uintptr_t cfa = based_sp;
    const uintptr_t frame = ((cfa - 8) & ~uintptr_t{31}) - 16;  // rbp of realigned
    process.put(frame, outer_rbp);
    process.put(frame - 8, cfa);         // r10
    process.put(frame - 16, based_rbx);  // rbx
    const uintptr_t inner_sp = frame - 16;
    process.put(inner_sp - 8, process.at("realigned", 0x19));
    process.put(inner_sp - 16, frame);  // rbp
    process.put(inner_sp - 24, 0x777);  // rbx of realigned
    const uintptr_t leaf_sp = inner_sp - 280 + 8 - 8;
    process.put(leaf_sp - 8 + 0, process.at("pushes", 14));
    r.pc = process.at("leaf");
    r.sp() = leaf_sp - 8;
    r.fp() = 0x1;
    CHECK(process.walk() == Addresses{process.at("leaf"), process.at("pushes", 14),
                                      process.at("realigned", 0x19), process.at("rbx_based", 13),
                                      process.at("outermost", 5)});
    CHECK(process.end == End::complete);

    SUBCASE("no more than asked for") {
        CHECK(process.walk(3).size() == 3);
        CHECK(process.end == End::truncated);
    }
    SUBCASE("a word that cannot be loaded ends the walk, and what came before is right") {
        process.memory.words.erase(frame - 8);
        CHECK(process.walk().size() == 3);
        CHECK(process.end == End::bad_memory);
    }
    SUBCASE("a stack that turns back ends the walk") {
        process.put(frame - 8, kStack);
        CHECK(process.walk().size() == 3);
        CHECK(process.end == End::bad_memory);
    }
}

TEST_CASE("x86-64: before and behind the push of a linkage stub") {
    Process<X86_64> process("frames_x86_64.elf");
    REQUIRE(process.at("stub") % 16 == 0);
    process.put(kStack + 8, process.at("outermost", 5));
    process.put(kStack, process.at("outermost", 5));
    process.registers.pc = process.at("stub", 0);
    CHECK(process.walk().size() == 2);
    process.registers.pc = process.at("stub", 11);
    process.put(kStack, 1);  // what the stub pushed
    CHECK(process.walk() == Addresses{process.at("stub", 11), process.at("outermost", 5)});
}

TEST_CASE("a call that does not return belongs to the function before") {
    Process<X86_64> process("frames_x86_64.elf");
    // The return address is the first one behind `realigned`, where `rbx_based` begins.
    process.registers.pc = process.at("leaf");
    process.put(kStack, process.at("rbx_based"));
    process.registers.fp() = kStack + 64;
    process.put(kStack + 64 - 8, kStack + 128);  // CFA of realigned
    process.put(kStack + 64, 0);
    process.put(kStack + 64 - 16, 0);
    process.put(kStack + 128 - 8, process.at("outermost", 5));
    CHECK(process.walk() ==
          Addresses{process.at("leaf"), process.at("rbx_based"), process.at("outermost", 5)});
}

TEST_CASE("x86-64: signal frames, with information and without") {
    for (const std::string name : {"trampoline", "bare_trampoline"}) {
        Process<X86_64> process("frames_x86_64.elf");
        process.registers.pc = process.at("leaf");
        process.put(kStack, process.at(name));
        const uintptr_t ucontext = kStack + 8;
        using Layout = UcontextLayout<X86_64>;
        for (size_t i = 0; i < sizeof(Layout::kRegister); ++i) {
            process.put(ucontext + Layout::kFirst + 8 * i, 0);
        }
        const uintptr_t other_stack = 0x600000000000;  // an alternate stack may lie anywhere
        process.put(ucontext + Layout::kFirst + 15 * 8, other_stack);
        process.put(ucontext + Layout::kProgramCounter, process.at("leaf"));
        process.put(other_stack, process.at("outermost", 5));
        // The interrupted function is the one at its pc, not before: hence the plus one.
        CHECK(process.walk() == Addresses{process.at("leaf"), process.at(name),
                                          process.at("leaf") + 1, process.at("outermost", 5)});
        CHECK(process.end == End::complete);
    }
}

TEST_CASE("x86-64: code without information") {
    Process<X86_64> process("frames_x86_64.elf");
    auto& r = process.registers;
    r.pc = process.at("bare");
    SUBCASE("a leaf has its return address on top of the stack") {
        // Behind each of the calls in `bare`: 5, 2, 3, 6 and 3 bytes long.
        for (const uintptr_t offset : {6U, 8U, 11U, 17U, 20U}) {
            process.put(kStack, process.at("bare", offset));
            CHECK(process.walk(2) == Addresses{process.at("bare"), process.at("bare", offset)});
        }
    }
    SUBCASE("what it has pushed since lies before it") {
        process.put(kStack, 42);
        process.put(kStack + 8, process.at("bare", 5));  // follows no call
        process.put(kStack + 16, process.at("outermost", 5));
        CHECK(process.walk() == Addresses{process.at("bare"), process.at("outermost", 5)});
        CHECK(process.end == End::complete);
    }
    SUBCASE("what does not follow a call is no return address") {
        process.put(kStack, process.at("bare", 5));
        CHECK(process.walk().size() == 1);
        CHECK(process.end == End::no_info);
    }
    SUBCASE("a frame that it has set up holds its caller's frame pointer") {
        const uintptr_t frame = kStack + 64;
        r.fp() = kStack;
        process.put(kStack, frame);
        process.put(kStack + 8, process.at("realigned", 0x19));
        process.put(frame - 8, frame + 64);  // where its caller's frame is
        process.put(frame - 16, 0);
        process.put(frame, 0xb0b);
        process.put(frame + 56, process.at("outermost", 5));
        const Addresses whole{process.at("bare"), process.at("realigned", 0x19),
                              process.at("outermost", 5)};
        CHECK(process.walk() == whole);
        CHECK(process.end == End::complete);
        // Before it has, that is still in its register.
        r.fp() = frame;
        CHECK(process.walk() == whole);
        CHECK(process.end == End::complete);
    }
    SUBCASE("a frame pointer that leads to code is believed") {
        process.put(kStack, 42);
        r.fp() = kStack + 32;
        process.put(kStack + 32, 0);
        process.put(kStack + 40, process.at("outermost", 5));
        CHECK(process.walk() == Addresses{process.at("bare"), process.at("outermost", 5)});
        CHECK(process.end == End::complete);
    }
    SUBCASE("one that leads elsewhere is not") {
        process.put(kStack, 42);
        r.fp() = kStack + 32;
        process.put(kStack + 32, 0);
        process.put(kStack + 40, 0x1234);
        CHECK(process.walk().size() == 1);
        CHECK(process.end == End::no_info);
        process.memory.words.erase(kStack + 40);
        CHECK(process.walk().size() == 1);
        CHECK(process.end == End::no_info);
    }
}

TEST_CASE("x86-64: code of CPython's JIT, which tells nobody of it") {
    Process<X86_64> process("frames_x86_64.elf");
    auto& r = process.registers;
    process.memory.generated_at = kBase + 0x10000000;
    // Saves five registers, calls what comes behind it, restores them and returns.
    process.memory.generated = {0x41, 0x57, 0x41, 0x56, 0x41, 0x55, 0x41, 0x54, 0x53,
                                0x49, 0x89, 0xfc, 0xe8, 0x0a, 0,    0,    0,    0x5b,
                                0x41, 0x5c, 0x41, 0x5d, 0x41, 0x5e, 0x41, 0x5f, 0xc3};
    const uintptr_t entry = process.memory.generated_at + 17;
    process.memory.generated.resize(256, 0x90);
    r.pc = entry + 100;
    const uintptr_t entry_slot = kStack + 24;
    process.put(entry_slot, entry);
    const uintptr_t saved[] = {0xb, 0x12, 0x13, 0x14, 0x15};
    for (size_t i = 0; i < 5; ++i) {
        process.put(entry_slot + 8 + 8 * i, saved[i]);
    }
    const uintptr_t caller_sp = entry_slot + 56;
    process.put(kStack, 42);
    process.put(kStack + 8, entry);  // points there, but what lies around it is no frame
    process.put(kStack + 16, 43);
    process.put(caller_sp - 8, process.at("outermost", 5));
    SUBCASE("it is left by way of where it was entered") {
        process.put(kStack + 8, 44);
        CHECK(process.walk() == Addresses{r.pc, entry, process.at("outermost", 5)});
        CHECK(process.end == End::complete);
    }
    SUBCASE("what only looks like its entry is passed over") {
        CHECK(process.walk() == Addresses{r.pc, entry, process.at("outermost", 5)});
    }
    SUBCASE("so it is in the middle of its end") {
        r.pc = entry + 3;
        r.sp() = entry_slot + 24;
        CHECK(process.walk() == Addresses{r.pc, process.at("outermost", 5)});
    }
    SUBCASE("nothing is believed that does not lead to a call") {
        process.put(caller_sp - 8, process.at("bare", 5));
        CHECK(process.walk().size() == 1);
        CHECK(process.end == End::no_info);
        process.put(caller_sp - 8, process.at("outermost", 5));
        process.memory.generated[26] = 0x90;  // no return behind the pops
        process.put(kStack + 8, 44);
        CHECK(process.walk() != Addresses{r.pc, entry, process.at("outermost", 5)});
    }
    SUBCASE("a frame pointer that it put aside is found for who needs it") {
        const uintptr_t frame = caller_sp + 16;
        process.put(caller_sp - 8, process.at("realigned", 0x19));
        process.put(frame, 0xb0b);
        process.put(frame - 8, frame + 64);  // where its caller's frame is
        process.put(frame - 16, 0);
        process.put(frame + 8, process.at("outermost", 5));
        process.put(frame + 56, process.at("outermost", 5));
        process.put(kStack + 8, 44);
        process.put(kStack + 16, frame);
        r.fp() = 0x1111;
        const Addresses whole{r.pc, entry, process.at("realigned", 0x19),
                              process.at("outermost", 5)};
        CHECK(process.walk() == whole);
        CHECK(process.end == End::complete);
        r.fp() = frame;
        process.put(kStack + 16, 43);
        CHECK(process.walk() == whole);
        r.fp() = 0x1111;
        CHECK(process.walk().size() == 3);
        CHECK(process.end != End::complete);
    }
}

TEST_CASE("aarch64: rules are those of the source") {
    Process<Aarch64> process("frames_aarch64.elf");
    const Rule leaf = process.rule("leaf");
    CHECK(leaf.cfa == Cfa::register_offset);
    CHECK(leaf.cfa_register == Aarch64::kStackPointer);
    CHECK(leaf.cfa_offset == 0);
    CHECK(leaf.saved[0] == kUnchanged);
    const Rule body = process.rule("framed", 12);
    CHECK(body.cfa_register == Aarch64::kFramePointer);
    CHECK(body.cfa_offset == 48);
    CHECK(body.saved[0] == -5);
    CHECK(body.saved[1] == -6);
    CHECK(body.saved[2] == -4);
    CHECK(process.rule("framed", 24) == body);
    CHECK(process.rule("framed", 20).saved[0] == kUnchanged);
    CHECK_FALSE(process.rule("signed_return").signed_return);
    CHECK(process.rule("signed_return", 4).signed_return);
    CHECK_FALSE(process.rule("signed_return", 20).signed_return);
    CHECK(process.rule("outermost").cfa == Cfa::end_of_stack);
    CHECK(process.rule("trampoline").cfa == Cfa::signal_frame);
}

TEST_CASE("aarch64: a walk through a leaf, a frame and a signed return address") {
    Process<Aarch64> process("frames_aarch64.elf");
    auto& r = process.registers;
    r.pc = process.at("leaf");
    r.value[30] = process.at("framed", 16);
    r.fp() = kStack;  // framed: x29 = sp
    process.put(kStack, kStack + 48);
    constexpr uintptr_t kSignature = uintptr_t{0x2a} << 48;
    process.put(kStack + 8, process.at("signed_return", 12));
    process.put(kStack + 16, 0x1919);
    // signed_return: 16 bytes with x29 and a signed x30
    process.put(kStack + 48, 0);
    process.put(kStack + 56, process.at("outermost", 4) | kSignature);
    CHECK(process.walk() == Addresses{process.at("leaf"), process.at("framed", 16),
                                      process.at("signed_return", 12), process.at("outermost", 4)});
    CHECK(process.end == End::complete);

    SUBCASE("a return address that is still in its register serves the innermost frame only") {
        process.put(kStack + 8, process.at("leaf", 4));
        CHECK(process.walk() ==
              Addresses{process.at("leaf"), process.at("framed", 16), process.at("leaf", 4)});
        CHECK(process.end == End::no_info);
    }
    SUBCASE("interrupted right behind the prologue's first instruction") {
        r.pc = process.at("framed", 4);
        CHECK(process.walk() == Addresses{process.at("framed", 4), process.at("signed_return", 12),
                                          process.at("outermost", 4)});
    }
}

TEST_CASE("aarch64: a signal frame lies behind the siginfo") {
    Process<Aarch64> process("frames_aarch64.elf");
    process.registers.pc = process.at("leaf");
    process.registers.value[30] = process.at("trampoline");
    const uintptr_t ucontext = kStack + 128;
    using Layout = UcontextLayout<Aarch64>;
    for (size_t i = 0; i < sizeof(Layout::kRegister); ++i) {
        process.put(ucontext + Layout::kFirst + 8 * i, 0);
    }
    process.put(ucontext + Layout::kFirst + 30 * 8, process.at("outermost", 4));
    process.put(ucontext + Layout::kFirst + 31 * 8, kStack + 0x10000);
    process.put(ucontext + Layout::kProgramCounter, process.at("leaf"));
    CHECK(process.walk() == Addresses{process.at("leaf"), process.at("trampoline"),
                                      process.at("leaf") + 1, process.at("outermost", 4)});
}

TEST_CASE("aarch64: code without information") {
    Process<Aarch64> process("frames_aarch64.elf");
    process.registers.pc = process.at("bare");
    process.registers.value[30] = process.at("outermost", 4);
    CHECK(process.walk() == Addresses{process.at("bare"), process.at("outermost", 4)});
    process.registers.value[30] = process.at("outermost");  // follows no call
    CHECK(process.walk().size() == 1);
    CHECK(process.end == End::no_info);

    // It has set up a frame, which holds its caller's frame pointer.
    auto& r = process.registers;
    r.value[30] = process.at("framed", 16);
    r.fp() = kStack;
    process.put(kStack, kStack + 16);
    process.put(kStack + 8, r.value[30]);
    process.put(kStack + 16, 0);  // the frame of `framed`
    process.put(kStack + 24, process.at("outermost", 4));
    process.put(kStack + 32, 0x1919);
    const Addresses whole{process.at("bare"), process.at("framed", 16), process.at("outermost", 4)};
    CHECK(process.walk() == whole);
    CHECK(process.end == End::complete);
    // Before it has, that is still in its register.
    r.fp() = kStack + 16;
    CHECK(process.walk() == whole);
    CHECK(process.end == End::complete);
}
