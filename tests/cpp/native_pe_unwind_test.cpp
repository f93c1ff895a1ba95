// Unwind information of Windows on x86-64, by functions whose bytes are written down here: with
// what is described, and what the instructions would do.
#include <doctest/doctest.h>

#include <cstring>
#include <initializer_list>
#include <vector>

#include "native/pe_unwind_info.h"

using namespace spprof::native;

namespace {

constexpr uintptr_t kModule = 0x140000000;

// A module's bytes, from kModule on: code at 0x100, information at 0x400, the table at 0x800.
class Image {
public:
    Image() : bytes_(0x1000, 0x90) {}

    void put(size_t at, std::initializer_list<int> bytes) {
        for (const int byte : bytes) bytes_[at++] = static_cast<uint8_t>(byte);
    }
    // A function, with its unwind information; in the order of addresses.
    void add(uint32_t begin, uint32_t end, uint32_t info) {
        for (const uint32_t value : {begin, end, info}) {
            std::memcpy(&bytes_[table_.size() + kTable], &value, 4);
            table_.resize(table_.size() + 4);
        }
    }
    bool load(uintptr_t address, uintptr_t& value) const noexcept {
        if (address < kModule || address + 8 > kModule + bytes_.size()) return false;
        std::memcpy(&value, &bytes_[address - kModule], 8);
        return true;
    }
    Rule rule_at(uint32_t offset) const {
        UnwindInfo info;
        info.format = UnwindInfo::Format::pe_functions;
        info.address = kModule + kTable;
        info.size = table_.size();
        info.module = kModule;
        return PeUnwindInfo<Image>(*this, info).rule_at(kModule + offset);
    }

private:
    static constexpr size_t kTable = 0x800;
    std::vector<uint8_t> bytes_;
    std::vector<uint8_t> table_;  // as many as there are in the table
};

// By DWARF's numbers: rbx 3, rbp 6, rsp 7, r12 12.
int16_t saved(const Rule& rule, uint64_t number) { return rule.saved[slot_of<X86_64>(number)]; }

void check_stack(const Rule& rule, int base, int cfa) {
    CHECK(rule.cfa == Cfa::register_offset);
    CHECK(rule.cfa_register == base);
    CHECK(rule.cfa_offset == cfa);
    CHECK(saved(rule, 16) == -1);
}

// push rbx; push r12; sub rsp, 0x28; ...; add rsp, 0x28; pop r12; pop rbx; ret
Image pushing() {
    Image image;
    image.put(0x100, {0x53, 0x41, 0x54, 0x48, 0x83, 0xec, 0x28});
    image.put(0x120, {0x48, 0x83, 0xc4, 0x28, 0x41, 0x5c, 0x5b, 0xc3});
    image.put(0x400, {1, 7, 3, 0, 7, 0x42, 3, 0xc0, 1, 0x30, 0, 0});
    image.add(0x100, 0x128, 0x400);
    return image;
}

}  // namespace

TEST_CASE("pe: a function that is not in the table has not touched the stack") {
    const Image image = pushing();
    check_stack(image.rule_at(0x40), 7, 8);
    check_stack(image.rule_at(0x128), 7, 8);
}

TEST_CASE("pe: a prologue is undone as far as it has been done") {
    const Image image = pushing();
    check_stack(image.rule_at(0x100), 7, 8);
    CHECK(saved(image.rule_at(0x100), 3) == kUnchanged);
    check_stack(image.rule_at(0x101), 7, 16);
    CHECK(saved(image.rule_at(0x101), 3) == -2);
    check_stack(image.rule_at(0x103), 7, 24);
    CHECK(saved(image.rule_at(0x103), 12) == -3);
    check_stack(image.rule_at(0x110), 7, 64);
    CHECK(saved(image.rule_at(0x110), 3) == -2);
    CHECK(saved(image.rule_at(0x110), 12) == -3);
}

TEST_CASE("pe: what is left of an epilogue is run") {
    const Image image = pushing();
    check_stack(image.rule_at(0x120), 7, 64);
    CHECK(saved(image.rule_at(0x120), 3) == -2);
    check_stack(image.rule_at(0x124), 7, 24);
    CHECK(saved(image.rule_at(0x124), 12) == -3);
    check_stack(image.rule_at(0x126), 7, 16);
    check_stack(image.rule_at(0x127), 7, 8);
    CHECK(saved(image.rule_at(0x127), 3) == kUnchanged);
}

TEST_CASE("pe: with a frame register everything is counted from it") {
    // push rbp; sub rsp, 0x1000; lea rbp, [rsp + 0x20]; mov [rsp + 0x30], rbx (by rbp)
    Image image;
    image.put(0x400, {1, 0x14, 6, 0x25, 0x14, 0x34, 6, 0, 0xd, 3, 8, 1, 0, 2, 1, 0x50});
    image.add(0x100, 0x200, 0x400);
    const Rule before = image.rule_at(0x108);
    check_stack(before, 7, 0x1000 + 16);
    CHECK(saved(before, 3) == kUnchanged);
    const Rule after = image.rule_at(0x150);
    check_stack(after, 6, 0x1000 - 0x20 + 16);
    CHECK(saved(after, 6) == -2);
    // 0x30 above the lower end of the frame, which is 0x1010 below the CFA.
    CHECK(saved(after, 3) == (0x30 - 0x1010) / 8);
    // lea rsp, [rbp + 0xfe0]; pop rbp; ret
    image.put(0x160, {0x48, 0x8d, 0xa5, 0xe0, 0x0f, 0, 0, 0x5d, 0xc3});
    check_stack(image.rule_at(0x160), 6, 0xfe0 + 16);
    CHECK(saved(image.rule_at(0x160), 6) == -2);
}

TEST_CASE("pe: a part of a function goes on with what the function says") {
    Image image = pushing();
    // rbx is saved where the caller left room, and the rest is that of the function at 0x100.
    image.put(0x440, {0x21, 5, 2, 0, 5, 0x34, 9, 0, 0, 1, 0, 0, 0x28, 1, 0, 0, 0, 4, 0, 0});
    image.add(0x200, 0x240, 0x440);
    const Rule rule = image.rule_at(0x220);
    check_stack(rule, 7, 64);
    CHECK(saved(rule, 12) == -3);
}

TEST_CASE("pe: large rooms on the stack") {
    Image image;
    image.put(0x400, {1, 7, 3, 0, 7, 0x11, 0, 0, 0x10, 0});  // 1 MB
    image.add(0x100, 0x200, 0x400);
    check_stack(image.rule_at(0x110), 7, 0x100000 + 8);
}

TEST_CASE("pe: a jump within a function is no epilogue, one out of it is") {
    Image image = pushing();
    image.put(0x110, {0x5b, 0xeb, 0x02});  // pop rbx; jmp 0x115
    check_stack(image.rule_at(0x110), 7, 64);
    image.put(0x110, {0x5b, 0xe9, 0, 1, 0, 0});  // pop rbx; jmp 0x216
    check_stack(image.rule_at(0x110), 7, 16);
    image.put(0x110, {0xe9, 0, 1, 0, 0});  // a call that was made a jump takes the frame down first
    check_stack(image.rule_at(0x110), 7, 64);
}

TEST_CASE("pe: of what cannot be read or is not known nothing is told") {
    Image image;
    image.put(0x400, {1, 1, 1, 0, 1, 0x0a, 0, 0});  // a trap's frame
    image.put(0x410, {3, 0, 0, 0});                 // a version that is not known
    image.add(0x100, 0x180, 0x400);
    image.add(0x180, 0x190, 0x410);
    image.add(0x190, 0x1a0, 0x7ffffff0);
    CHECK(image.rule_at(0x110).cfa == Cfa::none);
    CHECK(image.rule_at(0x188).cfa == Cfa::none);
    CHECK(image.rule_at(0x198).cfa == Cfa::none);
    // Two functions that each say they are told with the other.
    image.put(0x420, {0, 2, 0, 0, 0x10, 2, 0, 0, 0x21, 4, 0, 0});
    image.add(0x200, 0x210, 0x421);
    CHECK(image.rule_at(0x208).cfa == Cfa::none);
}
