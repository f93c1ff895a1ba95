// Owns the list of what is loaded into this process, as the dynamic loader and the kernel of Linux
// tell it. Knows where the modules' bytes are, not what they mean.
#include <link.h>
#include <stdlib.h>
#include <sys/auxv.h>
#include <unistd.h>

#include <algorithm>
#include <climits>
#include <cstring>

#include "native/elf_module.h"
#include "native/module.h"
#include "native/process_memory.h"

namespace spprof::native {
namespace {

// What the loader tells, in memory that is there before it is asked. Its lock is held meanwhile,
// and an allocator may be waiting for that lock: the ones that unwind in malloc() do. Nor is
// anything read that lies in a module: its file may have been cut short.
struct Listing {
    struct Entry {
        uintptr_t bias;
        uintptr_t headers;
        size_t header_count;
        size_t path_end;  // of its part of `paths`, which begins where the one before ends
    };
    std::vector<Entry> entries;
    std::vector<char> paths;
    // What was told; more than there was room for means: once more, with more room.
    size_t entry_count = 0;
    size_t path_bytes = 0;
    ModuleGeneration generation;

    bool complete() const { return entry_count <= entries.size() && path_bytes <= paths.size(); }

    void make_room() {
        // A few may come in until the next try.
        entries.resize(entry_count + 64);
        paths.resize(path_bytes + 8192);
        entry_count = path_bytes = 0;
    }
};

ModuleGeneration generation_of(const dl_phdr_info& info, size_t size) {
    const bool told = size >= offsetof(dl_phdr_info, dlpi_subs) + sizeof(info.dlpi_subs);
    return told ? ModuleGeneration{info.dlpi_adds, info.dlpi_subs} : ModuleGeneration{};
}

// Holds the loader's lock: copies and leaves.
int take_module(dl_phdr_info* info, size_t size, void* data) {
    auto& listing = *static_cast<Listing*>(data);
    listing.generation = generation_of(*info, size);
    const size_t length = info->dlpi_name == nullptr ? 0 : std::strlen(info->dlpi_name);
    const size_t path = listing.path_bytes;
    const size_t entry = listing.entry_count++;
    listing.path_bytes += length;
    if (listing.complete()) {
        std::copy_n(info->dlpi_name, length, listing.paths.data() + path);
        listing.entries[entry] = {info->dlpi_addr, reinterpret_cast<uintptr_t>(info->dlpi_phdr),
                                  info->dlpi_phnum, listing.path_bytes};
    }
    return 0;
}

int take_generation(dl_phdr_info* info, size_t size, void* data) {
    *static_cast<ModuleGeneration*>(data) = generation_of(*info, size);
    return 1;
}

constexpr const char* kProgram = "/proc/self/exe";

std::string program_path() {
    char buffer[PATH_MAX];
    const ssize_t length = readlink(kProgram, buffer, sizeof(buffer));
    return length <= 0 ? std::string() : std::string(buffer, static_cast<size_t>(length));
}

// The path must still be right after a later chdir.
std::string absolute_path(const std::string& path) {
    char buffer[PATH_MAX];
    if (path.empty() || path.front() == '/' || realpath(path.c_str(), buffer) == nullptr) {
        return path;
    }
    return buffer;
}

bool covers(const Module& module, uintptr_t address) {
    return std::any_of(module.code.begin(), module.code.end(), [&](const AddressRange& range) {
        return address >= range.start && address < range.end;
    });
}

}  // namespace

std::vector<std::unique_ptr<Module>> loaded_modules(ModuleGeneration& generation) {
    Listing listing;
    do {
        listing.make_room();
        dl_iterate_phdr(take_module, &listing);
    } while (!listing.complete());
    generation = listing.generation;

    std::vector<std::unique_ptr<Module>> modules;
    const uintptr_t vdso = getauxval(AT_SYSINFO_EHDR);
    bool vdso_listed = vdso == 0;
    size_t path_begin = 0;
    for (size_t i = 0; i < listing.entry_count; ++i) {
        const Listing::Entry& entry = listing.entries[i];
        std::string path(listing.paths.data() + path_begin, entry.path_end - path_begin);
        path_begin = entry.path_end;
        const bool is_program =
            i == 0 && (path.empty() || path == kProgram);  // glibc's way, musl's
        path = is_program ? program_path() : absolute_path(path);
        // Null when it is gone meanwhile.
        auto module = elf_module(std::move(path), entry.bias, entry.headers, entry.header_count);
        if (module != nullptr && !vdso_listed && covers(*module, vdso)) {
            vdso_listed = true;
            module = elf_module_at(kVdsoPath, vdso);
        }
        if (module != nullptr) {
            modules.push_back(std::move(module));
        }
    }
    // Some C libraries do not list it.
    if (auto module = vdso_listed ? nullptr : elf_module_at(kVdsoPath, vdso)) {
        modules.push_back(std::move(module));
    }
    return modules;
}

ModuleGeneration module_generation() {
    ModuleGeneration generation;
    dl_iterate_phdr(take_generation, &generation);
    return generation;
}

}  // namespace spprof::native
