// Owns the functions of one module: read from its file on disk, from the separate debug file that
// belongs to it, or from an image in memory. Knows no process.
#include "native/symbol_file.h"

#include <algorithm>
#include <tuple>

#if defined(__unix__) || defined(__APPLE__)
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>
#endif

namespace spprof::native {

#if defined(__unix__) || defined(__APPLE__)
namespace {

class File {
public:
    explicit File(const std::string& path) : descriptor_(open(path.c_str(), O_RDONLY | O_CLOEXEC)) {
        struct stat status{};
        if (descriptor_ >= 0 && fstat(descriptor_, &status) == 0 && S_ISREG(status.st_mode)) {
            size_ = static_cast<uint64_t>(status.st_size);
        }
    }
    ~File() {
        if (descriptor_ >= 0) {
            close(descriptor_);
        }
    }
    File(const File&) = delete;
    File& operator=(const File&) = delete;

    int descriptor() const { return descriptor_; }
    uint64_t size() const { return size_; }

private:
    int descriptor_;
    uint64_t size_ = 0;
};

bool read_fully(int file, uint8_t* out, uint64_t offset, uint64_t size) {
    while (size > 0) {
        const ssize_t done = pread(file, out, size, static_cast<off_t>(offset));
        if (done <= 0) {
            return false;
        }
        out += done;
        offset += static_cast<uint64_t>(done);
        size -= static_cast<uint64_t>(done);
    }
    return true;
}

bool crc_matches(const std::string& path, uint32_t expected) {
    const File file(path);
    if (file.size() == 0) {
        return false;
    }
    Crc32 crc;
    std::vector<uint8_t> block(size_t{1} << 16);
    for (uint64_t offset = 0; offset < file.size(); offset += block.size()) {
        const uint64_t size = std::min<uint64_t>(block.size(), file.size() - offset);
        if (!read_fully(file.descriptor(), block.data(), offset, size)) {
            return false;
        }
        crc.add({block.data(), size});
    }
    return crc.value() == expected;
}

}  // namespace

SymbolImage::~SymbolImage() {
    if (pages_ != nullptr) {
        munmap(pages_, size_);
    }
}

std::unique_ptr<SymbolImage> SymbolImage::of_file(const std::string& path) {
    const File file(path);
    if (file.size() == 0) {
        return nullptr;
    }
    void* pages = mmap(nullptr, file.size(), PROT_READ | PROT_WRITE,
                       MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (pages == MAP_FAILED) {
        return nullptr;
    }
    std::unique_ptr<SymbolImage> image(new SymbolImage);
    image->pages_ = static_cast<uint8_t*>(pages);
    image->size_ = file.size();
    return image->load_parts(file.descriptor()) ? std::move(image) : nullptr;
}

bool SymbolImage::load(int file, uint64_t offset, uint64_t size) {
    return offset <= size_ && size <= size_ - offset &&
           read_fully(file, pages_ + offset, offset, size);
}

bool SymbolImage::load_parts(int file) {
    const ByteView all(pages_, size_);
    if (!load(file, 0, std::min<uint64_t>(size_, 4096))) {
        return false;
    }
    ElfTables tables;
    if (!ElfTables::of_header(all, tables)) {
        return false;
    }
    load(file, tables.program_headers, tables.program_headers_size);
    load(file, tables.section_headers, tables.section_headers_size);
    // Sections of a hostile file may overlap without end.
    uint64_t budget = 2 * uint64_t{size_};
    const auto load_within_budget = [&](uint64_t offset, uint64_t size) {
        if (size <= budget && load(file, offset, size)) {
            budget -= size;
        }
    };
    // Strings first: some sections are known by name only.
    for (const bool strings : {true, false}) {
        ElfImage outline;
        if (!ElfImage::parse(all, outline)) {
            return false;
        }
        for (const ElfSection& section : outline.sections()) {
            if (strings ? section.holds_strings() : section.holds_symbols_or_notes()) {
                load_within_budget(static_cast<uint64_t>(section.bytes.data() - pages_),
                                   section.bytes.size());
            }
        }
        for (const ElfSegment& segment : outline.segments()) {
            if (!strings && segment.type == ElfSegment::kNote) {
                load_within_budget(segment.offset, segment.file_size);
            }
        }
    }
    return ElfImage::parse(all, elf_);
}
#else
SymbolImage::~SymbolImage() = default;
std::unique_ptr<SymbolImage> SymbolImage::of_file(const std::string&) { return nullptr; }
namespace {
bool crc_matches(const std::string&, uint32_t) { return false; }
}  // namespace
#endif

std::unique_ptr<SymbolImage> SymbolImage::of_bytes(std::vector<uint8_t> bytes) {
    std::unique_ptr<SymbolImage> image(new SymbolImage);
    image->bytes_ = std::move(bytes);
    if (!ElfImage::parse({image->bytes_.data(), image->bytes_.size()}, image->elf_)) {
        return nullptr;
    }
    return image;
}

namespace {

// Among names of one address the one a person would use: with a size, exported, without the
// underscores of the library's own aliases, short.
auto preference(const ElfSymbol& symbol) {
    const size_t underscores = std::min(symbol.name.find_first_not_of('_'), symbol.name.size());
    return std::make_tuple(symbol.size == 0, !symbol.global, underscores, symbol.name.size(),
                           symbol.name);
}

uint64_t section_end(const ElfImage& elf, uint64_t address) {
    for (const ElfSection& section : elf.sections()) {
        if (section.address != 0 && address >= section.address &&
            address - section.address < section.size) {
            return section.address + section.size;
        }
    }
    return address;
}

}  // namespace

FunctionTable::FunctionTable(std::vector<std::unique_ptr<SymbolImage>> images)
    : images_(std::move(images)) {
    std::vector<ElfSymbol> symbols;
    for (const auto& image : images_) {
        std::vector<ElfSymbol> more = image->elf().functions();
        for (ElfSymbol& symbol : more) {
            if (symbol.size > UINT64_MAX - symbol.address) {
                symbol.size = 0;
            }
        }
        symbols.insert(symbols.end(), more.begin(), more.end());
        complete_ = complete_ || image->elf().has_symtab();
    }
    std::sort(symbols.begin(), symbols.end(), [](const ElfSymbol& a, const ElfSymbol& b) {
        return a.address != b.address ? a.address < b.address : preference(a) < preference(b);
    });
    symbols.erase(
        std::unique(symbols.begin(), symbols.end(),
                    [](const ElfSymbol& a, const ElfSymbol& b) { return a.address == b.address; }),
        symbols.end());
    functions_.reserve(symbols.size());
    for (const ElfSymbol& symbol : symbols) {
        const bool sized = symbol.size != 0;
        if (!functions_.empty() && symbol.address < functions_.back().end) {
            if (!sized) {
                continue;  // a label inside a function
            }
            functions_.back().end = symbol.address;
        }
        functions_.push_back({symbol.address, symbol.address + symbol.size, symbol.name});
    }
    // What has no size reaches up to the next function, within its section.
    for (size_t i = 0; i < functions_.size(); ++i) {
        Function& function = functions_[i];
        if (function.end != function.start) {
            continue;
        }
        for (const auto& image : images_) {
            function.end = std::max(function.end, section_end(image->elf(), function.start));
        }
        if (i + 1 < functions_.size()) {
            function.end = std::min(function.end, functions_[i + 1].start);
        }
    }
}

const Function* FunctionTable::find(uint64_t offset) const {
    const auto above = std::upper_bound(
        functions_.begin(), functions_.end(), offset,
        [](uint64_t value, const Function& function) { return value < function.start; });
    if (above == functions_.begin() || offset >= above[-1].end) {
        return nullptr;
    }
    return &above[-1];
}

namespace {

bool belongs(const ElfImage& elf, const ModuleIdentity& module) {
    if (!module.build_id.empty()) {
        return elf.build_id() == module.build_id;
    }
    const auto& segments = elf.segments();
    return std::equal(segments.begin(), segments.end(), module.segments.begin(),
                      module.segments.end(), [](const ElfSegment& a, const ElfSegment& b) {
                          return a.type == b.type && a.offset == b.offset &&
                                 a.address == b.address && a.memory_size == b.memory_size;
                      });
}

std::string directory_of(const std::string& path) {
    const size_t slash = path.rfind('/');
    return slash == std::string::npos ? "." : path.substr(0, slash);
}

std::unique_ptr<SymbolImage> debug_file_by_build_id(const std::string& build_id,
                                                    const std::string& debug_root) {
    if (build_id.size() < 2) {
        return nullptr;
    }
    const std::string id = hexadecimal(build_id);
    auto image = SymbolImage::of_file(debug_root + "/.build-id/" + id.substr(0, 2) + "/" +
                                      id.substr(2) + ".debug");
    return image != nullptr && image->elf().build_id() == build_id ? std::move(image) : nullptr;
}

std::unique_ptr<SymbolImage> debug_file_by_link(const ElfImage& elf, const std::string& path,
                                                const std::string& debug_root) {
    DebugLink link;
    if (!elf.debug_link(link)) {
        return nullptr;
    }
    const std::string directory = directory_of(path);
    for (const std::string& candidate :
         {directory + "/" + link.name, directory + "/.debug/" + link.name,
          debug_root + directory + "/" + link.name}) {
        // The link may name the stripped file itself.
        if (candidate != path && crc_matches(candidate, link.crc)) {
            return SymbolImage::of_file(candidate);
        }
    }
    return nullptr;
}

}  // namespace

FunctionTable read_functions(const ModuleIdentity& module, const std::string& debug_root) {
    std::vector<std::unique_ptr<SymbolImage>> images;
    std::unique_ptr<SymbolImage> own = SymbolImage::of_file(module.path);
    if (own != nullptr && !belongs(own->elf(), module)) {
        own = nullptr;  // replaced on disk since it was loaded
    }
    if (own == nullptr || !own->elf().has_symtab()) {
        auto debug = debug_file_by_build_id(module.build_id, debug_root);
        if (debug == nullptr && own != nullptr) {
            debug = debug_file_by_link(own->elf(), module.path, debug_root);
        }
        if (debug != nullptr) {
            images.push_back(std::move(debug));
        }
    }
    if (own != nullptr) {
        images.push_back(std::move(own));
    }
    return FunctionTable(std::move(images));
}

std::string hexadecimal(std::string_view bytes) {
    constexpr char kDigits[] = "0123456789abcdef";
    std::string text;
    text.reserve(bytes.size() * 2);
    for (const char byte : bytes) {
        text.push_back(kDigits[static_cast<unsigned char>(byte) >> 4]);
        text.push_back(kDigits[static_cast<unsigned char>(byte) & 15]);
    }
    return text;
}

}  // namespace spprof::native
