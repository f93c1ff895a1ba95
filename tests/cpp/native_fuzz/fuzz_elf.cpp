// Feeds broken ELF files to everything that reads them. Built with the address and undefined
// behaviour sanitizers; a crash is the failure. Two ways to run it:
//   fuzz_elf SECONDS SEED FILE...     its own mutations of the given files
//   clang++ -fsanitize=fuzzer ... -DSPPROF_LIBFUZZER    libFuzzer's
#include <unistd.h>

#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <iterator>
#include <random>
#include <string>
#include <vector>

#include "native/call_frame_info.h"
#include "native/demangle.h"
#include "native/elf_image.h"
#include "native/jumps.h"
#include "native/prologue.h"
#include "native/registers.h"
#include "native/symbol_file.h"
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
void compile_and_walk(ByteView image, const FrameInfoSource& source) {
    auto table = compile_frame_info<Architecture>(source, 0);
    const std::vector<CodeRange> ranges = code_ranges<Architecture>(source);
    uint64_t last = 0;
    for (const CodeRange& range : ranges) {
        if (range.start < last || range.end <= range.start) {
            std::abort();  // not ascending, not disjoint
        }
        last = range.end;
    }
    for (size_t i = 1; i < table.rows.size(); ++i) {
        if (table.rows[i].pc <= table.rows[i - 1].pc) {
            std::abort();
        }
    }
    TableSet tables;
    tables.ranges.push_back({0, UINT32_MAX, &table, 1});
    const FileMemory memory{image};
    for (size_t i = 0; i < table.rows.size() && i < 64; ++i) {
        BasicRegisters<Architecture> registers;
        registers.pc = table.rows[i].pc;
        registers.sp() = i * 8;
        registers.fp() = i * 16;
        uintptr_t out[kMaxNativeFrames];
        End end = End::complete;
        unwind(tables, registers, memory, out, kMaxNativeFrames, &end);
    }
}

void compile_sections(ByteView image, const ElfImage& elf) {
    const ElfSection* eh_frame = elf.section(".eh_frame");
    const ElfSection* header = elf.section(".eh_frame_hdr");
    for (const bool with_header : {false, true}) {
        FrameInfoSource source;
        if (eh_frame != nullptr) {
            source.eh_frame = eh_frame->bytes;
            source.eh_frame_address = eh_frame->address;
        }
        if (with_header && header != nullptr) {
            source.header = header->bytes;
            source.header_address = header->address;
            FrameInfoHeader info;
            if (parse_frame_info_header(source.header, source.header_address, 0, info)) {
                last_entry_address(source.header, source.header_address, info);
            }
        }
        compile_and_walk<X86_64>(image, source);
        compile_and_walk<Aarch64>(image, source);
    }
}

void read_names(std::vector<std::unique_ptr<SymbolImage>> images) {
    const FunctionTable table(std::move(images));
    for (const Function& function : table.functions()) {
        demangle(strip_suffixes(function.name));
        table.find(function.start);
        table.find(function.end);
    }
}

void run(const uint8_t* data, size_t size) {
    const ByteView image(data, size);
    ElfImage elf;
    if (ElfImage::parse(image, elf)) {
        elf.functions();
        elf.build_id();
        DebugLink link;
        elf.debug_link(link);
        compile_sections(image, elf);
    }
    // Bytes without any frame around them.
    compile_and_walk<X86_64>(image, {image, 0, image, 0, 0});
    demangle({reinterpret_cast<const char*>(data), size < 512 ? size : 512});
    const ByteView start = image.slice(0, size < 4096 ? size : 4096);
    for (uint64_t at = 0; at < start.size(); at += 61) {
        guess_rules(start.from(at));
    }
    jump_targets<X86_64>(start, 0);
    jump_targets<Aarch64>(start, 0);
    std::vector<std::unique_ptr<SymbolImage>> images;
    if (auto parsed = SymbolImage::of_bytes({data, data + size})) {
        images.push_back(std::move(parsed));
    }
    read_names(std::move(images));
}

}  // namespace

#ifdef SPPROF_LIBFUZZER
extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
    run(data, size);
    return 0;
}
#else
namespace {

std::vector<uint8_t> read_whole(const char* path) {
    std::ifstream file(path, std::ios::binary);
    return {std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>()};
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
        run(files.back().data(), files.back().size());
    }
    const std::string scratch = "/tmp/spprof-fuzz-" + std::to_string(getpid());
    uint64_t runs = 0;
    for (; std::chrono::steady_clock::now() < end; ++runs) {
        // Each run can be repeated alone: its seed is all it depends on.
        Mutator mutator(seed + runs);
        std::vector<uint8_t> bytes = files[mutator.below(files.size())];
        mutator.mutate(bytes);
        run(bytes.data(), bytes.size());
        if (runs % 64 == 0) {
            std::ofstream(scratch, std::ios::binary)
                .write(reinterpret_cast<const char*>(bytes.data()),
                       static_cast<std::streamsize>(bytes.size()));
            std::vector<std::unique_ptr<SymbolImage>> images;
            if (auto image = SymbolImage::of_file(scratch)) {
                images.push_back(std::move(image));
            }
            read_names(std::move(images));
        }
    }
    unlink(scratch.c_str());
    std::printf("%llu runs from seed %llu\n", static_cast<unsigned long long>(runs),
                static_cast<unsigned long long>(seed));
    return 0;
}
#endif
