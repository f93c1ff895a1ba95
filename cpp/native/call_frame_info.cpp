// Owns the DWARF call frame information of one module: compiles `.eh_frame` into a ModuleTable.
// Works on bytes alone, so that any file, truncated or hostile, can be fed to it. Knows no process.
#include "native/call_frame_info.h"

#include <algorithm>
#include <string_view>
#include <unordered_map>

#include "native/registers.h"

namespace spprof::native {
namespace {

// DWARF pointer encodings (Linux Standard Base, "DWARF Exception Header Encoding").
constexpr uint8_t kOmit = 0xff;
constexpr uint8_t kFormMask = 0x0f;
constexpr uint8_t kRelationMask = 0x70;
constexpr uint8_t kRelativeToField = 0x10;
constexpr uint8_t kRelativeToHeader = 0x30;
constexpr uint8_t kIndirect = 0x80;
constexpr uint8_t kTableEncoding = 0x3b;  // signed 4 bytes, relative to the header

struct PointerBase {
    uint64_t section_address;  // of offset 0 of the cursor's view
    uint64_t header_address;
    uint64_t bias;
};

uint64_t take_encoded_value(Cursor& cursor, uint8_t form) {
    switch (form & kFormMask) {
        case 0x00:
        case 0x04:
        case 0x0c:
            return cursor.take<uint64_t>();
        case 0x01:
            return cursor.uleb();
        case 0x02:
            return cursor.take<uint16_t>();
        case 0x03:
            return cursor.take<uint32_t>();
        case 0x09:
            return static_cast<uint64_t>(cursor.sleb());
        case 0x0a:
            return static_cast<uint64_t>(int64_t{cursor.take<int16_t>()});
        case 0x0b:
            return static_cast<uint64_t>(int64_t{cursor.take<int32_t>()});
        default:
            cursor.skip(UINT64_MAX);
            return 0;
    }
}

uint64_t take_pointer(Cursor& cursor, uint8_t encoding, const PointerBase& base) {
    const uint64_t field = base.section_address + cursor.offset();
    const uint64_t value = take_encoded_value(cursor, encoding);
    if ((encoding & kIndirect) != 0) {
        cursor.skip(UINT64_MAX);
        return 0;
    }
    switch (encoding & kRelationMask) {
        case 0:
            return value - base.bias;
        case kRelativeToField:
            return value + field;
        case kRelativeToHeader:
            return value + base.header_address;
        default:
            cursor.skip(UINT64_MAX);
            return 0;
    }
}

struct CommonInfo {
    bool usable = false;
    bool has_augmentation_data = false;
    bool signal_frame = false;
    uint8_t pointer_encoding = 0;
    uint64_t code_align = 1;
    int64_t data_align = 1;
    Rule initial;
    bool initially_outermost = false;
};

struct Entry {
    uint64_t start;
    uint64_t end;
    const CommonInfo* common;
    ByteView instructions;
};

// The expression that linkers give their procedure linkage table: one call slot is pushed behind
// the first `boundary` bytes of each 16-byte stub.
bool match_plt(ByteView expression, Rule& rule) {
    Cursor cursor(expression);
    constexpr uint8_t kBregSp = 0x77;
    constexpr uint8_t kBregPc = 0x80;
    if (cursor.take<uint8_t>() != kBregSp) {
        return false;
    }
    const int64_t offset = cursor.sleb();
    if (cursor.take<uint8_t>() != kBregPc || cursor.sleb() != 0 ||
        cursor.take<uint8_t>() != 0x3f /* lit15 */ || cursor.take<uint8_t>() != 0x1a /* and */) {
        return false;
    }
    const uint8_t boundary = cursor.take<uint8_t>();  // lit0 to lit15
    if (boundary < 0x30 || boundary > 0x3f || cursor.take<uint8_t>() != 0x2a /* ge */ ||
        cursor.take<uint8_t>() != 0x33 /* lit3 */ || cursor.take<uint8_t>() != 0x24 /* shl */ ||
        cursor.take<uint8_t>() != 0x22 /* plus */ || !cursor.ok() || !cursor.at_end() ||
        offset != 8) {
        return false;
    }
    rule.cfa = Cfa::plt;
    rule.cfa_register = X86_64::kStackPointer;
    rule.cfa_offset = 8;
    rule.cfa_addend = static_cast<int16_t>(boundary - 0x30);
    return true;
}

// `register + offset`, the beginning of every other expression that compilers and assembly authors
// write in call frame information.
bool take_register_offset(Cursor& cursor, uint64_t& number, int64_t& offset) {
    const uint8_t op = cursor.take<uint8_t>();
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

template <class Architecture>
class Machine {
public:
    Machine(const CommonInfo& common, uint64_t start, const PointerBase& base)
        : common_(common),
          base_(base),
          location_(start),
          rule_(common.initial),
          outermost_(common.initially_outermost) {}

    // Runs the instructions; `emit(location, rule)` is called where the rule may have changed.
    // False when an instruction is not understood: what was emitted before still holds.
    template <class Emit>
    bool run(ByteView instructions, uint64_t section_offset, Emit emit) {
        Cursor cursor(instructions);
        const PointerBase base{base_.section_address + section_offset, base_.header_address,
                               base_.bias};
        while (!cursor.at_end()) {
            const uint8_t op = cursor.take<uint8_t>();
            const uint8_t low = op & 0x3f;
            switch (op >> 6) {
                case 1:
                    advance(low, emit);
                    continue;
                case 2:
                    save_at_offset(low, static_cast<int64_t>(cursor.uleb()));
                    continue;
                case 3:
                    restore(low);
                    continue;
                default:
                    break;
            }
            switch (op) {
                case 0x00:  // nop
                    break;
                case 0x01: {  // set_loc
                    const uint64_t target = take_pointer(cursor, common_.pointer_encoding, base);
                    if (cursor.ok() && target >= location_) {
                        advance_bytes(target - location_, emit);
                    }
                    break;
                }
                case 0x02:
                    advance(cursor.take<uint8_t>(), emit);
                    break;
                case 0x03:
                    advance(cursor.take<uint16_t>(), emit);
                    break;
                case 0x04:
                    advance(cursor.take<uint32_t>(), emit);
                    break;
                case 0x05: {  // offset_extended
                    const uint64_t number = cursor.uleb();
                    save_at_offset(number, static_cast<int64_t>(cursor.uleb()));
                    break;
                }
                case 0x06:  // restore_extended
                    restore(cursor.uleb());
                    break;
                case 0x07: {  // undefined
                    const uint64_t number = cursor.uleb();
                    if (number == Architecture::kReturnAddress) {
                        outermost_ = true;
                    }
                    set_saved(number, kLost);
                    break;
                }
                case 0x08:  // same_value
                    set_saved(cursor.uleb(), kUnchanged);
                    break;
                case 0x09: {  // register: kept in another register
                    const uint64_t number = cursor.uleb();
                    const uint64_t other = cursor.uleb();
                    set_saved(number, number == other ? kUnchanged : kLost);
                    break;
                }
                case 0x0a:  // remember_state
                    if (depth_ == kMaxDepth) {
                        return false;
                    }
                    remembered_[depth_++] = {rule_, outermost_};
                    break;
                case 0x0b: {  // restore_state
                    if (depth_ == 0) {
                        return false;
                    }
                    const State& state = remembered_[--depth_];
                    rule_ = state.rule;
                    outermost_ = state.outermost;
                    break;
                }
                case 0x0c: {  // def_cfa
                    const uint64_t number = cursor.uleb();
                    define_cfa(number, static_cast<int64_t>(cursor.uleb()));
                    break;
                }
                case 0x0d:  // def_cfa_register
                    define_cfa(cursor.uleb(), rule_.cfa_offset);
                    break;
                case 0x0e:  // def_cfa_offset
                    define_cfa(rule_.cfa_register, static_cast<int64_t>(cursor.uleb()));
                    break;
                case 0x0f:  // def_cfa_expression
                    define_cfa_expression(cursor.take_view(cursor.uleb()));
                    break;
                case 0x10: {  // expression: saved at the address it gives
                    const uint64_t number = cursor.uleb();
                    save_at_expression(number, cursor.take_view(cursor.uleb()));
                    break;
                }
                case 0x11: {  // offset_extended_sf
                    const uint64_t number = cursor.uleb();
                    save_at_offset(number, cursor.sleb());
                    break;
                }
                case 0x12: {  // def_cfa_sf
                    const uint64_t number = cursor.uleb();
                    define_cfa(number, multiply(cursor.sleb(), common_.data_align));
                    break;
                }
                case 0x13:  // def_cfa_offset_sf
                    define_cfa(rule_.cfa_register, multiply(cursor.sleb(), common_.data_align));
                    break;
                case 0x14:    // val_offset
                case 0x15: {  // val_offset_sf
                    const uint64_t number = cursor.uleb();
                    cursor.uleb();
                    set_saved(number, kLost);
                    break;
                }
                case 0x16: {  // val_expression
                    const uint64_t number = cursor.uleb();
                    cursor.take_view(cursor.uleb());
                    set_saved(number, kLost);
                    break;
                }
                case 0x2c:  // AARCH64_negate_ra_state_with_pc
                case 0x2d:  // AARCH64_negate_ra_state
                    rule_.signed_return = !rule_.signed_return;
                    break;
                case 0x2e:  // GNU_args_size
                    cursor.uleb();
                    break;
                case 0x2f: {  // GNU_negative_offset_extended
                    const uint64_t number = cursor.uleb();
                    save_at_offset(number, -static_cast<int64_t>(cursor.uleb()));
                    break;
                }
                default:
                    return false;
            }
        }
        return cursor.ok();
    }

    uint64_t location() const { return location_; }

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
    static constexpr size_t kMaxDepth = 16;
    struct State {
        Rule rule;
        bool outermost = false;
    };

    static int64_t multiply(int64_t a, int64_t b) {
        return static_cast<int64_t>(static_cast<uint64_t>(a) * static_cast<uint64_t>(b));
    }

    static int slot_of(uint64_t number) {
        for (size_t i = 0; i < sizeof(Architecture::kSaved); ++i) {
            if (Architecture::kSaved[i] == number) {
                return static_cast<int>(i);
            }
        }
        return -1;
    }

    template <class Emit>
    void advance(uint64_t units, Emit& emit) {
        advance_bytes(units * common_.code_align, emit);
    }

    template <class Emit>
    void advance_bytes(uint64_t bytes, Emit& emit) {
        if (bytes != 0) {
            emit(location_, rule());
            location_ += bytes;
        }
    }

    void set_slot(uint64_t number, int16_t value, bool based) {
        const int slot = slot_of(number);
        if (slot < 0) {
            return;
        }
        rule_.saved[slot] = value;
        const uint16_t bit = static_cast<uint16_t>(1U << slot);
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

    void save_at_expression(uint64_t number, ByteView expression) {
        Cursor cursor(expression);
        uint64_t base = 0;
        int64_t offset = 0;
        set_saved(number, kLost);
        if (!take_register_offset(cursor, base, offset) || !cursor.at_end() ||
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
        const int slot = slot_of(number);
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

    void define_cfa_expression(ByteView expression) {
        rule_.cfa = Cfa::none;
        if (Architecture::kCallPushes && match_plt(expression, rule_)) {
            return;
        }
        Cursor cursor(expression);
        uint64_t number = 0;
        int64_t offset = 0;
        if (!take_register_offset(cursor, number, offset)) {
            return;
        }
        define_cfa(number, offset);
        if (cursor.at_end() || rule_.cfa == Cfa::none) {
            return;
        }
        rule_.cfa = Cfa::none;
        if (cursor.take<uint8_t>() != 0x06 /* deref */) {
            return;
        }
        uint64_t addend = 0;
        if (!cursor.at_end()) {
            if (cursor.take<uint8_t>() != 0x23 /* plus_uconst */) {
                return;
            }
            addend = cursor.uleb();
        }
        if (!cursor.ok() || !cursor.at_end() || addend > INT16_MAX) {
            return;
        }
        rule_.cfa = Cfa::dereferenced;
        rule_.cfa_addend = static_cast<int16_t>(addend);
    }

    const CommonInfo& common_;
    const PointerBase& base_;
    uint64_t location_;
    Rule rule_;
    bool outermost_;
    State remembered_[kMaxDepth];
    size_t depth_ = 0;
};

// Reads entries out of .eh_frame: through the header's search table where there is one, because
// that is what the C++ runtime trusts, otherwise from front to back.
template <class Architecture>
class Reader {
public:
    explicit Reader(const FrameInfoSource& source)
        : source_(source), base_{source.eh_frame_address, source.header_address, source.bias} {}

    // Ascending, disjoint.
    std::vector<Entry> entries() {
        std::vector<Entry> entries;
        if (!read_through_table(entries)) {
            read_in_order(entries);
        }
        const auto below = [](const Entry& a, const Entry& b) { return a.start < b.start; };
        if (!std::is_sorted(entries.begin(), entries.end(), below)) {
            std::stable_sort(entries.begin(), entries.end(), below);
        }
        size_t kept = 0;
        for (const Entry& entry : entries) {
            if (kept == 0 || entry.start >= entries[kept - 1].end) {
                entries[kept++] = entry;
            }
        }
        entries.resize(kept);
        return entries;
    }

    const PointerBase& base() const { return base_; }
    uint64_t offset_of(ByteView instructions) const {
        return static_cast<uint64_t>(instructions.data() - source_.eh_frame.data());
    }

private:
    // The body of the record at `offset` (behind its length and id); false at the terminator.
    bool take_record(uint64_t offset, ByteView& body, uint64_t& id, uint64_t& id_offset,
                     uint64_t& next) const {
        Cursor cursor(source_.eh_frame, offset);
        uint64_t length = cursor.take<uint32_t>();
        if (length == 0xffffffff) {
            length = cursor.take<uint64_t>();
        }
        if (!cursor.ok() || length < 4) {
            return false;
        }
        id_offset = cursor.offset();
        const ByteView record = source_.eh_frame.slice(id_offset, length);
        uint32_t narrow_id = 0;
        if (!record.read(0, narrow_id)) {
            return false;
        }
        id = narrow_id;
        body = record.from(4);
        next = id_offset + length;
        return true;
    }

    bool read_through_table(std::vector<Entry>& entries) {
        FrameInfoHeader info;
        if (!parse_frame_info_header(source_.header, source_.header_address, source_.bias, info) ||
            info.table_offset == 0) {
            return false;
        }
        entries.reserve(info.entries);
        Cursor cursor(source_.header, info.table_offset);
        for (uint64_t i = 0; i < info.entries; ++i) {
            cursor.take<int32_t>();
            const uint64_t address =
                source_.header_address + static_cast<uint64_t>(int64_t{cursor.take<int32_t>()});
            Entry entry;
            uint64_t next = 0;
            if (cursor.ok() && read_entry(address - source_.eh_frame_address, entry, next)) {
                entries.push_back(entry);
            }
        }
        return !entries.empty();
    }

    void read_in_order(std::vector<Entry>& entries) {
        uint64_t offset = 0;
        while (offset < source_.eh_frame.size()) {
            Entry entry;
            uint64_t next = 0;
            if (read_entry(offset, entry, next)) {
                entries.push_back(entry);
            }
            if (next <= offset) {
                return;
            }
            offset = next;
        }
    }

    // `next` stays 0 where nothing can follow.
    bool read_entry(uint64_t offset, Entry& entry, uint64_t& next) {
        ByteView body;
        uint64_t id = 0;
        uint64_t id_offset = 0;
        if (!take_record(offset, body, id, id_offset, next) || id == 0 || id > id_offset) {
            return false;
        }
        const CommonInfo& common = common_at(id_offset - id);
        if (!common.usable) {
            return false;
        }
        Cursor cursor(body);
        const PointerBase base{base_.section_address + offset_of(body), base_.header_address,
                               base_.bias};
        entry.start = take_pointer(cursor, common.pointer_encoding, base);
        const uint64_t length = take_encoded_value(cursor, common.pointer_encoding);
        if (common.has_augmentation_data) {
            cursor.skip(cursor.uleb());
        }
        if (!cursor.ok() || length == 0 || length > UINT64_MAX - entry.start) {
            return false;
        }
        entry.end = entry.start + length;
        entry.common = &common;
        entry.instructions = body.from(cursor.offset());
        return true;
    }

    const CommonInfo& common_at(uint64_t offset) {
        const auto [found, inserted] = commons_.try_emplace(offset);
        CommonInfo& common = found->second;
        if (inserted) {
            common.usable = read_common(offset, common);
        }
        return common;
    }

    bool read_common(uint64_t offset, CommonInfo& common) const {
        ByteView body;
        uint64_t id = 0;
        uint64_t id_offset = 0;
        uint64_t next = 0;
        if (!take_record(offset, body, id, id_offset, next) || id != 0) {
            return false;
        }
        Cursor cursor(body);
        const uint8_t version = cursor.take<uint8_t>();
        if (version != 1 && version != 3 && version != 4) {
            return false;
        }
        const std::string_view augmentation = cursor.string();
        if (version == 4 && (cursor.take<uint8_t>() != 8 || cursor.take<uint8_t>() != 0)) {
            return false;
        }
        common.code_align = cursor.uleb();
        common.data_align = cursor.sleb();
        const uint64_t return_register =
            version == 1 ? uint64_t{cursor.take<uint8_t>()} : cursor.uleb();
        if (!cursor.ok() || return_register != Architecture::kReturnAddress) {
            return false;
        }
        if (!augmentation.empty() && !read_augmentation(augmentation, cursor, common)) {
            return false;
        }
        const ByteView instructions = body.from(cursor.offset());
        CommonInfo blank = common;
        Machine<Architecture> machine(blank, 0, base_);
        machine.run(instructions, offset_of(instructions), [](uint64_t, const Rule&) {});
        common.initial = machine.raw_rule();
        common.initially_outermost = machine.outermost();
        return cursor.ok();
    }

    bool read_augmentation(std::string_view augmentation, Cursor& cursor,
                           CommonInfo& common) const {
        if (augmentation.front() != 'z') {
            return false;
        }
        common.has_augmentation_data = true;
        Cursor at(cursor.take_view(cursor.uleb()));
        for (const char letter : augmentation.substr(1)) {
            if (letter == 'R') {
                common.pointer_encoding = at.take<uint8_t>();
            } else if (letter == 'P') {
                const uint8_t encoding = at.take<uint8_t>();
                if (encoding != kOmit) {
                    take_encoded_value(at, encoding);
                }
            } else if (letter == 'L') {
                at.take<uint8_t>();
            } else if (letter == 'S') {
                common.signal_frame = true;
            } else if (letter != 'B' && letter != 'G') {
                // 'B' and 'G' (pointer authentication key, memory tagging) carry no data.
                return false;
            }
        }
        return at.ok() && common.pointer_encoding != kOmit;
    }

    const FrameInfoSource& source_;
    PointerBase base_;
    std::unordered_map<uint64_t, CommonInfo> commons_;
};

struct RuleHash {
    size_t operator()(const Rule& rule) const {
        const auto* bytes = reinterpret_cast<const char*>(&rule);
        return std::hash<std::string_view>{}({bytes, sizeof(Rule)});
    }
};

class TableBuilder {
public:
    explicit TableBuilder(uint64_t base) : base_(base) { table_.rules.emplace_back(); }

    void add(uint64_t address, const Rule& rule) {
        const uint64_t pc = address - base_;
        if (address < base_ || pc > UINT32_MAX) {
            return;
        }
        const uint32_t id = id_of(rule);
        if (!table_.rows.empty()) {
            Row& last = table_.rows.back();
            if (pc < last.pc) {
                return;
            }
            if (last.pc == pc) {
                last.rule = id;
                return;
            }
            if (last.rule == id) {
                return;
            }
        }
        table_.rows.push_back({static_cast<uint32_t>(pc), id});
    }

    size_t row_count() const { return table_.rows.size(); }

    ModuleTable finish() {
        table_.rows.shrink_to_fit();
        const uint32_t end = table_.rows.empty() ? 0 : table_.rows.back().pc;
        // About four rows a bucket: the binary search stays within a cache line or two.
        while (table_.shift < 31 && (end >> table_.shift) > table_.rows.size() / 4) {
            ++table_.shift;
        }
        const size_t count = (size_t{end} >> table_.shift) + 1;
        table_.buckets.reserve(count + 1);
        size_t row = 0;
        for (size_t bucket = 0; bucket < count; ++bucket) {
            while (row < table_.rows.size() && table_.rows[row].pc >> table_.shift < bucket) {
                ++row;
            }
            table_.buckets.push_back(static_cast<uint32_t>(row));
        }
        table_.buckets.push_back(static_cast<uint32_t>(table_.rows.size()));
        return std::move(table_);
    }

private:
    uint32_t id_of(const Rule& rule) {
        if (rule == table_.rules[last_]) {
            return last_;
        }
        const auto [found, inserted] =
            ids_.try_emplace(rule, static_cast<uint32_t>(table_.rules.size()));
        if (inserted) {
            table_.rules.push_back(rule);
        }
        last_ = found->second;
        return last_;
    }

    uint64_t base_;
    ModuleTable table_;
    std::unordered_map<Rule, uint32_t, RuleHash> ids_{{Rule{}, 0}};
    uint32_t last_ = 0;
};

}  // namespace

bool parse_frame_info_header(ByteView header, uint64_t header_address, uint64_t bias,
                             FrameInfoHeader& out) {
    Cursor cursor(header);
    const uint8_t version = cursor.take<uint8_t>();
    const uint8_t pointer_encoding = cursor.take<uint8_t>();
    const uint8_t count_encoding = cursor.take<uint8_t>();
    const uint8_t table_encoding = cursor.take<uint8_t>();
    if (!cursor.ok() || version != 1 || pointer_encoding == kOmit) {
        return false;
    }
    const PointerBase base{header_address, header_address, bias};
    out.eh_frame_address = take_pointer(cursor, pointer_encoding, base);
    if (!cursor.ok()) {
        return false;
    }
    if (count_encoding == kOmit || table_encoding != kTableEncoding) {
        return true;
    }
    const uint64_t entries = take_encoded_value(cursor, count_encoding);
    if (!cursor.ok() || entries > (header.size() - cursor.offset()) / 8) {
        return true;
    }
    out.entries = entries;
    out.table_offset = cursor.offset();
    return true;
}

uint64_t last_entry_address(ByteView header, uint64_t header_address, const FrameInfoHeader& info) {
    uint64_t last = 0;
    for (uint64_t i = 0; info.table_offset != 0 && i < info.entries; ++i) {
        int32_t offset = 0;
        if (header.read(info.table_offset + i * 8 + 4, offset)) {
            last = std::max(last, header_address + static_cast<uint64_t>(int64_t{offset}));
        }
    }
    return last;
}

template <class Architecture>
ModuleTable compile_frame_info(const FrameInfoSource& source, uint64_t base,
                               const std::vector<ExtraFunction>& extra) {
    Reader<Architecture> reader(source);
    TableBuilder builder(base);
    // Entries of a hostile file may all point at the same instructions.
    uint64_t budget = 4 * uint64_t{source.eh_frame.size()} + 4096;
    auto next_extra = extra.begin();
    uint64_t covered = 0;
    // Those that lie wholly between what is covered so far and `until`.
    const auto add_extra = [&](uint64_t until) {
        for (; next_extra != extra.end() && next_extra->start < until; ++next_extra) {
            if (next_extra->start < covered || next_extra->end > until) {
                continue;
            }
            for (const GuessedRule& guessed : next_extra->rules) {
                builder.add(next_extra->start + guessed.offset, guessed.rule);
            }
            builder.add(next_extra->end, Rule{});
            covered = next_extra->end;
        }
    };
    for (const Entry& entry : reader.entries()) {
        if (entry.instructions.size() > budget) {
            break;
        }
        add_extra(entry.start);
        covered = entry.end;
        budget -= entry.instructions.size();
        Machine<Architecture> machine(*entry.common, entry.start, reader.base());
        const bool understood =
            machine.run(entry.instructions, reader.offset_of(entry.instructions),
                        [&](uint64_t location, const Rule& rule) {
                            if (location < entry.end) {
                                builder.add(location, rule);
                            }
                        });
        if (machine.location() < entry.end) {
            builder.add(machine.location(), understood ? machine.rule() : Rule{});
        }
        builder.add(entry.end, Rule{});
    }
    add_extra(UINT64_MAX);
    return builder.finish();
}

// What holds at the first instruction of whatever is called. A common entry cannot tell: assemblers
// make one of its own for parts that begin with a frame already made.
template <class Architecture>
Rule rule_at_entry() {
    Rule rule;
    rule.cfa = Cfa::register_offset;
    rule.cfa_register = Architecture::kStackPointer;
    if (Architecture::kCallPushes) {
        rule.cfa_offset = 8;
        rule.saved[0] = -1;
    }
    return rule;
}

template <class Architecture>
std::vector<CodeRange> code_ranges(const FrameInfoSource& source) {
    Reader<Architecture> reader(source);
    std::vector<CodeRange> ranges;
    for (const Entry& entry : reader.entries()) {
        Machine<Architecture> machine(*entry.common, entry.start, reader.base());
        Rule first;
        bool have_first = false;
        machine.run(entry.instructions, reader.offset_of(entry.instructions),
                    [&](uint64_t, const Rule& rule) {
                        if (!have_first) {
                            first = rule;
                            have_first = true;
                        }
                    });
        if (!have_first) {
            first = machine.rule();
        }
        ranges.push_back({entry.start, entry.end, first == rule_at_entry<Architecture>()});
    }
    return ranges;
}

template ModuleTable compile_frame_info<X86_64>(const FrameInfoSource&, uint64_t,
                                                const std::vector<ExtraFunction>&);
template ModuleTable compile_frame_info<Aarch64>(const FrameInfoSource&, uint64_t,
                                                 const std::vector<ExtraFunction>&);
template std::vector<CodeRange> code_ranges<X86_64>(const FrameInfoSource&);
template std::vector<CodeRange> code_ranges<Aarch64>(const FrameInfoSource&);

}  // namespace spprof::native
