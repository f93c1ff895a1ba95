// Owns the list of what is loaded into this process, as the dynamic loader and the kernel of Linux
// tell it. Knows where the modules' bytes are, not what they mean.
#include <elf.h>
#include <fcntl.h>
#include <limits.h>
#include <link.h>
#include <stdlib.h>
#include <sys/auxv.h>
#include <sys/uio.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>

#include "native/modules.h"

namespace spprof::native {
namespace {

ElfSegment segment_of(const ElfW(Phdr) & header) {
    return {header.p_type,  header.p_flags,  header.p_offset,
            header.p_vaddr, header.p_filesz, header.p_memsz};
}

// What the loader tells, in memory that is there before it is asked. Its lock is held meanwhile,
// and an allocator may be waiting for that lock: the ones that unwind in malloc() do.
struct Listing {
    struct Entry {
        uintptr_t bias;
        size_t path_end;  // of its part of `paths`, which begins where the one before ends
        size_t segments_end;
    };
    std::vector<Entry> entries;
    std::vector<char> paths;
    std::vector<ElfSegment> segments;
    // What was told; more than there was room for means: once more, with more room.
    size_t entry_count = 0;
    size_t path_bytes = 0;
    size_t segment_count = 0;
    ModuleGeneration generation;

    bool complete() const {
        return entry_count <= entries.size() && path_bytes <= paths.size() &&
               segment_count <= segments.size();
    }
    void make_room() {
        // A few may come in until the next try.
        entries.resize(entry_count + 16);
        paths.resize(path_bytes + 4096);
        segments.resize(segment_count + 256);
        entry_count = path_bytes = segment_count = 0;
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
    const size_t length = info->dlpi_name == nullptr ? 0 : strlen(info->dlpi_name);
    const size_t path = listing.path_bytes;
    const size_t segment = listing.segment_count;
    const size_t entry = listing.entry_count++;
    listing.path_bytes += length;
    listing.segment_count += info->dlpi_phnum;
    if (listing.complete()) {
        std::copy_n(info->dlpi_name, length, listing.paths.data() + path);
        std::transform(info->dlpi_phdr, info->dlpi_phdr + info->dlpi_phnum,
                       listing.segments.data() + segment, segment_of);
        listing.entries[entry] = {info->dlpi_addr, listing.path_bytes, listing.segment_count};
    }
    return 0;
}

int take_generation(dl_phdr_info* info, size_t size, void* data) {
    *static_cast<ModuleGeneration*>(data) = generation_of(*info, size);
    return 1;
}

std::vector<LoadedModule> modules_of(const Listing& listing) {
    std::vector<LoadedModule> modules(listing.entry_count);
    size_t path = 0;
    size_t segment = 0;
    for (size_t i = 0; i < modules.size(); ++i) {
        const Listing::Entry& entry = listing.entries[i];
        modules[i].bias = entry.bias;
        modules[i].path.assign(listing.paths.data() + path, entry.path_end - path);
        modules[i].segments.assign(
            listing.segments.begin() + static_cast<ptrdiff_t>(segment),
            listing.segments.begin() + static_cast<ptrdiff_t>(entry.segments_end));
        path = entry.path_end;
        segment = entry.segments_end;
    }
    return modules;
}

std::string program_path() {
    char buffer[PATH_MAX];
    const ssize_t length = readlink("/proc/self/exe", buffer, sizeof(buffer));
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

// Some C libraries do not list the vDSO.
void add_vdso(uintptr_t vdso, std::vector<LoadedModule>& modules) {
    std::vector<uint8_t> header;
    ElfW(Ehdr) elf;
    if (!copy_memory(vdso, sizeof(elf), header)) {
        return;
    }
    std::memcpy(&elf, header.data(), sizeof(elf));
    std::vector<uint8_t> table;
    if (elf.e_phentsize != sizeof(ElfW(Phdr)) ||
        !copy_memory(vdso + elf.e_phoff, size_t{elf.e_phnum} * sizeof(ElfW(Phdr)), table)) {
        return;
    }
    LoadedModule module;
    for (size_t i = 0; i < elf.e_phnum; ++i) {
        ElfW(Phdr) segment;
        std::memcpy(&segment, table.data() + i * sizeof(segment), sizeof(segment));
        module.segments.push_back(segment_of(segment));
        if (segment.p_type == PT_LOAD && segment.p_offset == 0) {
            module.bias = vdso - segment.p_vaddr;
        }
    }
    modules.push_back(std::move(module));
}

bool copy_by_system_call(uintptr_t address, uint8_t* out, size_t size) {
    while (size > 0) {
        iovec local{out, size};
        iovec remote{reinterpret_cast<void*>(address), size};
        const ssize_t done = process_vm_readv(getpid(), &local, 1, &remote, 1, 0);
        if (done <= 0) {
            return false;
        }
        address += static_cast<size_t>(done);
        out += done;
        size -= static_cast<size_t>(done);
    }
    return true;
}

// For sandboxes that forbid the system call.
bool copy_through_proc(uintptr_t address, uint8_t* out, size_t size) {
    const int file = open("/proc/self/mem", O_RDONLY | O_CLOEXEC);
    if (file < 0) {
        return false;
    }
    while (size > 0) {
        const ssize_t done = pread(file, out, size, static_cast<off_t>(address));
        if (done < 0 && errno == EINTR) {
            continue;
        }
        if (done <= 0) {
            break;
        }
        address += static_cast<size_t>(done);
        out += done;
        size -= static_cast<size_t>(done);
    }
    close(file);
    return size == 0;
}

}  // namespace

bool copy_memory(uintptr_t address, size_t size, std::vector<uint8_t>& out) {
    // No module is this large; a lying header must not make us allocate without end.
    constexpr size_t kLargest = size_t{2} << 30;
    if (size > kLargest) {
        return false;
    }
    out.resize(size);
    return copy_by_system_call(address, out.data(), size) ||
           copy_through_proc(address, out.data(), size);
}

std::vector<LoadedModule> loaded_modules(ModuleGeneration& generation) {
    Listing listing;
    do {
        listing.make_room();
        dl_iterate_phdr(take_module, &listing);
    } while (!listing.complete());
    generation = listing.generation;
    std::vector<LoadedModule> modules = modules_of(listing);

    const uintptr_t vdso = getauxval(AT_SYSINFO_EHDR);
    bool vdso_listed = false;
    for (LoadedModule& module : modules) {
        vdso_listed = vdso_listed || (vdso != 0 && module.start() <= vdso && vdso < module.end());
    }
    if (vdso != 0 && !vdso_listed) {
        add_vdso(vdso, modules);
    }
    for (size_t i = 0; i < modules.size(); ++i) {
        LoadedModule& module = modules[i];
        module.vdso = vdso != 0 && module.start() <= vdso && vdso < module.end();
        if (module.vdso) {
            module.path = "[vdso]";
        } else if (module.path.empty() && i == 0) {
            module.path = program_path();
        } else {
            module.path = absolute_path(module.path);
        }
    }
    return modules;
}

ModuleGeneration module_generation() {
    ModuleGeneration generation;
    dl_iterate_phdr(take_generation, &generation);
    return generation;
}

}  // namespace spprof::native
