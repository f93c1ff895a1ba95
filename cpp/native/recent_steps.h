// Reached from the signal handler. Owns what the last walk of a thread's stack did at the frames
// that were calls: most of them stand as they stood, and are passed again without a search. A step
// depends on nothing but the address it is taken at, so a wrong guess at where a walk meets the one
// before costs a search and is never wrong. Knows nothing of where rules come from.
#pragma once

#include <algorithm>
#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <type_traits>

#include "native/registers.h"
#include "native/unwind_rule.h"

namespace spprof::native {

// `words` machine words, by one access where the memory can do that.
template <class Memory>
auto load_words(const Memory& memory, uintptr_t address, uintptr_t* target, size_t words) noexcept
    -> decltype(memory.copy(address, target, words)) {
    return memory.copy(address, target, words * sizeof(*target));
}
template <class Memory, class... None>
bool load_words(const Memory& memory, uintptr_t address, uintptr_t* target, size_t words,
                None...) noexcept {
    for (size_t i = 0; i < words; ++i) {
        if (!memory.load(address + i * sizeof(*target), target[i])) {
            return false;
        }
    }
    return true;
}

// A rule of the most frequent kind, ready to be taken without a branch: the caller's registers are
// picked from words that lie together on the stack, from the registers themselves, and from
// nothing.
struct QuickStep {
    uintptr_t pc;  // the address that the rule holds at
    uintptr_t sp;  // where the stack pointer stood there last
    int32_t cfa_offset;
    int16_t first_word;  // of those that are loaded, counted from the CFA
    uint8_t cfa_register;
    std::array<uint8_t, Rule::kSlots> pick;

    template <class Architecture>
    static constexpr size_t kLoaded = sizeof(Architecture::kSaved) + 1;

    // False for rules of another kind.
    template <class Architecture>
    bool fit(const Rule& rule) noexcept {
        constexpr size_t kSlots = sizeof(Architecture::kSaved);
        constexpr int kMost = static_cast<int>(kLoaded<Architecture>);
        if (rule.cfa != Cfa::register_offset || rule.signed_return || rule.based != 0 ||
            rule.saved[0] == kUnchanged || rule.cfa_register >= Architecture::kRegisters) {
            return false;
        }
        const auto on_stack = [](int saved) { return saved != kUnchanged && saved != kLost; };
        int first = INT16_MAX;
        int last = INT16_MIN;
        for (size_t i = 0; i < kSlots; ++i) {
            if (on_stack(rule.saved[i])) {
                first = std::min<int>(first, rule.saved[i]);
                last = std::max<int>(last, rule.saved[i]);
            }
        }
        if (first > last || last - first >= kMost) {
            return false;
        }
        cfa_offset = rule.cfa_offset;
        cfa_register = rule.cfa_register;
        first_word = static_cast<int16_t>(first);
        for (size_t i = 0; i < kSlots; ++i) {
            const int saved = rule.saved[i];
            pick[i] = static_cast<uint8_t>(saved == kUnchanged ? kMost + static_cast<int>(i)
                                           : saved == kLost    ? kMost + static_cast<int>(kSlots)
                                                               : saved - first);
        }
        return true;
    }

    // False, with nothing changed, where it does not lead to a caller.
    template <class Architecture, class Memory>
    bool take(BasicRegisters<Architecture>& r, const Memory& memory) const noexcept {
        constexpr size_t kSlots = sizeof(Architecture::kSaved);
        constexpr size_t kMost = kLoaded<Architecture>;
        const uintptr_t cfa = r.value[cfa_register] + static_cast<uintptr_t>(intptr_t{cfa_offset});
        uintptr_t source[kMost + kSlots + 1];
        const uintptr_t at = cfa + static_cast<uintptr_t>(intptr_t{first_word} * 8);
        if (cfa <= r.sp() || !load_words(memory, at, source, kMost)) {
            return false;
        }
        for (size_t i = 0; i < kSlots; ++i) {
            source[kMost + i] = r.value[Architecture::kSaved[i]];
        }
        source[kMost + kSlots] = 0;
        if (source[pick[0]] == 0) {
            return false;
        }
        for (size_t i = 0; i < kSlots; ++i) {
            r.value[Architecture::kSaved[i]] = source[pick[i]];
        }
        r.sp() = cfa;
        r.pc = r.value[Architecture::kReturnAddress];
        return true;
    }
};

// Of one thread: nobody else may walk its stack at the same time. Zeroed memory is a thread of
// which nothing is known.
class RecentSteps {
public:
    // A walk begins. What was kept under another version is forgotten.
    void begin(uint32_t version) noexcept {
        now_ ^= 1;
        count_[now_] = 0;
        next_ = 0;
        if (version_.load(std::memory_order_relaxed) != version) {
            version_.store(version, std::memory_order_relaxed);
            count_[now_ ^ 1] = 0;
        }
    }

    // The step at `pc`, where the walk before passed with the same stack pointer.
    const QuickStep* find(uintptr_t pc, uintptr_t sp) noexcept {
        const std::array<QuickStep, kMost>& before = steps_[now_ ^ 1];
        // The stack grows downwards: what lies deeper than this is passed for good.
        while (next_ < count_[now_ ^ 1] && before[next_].sp < sp) {
            ++next_;
        }
        if (next_ == count_[now_ ^ 1] || before[next_].sp != sp || before[next_].pc != pc) {
            return nullptr;
        }
        const QuickStep& step = before[next_++];
        if (count_[now_] < kMost) {
            steps_[now_][count_[now_]++] = step;
        }
        return &step;
    }

    template <class Architecture>
    void keep(uintptr_t pc, uintptr_t sp, const Rule& rule) noexcept {
        if (count_[now_] < kMost) {
            QuickStep& step = steps_[now_][count_[now_]];
            if (step.fit<Architecture>(rule)) {
                step.pc = pc;
                step.sp = sp;
                ++count_[now_];
            }
        }
    }

    // Of memory, as anybody may ask.
    size_t bytes() const noexcept {
        return version_.load(std::memory_order_relaxed) == 0 ? 0 : sizeof(*this);
    }

    // A stack that has more of them is walked with searches from there on.
    static constexpr uint32_t kMost = 100;

private:
    std::atomic<uint32_t> version_;          // 0: there was no walk yet
    uint32_t now_;                           // which of the two lists is this walk's
    uint32_t count_[2];                      // their lengths
    uint32_t next_;                          // of the other list
    std::array<QuickStep, kMost> steps_[2];  // innermost first
};
static_assert(std::is_trivially_destructible_v<RecentSteps>);

}  // namespace spprof::native
