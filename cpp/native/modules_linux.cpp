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

struct Listing {
    std::vector<LoadedModule> modules;
    ModuleGeneration generation;
};

ElfSegment segment_of(const ElfW(Phdr) & header) {
    return {header.p_type,  header.p_flags,  header.p_offset,
            header.p_vaddr, header.p_filesz, header.p_memsz};
}

// Holds the loader's lock: copies and leaves.
int take_module(dl_phdr_info* info, size_t size, void* data) {
    auto& listing = *static_cast<Listing*>(data);
    if (size >= offsetof(dl_phdr_info, dlpi_subs) + sizeof(info->dlpi_subs)) {
        listing.generation = {info->dlpi_adds, info->dlpi_subs};
    }
    LoadedModule module;
    module.bias = info->dlpi_addr;
    module.path = info->dlpi_name == nullptr ? "" : info->dlpi_name;
    for (unsigned i = 0; i < info->dlpi_phnum; ++i) {
        module.segments.push_back(segment_of(info->dlpi_phdr[i]));
    }
    listing.modules.push_back(std::move(module));
    return 0;
}

int take_generation(dl_phdr_info* info, size_t size, void* data) {
    if (size >= offsetof(dl_phdr_info, dlpi_subs) + sizeof(info->dlpi_subs)) {
        *static_cast<ModuleGeneration*>(data) = {info->dlpi_adds, info->dlpi_subs};
    }
    return 1;
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
    dl_iterate_phdr(take_module, &listing);
    generation = listing.generation;

    const uintptr_t vdso = getauxval(AT_SYSINFO_EHDR);
    bool vdso_listed = false;
    for (LoadedModule& module : listing.modules) {
        vdso_listed = vdso_listed || (vdso != 0 && module.start() <= vdso && vdso < module.end());
    }
    if (vdso != 0 && !vdso_listed) {
        add_vdso(vdso, listing.modules);
    }
    for (size_t i = 0; i < listing.modules.size(); ++i) {
        LoadedModule& module = listing.modules[i];
        module.vdso = vdso != 0 && module.start() <= vdso && vdso < module.end();
        if (module.vdso) {
            module.path = "[vdso]";
        } else if (module.path.empty() && i == 0) {
            module.path = program_path();
        } else {
            module.path = absolute_path(module.path);
        }
    }
    return std::move(listing.modules);
}

ModuleGeneration module_generation() {
    ModuleGeneration generation;
    dl_iterate_phdr(take_generation, &generation);
    return generation;
}

}  // namespace spprof::native
