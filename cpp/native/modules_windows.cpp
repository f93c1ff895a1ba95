// Owns the list of what is loaded into this process, as Windows tells it, and what the headers of
// such a module say of its code. Names of functions are not looked up yet, so whoever asks for
// native frames is told that there are none (sampling/native_stacks.h).
#include <algorithm>
#include <atomic>
#include <string>

#include "native/module.h"
#include "native/process_memory.h"
#include "platform/windows/system.h"

// After windows.h, on which it depends.
#include <tlhelp32.h>

namespace spprof::native {
namespace {

// Nothing but code and its unwind information is known of it.
class PeFormat final : public ModuleFormat {
public:
    PeFormat(uint32_t stamp, uint32_t size) : stamp_(stamp), size_(size) {}
    std::string build_id() const override { return {}; }
    std::unique_ptr<SymbolTables> open_symbols() const override { return nullptr; }
    bool same_as(const ModuleFormat& other) const override {
        const auto* pe = dynamic_cast<const PeFormat*>(&other);
        return pe != nullptr && pe->stamp_ == stamp_ && pe->size_ == size_;
    }

private:
    uint32_t stamp_, size_;
};

std::string to_utf8(const wchar_t* text) {
    const int length = WideCharToMultiByte(CP_UTF8, 0, text, -1, nullptr, 0, nullptr, nullptr);
    std::string result(length > 1 ? static_cast<size_t>(length) - 1 : 0, '\0');
    if (!result.empty()) {
        WideCharToMultiByte(CP_UTF8, 0, text, -1, &result[0], length, nullptr, nullptr);
    }
    return result;
}

// Null when its headers cannot be read, or are another machine's.
std::unique_ptr<Module> pe_module(uintptr_t base, std::string path) {
    IMAGE_DOS_HEADER dos;
    IMAGE_NT_HEADERS64 headers;
    if (!copy_memory(base, &dos, sizeof(dos)) || dos.e_magic != IMAGE_DOS_SIGNATURE ||
        !copy_memory(base + static_cast<uintptr_t>(dos.e_lfanew), &headers, sizeof(headers)) ||
        headers.Signature != IMAGE_NT_SIGNATURE ||
        headers.FileHeader.Machine != IMAGE_FILE_MACHINE_AMD64 ||
        headers.OptionalHeader.Magic != IMAGE_NT_OPTIONAL_HDR64_MAGIC) {
        return nullptr;
    }
    auto module = std::make_unique<Module>();
    module->path = std::move(path);
    module->bias = base;
    uintptr_t section = base + static_cast<uintptr_t>(dos.e_lfanew) +
                        offsetof(IMAGE_NT_HEADERS64, OptionalHeader) +
                        headers.FileHeader.SizeOfOptionalHeader;
    for (unsigned i = 0; i < headers.FileHeader.NumberOfSections; ++i) {
        IMAGE_SECTION_HEADER header;
        if (!copy_memory(section, &header, sizeof(header))) {
            return nullptr;
        }
        section += sizeof(header);
        if ((header.Characteristics & IMAGE_SCN_MEM_EXECUTE) != 0) {
            const uintptr_t start = base + header.VirtualAddress;
            module->code.push_back({start, start + header.Misc.VirtualSize});
        }
    }
    std::sort(module->code.begin(), module->code.end(),
              [](const AddressRange& a, const AddressRange& b) { return a.start < b.start; });
    const IMAGE_DATA_DIRECTORY& functions =
        headers.OptionalHeader.DataDirectory[IMAGE_DIRECTORY_ENTRY_EXCEPTION];
    if (headers.OptionalHeader.NumberOfRvaAndSizes > IMAGE_DIRECTORY_ENTRY_EXCEPTION &&
        functions.VirtualAddress != 0) {
        module->unwind.format = UnwindInfo::Format::pe_functions;
        module->unwind.address = base + functions.VirtualAddress;
        module->unwind.size = functions.Size;
        module->unwind.module = base;
    }
    module->format = std::make_unique<PeFormat>(headers.FileHeader.TimeDateStamp,
                                                headers.OptionalHeader.SizeOfImage);
    return module;
}

// --- what comes and goes ------------------------------------------------------------------------

struct Counts {
    std::atomic<uint64_t> loaded{0}, unloaded{0};
};

// The loader calls it with its lock held.
void CALLBACK count_module(ULONG reason, const void*, void* raw) {
    constexpr ULONG kLoaded = 1;
    auto& counts = *static_cast<Counts*>(raw);
    (reason == kLoaded ? counts.loaded : counts.unloaded).fetch_add(1, std::memory_order_release);
}

// Counted from the first question on, for as long as the process lives. This module is never
// unloaded: Python keeps what it has imported.
const Counts& counts() {
    static Counts* const instance = [] {
        auto* made = new Counts;
        using Register =
            LONG(NTAPI*)(ULONG, void(CALLBACK*)(ULONG, const void*, void*), void*, void**);
        const HMODULE system = GetModuleHandleW(L"ntdll.dll");
        const auto ask = system == nullptr
                             ? nullptr
                             : reinterpret_cast<Register>(reinterpret_cast<void (*)()>(
                                   GetProcAddress(system, "LdrRegisterDllNotification")));
        void* cookie = nullptr;
        if (ask != nullptr) {
            ask(0, count_module, made, &cookie);
        }
        return made;
    }();
    return *instance;
}

}  // namespace

std::vector<std::unique_ptr<Module>> loaded_modules(ModuleGeneration& generation) {
    std::vector<std::unique_ptr<Module>> modules;
    generation = module_generation();
    HANDLE snapshot = INVALID_HANDLE_VALUE;
    do {
        // It fails so where the list changes meanwhile.
        snapshot = CreateToolhelp32Snapshot(TH32CS_SNAPMODULE, GetCurrentProcessId());
    } while (snapshot == INVALID_HANDLE_VALUE && GetLastError() == ERROR_BAD_LENGTH);
    if (snapshot == INVALID_HANDLE_VALUE) {
        return modules;
    }
    MODULEENTRY32W entry;
    entry.dwSize = sizeof entry;
    for (BOOL more = Module32FirstW(snapshot, &entry); more != 0;
         more = Module32NextW(snapshot, &entry)) {
        if (auto module = pe_module(reinterpret_cast<uintptr_t>(entry.modBaseAddr),
                                    to_utf8(entry.szExePath))) {
            modules.push_back(std::move(module));
        }
        entry.dwSize = sizeof entry;
    }
    CloseHandle(snapshot);
    return modules;
}

ModuleGeneration module_generation() {
    const Counts& now = counts();
    return {now.loaded.load(std::memory_order_acquire),
            now.unloaded.load(std::memory_order_acquire)};
}

}  // namespace spprof::native
