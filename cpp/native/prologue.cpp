// Owns the guess at the frames of hand-written x86-64 functions without call frame information.
#include "native/prologue.h"

#include <algorithm>

#include "native/registers.h"

namespace spprof::native {
namespace {

// Hand-written prologues are short; what comes behind them may do anything.
constexpr size_t kMostInstructions = 64;

constexpr uint8_t kWideOperand = 8;       // REX.W
constexpr uint8_t kRegisterExtended = 4;  // REX.R
constexpr uint8_t kBaseExtended = 1;      // REX.B

// The numbers in instructions are not DWARF's.
constexpr uint8_t kDwarfNumber[16] = {0, 2, 1, 3, 7, 6, 4, 5, 8, 9, 10, 11, 12, 13, 14, 15};

class Prologue {
public:
    explicit Prologue(ByteView function) : function_(function) {}

    std::vector<GuessedRule> read() {
        Rule rule;
        rule.cfa = Cfa::guessed;
        rule.cfa_register = X86_64::kStackPointer;
        rule.cfa_offset = 8;
        rule.saved[0] = -1;
        rule_ = rule;
        emit(0);
        Cursor cursor(function_);
        for (size_t i = 0; i < kMostInstructions && step(cursor); ++i) {
            emit(at_);
        }
        if (realigned_ && rule_.cfa_register == X86_64::kStackPointer) {
            return {};  // nothing remembers where the stack was
        }
        if (rule_.cfa_register == X86_64::kStackPointer && moved_ != 0) {
            find_epilogues();
        }
        return rules_;
    }

private:
    void emit(uint64_t offset) {
        if (!rules_.empty() && rules_.back().rule == rule_) {
            return;
        }
        rules_.push_back({offset, rule_});
    }

    // Reads one instruction; false at the first that is not part of a prologue.
    bool step(Cursor& cursor) {
        uint8_t rex = 0;
        uint8_t op = cursor.take<uint8_t>();
        if (op == 0xf3) {  // endbr64
            const bool known = cursor.take<uint8_t>() == 0x0f && cursor.take<uint8_t>() == 0x1e &&
                               cursor.take<uint8_t>() == 0xfa && cursor.ok();
            at_ = cursor.offset();
            return known;
        }
        if (op == 0xc5) {  // vzeroupper
            const bool known =
                cursor.take<uint8_t>() == 0xf8 && cursor.take<uint8_t>() == 0x77 && cursor.ok();
            at_ = cursor.offset();
            return known;
        }
        if (op >> 4 == 4) {
            rex = op & 15;
            op = cursor.take<uint8_t>();
        }
        const bool understood = apply(rex, op, cursor) && cursor.ok();
        at_ = cursor.offset();
        return understood;
    }

    bool apply(uint8_t rex, uint8_t op, Cursor& cursor) {
        if (op >= 0x50 && op <= 0x57) {  // push
            move_stack(8);
            save(number(op & 7, rex & kBaseExtended), 0);
            return true;
        }
        if ((rex & kWideOperand) == 0) {
            return false;
        }
        if (op == 0x83 || op == 0x81) {
            const uint8_t mode = cursor.take<uint8_t>();
            const int64_t value =
                op == 0x83 ? int64_t{cursor.take<int8_t>()} : int64_t{cursor.take<int32_t>()};
            if ((rex & kBaseExtended) != 0 || value == 0) {
                return false;
            }
            if (mode == 0xec && value > 0) {  // sub, rsp
                move_stack(value);
                return true;
            }
            if (mode == 0xe4 && value < 0) {  // and, rsp
                realigned_ = true;
                return true;
            }
            return false;
        }
        if (op == 0x89 || op == 0x8b) {
            return apply_move(rex, op == 0x89, cursor);
        }
        return false;
    }

    // Between registers, or between a register and the stack.
    bool apply_move(uint8_t rex, bool to_memory, Cursor& cursor) {
        const uint8_t mode = cursor.take<uint8_t>();
        const uint8_t reg = number(mode >> 3 & 7, rex & kRegisterExtended);
        const uint8_t other = number(mode & 7, rex & kBaseExtended);
        if (mode >> 6 == 3) {
            const uint8_t from = to_memory ? reg : other;
            const uint8_t to = to_memory ? other : reg;
            if (from != X86_64::kStackPointer || slot_of<X86_64>(to) < 0) {
                return false;
            }
            // Its own old value must be on the stack already, or a caller would miss it.
            if (rule_.saved[slot_of<X86_64>(to)] == kUnchanged || realigned_) {
                return false;
            }
            if (rule_.cfa_register == X86_64::kStackPointer) {
                rule_.cfa_register = to;
            }
            return true;
        }
        if ((mode & 7) != 4 || cursor.take<uint8_t>() != 0x24 || (rex & kBaseExtended) != 0) {
            return false;  // not relative to rsp
        }
        const int64_t displacement = mode >> 6 == 0   ? 0
                                     : mode >> 6 == 1 ? int64_t{cursor.take<int8_t>()}
                                                      : int64_t{cursor.take<int32_t>()};
        if (to_memory) {
            save(reg, displacement);
            return true;
        }
        return reg != rule_.cfa_register;
    }

    static uint8_t number(unsigned low, unsigned extended) {
        return kDwarfNumber[low + (extended != 0 ? 8 : 0)];
    }

    void move_stack(int64_t bytes) {
        moved_ += bytes;
        if (rule_.cfa_register == X86_64::kStackPointer) {
            rule_.cfa_offset =
                static_cast<int32_t>(std::min<int64_t>(rule_.cfa_offset + bytes, INT32_MAX));
        }
    }

    // The first copy counts: later ones are spills.
    void save(uint8_t reg, int64_t displacement) {
        const int slot = slot_of<X86_64>(reg);
        const int64_t from_cfa = displacement - 8 - moved_;
        if (slot <= 0 || realigned_ || rule_.saved[slot] != kUnchanged || from_cfa % 8 != 0 ||
            from_cfa >= -8 || from_cfa / 8 <= kLost) {
            return;
        }
        rule_.saved[slot] = static_cast<int16_t>(from_cfa / 8);
    }

    // What undoes a prologue is its mirror image. Where `add, rsp` is followed by nothing but pops
    // and `ret`, the rules run backwards; everywhere else the body's rule holds.
    void find_epilogues() {
        const Rule body = rule_;
        for (uint64_t at = at_; at < function_.size(); ++at) {
            std::vector<GuessedRule> rules;
            uint64_t end = 0;
            if (is_epilogue(at, body, rules, end)) {
                rules_.insert(rules_.end(), rules.begin(), rules.end());
                rules_.push_back({end, body});
                at = end - 1;
            }
        }
    }

    bool is_epilogue(uint64_t start, Rule rule, std::vector<GuessedRule>& rules, uint64_t& end) {
        Cursor cursor(function_, start);
        while (cursor.ok()) {
            uint8_t op = cursor.take<uint8_t>();
            if (op == 0xc3) {
                end = cursor.offset();
                return rule.cfa_offset == 8 && cursor.ok() && !rules.empty();
            }
            uint8_t rex = 0;
            if (op >> 4 == 4) {
                rex = op & 15;
                op = cursor.take<uint8_t>();
            }
            if (op >= 0x58 && op <= 0x5f) {  // pop
                rule.cfa_offset -= 8;
                const int slot = slot_of<X86_64>(number(op & 7, rex & kBaseExtended));
                if (slot > 0) {
                    rule.saved[slot] = kUnchanged;
                }
            } else if ((rex & kWideOperand) != 0 && (op == 0x83 || op == 0x81) &&
                       cursor.take<uint8_t>() == 0xc4) {  // add, rsp
                const int64_t left = rule.cfa_offset - (op == 0x83 ? int64_t{cursor.take<int8_t>()}
                                                                   : cursor.take<int32_t>());
                if (left > INT32_MAX) {
                    return false;
                }
                rule.cfa_offset = static_cast<int32_t>(std::max<int64_t>(left, 0));
            } else {
                return false;
            }
            if (rule.cfa_offset < 8) {
                return false;
            }
            // Saved words that lie above the stack pointer now are gone.
            for (int16_t& saved : rule.saved) {
                if (saved != kUnchanged && -saved * 8 > rule.cfa_offset) {
                    saved = kUnchanged;
                }
            }
            rules.push_back({cursor.offset(), rule});
        }
        return false;
    }

    ByteView function_;
    Rule rule_;
    int64_t moved_ = 0;  // bytes between the return address and the stack pointer
    bool realigned_ = false;
    uint64_t at_ = 0;
    std::vector<GuessedRule> rules_;
};

}  // namespace

std::vector<GuessedRule> guess_rules(ByteView function) { return Prologue(function).read(); }

}  // namespace spprof::native
