// Feeds broken ELF and PE files, unwind information and names to everything that reads them. Built
// with the address and undefined behaviour sanitizers; a crash is the failure. Two ways to run it:
//   fuzz_elf SECONDS SEED FILE...     its own mutations of the given files
//   fuzz_elf, fuzz_pe, fuzz_unwind, fuzz_names of a build with -DSPPROF_BUILD_FUZZERS=ON
//   libFuzzer's
#include <unistd.h>

#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <iterator>
#include <random>
#include <string>
#include <vector>

#include "native/byte_source.h"
#include "native/demangle.h"
#include "native/elf_module.h"
#include "native/function_search.h"
#include "native/jumps.h"
#include "native/pe_file.h"
#include "native/prologue.h"
#include "native/published_code.h"
#include "native/unwind.h"

using namespace spprof::native;

namespace {

// Stands for a process whose stack is the file itself.
struct FileMemory {
    ByteView bytes;
    bool load(uintptr_t address, uintptr_t& value) const noexcept {
        return bytes.read(address, value);
    }
};

template <class Architecture>
void walk(ByteView image, const UnwindInfo& unwind_info, RuleCache& cache) {
    static uint32_t version = 0;
    const FileMemory memory{image};
    CodeSnapshot code;
    code.version = ++version;
    code.ranges.push_back({0, UINT32_MAX, unwind_info, 1});
    uint64_t budget = 1 << 20;
    CallFrameInfo<Architecture, FileMemory> info(memory, unwind_info, budget);
    // Where there is no table nobody tells which code is described: words of the bytes may be it.
    constexpr uint64_t kWithoutTable = 16;
    const uint64_t rows = info.entries() == 0 ? kWithoutTable : info.entries();
    for (uint64_t i = 0; i < rows && i < 64; ++i) {
        CodeRange range;
        uint64_t start = 0;
        uint64_t end = 0;
        if (info.range_number(i, range)) {
            if (range.end <= range.start) {
                std::abort();
            }
            info.rule_at(range.end - 1);
            if (info.hole_at(range.end, start, end) && (start > range.end || end <= range.end)) {
                std::abort();
            }
        } else {
            memory.load(i * 8, range.start);
            range.end = range.start + 16;
        }
        for (const uint64_t pc : {range.start, range.end - 1, range.start + i}) {
            BasicRegisters<Architecture> registers;
            registers.pc = pc;
            registers.sp() = i * 8;
            registers.fp() = i * 16;
            uintptr_t out[256];
            End how = End::complete;
            UnwindContext context(code, cache);
            const size_t count = unwind(context, registers, memory, out, 256, &how);
            UnwindContext again(code, cache);
            uintptr_t same[256];
            // What was kept is what was found, except where time was up.
            if (context.budget > 0 && (unwind(again, registers, memory, same, 256, &how) != count ||
                                       !std::equal(out, out + count, same))) {
                std::abort();
            }
        }
    }
}

void read_names(SymbolTables* tables) {
    if (tables == nullptr) {
        return;
    }
    tables->complete();
    uint64_t last = 0;
    for (const Function& function : all_functions(*tables)) {
        if (function.start < last || function.end <= function.start) {
            std::abort();  // not ascending, not disjoint
        }
        last = function.end;
        demangle(strip_suffixes(function.name));
    }
    find_functions(*tables, {0, last / 2, last, UINT64_MAX});
}

// As lines, and as records behind the header of a dump.
void read_listings(ByteView bytes) {
    std::vector<uint8_t> dump{0x44, 0x54, 0x69, 0x4a, 1, 0, 0, 0, 12, 0, 0, 0};
    dump.insert(dump.end(), bytes.data(), bytes.data() + bytes.size());
    for (const ByteView file : {bytes, ByteView(dump.data(), dump.size())}) {
        CodeListing listing;
        listing.read(ViewSource(file), file.size() / 2);
        listing.read(ViewSource(file), file.size());
        uint64_t start = 0;
        listing.name_at(0x1000, start);
    }
}

[[maybe_unused]] void fuzz_elf(ByteView image) {
    static RuleCache cache;
    const ViewSource source(image);
    ElfFile elf;
    if (ElfFile::parse(source, elf)) {
        elf.build_id();
        DebugLink link;
        elf.debug_link(link);
        if (const ElfSection* header = elf.section(".eh_frame_hdr")) {
            walk<X86_64>(image, {UnwindInfo::Format::eh_frame_header, header->address, 0}, cache);
            walk<Aarch64>(image, {UnwindInfo::Format::eh_frame_header, header->address, 0}, cache);
        }
        if (const ElfSection* frames = elf.section(".eh_frame")) {
            walk<X86_64>(image, {UnwindInfo::Format::eh_frame, frames->address, frames->size},
                         cache);
        }
        elf.find_data("x", 8);
    }
    build_id_of_notes(image);
    std::vector<std::unique_ptr<ByteSource>> images;
    images.push_back(std::make_unique<ViewSource>(image));
    read_names(elf_symbols(std::move(images)).get());
}

void fuzz_pe(ByteView image) {
    static RuleCache cache;
    PeFile file;
    if (PeFile::parse(ViewSource(image), file)) {
        UnwindInfo info;
        info.format = UnwindInfo::Format::pe_functions;
        info.address = file.functions.address;
        info.size = file.functions.size;
        walk<X86_64>(image, info, cache);
    }
    read_names(pe_exports(std::make_unique<ViewSource>(image)).get());
}

// Unwind information and code, without any file around them.
[[maybe_unused]] void fuzz_unwind(ByteView bytes) {
    static RuleCache cache;
    for (const UnwindInfo& info :
         {UnwindInfo{UnwindInfo::Format::eh_frame_header, 0, 0, 0},
          UnwindInfo{UnwindInfo::Format::eh_frame, 0, bytes.size(), bytes.size() / 3}}) {
        walk<X86_64>(bytes, info, cache);
        walk<Aarch64>(bytes, info, cache);
    }
    const ByteView start = bytes.slice(0, bytes.size() < 4096 ? bytes.size() : 4096);
    for (uint64_t at = 0; at < start.size(); at += 61) {
        guess_rules(start.from(at));
    }
    jump_targets<X86_64>(start, 0);
    jump_targets<Aarch64>(start, 0);
}

[[maybe_unused]] void fuzz_names(ByteView bytes) {
    demangle(
        {reinterpret_cast<const char*>(bytes.data()), bytes.size() < 512 ? bytes.size() : 512});
    read_listings(bytes);
}

}  // namespace

#ifdef SPPROF_LIBFUZZER
extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
    SPPROF_LIBFUZZER({data, size});
    return 0;
}
#else
namespace {

std::vector<uint8_t> read_whole(const char* path) {
    std::ifstream file(path, std::ios::binary);
    return {std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>()};
}

void fuzz_all(ByteView bytes) {
    fuzz_elf(bytes);
    fuzz_pe(bytes);
    fuzz_unwind(bytes);
    fuzz_names(bytes);
}

class Mutator {
public:
    explicit Mutator(uint64_t seed) : random_(seed) {}

    size_t below(size_t bound) { return bound == 0 ? 0 : random_() % bound; }

    void mutate(std::vector<uint8_t>& bytes) {
        const size_t changes = 1 + below(8);
        for (size_t i = 0; i < changes && !bytes.empty(); ++i) {
            change(bytes);
        }
    }

private:
    void change(std::vector<uint8_t>& bytes) {
        // Headers decide most: hit them as often as all the rest.
        const size_t at =
            below(2) == 0 ? below(std::min<size_t>(bytes.size(), 1024)) : below(bytes.size());
        constexpr uint64_t kExtremes[] = {
            0,          1,          0x7f,       0x80,         0xff,
            0x7fffffff, 0x80000000, 0xffffffff, ~uint64_t{0}, uint64_t{1} << 63};
        switch (below(7)) {
            case 0:
                bytes[at] ^= static_cast<uint8_t>(1U << below(8));
                break;
            case 1:
                bytes[at] = static_cast<uint8_t>(random_());
                break;
            case 2: {
                const uint64_t value = kExtremes[below(std::size(kExtremes))];
                std::memcpy(&bytes[at], &value, std::min<size_t>(8, bytes.size() - at));
                break;
            }
            case 3: {
                const uint64_t value = bytes.size() - below(64);
                std::memcpy(&bytes[at], &value, std::min<size_t>(8, bytes.size() - at));
                break;
            }
            case 4:
                if (below(8) == 0) {
                    bytes.resize(below(bytes.size()));
                }
                break;
            case 5: {
                const size_t from = below(bytes.size());
                const size_t most = bytes.size() - std::max(from, at);
                std::memmove(&bytes[at], &bytes[from], below(std::min<size_t>(most, 256) + 1));
                break;
            }
            default:
                for (size_t i = at; i < bytes.size() && i < at + 16; ++i) {
                    bytes[i] = static_cast<uint8_t>(random_());
                }
        }
    }

    std::mt19937_64 random_;
};

}  // namespace

int main(int count, char** arguments) {
    if (count < 4) {
        std::fprintf(stderr, "usage: fuzz_elf SECONDS SEED FILE...\n");
        return 2;
    }
    const auto end =
        std::chrono::steady_clock::now() + std::chrono::seconds(std::atoi(arguments[1]));
    const uint64_t seed = std::strtoull(arguments[2], nullptr, 10);
    std::vector<std::vector<uint8_t>> files;
    for (int i = 3; i < count; ++i) {
        files.push_back(read_whole(arguments[i]));
        fuzz_all({files.back().data(), files.back().size()});
    }
    const std::string scratch = "/tmp/spprof-fuzz-" + std::to_string(getpid());
    uint64_t runs = 0;
    for (; std::chrono::steady_clock::now() < end; ++runs) {
        // Each run can be repeated alone: its seed is all it depends on.
        Mutator mutator(seed + runs);
        std::vector<uint8_t> bytes = files[mutator.below(files.size())];
        mutator.mutate(bytes);
        fuzz_all({bytes.data(), bytes.size()});
        if (runs % 64 == 0) {
            std::ofstream(scratch, std::ios::binary)
                .write(reinterpret_cast<const char*>(bytes.data()),
                       static_cast<std::streamsize>(bytes.size()));
            ElfIdentity identity;
            ViewSource source({bytes.data(), bytes.size()});
            ElfFile elf;
            ElfFile::parse(source, elf);
            identity.path = scratch;
            identity.build_id = elf.build_id();
            identity.segments = elf.segments();
            std::string debug_path;
            read_names(open_elf_symbols(identity, debug_path, "/none").get());
        }
    }
    unlink(scratch.c_str());
    std::printf("%llu runs from seed %llu\n", static_cast<unsigned long long>(runs),
                static_cast<unsigned long long>(seed));
    return 0;
}
#endif
