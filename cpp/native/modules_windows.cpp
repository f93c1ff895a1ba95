// Owns the list of what is loaded into this process, as Windows tells it. What is known of such a
// module is read where it lies in memory (pe_file.h).
#include <atomic>
#include <string>
#include <utility>

#include "native/file_in_blocks.h"
#include "native/module.h"
#include "native/pe_file.h"
#include "native/process_memory.h"
#include "platform/windows/system.h"

// After windows.h, on which it depends.
#include <tlhelp32.h>

namespace spprof::native {
namespace {

class ImageInMemory final : public FileInBlocks {
public:
    ImageInMemory(uintptr_t base, uint64_t size) : FileInBlocks(size), base_(base) {}

protected:
    bool fill(uint64_t offset, uint8_t* out, size_t size) const override {
        return copy_memory(base_ + offset, out, size);
    }

private:
    uintptr_t base_;
};

class PeFormat final : public ModuleFormat {
public:
    PeFormat(uintptr_t base, uint32_t stamp, uint32_t size)
        : base_(base), stamp_(stamp), size_(size) {}
    std::string build_id() const override { return {}; }
    std::unique_ptr<SymbolTables> open_symbols() const override {
        auto image = std::make_unique<ImageInMemory>(base_, size_);
        PeFile now;
        // It may have been unloaded, and something else may lie there.
        if (!PeFile::parse(*image, now) || now.stamp != stamp_ || now.size != size_) {
            return nullptr;
        }
        return pe_exports(std::move(image));
    }
    bool same_as(const ModuleFormat& other) const override {
        const auto* pe = dynamic_cast<const PeFormat*>(&other);
        return pe != nullptr && pe->stamp_ == stamp_ && pe->size_ == size_;
    }

private:
    uintptr_t base_;
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
std::unique_ptr<Module> pe_module(uintptr_t base, uint64_t size, std::string path) {
    PeFile file;
    if (!PeFile::parse(ImageInMemory(base, size), file)) {
        return nullptr;
    }
    auto module = module_at(base, std::move(path), file.code);
    if (file.functions.address != 0) {
        module->unwind.format = UnwindInfo::Format::pe_functions;
        module->unwind.address = base + file.functions.address;
        module->unwind.size = file.functions.size;
        module->unwind.module = base;
    }
    module->format = std::make_unique<PeFormat>(base, file.stamp, file.size);
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
                                    entry.modBaseSize, to_utf8(entry.szExePath))) {
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
