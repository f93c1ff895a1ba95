// Owns the names of machine code: from a location to symbol and module.
#include "native/symbols.h"

#include <algorithm>
#include <cstdio>

#include "native/demangle.h"
#include "native/frame_info_in_memory.h"

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

const std::map<uint64_t, std::string>* Symbolizer::learned(uint32_t id) const {
    const auto found = learned_.find(id);
    return found == learned_.end() ? nullptr : &found->second;
}

void Symbolizer::learn(const std::vector<KnownFunction>& functions) {
    for (const KnownFunction& function : functions) {
        const Location location = tables_.locate(function.address);
        if (location.module != 0) {
            learned_[location.module].try_emplace(location.offset, function.name);
        }
    }
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
    if (const Function* function = functions(location.module).find(location.offset)) {
        symbol.name = demangle(strip_suffixes(function->name));
        symbol.function_offset = location.offset - function->start;
        symbol.resolved = true;
        return symbol;
    }
    // Addresses of one function that has no name still share one.
    uint64_t start = location.offset;
    if (const CodeRange* range = range_at(code(location.module), location.offset)) {
        start = range->start;
    }
    symbol.function_offset = location.offset - start;
    if (const auto* known = learned(location.module)) {
        const auto found = known->find(start);
        if (found != known->end()) {
            symbol.name = found->second;
            symbol.resolved = true;
            return symbol;
        }
    }
    const size_t slash = symbol.module.rfind('/');
    symbol.name = symbol.module.substr(slash == std::string::npos ? 0 : slash + 1) + "+" +
                  hexadecimal_number(start);
    return symbol;
}

void Symbolizer::release() { names_.clear(); }

}  // namespace spprof::native
