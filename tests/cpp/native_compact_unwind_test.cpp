// Compact unwind information of macOS: a recorded file's, and pages whose bytes are written down
// here, with the instructions around a frame.
#include <doctest/doctest.h>

#include <cstring>
#include <initializer_list>
#include <vector>

#include "native/compact_unwind_info.h"
#include "native/macho_file.h"
#include "native_objects.h"

using namespace spprof::native;

namespace {

constexpr uintptr_t kModule = 0x100000000;

// Bytes from kModule on.
struct Bytes {
    std::vector<uint8_t> bytes;

    bool load(uintptr_t address, uintptr_t& value) const noexcept {
        if (address < kModule || address - kModule + 8 > bytes.size()) return false;
        std::memcpy(&value, &bytes[address - kModule], 8);
        return true;
    }
    template <class T>
    void put(uint32_t at, T value) {
        std::memcpy(&bytes[at], &value, sizeof value);
    }
    void put(uint32_t at, std::initializer_list<uint32_t> words) {
        for (const uint32_t word : words) {
            put(at, word);
            at += 4;
        }
    }
};

// Code from 0x100 on, information at 0x800: a regular page for functions below 0x400, a compressed
// one for those above.
template <class Architecture>
struct Image : Bytes {
    static constexpr uint32_t kInfo = 0x800, kRegular = 0x100, kCompressed = 0x200;

    Image() {
        bytes.resize(0x1000);
        put(kInfo, {1, 28, 2, 0, 0, 40, 3});
        put(kInfo + 40, {0x100, kRegular, 0, 0x400, kCompressed, 0, 0x600, 0, 0});
        put(kInfo + kRegular, {2, 8 | 2 << 16});
        put(kInfo + kCompressed, {3, 12 | 2 << 16, 32 | 1 << 16});
        put(kInfo + kCompressed + 12, {0x000000, 0x02000080});
    }
    void encode(uint32_t first, uint32_t second) {
        put(kInfo + kRegular + 8, {0x100, first, 0x200, second});
        put(kInfo + 28, {first, first});                  // common ones
        put(kInfo + kCompressed + 32, {second, second});  // the page's own: number 2
    }
    Rule rule_at(uint32_t offset) const {
        UnwindInfo info;
        info.format = UnwindInfo::Format::compact;
        info.address = kModule + kInfo;
        info.size = 0x400;
        info.module = kModule;
        uint64_t budget = 65536;
        return CompactUnwindInfo<Architecture, Bytes>(*this, info, budget)
            .rule_at(kModule + offset);
    }
};

template <class Architecture>
bool is_frame(const Rule& rule) {
    return rule.cfa == Cfa::register_offset && rule.cfa_register == Architecture::kFramePointer &&
           rule.cfa_offset == 16 && rule.saved[0] == -1 &&
           rule.saved[slot_of<Architecture>(Architecture::kFramePointer)] == -2;
}

template <class Architecture>
bool is_stack(const Rule& rule, int cfa) {
    return rule.cfa != Cfa::none && rule.cfa_register == Architecture::kStackPointer &&
           rule.cfa_offset == cfa &&
           rule.saved[0] == (Architecture::kCallPushes ? int16_t{-1} : kUnchanged);
}

}  // namespace

TEST_CASE("aarch64: a frame holds between its making and its end, what calls nobody needs none") {
    Image<Aarch64> image;
    image.encode(0x04000003, 0x02004000);
    image.put(0x100, {
                         0xd503237f,  // pacibsp
                         0xa9be4ff4,  // stp x20, x19, [sp, #-32]!
                         0xa9017bfd,  // stp x29, x30, [sp, #16]
                         0x910043fd,  // add x29, sp, #16
                         0xaa0003f3,  // mov x19, x0
                         0x94000010,  // bl
                         0x8b130000,  // add x0, x0, x19
                         0xa9417bfd,  // ldp x29, x30, [sp, #16]
                         0xa8c24ff4,  // ldp x20, x19, [sp], #32
                         0xd50323ff,  // autibsp
                         0xd65f03c0,  // ret
                     });
    for (uint32_t at = 0x100; at <= 0x12c; at += 4) {
        CAPTURE(at);
        const bool framed = at >= 0x110 && at <= 0x11c;
        if (at < 0x12c) {
            CHECK(is_frame<Aarch64>(image.rule_at(at)) == framed);
            CHECK(is_stack<Aarch64>(image.rule_at(at), 0) == !framed);
            CHECK(image.rule_at(at).signed_return);
        }
    }
    CHECK(is_stack<Aarch64>(image.rule_at(0x200), 64));  // 4 times 16 bytes
    CHECK(is_stack<Aarch64>(image.rule_at(0x3fc), 64));
    // The compressed page: a common encoding, then one of its own.
    CHECK(image.rule_at(0x400).cfa != Cfa::none);
    CHECK(is_frame<Aarch64>(image.rule_at(0x400 + 0x7c)));
    CHECK(is_stack<Aarch64>(image.rule_at(0x400 + 0x80), 64));
    CHECK(image.rule_at(0x0fc).cfa == Cfa::none);
    CHECK(image.rule_at(0x600).cfa == Cfa::none);
}

TEST_CASE("x86-64: frames by the frame pointer, and by the stack pointer with what was saved") {
    Image<X86_64> image;
    // Without frame pointer: 7 words with r14, rbx and rbp saved. Their numbers are 4, 1 and 6 of
    // 1 to 6: the digits 3, 0 and 3.
    const uint32_t permutation = 3 * 20 + 0 * 4 + 3;
    image.encode(0x01000000, 0x02000000 | 7 << 16 | 3 << 10 | permutation);
    image.put(0x100, {0xe5894855, 0x90909090, 0x0000c35d});
    CHECK(is_stack<X86_64>(image.rule_at(0x100), 8));
    CHECK(is_stack<X86_64>(image.rule_at(0x101), 16));
    CHECK(image.rule_at(0x101).saved[slot_of<X86_64>(6)] == -2);
    CHECK(is_frame<X86_64>(image.rule_at(0x104)));
    CHECK(is_frame<X86_64>(image.rule_at(0x108)));
    CHECK(is_stack<X86_64>(image.rule_at(0x109), 8));
    const Rule rule = image.rule_at(0x210);
    CHECK(is_stack<X86_64>(rule, 56));
    CHECK(rule.cfa == Cfa::guessed);
    CHECK(rule.saved[slot_of<X86_64>(14)] == -4);
    CHECK(rule.saved[slot_of<X86_64>(3)] == -3);
    CHECK(rule.saved[slot_of<X86_64>(6)] == -2);
    CHECK(rule.saved[slot_of<X86_64>(12)] == kUnchanged);
}

TEST_CASE("what compact information leaves to DWARF is read there") {
    Bytes image{read_file(test_data("frames.macho"))};
    image.bytes.resize((image.bytes.size() + 15) / 8 * 8);
    MachoFile file;
    REQUIRE(MachoFile::parse(ViewSource({image.bytes.data(), image.bytes.size()}), file));
    UnwindInfo info;
    info.format = UnwindInfo::Format::compact;
    info.module = kModule;
    info.address = kModule + file.unwind_info.address;
    info.size = file.unwind_info.size;
    info.entries = kModule + file.frame_entries.address;
    info.entries_size = file.frame_entries.size;
    const auto rule_at = [&](uintptr_t offset) {
        uint64_t budget = 65536;
        return CompactUnwindInfo<Aarch64, Bytes>(image, info, budget).rule_at(kModule + offset);
    };
    CHECK(is_stack<Aarch64>(rule_at(0x1468), 0));  // leaf
    CHECK(is_stack<Aarch64>(rule_at(0x1474), 0));  // with_frame, before anything
    const Rule body = rule_at(0x1490);
    CHECK(body.cfa == Cfa::register_offset);
    CHECK(body.saved[0] == -1);
    CHECK(body.saved[slot_of<Aarch64>(29)] == -2);
    CHECK(rule_at(0x155c).cfa == Cfa::none);
    info.entries_size = 0;
    CHECK(rule_at(0x1490).cfa == Cfa::none);
}

TEST_CASE("broken compact information gives no rule, and nothing is read outside of it") {
    Image<Aarch64> whole;
    whole.encode(0x04000000, 0x02004000);
    for (uint32_t at = Image<Aarch64>::kInfo; at < Image<Aarch64>::kInfo + 0x240; at += 2) {
        for (const uint32_t value : {0U, 1U, 0xffffU, 0x7fffffffU, 0xffffffffU}) {
            Image<Aarch64> image = whole;
            image.put(at, value);
            for (const uint32_t pc : {0x100U, 0x200U, 0x400U, 0x480U, 0x5ffU}) {
                image.rule_at(pc);
            }
        }
    }
}
