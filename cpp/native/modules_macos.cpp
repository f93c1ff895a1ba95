// Owns the list of what is loaded into this process, as macOS's dyld tells it. What is known of
// such an image is read where it lies in memory (macho_file.h).
#include <mach-o/dyld.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <string>
#include <utility>

#include "native/file_in_blocks.h"
#include "native/macho_file.h"
#include "native/module.h"
#include "native/process_memory.h"

namespace spprof::native {
namespace {

// The tables of what lies in dyld's shared cache are far behind it.
class ImageInMemory final : public FileInBlocks {
public:
    explicit ImageInMemory(uintptr_t base) : FileInBlocks(kFarthest), base_(base) {}

protected:
    bool fill(uint64_t offset, uint8_t* out, size_t size) const override {
        return copy_memory(base_ + offset, out, size);
    }

private:
    static constexpr uint64_t kFarthest = uint64_t{1} << 40;
    uintptr_t base_;
};

class MachoFormat final : public ModuleFormat {
public:
    MachoFormat(uintptr_t base, const std::array<uint8_t, 16>& id) : base_(base), id_(id) {}
    std::string build_id() const override {
        const bool none =
            std::all_of(id_.begin(), id_.end(), [](uint8_t byte) { return byte == 0; });
        return none ? std::string() : std::string(id_.begin(), id_.end());
    }
    std::unique_ptr<SymbolTables> open_symbols() const override {
        auto image = std::make_unique<ImageInMemory>(base_);
        MachoFile now;
        // It may have been unloaded, and something else may lie there.
        if (!MachoFile::parse(*image, now) || now.id != id_) {
            return nullptr;
        }
        return macho_symbols(std::move(image));
    }
    bool same_as(const ModuleFormat& other) const override {
        const auto* macho = dynamic_cast<const MachoFormat*>(&other);
        return macho != nullptr && macho->id_ == id_;
    }

private:
    uintptr_t base_;
    std::array<uint8_t, 16> id_;
};

// The text there, or what of it can be read: its image may be unloaded at any moment.
std::string text_at(uintptr_t address) {
    constexpr uintptr_t kAtOnce = 32;  // never across the end of a page
    constexpr size_t kLongest = 4096;
    std::string result;
    std::array<char, kAtOnce> bytes;
    while (result.size() < kLongest) {
        const size_t count = kAtOnce - address % kAtOnce;
        if (!copy_memory(address, bytes.data(), count)) {
            break;
        }
        const auto end = std::find(bytes.begin(), bytes.begin() + count, '\0');
        result.append(bytes.begin(), end);
        if (end != bytes.begin() + count) {
            break;
        }
        address += count;
    }
    return result;
}

// Null when its header cannot be read.
std::unique_ptr<Module> macho_module(uintptr_t base, std::string path) {
    MachoFile file;
    if (!MachoFile::parse(ImageInMemory(base), file) || file.code.empty()) {
        return nullptr;
    }
    auto module = module_at(base, std::move(path), file.code);
    if (file.unwind_info.size != 0) {
        module->unwind.format = UnwindInfo::Format::compact;
        module->unwind.address = base + file.unwind_info.address;
        module->unwind.size = file.unwind_info.size;
        module->unwind.module = base;
        if (file.frame_entries.size != 0) {
            module->unwind.entries = base + file.frame_entries.address;
            module->unwind.entries_size = file.frame_entries.size;
        }
    }
    module->format = std::make_unique<MachoFormat>(base, file.id);
    return module;
}

// --- what comes and goes ------------------------------------------------------------------------

std::atomic<uint64_t> loaded{0}, unloaded{0};

// dyld calls them with its lock held, and the first one for all that is loaded already.
void count_loaded(const mach_header*, intptr_t) { loaded.fetch_add(1, std::memory_order_release); }
void count_unloaded(const mach_header*, intptr_t) {
    unloaded.fetch_add(1, std::memory_order_release);
}

// Counted from the first question on, for as long as the process lives. This module is never
// unloaded: Python keeps what it has imported.
void begin_to_count() {
    static const bool begun = [] {
        _dyld_register_func_for_add_image(count_loaded);
        _dyld_register_func_for_remove_image(count_unloaded);
        return true;
    }();
    static_cast<void>(begun);
}

}  // namespace

std::vector<std::unique_ptr<Module>> loaded_modules(ModuleGeneration& generation) {
    std::vector<std::unique_ptr<Module>> modules;
    generation = module_generation();
    // Images may come and go meanwhile: then an index means another one, or none, and the
    // generation tells that there is more to come.
    for (uint32_t i = 0; i < _dyld_image_count(); ++i) {
        const auto base = reinterpret_cast<uintptr_t>(_dyld_get_image_header(i));
        const auto name = reinterpret_cast<uintptr_t>(_dyld_get_image_name(i));
        if (base == 0 || name == 0) {
            continue;
        }
        if (auto module = macho_module(base, text_at(name))) {
            modules.push_back(std::move(module));
        }
    }
    return modules;
}

ModuleGeneration module_generation() {
    begin_to_count();
    return {loaded.load(std::memory_order_acquire), unloaded.load(std::memory_order_acquire)};
}

}  // namespace spprof::native
