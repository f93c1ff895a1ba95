// Owns the way from a loaded module to its call frame information.
#include "native/frame_info_in_memory.h"

#include <algorithm>

#include "native/registers.h"
#include "native/symbol_file.h"

namespace spprof::native {

FrameInfoInMemory::FrameInfoInMemory(const LoadedModule& module) : module_(module) {
    for (const ElfSegment& segment : module.segments) {
        std::vector<uint8_t> bytes;
        if (segment.type == ElfSegment::kEhFrame &&
            copy_memory(module.bias + segment.address, segment.memory_size, bytes)) {
            header_.assign(bytes.begin(), bytes.end());
            header_address_ = segment.address;
        }
    }
}

bool FrameInfoInMemory::read(std::vector<uint8_t>& eh_frame, FrameInfoSource& source) const {
    source.header = {header_.data(), header_.size()};
    source.header_address = header_address_;
    source.bias = module_.bias;
    FrameInfoHeader info;
    if (header_.empty() ||
        !parse_frame_info_header(source.header, header_address_, module_.bias, info)) {
        return false;
    }
    const uint64_t start = info.eh_frame_address;
    for (const ElfSegment& segment : module_.segments) {
        if (segment.type != ElfSegment::kLoad || start < segment.address ||
            start - segment.address >= segment.file_size) {
            continue;
        }
        uint64_t end = segment.address + segment.file_size;
        // Other sections may follow in the segment: with a search table it is known where to stop.
        const uint64_t last = last_entry_address(source.header, header_address_, info);
        std::vector<uint8_t> length;
        if (last > start && last + 4 <= end && copy_memory(module_.bias + last, 4, length)) {
            uint32_t size = 0;
            std::memcpy(&size, length.data(), sizeof(size));
            if (size <= end - last - 4) {
                end = last + 4 + size;
            }
        }
        if (!copy_memory(module_.bias + start, end - start, eh_frame)) {
            return false;
        }
        source.eh_frame = {eh_frame.data(), eh_frame.size()};
        source.eh_frame_address = start;
        return true;
    }
    return false;
}

bool FrameInfoInMemory::compile(ModuleTable& table) const {
    std::vector<uint8_t> eh_frame;
    FrameInfoSource source;
    if (!read(eh_frame, source)) {
        return false;
    }
    const uint64_t base = module_.start() - module_.bias;
    table = compile_frame_info<HostArchitecture>(source, base);
    table.base = module_.start();
    const std::vector<ExtraFunction> guessed = guess_functions(table);
    if (!guessed.empty()) {
        table = compile_frame_info<HostArchitecture>(source, base, guessed);
        table.base = module_.start();
    }
    return !table.rows.empty();
}

std::vector<ExtraFunction> FrameInfoInMemory::guess_functions(const ModuleTable& table) const {
    // Every module has some holes: start-up code, padding. Libraries of assembly have large ones,
    // and only those are worth reading symbols for.
    constexpr uint64_t kPadding = 64;
    constexpr uint64_t kWorthwhile = 16384;
    uint64_t holes = 0;
    for (size_t i = 0; i + 1 < table.rows.size(); ++i) {
        const uint64_t size = table.rows[i + 1].pc - table.rows[i].pc;
        holes += table.rows[i].rule == 0 && size > kPadding ? size : 0;
    }
    std::vector<ExtraFunction> found;
    if (holes < kWorthwhile || !HostArchitecture::kCallPushes || module_.vdso) {
        return found;
    }
    const FunctionTable functions =
        read_functions({module_.path, build_id_in_memory(module_), module_.segments});
    std::vector<uint8_t> code;
    for (const Function& function : functions.functions()) {
        const Rule* rule = table.find(module_.bias + function.start);
        if ((rule != nullptr && rule->cfa != Cfa::none) ||
            !copy_memory(module_.bias + function.start, function.end - function.start, code)) {
            continue;
        }
        std::vector<GuessedRule> rules = guess_rules({code.data(), code.size()});
        if (!rules.empty()) {
            found.push_back({function.start, function.end, std::move(rules)});
        }
    }
    return found;
}

std::vector<CodeRange> FrameInfoInMemory::ranges() const {
    std::vector<uint8_t> eh_frame;
    FrameInfoSource source;
    return read(eh_frame, source) ? code_ranges<HostArchitecture>(source)
                                  : std::vector<CodeRange>{};
}

}  // namespace spprof::native
