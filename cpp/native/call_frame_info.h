// Reached from the signal handler: no allocation, no lock, every load through a fault-tolerant
// Memory, and a bound on their number. Owns the DWARF call frame information of a loaded module:
// finds the entry of an address in `.eh_frame_hdr`, and in it the rule that holds there. Knows no
// process and no file: it reads addresses, and what it finds there may be anything.
#pragma once

#include <cstdint>

#include "native/byte_view.h"
#include "native/registers.h"
#include "native/unwind_rule.h"

namespace spprof::native {

// Bytes of the process, by aligned words: those never reach into a page that is not there.
template <class Memory>
class MemoryView {
public:
    explicit MemoryView(const Memory& memory) : memory_(&memory) {}

    template <class T>
    bool read(uint64_t address, T& value) {
        static_assert(sizeof(T) <= 8);
        const uint64_t offset = address & 7;
        if (!load(address - offset)) {
            return false;
        }
        uint64_t bytes = word_ >> (8 * offset);
        if (offset + sizeof(T) > 8) {
            if (!load(address - offset + 8)) {
                return false;
            }
            bytes |= uint64_t{word_} << (8 * (8 - offset));
        }
        std::memcpy(&value, &bytes, sizeof(T));
        return true;
    }

private:
    bool load(uint64_t address) {
        if (address != at_) {
            at_ = memory_->load(static_cast<uintptr_t>(address), word_) ? address : kNowhere;
        }
        return at_ == address;
    }

    static constexpr uint64_t kNowhere = 1;
    const Memory* memory_;
    uint64_t at_ = kNowhere;
    uintptr_t word_ = 0;
};

// The code that one entry describes: a function, or a part that the compiler split off.
struct CodeRange {
    uint64_t start = 0;
    uint64_t end = 0;
    bool entry = false;  // false: begins with a frame already made, so nobody calls it
};

template <class Architecture, class Memory>
class CallFrameInfo {
public:
    // `budget`: how many bytes may still be read, less afterwards.
    CallFrameInfo(const Memory& memory, const UnwindInfo& info, uint64_t& budget)
        : memory_(memory), header_(info.address), moved_(info.moved), budget_(budget) {
        if (info.format == UnwindInfo::Format::eh_frame) {
            section_end_ = info.address + info.size;
        } else if (info.format == UnwindInfo::Format::eh_frame_header) {
            read_header();
        }
    }

    uint64_t entries() const { return entries_; }

    // What holds at `pc`; Cfa::none where nothing is known.
    Rule rule_at(uint64_t pc) {
        Entry entry;
        if (!find(pc, entry)) {
            return {};
        }
        return rule_of(entry, pc);
    }

    // The same, where it is known which entry describes it.
    Rule rule_of_entry(uint64_t address, uint64_t pc) {
        Entry entry;
        return read_entry_at(address, entry) && entry.covers(pc) ? rule_of(entry, pc) : Rule{};
    }

    // The code around `pc`; false where there is no entry.
    bool range_at(uint64_t pc, CodeRange& range) {
        Entry entry;
        if (!find(pc, entry)) {
            return false;
        }
        range = range_of(entry);
        return true;
    }

    // The stretch around `pc` that no entry covers, up to its neighbours. False where one does.
    bool hole_at(uint64_t pc, uint64_t& start, uint64_t& end) {
        const uint64_t above = rows_up_to(pc);
        start = 0;
        end = UINT64_MAX;
        Entry before;
        if (above > 0 && read_entry(above - 1, before)) {
            start = before.end;
        }
        if (above < entries_) {
            table_value(above, false, end);
        }
        return start <= pc && pc < end;
    }

    // Those of the table, one by one.
    bool range_number(uint64_t index, CodeRange& range) {
        Entry entry;
        if (index >= entries_ || !read_entry(index, entry)) {
            return false;
        }
        range = range_of(entry);
        return true;
    }

private:
    using Bytes = BasicCursor<MemoryView<Memory>>;

    void read_header() {
        Bytes at = bytes(header_);
        const uint8_t version = at.template take<uint8_t>();
        const uint8_t pointer = at.template take<uint8_t>();
        const uint8_t count = at.template take<uint8_t>();
        const uint8_t table = at.template take<uint8_t>();
        take_encoded_value(at, pointer);
        const uint64_t entries = take_encoded_value(at, count);
        // The one form in use: signed 4 bytes, relative to the header, in order.
        if (at.ok() && version == 1 && table == 0x3b && entries <= kMostEntries) {
            table_ = at.offset();
            entries_ = entries;
        }
    }

    // DWARF pointer encodings (Linux Standard Base, "DWARF Exception Header Encoding").
    static constexpr uint8_t kOmit = 0xff;
    static constexpr uint8_t kFormMask = 0x0f;
    static constexpr uint8_t kRelationMask = 0x70;
    static constexpr uint8_t kRelativeToField = 0x10;
    static constexpr uint8_t kRelativeToHeader = 0x30;
    static constexpr uint8_t kIndirect = 0x80;

    static constexpr uint64_t kMostEntries = uint64_t{1} << 28;
    // The longest seen in a compiler's output has 14 KB.
    static constexpr uint64_t kLongestEntry = 65536;

    // What entries have in common.
    struct Common {
        bool has_augmentation_data = false;
        bool signal_frame = false;
        uint8_t pointer_encoding = 0;
        uint64_t code_align = 1;
        int64_t data_align = 1;
        Rule initial;
        bool initially_outermost = false;
    };

    struct Entry {
        uint64_t start = 0;
        uint64_t end = 0;
        uint64_t instructions = 0;
        uint64_t instructions_end = 0;
        Common common;

        bool covers(uint64_t pc) const { return pc >= start && pc < end; }
    };

    Bytes bytes(uint64_t address, uint64_t size = 64) const {
        const uint64_t end = address > UINT64_MAX - size ? UINT64_MAX : address + size;
        return Bytes(MemoryView<Memory>(memory_), address, end);
    }

    static uint64_t take_encoded_value(Bytes& cursor, uint8_t form) {
        switch (form & kFormMask) {
            case 0x00:
            case 0x04:
            case 0x0c:
                return cursor.template take<uint64_t>();
            case 0x01:
                return cursor.uleb();
            case 0x02:
                return cursor.template take<uint16_t>();
            case 0x03:
                return cursor.template take<uint32_t>();
            case 0x09:
                return static_cast<uint64_t>(cursor.sleb());
            case 0x0a:
                return static_cast<uint64_t>(int64_t{cursor.template take<int16_t>()});
            case 0x0b:
                return static_cast<uint64_t>(int64_t{cursor.template take<int32_t>()});
            default:
                cursor.skip(UINT64_MAX);
                return 0;
        }
    }

    uint64_t take_pointer(Bytes& cursor, uint8_t encoding) const {
        const uint64_t field = cursor.offset();
        const uint64_t value = take_encoded_value(cursor, encoding);
        const uint8_t relation = encoding & kRelationMask;
        if ((encoding & kIndirect) != 0 ||
            (relation != 0 && relation != kRelativeToField && relation != kRelativeToHeader)) {
            cursor.skip(UINT64_MAX);
            return 0;
        }
        return value + (relation == kRelativeToField    ? field + moved_
                        : relation == kRelativeToHeader ? header_
                                                        : 0);
    }

    // Of row `index` of the search table: where its code begins, or where its entry is.
    bool table_value(uint64_t index, bool entry, uint64_t& value) const {
        int32_t distance = 0;
        MemoryView<Memory> view(memory_);
        if (!view.read(table_ + index * 8 + (entry ? 4 : 0), distance)) {
            return false;
        }
        value = header_ + static_cast<uint64_t>(int64_t{distance});
        return true;
    }

    // How many entries begin at `pc` or before; 0 when the table cannot be read.
    uint64_t rows_up_to(uint64_t pc) const {
        uint64_t low = 0;
        uint64_t high = entries_;
        while (low < high) {
            const uint64_t middle = low + (high - low) / 2;
            uint64_t start = 0;
            if (!table_value(middle, false, start)) {
                return 0;
            }
            if (start <= pc) {
                low = middle + 1;
            } else {
                high = middle;
            }
        }
        return low;
    }

    bool find(uint64_t pc, Entry& entry) {
        if (section_end_ != 0) {
            return find_in_order(pc, entry);
        }
        const uint64_t above = rows_up_to(pc);
        return above > 0 && read_entry(above - 1, entry) && entry.covers(pc);
    }

    bool find_in_order(uint64_t pc, Entry& entry) {
        Record record;
        for (uint64_t at = header_; at < section_end_ && read_record(at, record); at = record.end) {
            if (record.id != 0 && read_entry_at(at, entry) && entry.covers(pc)) {
                return true;
            }
        }
        return false;
    }

    // A record of the section: its body lies between `body` (behind its id) and `end`.
    struct Record {
        uint64_t id = 0;
        uint64_t id_at = 0;
        uint64_t body = 0;
        uint64_t end = 0;
    };

    bool read_record(uint64_t address, Record& record) {
        Bytes at = bytes(address);
        uint64_t length = at.template take<uint32_t>();
        if (length == 0xffffffff) {
            length = at.template take<uint64_t>();
        }
        record.id_at = at.offset();
        record.id = at.template take<uint32_t>();
        record.body = at.offset();
        // An entry that is too long is as good as none.
        if (!at.ok() || length < 4 || length > kLongestEntry) {
            return false;
        }
        if (length > budget_) {
            budget_ = 0;
            return false;
        }
        budget_ -= length;
        record.end = record.id_at + length;
        return record.end > record.id_at;
    }

    bool read_entry(uint64_t index, Entry& entry) {
        uint64_t address = 0;
        return table_value(index, true, address) && read_entry_at(address, entry);
    }

    bool read_entry_at(uint64_t address, Entry& entry) {
        Record record;
        if (!read_record(address, record) || record.id == 0 || record.id > record.id_at ||
            !read_common(record.id_at - record.id, entry.common)) {
            return false;
        }
        Bytes at = bytes(record.body, record.end - record.body);
        entry.start = take_pointer(at, entry.common.pointer_encoding);
        const uint64_t length = take_encoded_value(at, entry.common.pointer_encoding);
        if (entry.common.has_augmentation_data) {
            at.skip(at.uleb());
        }
        if (!at.ok() || length == 0 || length > UINT64_MAX - entry.start) {
            return false;
        }
        entry.end = entry.start + length;
        entry.instructions = at.offset();
        entry.instructions_end = record.end;
        return true;
    }

    bool read_common(uint64_t address, Common& common) {
        Record record;
        if (!read_record(address, record) || record.id != 0) {
            return false;
        }
        Bytes at = bytes(record.body, record.end - record.body);
        const uint8_t version = at.template take<uint8_t>();
        uint64_t letters = at.offset();
        while (at.ok() && at.template take<uint8_t>() != 0) {
        }
        const uint64_t letters_end = at.offset() - 1;
        if ((version != 1 && version != 3 && version != 4) ||
            (version == 4 &&
             (at.template take<uint8_t>() != 8 || at.template take<uint8_t>() != 0))) {
            return false;
        }
        common.code_align = at.uleb();
        common.data_align = at.sleb();
        const uint64_t return_register =
            version == 1 ? uint64_t{at.template take<uint8_t>()} : at.uleb();
        if (!at.ok() || return_register != Architecture::kReturnAddress) {
            return false;
        }
        if (letters != letters_end) {
            Bytes names = bytes(letters, letters_end - letters);
            if (names.template take<uint8_t>() != 'z') {
                return false;
            }
            common.has_augmentation_data = true;
            Bytes data = at.part(at.uleb());
            while (!names.at_end()) {
                switch (names.template take<uint8_t>()) {
                    case 'R':
                        common.pointer_encoding = data.template take<uint8_t>();
                        break;
                    case 'P': {
                        const uint8_t encoding = data.template take<uint8_t>();
                        if (encoding != kOmit) {
                            take_encoded_value(data, encoding);
                        }
                        break;
                    }
                    case 'L':
                        data.template take<uint8_t>();
                        break;
                    case 'S':
                        common.signal_frame = true;
                        break;
                    case 'B':  // pointer authentication key
                    case 'G':  // memory tagging
                        break;
                    default:
                        return false;
                }
            }
            if (!data.ok() || common.pointer_encoding == kOmit) {
                return false;
            }
        }
        const Common blank = common;
        Machine machine(*this, blank, 0);
        machine.run(at, UINT64_MAX);
        common.initial = machine.raw_rule();
        common.initially_outermost = machine.outermost();
        return at.ok();
    }

    Rule rule_of(const Entry& entry, uint64_t pc) {
        Machine machine(*this, entry.common, entry.start);
        const bool understood =
            machine.run(bytes(entry.instructions, entry.instructions_end - entry.instructions), pc);
        return understood ? machine.rule() : Rule{};
    }

    CodeRange range_of(const Entry& entry) {
        // What holds at the first instruction of whatever is called. A common entry cannot tell:
        // assemblers make one of its own for parts that begin with a frame already made.
        Rule called;
        called.cfa = Cfa::register_offset;
        called.cfa_register = Architecture::kStackPointer;
        if (Architecture::kCallPushes) {
            called.cfa_offset = 8;
            called.saved[0] = -1;
        }
        return {entry.start, entry.end, rule_of(entry, entry.start) == called};
    }

    // Runs call frame instructions.
    class Machine {
    public:
        Machine(const CallFrameInfo& info, const Common& common, uint64_t start)
            : info_(info),
              common_(common),
              location_(start),
              rule_(common.initial),
              outermost_(common.initially_outermost) {}

        // Up to what holds at `target`. False when an instruction before is not understood.
        bool run(Bytes cursor, uint64_t target) {
            while (!cursor.at_end()) {
                const uint8_t op = cursor.template take<uint8_t>();
                const uint8_t low = op & 0x3f;
                uint64_t distance = 0;
                switch (op >> 6) {
                    case 1:
                        distance = low * common_.code_align;
                        break;
                    case 2:
                        save_at_offset(low, static_cast<int64_t>(cursor.uleb()));
                        break;
                    case 3:
                        restore(low);
                        break;
                    default:
                        if (!run_other(op, cursor, distance)) {
                            return false;
                        }
                }
                if (!cursor.ok()) {
                    return false;
                }
                if (distance > target - location_) {
                    return true;
                }
                location_ += distance;
            }
            return cursor.ok();
        }

        // The rule as the unwinder can use it.
        Rule rule() const {
            Rule rule = rule_;
            if (common_.signal_frame) {
                rule = Rule{};
                rule.cfa = Cfa::signal_frame;
            } else if (outermost_) {
                rule = Rule{};
                rule.cfa = Cfa::end_of_stack;
            } else if (rule.cfa == Cfa::none || rule.saved[0] == kLost ||
                       (Architecture::kCallPushes && rule.saved[0] == kUnchanged)) {
                rule = Rule{};
            }
            return rule;
        }

        const Rule& raw_rule() const { return rule_; }
        bool outermost() const { return outermost_; }

    private:
        static constexpr size_t kMaxDepth = 8;
        struct State {
            Rule rule;
            bool outermost = false;
        };

        // False: not understood. `distance`: how far the location moves.
        bool run_other(uint8_t op, Bytes& cursor, uint64_t& distance) {
            uint64_t number = 0;
            switch (op) {
                case 0x00:  // nop
                    break;
                case 0x01: {  // set_loc
                    const uint64_t to = info_.take_pointer(cursor, common_.pointer_encoding);
                    distance = to >= location_ ? to - location_ : 0;
                    break;
                }
                case 0x02:
                    distance = cursor.template take<uint8_t>() * common_.code_align;
                    break;
                case 0x03:
                    distance = cursor.template take<uint16_t>() * common_.code_align;
                    break;
                case 0x04:
                    distance = cursor.template take<uint32_t>() * common_.code_align;
                    break;
                case 0x05:  // offset_extended
                    number = cursor.uleb();
                    save_at_offset(number, static_cast<int64_t>(cursor.uleb()));
                    break;
                case 0x06:  // restore_extended
                    restore(cursor.uleb());
                    break;
                case 0x07:  // undefined
                    number = cursor.uleb();
                    outermost_ = outermost_ || number == Architecture::kReturnAddress;
                    set_slot(number, kLost, false);
                    break;
                case 0x08:  // same_value
                    set_saved(cursor.uleb(), kUnchanged);
                    break;
                case 0x09:  // register: kept in another register
                    number = cursor.uleb();
                    set_saved(number, number == cursor.uleb() ? kUnchanged : kLost);
                    break;
                case 0x0a:  // remember_state
                    if (depth_ == kMaxDepth) {
                        return false;
                    }
                    remembered_[depth_++] = {rule_, outermost_};
                    break;
                case 0x0b:  // restore_state
                    if (depth_ == 0) {
                        return false;
                    }
                    rule_ = remembered_[--depth_].rule;
                    outermost_ = remembered_[depth_].outermost;
                    break;
                case 0x0c:  // def_cfa
                    number = cursor.uleb();
                    define_cfa(number, static_cast<int64_t>(cursor.uleb()));
                    break;
                case 0x0d:  // def_cfa_register
                    define_cfa(cursor.uleb(), rule_.cfa_offset);
                    break;
                case 0x0e:  // def_cfa_offset
                    define_cfa(rule_.cfa_register, static_cast<int64_t>(cursor.uleb()));
                    break;
                case 0x0f:  // def_cfa_expression
                    define_cfa_expression(cursor.part(cursor.uleb()));
                    break;
                case 0x10:  // expression: saved at the address it gives
                    number = cursor.uleb();
                    save_at_expression(number, cursor.part(cursor.uleb()));
                    break;
                case 0x11:  // offset_extended_sf
                    number = cursor.uleb();
                    save_at_offset(number, cursor.sleb());
                    break;
                case 0x12:  // def_cfa_sf
                    number = cursor.uleb();
                    define_cfa(number, multiply(cursor.sleb(), common_.data_align));
                    break;
                case 0x13:  // def_cfa_offset_sf
                    define_cfa(rule_.cfa_register, multiply(cursor.sleb(), common_.data_align));
                    break;
                case 0x14:  // val_offset
                case 0x15:  // val_offset_sf
                    set_saved(cursor.uleb(), kLost);
                    cursor.uleb();
                    break;
                case 0x16:  // val_expression
                    set_saved(cursor.uleb(), kLost);
                    cursor.skip(cursor.uleb());
                    break;
                case 0x2c:  // AARCH64_negate_ra_state_with_pc
                case 0x2d:  // AARCH64_negate_ra_state
                    rule_.signed_return = !rule_.signed_return;
                    break;
                case 0x2e:  // GNU_args_size
                    cursor.uleb();
                    break;
                case 0x2f:  // GNU_negative_offset_extended
                    number = cursor.uleb();
                    save_at_offset(number, multiply(static_cast<int64_t>(cursor.uleb()), -1));
                    break;
                default:
                    return false;
            }
            return true;
        }

        static int64_t multiply(int64_t a, int64_t b) {
            return static_cast<int64_t>(static_cast<uint64_t>(a) * static_cast<uint64_t>(b));
        }

        void set_slot(uint64_t number, int16_t value, bool based) {
            const int slot = slot_of<Architecture>(number);
            if (slot < 0) {
                return;
            }
            rule_.saved[slot] = value;
            const auto bit = static_cast<uint16_t>(1U << slot);
            rule_.based = static_cast<uint16_t>(based ? rule_.based | bit : rule_.based & ~bit);
        }

        void set_saved(uint64_t number, int16_t value) {
            if (number == Architecture::kReturnAddress && value != kLost) {
                outermost_ = false;
            }
            set_slot(number, value, false);
        }

        void save_at_offset(uint64_t number, int64_t factored) {
            const int64_t bytes = multiply(factored, common_.data_align);
            const int64_t words = bytes / 8;
            const bool fits = bytes % 8 == 0 && words > kLost && words <= INT16_MAX;
            set_saved(number, fits ? static_cast<int16_t>(words) : kLost);
        }

        void save_at_expression(uint64_t number, Bytes expression) {
            uint64_t base = 0;
            int64_t offset = 0;
            set_saved(number, kLost);
            if (!take_register_offset(expression, base, offset) || !expression.at_end() ||
                base >= Architecture::kRegisters || offset <= kLost || offset > INT16_MAX) {
                return;
            }
            // One base serves all expressions of a rule: compilers use the frame pointer.
            if (rule_.based != 0 && rule_.base_register != base) {
                return;
            }
            rule_.base_register = static_cast<uint8_t>(base);
            set_slot(number, static_cast<int16_t>(offset), true);
            if (number == Architecture::kReturnAddress) {
                outermost_ = false;
            }
        }

        void restore(uint64_t number) {
            const int slot = slot_of<Architecture>(number);
            if (slot < 0) {
                return;
            }
            set_saved(number, common_.initial.saved[slot]);
            if (number == Architecture::kReturnAddress) {
                outermost_ = common_.initially_outermost;
            }
        }

        void define_cfa(uint64_t number, int64_t offset) {
            if (number >= Architecture::kRegisters || offset < INT32_MIN || offset > INT32_MAX) {
                rule_.cfa = Cfa::none;
                return;
            }
            rule_.cfa = Cfa::register_offset;
            rule_.cfa_register = static_cast<uint8_t>(number);
            rule_.cfa_offset = static_cast<int32_t>(offset);
            rule_.cfa_addend = 0;
        }

        void define_cfa_expression(Bytes expression) {
            rule_.cfa = Cfa::none;
            if (Architecture::kCallPushes && match_plt(expression)) {
                return;
            }
            uint64_t number = 0;
            int64_t offset = 0;
            if (!take_register_offset(expression, number, offset)) {
                return;
            }
            define_cfa(number, offset);
            if (expression.at_end() || rule_.cfa == Cfa::none) {
                return;
            }
            rule_.cfa = Cfa::none;
            if (expression.template take<uint8_t>() != 0x06 /* deref */) {
                return;
            }
            uint64_t addend = 0;
            if (!expression.at_end()) {
                if (expression.template take<uint8_t>() != 0x23 /* plus_uconst */) {
                    return;
                }
                addend = expression.uleb();
            }
            if (!expression.ok() || !expression.at_end() || addend > INT16_MAX) {
                return;
            }
            rule_.cfa = Cfa::dereferenced;
            rule_.cfa_addend = static_cast<int16_t>(addend);
        }

        // `register + offset`, the beginning of every expression but the linkage stub's that
        // compilers and assembly authors write in call frame information.
        static bool take_register_offset(Bytes& cursor, uint64_t& number, int64_t& offset) {
            const uint8_t op = cursor.template take<uint8_t>();
            if (op >= 0x70 && op <= 0x8f) {
                number = op - 0x70U;
            } else if (op == 0x92 /* bregx */) {
                number = cursor.uleb();
            } else {
                return false;
            }
            offset = cursor.sleb();
            return cursor.ok();
        }

        // The expression that linkers give their procedure linkage table: one call slot is pushed
        // behind the first `boundary` bytes of each 16-byte stub.
        bool match_plt(Bytes cursor) {
            constexpr uint8_t kBefore[] = {0x77 /* breg7 */, 8,   0x80 /* breg16 */, 0,
                                           0x3f /* lit15 */, 0x1a /* and */};
            constexpr uint8_t kBehind[] = {0x2a /* ge */, 0x33 /* lit3 */, 0x24 /* shl */,
                                           0x22 /* plus */};
            for (const uint8_t expected : kBefore) {
                if (cursor.template take<uint8_t>() != expected) {
                    return false;
                }
            }
            const uint8_t boundary = cursor.template take<uint8_t>();  // lit0 to lit15
            for (const uint8_t expected : kBehind) {
                if (cursor.template take<uint8_t>() != expected) {
                    return false;
                }
            }
            if (boundary < 0x30 || boundary > 0x3f || !cursor.ok() || !cursor.at_end()) {
                return false;
            }
            rule_.cfa = Cfa::plt;
            rule_.cfa_register = X86_64::kStackPointer;
            rule_.cfa_offset = 8;
            rule_.cfa_addend = static_cast<int16_t>(boundary - 0x30);
            return true;
        }

        const CallFrameInfo& info_;
        const Common& common_;
        uint64_t location_;
        Rule rule_;
        bool outermost_;
        State remembered_[kMaxDepth];
        size_t depth_ = 0;
    };

    const Memory& memory_;
    const uint64_t header_;
    const uint64_t moved_;
    uint64_t& budget_;
    uint64_t table_ = 0;
    uint64_t entries_ = 0;
    uint64_t section_end_ = 0;  // 0: there is a header
};

}  // namespace spprof::native
