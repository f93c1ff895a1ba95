// Owns the names of machine code: from a location to symbol and module.
#include "native/symbols.h"

#include <algorithm>
#include <cstdio>
#include <set>

#include "native/demangle.h"
#include "native/frame_info_in_memory.h"
#include "native/jumps.h"
#include "native/registers.h"

namespace spprof::native {
namespace {

std::string hexadecimal_number(uint64_t value) {
    char text[2 + 16 + 1];
    std::snprintf(text, sizeof(text), "0x%llx", static_cast<unsigned long long>(value));
    return text;
}

const CodeRange* range_at(const std::vector<CodeRange>& ranges, uint64_t offset) {
    const auto above = std::upper_bound(
        ranges.begin(), ranges.end(), offset,
        [](uint64_t value, const CodeRange& range) { return value < range.start; });
    return above == ranges.begin() || offset >= above[-1].end ? nullptr : &above[-1];
}

}  // namespace

std::shared_ptr<const Module> Symbolizer::module(uint32_t id) {
    if (id == 0) {
        return nullptr;
    }
    if (id > modules_.size()) {
        modules_ = tables_.modules();
    }
    return id > modules_.size() ? nullptr : modules_[id - 1];
}

Symbolizer::Names& Symbolizer::names(uint32_t id) {
    const auto [found, inserted] = names_.try_emplace(id);
    if (!inserted) {
        return found->second;
    }
    const std::shared_ptr<const Module> of = module(id);
    if (of == nullptr) {
        return found->second;
    }
    const LoadedModule& loaded = of->loaded;
    if (loaded.vdso) {
        std::vector<uint8_t> bytes;
        std::vector<std::unique_ptr<SymbolImage>> images;
        // Its section headers lie behind its segment, up to the end of the page.
        constexpr uintptr_t kPage = 4096;
        const uintptr_t end = (loaded.end() + kPage - 1) / kPage * kPage;
        if (copy_memory(loaded.start(), end - loaded.start(), bytes)) {
            auto image = SymbolImage::of_bytes(std::move(bytes));
            if (image != nullptr) {
                images.push_back(std::move(image));
            }
        }
        found->second.functions = FunctionTable(std::move(images));
    } else {
        found->second.functions = read_functions({loaded.path, of->build_id, loaded.segments});
    }
    return found->second;
}

const FunctionTable& Symbolizer::functions(uint32_t id) { return names(id).functions; }

const std::vector<CodeRange>& Symbolizer::code(uint32_t id) {
    Names& of = names(id);
    if (!of.code_read) {
        of.code_read = true;
        const std::shared_ptr<const Module> owner = module(id);
        if (owner != nullptr) {
            of.code = FrameInfoInMemory(owner->loaded).ranges();
        }
    }
    return of.code;
}

const std::string* Symbolizer::learned(uint32_t id, uint64_t start) const {
    const auto of = learned_.find(id);
    if (of == learned_.end()) {
        return nullptr;
    }
    const auto found = of->second.find(start);
    return found == of->second.end() ? nullptr : &found->second;
}

void Symbolizer::learn(const std::vector<KnownFunction>& functions) {
    for (const KnownFunction& function : functions) {
        const Location location = tables_.locate(function.address);
        if (location.module != 0 &&
            learned_[location.module].try_emplace(location.offset, function.name).second) {
            const auto names = names_.find(location.module);
            if (names != names_.end()) {
                names->second.jumps_read = false;
            }
        }
    }
}

void Symbolizer::read_jumps(uint32_t id) {
    Names& of = names(id);
    of.jumps_read = true;
    of.owners.clear();
    of.called.clear();
    const std::shared_ptr<const Module> owner = module(id);
    if (owner == nullptr) {
        return;
    }
    std::unordered_map<uint64_t, std::unordered_map<uint64_t, size_t>> votes;
    std::unordered_map<uint64_t, std::set<std::string>> callers;
    for (const ElfSegment& segment : owner->loaded.segments) {
        std::vector<uint8_t> bytes;
        if (segment.type != ElfSegment::kLoad || (segment.flags & ElfSegment::kExecutable) == 0 ||
            !copy_memory(owner->loaded.bias + segment.address, segment.file_size, bytes)) {
            continue;
        }
        const ByteView text(bytes.data(), bytes.size());
        for (const CodeRange& from : code(id)) {
            if (!from.entry || from.start < segment.address) {
                continue;
            }
            const ByteView body = text.slice(from.start - segment.address, from.end - from.start);
            const std::string* caller = learned(id, from.start);
            for (const uint64_t target : jump_targets<HostArchitecture>(body, from.start)) {
                const CodeRange* to = range_at(of.code, target);
                if (to == nullptr || to->start == from.start ||
                    of.functions.find(to->start) != nullptr) {
                    continue;
                }
                if (!to->entry) {
                    ++votes[to->start][from.start];
                } else if (caller != nullptr && target == to->start) {
                    callers[to->start].insert(*caller);
                }
            }
        }
    }
    // Where bytes looked like a jump and were none, the true owner has more.
    for (const auto& [part, owners] : votes) {
        of.owners[part] =
            std::max_element(owners.begin(), owners.end(), [](const auto& a, const auto& b) {
                return a.second < b.second;
            })->first;
    }
    // A function shared by many is no longer one of them.
    constexpr size_t kMostCallers = 2;
    for (const auto& [start, names] : callers) {
        if (names.size() <= kMostCallers) {
            std::string& text = of.called[start];
            for (const std::string& name : names) {
                text += (text.empty() ? "" : " / ") + name;
            }
        }
    }
}

Symbolizer::Name Symbolizer::name(uint32_t id, uint64_t offset) {
    if (const Function* function = functions(id).find(offset)) {
        return {Origin::symbol, std::string(function->name), function->start};
    }
    const CodeRange* range = range_at(code(id), offset);
    if (range == nullptr) {
        return {Origin::none, "", offset};
    }
    if (range->entry) {
        if (const std::string* known = learned(id, range->start)) {
            return {Origin::learned, *known, range->start};
        }
    }
    if (!names(id).jumps_read) {
        read_jumps(id);
    }
    const Names& of = names(id);
    if (range->entry) {
        const auto called = of.called.find(range->start);
        return called == of.called.end() ? Name{Origin::none, "", range->start}
                                         : Name{Origin::learned, called->second, range->start};
    }
    const auto owner = of.owners.find(range->start);
    if (owner == of.owners.end()) {
        return {Origin::none, "", range->start};
    }
    Name name = this->name(id, owner->second);
    // Without any name the parts of a function still are one.
    name.start = name.origin == Origin::none ? owner->second : range->start;
    return name;
}

Symbol Symbolizer::symbolize(const Location& location) {
    Symbol symbol;
    symbol.module_offset = location.offset;
    const std::shared_ptr<const Module> owner = module(location.module);
    if (owner == nullptr) {
        symbol.name = "[generated code]";
        return symbol;
    }
    symbol.module = owner->loaded.path;
    const Name found = name(location.module, location.offset);
    symbol.function_offset = location.offset < found.start ? 0 : location.offset - found.start;
    symbol.resolved = found.origin != Origin::none;
    if (found.origin == Origin::symbol) {
        symbol.name = demangle(strip_suffixes(found.text));
    } else if (found.origin == Origin::learned) {
        symbol.name = found.text;
    } else {
        const size_t slash = symbol.module.rfind('/');
        symbol.name = symbol.module.substr(slash == std::string::npos ? 0 : slash + 1) + "+" +
                      hexadecimal_number(found.start);
    }
    return symbol;
}

}  // namespace spprof::native
