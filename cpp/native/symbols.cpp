// Owns the names of machine code: from a location to symbol and module.
#include "native/symbols.h"

#include <algorithm>
#include <set>
#include <tuple>

#include "native/call_frame_info.h"
#include "native/demangle.h"
#include "native/hexadecimal.h"
#include "native/jumps.h"
#include "native/pe_unwind_info.h"
#include "native/process_memory.h"
#include "platform/clocks.h"
#include "platform/pages.h"

namespace spprof::native {
namespace {

// The item of a map by start that covers an offset.
template <class Map>
auto covering(Map& map, uint64_t offset) {
    auto above = map.upper_bound(offset);
    if (above == map.begin()) {
        return map.end();
    }
    --above;
    return offset < above->second.end ? above : map.end();
}

// The unwind information of a module as it lies in memory, by offsets behind the load bias.
class Frames {
public:
    explicit Frames(const Module& module) : bias_(module.bias), unwind_(module.unwind) {}

    bool range_at(uint64_t offset, CodeRange& range) const {
        if (is_pe()) {
            return found(
                PeUnwindInfo<ProcessMemory>(memory_, unwind_).range_at(bias_ + offset, range),
                range);
        }
        uint64_t budget = kBudget;
        return found(info(budget).range_at(bias_ + offset, range), range);
    }

    // By addresses: it is bounded by the module's code only.
    AddressRange hole_at(const AddressRange& code, uintptr_t address) const {
        if (is_pe()) {
            return {address, address + 1};
        }
        if (unwind_.format == UnwindInfo::Format::none) {
            return {address & ~uintptr_t{15}, (address | 15) + 1};  // its neighbours may have names
        }
        uint64_t budget = kBudget;
        uint64_t start = 0;
        uint64_t end = UINT64_MAX;
        return info(budget).hole_at(address, start, end)
                   ? AddressRange{std::max<uint64_t>(start, code.start),
                                  std::min<uint64_t>(end, code.end)}
                   : AddressRange{address, address + 1};
    }

    // Ascending.
    std::vector<CodeRange> ranges() const {
        std::vector<CodeRange> result;
        if (is_pe()) {
            return result;  // its parts are known to belong to a function: nobody looks for jumps
        }
        uint64_t budget = kBudget;
        Info all = info(budget);
        for (uint64_t i = 0; i < all.entries() && budget > 0; ++i) {
            CodeRange range;
            if (found(all.range_number(i, range), range) &&
                (result.empty() || range.start >= result.back().end)) {
                result.push_back(range);
            }
        }
        return result;
    }

private:
    using Info = CallFrameInfo<HostArchitecture, ProcessMemory>;
    static constexpr uint64_t kBudget = uint64_t{1} << 26;

    Info info(uint64_t& budget) const { return Info(memory_, unwind_, budget); }
    bool is_pe() const { return unwind_.format == UnwindInfo::Format::pe_functions; }

    bool found(bool there, CodeRange& range) const {
        range.start -= bias_;
        range.end -= bias_;
        return there && range.start < range.end;
    }

    ProcessMemory memory_;
    uintptr_t bias_;
    UnwindInfo unwind_;
};

ByteView view_of(const std::vector<uint8_t>& bytes) { return {bytes.data(), bytes.size()}; }

const CodeRange* range_at(const std::vector<CodeRange>& ranges, uint64_t offset) {
    const auto above = std::upper_bound(
        ranges.begin(), ranges.end(), offset,
        [](uint64_t value, const CodeRange& range) { return value < range.start; });
    return above == ranges.begin() || offset >= above[-1].end ? nullptr : &above[-1];
}

// The function to which most jumps lead. Where bytes looked like a jump and were none, the true one
// has more.
uint64_t most_voted(const std::map<uint64_t, size_t>& votes) {
    const auto best =
        std::max_element(votes.begin(), votes.end(),
                         [](const auto& a, const auto& b) { return a.second < b.second; });
    return best == votes.end() ? 0 : best->first;
}

// Without what numba tells versions of a function apart with: "f[abi:v1]" is "f".
std::string without_tags(std::string text) {
    for (size_t at = text.find("[abi:"); at != std::string::npos; at = text.find("[abi:", at)) {
        const size_t end = text.find(']', at);
        text.erase(at, end == std::string::npos ? end : end + 1 - at);
    }
    return text;
}

// Of paths.
#if defined(_WIN32)
constexpr const char* kSeparators = "/\\";
#else
constexpr const char* kSeparators = "/";
#endif

// The rest of the time is the program's.
constexpr int64_t kShareOfTime = 20;

// Bytes of what makers of code publish, read at once while the session runs, and at its end.
constexpr uint64_t kPublishedAtOnce = uint64_t{1} << 18;
constexpr uint64_t kMostPublished = uint64_t{1} << 26;

// A name may come from a file that anybody wrote: neither line breaks nor bytes that are no UTF-8.
std::string printable(std::string text) {
    for (size_t at = 0; at < text.size();) {
        const auto byte = [&](size_t index) {
            return index < text.size() ? static_cast<uint8_t>(text[index]) : uint8_t{0};
        };
        const uint8_t first = byte(at);
        const size_t length = first < 0x80                    ? 1
                              : first >= 0xc2 && first < 0xe0 ? 2
                              : first >= 0xe0 && first < 0xf0 ? 3
                              : first >= 0xf0 && first < 0xf5 ? 4
                                                              : 0;
        bool valid = length == 1 ? first >= 0x20 && first != 0x7f : length != 0;
        for (size_t i = 1; i < length; ++i) {
            valid = valid && byte(at + i) >> 6 == 2;
        }
        const uint8_t second = byte(at + 1);
        valid = valid && !(first == 0xe0 && second < 0xa0) && !(first == 0xed && second >= 0xa0) &&
                !(first == 0xf0 && second < 0x90) && !(first == 0xf4 && second >= 0x90);
        if (!valid) {
            text[at] = '?';
        }
        at += valid ? length : 1;
    }
    return text;
}

}  // namespace

// --- what is seen -------------------------------------------------------------------------------

void Symbolizer::want(const Location& location) {
    if (location.module != 0) {
        const std::lock_guard<std::mutex> lock(wanted_mutex_);
        wanted_[location.module].push_back(location.offset);
    } else {
        saw_generated_.store(true, std::memory_order_relaxed);
        generated_wanted_.store(true, std::memory_order_relaxed);
    }
}

void Symbolizer::look_for_makers() {
    if (!saw_generated_.load(std::memory_order_relaxed)) {
        return;
    }
    for (const std::shared_ptr<const Module>& module : map_.modules()) {
        const std::lock_guard<std::mutex> lock(mutex_);
        if (module->id <= looked_for_makers_) {
            continue;
        }
        looked_for_makers_ = module->id;
        const std::unique_ptr<SymbolTables> tables =
            module->path.empty() ? nullptr : module->format->open_symbols();
        const uint64_t offset =
            tables == nullptr
                ? 0
                : tables->find_data(GeneratedCode::kDescriptorName, GeneratedCode::kDescriptorSize);
        if (offset != 0) {
            map_.add_maker(module->bias + offset);
        }
    }
    const std::lock_guard<std::mutex> lock(mutex_);
    published_.read(generated_wanted_.exchange(false, std::memory_order_relaxed), kPublishedAtOnce);
    count_bytes();
}

void Symbolizer::look_up() {
    look_up_listed(true);
    if (saw_generated_.load(std::memory_order_relaxed)) {
        const std::lock_guard<std::mutex> lock(mutex_);
        published_.read(true, kMostPublished);
        count_bytes();
    }
}
void Symbolizer::look_up_some() { look_up_listed(false); }

void Symbolizer::look_up_listed(bool all) {
    std::unordered_map<uint32_t, std::vector<uint64_t>> wanted;
    {
        const std::lock_guard<std::mutex> lock(wanted_mutex_);
        wanted.swap(wanted_);
    }
    for (auto& [id, offsets] : wanted) {
        const std::shared_ptr<const Module> module = map_.module(id);
        if (module == nullptr) {
            continue;
        }
        const std::lock_guard<std::mutex> lock(mutex_);
        Names& names = names_[id];
        const int64_t begin = platform::monotonic_ns();
        if (!all && begin < names.next_look_ns) {
            const std::lock_guard<std::mutex> wanted_lock(wanted_mutex_);
            std::vector<uint64_t>& later = wanted_[id];
            later.insert(later.end(), offsets.begin(), offsets.end());
            continue;
        }
        look_up(*module, names, std::move(offsets));
        const int64_t end = platform::monotonic_ns();
        names.next_look_ns = end + (end - begin) * kShareOfTime;
        count_bytes();
    }
}

void Symbolizer::look_up(const Module& module, Names& names, std::vector<uint64_t> offsets) {
    std::sort(offsets.begin(), offsets.end());
    offsets.erase(std::unique(offsets.begin(), offsets.end()), offsets.end());
    // Owners of nameless parts come in the second round.
    while (!offsets.empty()) {
        std::vector<uint64_t> unknown;
        std::copy_if(offsets.begin(), offsets.end(), std::back_inserter(unknown),
                     [&](uint64_t offset) {
                         return covering(names.known, offset) == names.known.end() &&
                                covering(names.nameless, offset) == names.nameless.end();
                     });
        const std::unique_ptr<SymbolTables> tables =
            unknown.empty() ? nullptr : module.format->open_symbols();
        if (tables != nullptr) {
            for (Function& function : find_functions(*tables, unknown)) {
                if (function.end != 0) {
                    names.known[function.start] = {function.end, std::move(function.name), {}};
                }
            }
        }
        std::vector<uint64_t> owners;
        note_nameless(module, names, unknown, owners);
        offsets = std::move(owners);
    }
}

bool Symbolizer::is_loaded(const Module& module) const {
    return !module.code.empty() && map_.locate(module.code.front().start).module == module.id;
}

void Symbolizer::note_nameless(const Module& module, Names& names,
                               const std::vector<uint64_t>& offsets,
                               std::vector<uint64_t>& owners) {
    const bool loaded = is_loaded(module);
    const Frames frames(module);
    for (const uint64_t offset : offsets) {
        if (covering(names.known, offset) != names.known.end() ||
            covering(names.nameless, offset) != names.nameless.end()) {
            continue;
        }
        CodeRange range;
        if (!loaded || !frames.range_at(offset, range)) {
            names.nameless[offset] = {offset + 1, false, 0, true};
            continue;
        }
        Nameless& found = names.nameless[range.start];
        found = {range.end, range.entry, 0, !range.entry};
        std::vector<uint8_t> code;
        if (range.entry || !copy_memory(module.bias + range.start, range.end - range.start, code)) {
            continue;
        }
        // A part jumps back to the function it was split off from.
        std::map<uint64_t, size_t> votes;
        for (const uint64_t target : jump_targets<HostArchitecture>(view_of(code), range.start)) {
            CodeRange to;
            if ((target < range.start || target >= range.end) && frames.range_at(target, to) &&
                to.entry) {
                ++votes[to.start];
            }
        }
        found.owner = most_voted(votes);
        if (found.owner != 0) {
            owners.push_back(found.owner);
        }
    }
    std::sort(owners.begin(), owners.end());
}

// Hand-written functions come without unwind information, but with a symbol.
void Symbolizer::guess_rules_around(uintptr_t address) {
    const Location location = map_.locate(address);
    const std::shared_ptr<const Module> module = map_.module(location.module);
    if (module == nullptr) {
        return;
    }
    const std::lock_guard<std::mutex> lock(mutex_);
    Names& names = names_[module->id];
    look_up(*module, names, {location.offset});
    const auto function = covering(names.known, location.offset);
    const Frames frames(*module);
    const auto code_range = std::find_if(
        module->code.begin(), module->code.end(),
        [&](const AddressRange& range) { return address >= range.start && address < range.end; });
    AddressRange range = frames.hole_at(*code_range, address);
    CodeRange described;
    std::vector<uint8_t> code;
    std::vector<GuessedRule> rules;
    if (function != names.known.end() && !frames.range_at(function->first, described)) {
        range = {module->bias + function->first, module->bias + function->second.end};
        if (copy_memory(range.start, range.end - range.start, code)) {
            rules = guess_rules(view_of(code));
        }
    }
    map_.publish_guess(address, range.start, range.end, std::move(rules));
}

// --- what is not in any file --------------------------------------------------------------------

bool Symbolizer::wants_known_functions() const {
    const std::lock_guard<std::mutex> lock(mutex_);
    return std::any_of(names_.begin(), names_.end(), [](const auto& names) {
        const auto& nameless = names.second.nameless;
        const auto& learned = names.second.learned;
        return std::any_of(nameless.begin(), nameless.end(), [&learned](const auto& range) {
            return !range.second.asked && learned.count(range.first) == 0;
        });
    });
}

void Symbolizer::learn(const std::vector<KnownFunction>& functions) {
    const std::lock_guard<std::mutex> lock(mutex_);
    for (const KnownFunction& function : functions) {
        const Location location = map_.locate(function.address);
        if (location.module != 0) {
            // The first name is the best one.
            names_[location.module].learned.try_emplace(location.offset, function.name);
        }
    }
    for (auto& [id, names] : names_) {
        for (auto& [start, range] : names.nameless) {
            range.asked = true;
        }
    }
    count_bytes();
}

void Symbolizer::read_jumps(const Module& module, Names& names,
                            const std::vector<Function>& functions) {
    names.jumps_read = true;
    const std::vector<CodeRange> ranges = Frames(module).ranges();
    const auto has_name = [&](uint64_t start) {
        const auto above = std::upper_bound(
            functions.begin(), functions.end(), start,
            [](uint64_t value, const Function& function) { return value < function.start; });
        return above != functions.begin() && start < above[-1].end;
    };
    std::map<uint64_t, std::map<uint64_t, size_t>> votes;
    std::vector<uint8_t> code;
    for (const CodeRange& from : ranges) {
        if (!from.entry || !copy_memory(module.bias + from.start, from.end - from.start, code)) {
            continue;
        }
        for (const uint64_t target : jump_targets<HostArchitecture>(view_of(code), from.start)) {
            const CodeRange* to = native::range_at(ranges, target);
            if (to == nullptr || to->start == from.start || has_name(to->start)) {
                continue;
            }
            if (!to->entry) {
                ++votes[to->start][from.start];
            } else if (target == to->start) {
                names.callers[to->start].push_back(from.start);
            }
        }
    }
    for (const CodeRange& part : ranges) {
        const auto found = votes.find(part.start);
        if (found != votes.end()) {
            names.nameless[part.start] = {part.end, false, most_voted(found->second), true};
        }
    }
}

Symbolizer::ModuleFunctions Symbolizer::functions(uint32_t id) {
    ModuleFunctions result;
    const std::shared_ptr<const Module> module = map_.module(id);
    const std::lock_guard<std::mutex> lock(mutex_);
    const std::unique_ptr<SymbolTables> tables =
        module == nullptr ? nullptr : module->format->open_symbols();
    if (tables != nullptr) {
        result.functions = all_functions(*tables);
        result.complete = tables->complete();
    }
    if (result.complete || module == nullptr || !is_loaded(*module)) {
        return result;
    }
    Names& names = names_[id];
    if (!names.jumps_read) {
        read_jumps(*module, names, result.functions);
    }
    std::vector<Function> parts;
    for (const auto& [start, part] : names.nameless) {
        const auto owner = std::lower_bound(
            result.functions.begin(), result.functions.end(), part.owner,
            [](const Function& function, uint64_t value) { return function.start < value; });
        if (part.owner != 0 && owner != result.functions.end() && owner->start == part.owner) {
            parts.push_back({start, part.end, owner->name});
        }
    }
    result.functions.insert(result.functions.end(), parts.begin(), parts.end());
    std::sort(result.functions.begin(), result.functions.end(),
              [](const Function& a, const Function& b) { return a.start < b.start; });
    return result;
}

// --- names --------------------------------------------------------------------------------------

Symbolizer::Name Symbolizer::name_at(Names& names, uint64_t offset) const {
    const auto known = covering(names.known, offset);
    if (known != names.known.end()) {
        std::string& readable = known->second.readable;
        if (readable.empty()) {
            readable = printable(demangle(strip_suffixes(known->second.name)));
        }
        return {readable, known->first, false};
    }
    const auto range = covering(names.nameless, offset);
    if (range == names.nameless.end()) {
        return {"", offset, false};
    }
    const uint64_t start = range->first;
    if (!range->second.entry) {
        if (range->second.owner == 0) {
            return {"", start, false};
        }
        Name name = name_at(names, range->second.owner);
        // Without any name the parts of a function still are one.
        name.start = name.text.empty() ? range->second.owner : start;
        return name;
    }
    const auto learned = names.learned.find(start);
    if (learned != names.learned.end()) {
        return {learned->second, start, true};
    }
    // A function shared by many is no longer one of them.
    constexpr size_t kMostCallers = 2;
    std::set<std::string> callers;
    const auto jump_here = names.callers.find(start);
    if (jump_here != names.callers.end()) {
        for (const uint64_t caller : jump_here->second) {
            const auto name = names.learned.find(caller);
            if (name != names.learned.end()) {
                callers.insert(name->second);
            }
        }
    }
    Name name{"", start, true};
    for (const std::string& caller : callers) {
        name.text += callers.size() > kMostCallers ? ""
                     : name.text.empty()           ? caller
                                                   : " / " + caller;
    }
    return name;
}

Symbol Symbolizer::symbolize(const Location& location) {
    Symbol symbol;
    symbol.module_offset = location.offset;
    symbol.name = "[generated code]";
    const Location told = map_.told_since(location);
    const std::shared_ptr<const Module> module = map_.module(told.module);
    const std::lock_guard<std::mutex> lock(mutex_);
    if (module == nullptr) {
        uint64_t start = location.offset;
        const std::string name = published_.name_at(location.offset, start);
        symbol.resolved = !name.empty();
        symbol.function_offset = location.offset - start;
        symbol.name = symbol.resolved ? without_tags(printable(demangle(name))) : symbol.name;
        return symbol;
    }
    Names& names = names_[told.module];
    look_up(*module, names, {told.offset});
    const Name name = name_at(names, told.offset);
    if (module->path.empty()) {  // generated code; its address tells more than one in its object
        symbol.module_offset = module->bias + told.offset;
        symbol.function_offset = told.offset - std::min(told.offset, name.start);
        symbol.resolved = !name.text.empty();
        symbol.name = symbol.resolved ? without_tags(name.text) : symbol.name;
        return symbol;
    }
    symbol.module = printable(module->path);
    symbol.function_offset = location.offset < name.start ? 0 : location.offset - name.start;
    symbol.resolved = !name.text.empty();
    symbol.learned = symbol.resolved && name.learned;
    symbol.name = symbol.resolved
                      ? name.text
                      : symbol.module.substr(symbol.module.find_last_of(kSeparators) + 1) + "+" +
                            hexadecimal(name.start);
    return symbol;
}

void Symbolizer::count_bytes() {
    constexpr size_t kNode = 64;  // of a map, without its value
    size_t bytes = 0;
    for (const auto& [id, names] : names_) {
        for (const auto& [start, known] : names.known) {
            bytes += kNode + sizeof(known) + known.name.size() + known.readable.size();
        }
        for (const auto& [start, text] : names.learned) {
            bytes += kNode + sizeof(std::string) + text.size();
        }
        bytes += names.nameless.size() * (kNode + sizeof(Nameless)) +
                 names.callers.size() * (kNode + sizeof(std::vector<uint64_t>) + 16);
    }
    bytes_.store(bytes + published_.bytes(), std::memory_order_relaxed);
}

void Symbolizer::before_fork() {
    mutex_.lock();
    wanted_mutex_.lock();
}

void Symbolizer::after_fork() {
    wanted_mutex_.unlock();
    mutex_.unlock();
}

}  // namespace spprof::native
