// Owns loaded modules whose format is ELF, behind the interface of module.h.
#include "native/elf_module.h"

#include <algorithm>

#include "native/hexadecimal.h"

namespace spprof::native {
namespace {

constexpr const char* kNowhere = "-";
constexpr size_t kFrameHeaderBytes = 1024;

struct Image {
    std::unique_ptr<ByteSource> source;
    ElfFile elf;

    static bool open(std::unique_ptr<ByteSource> source, Image& out) {
        out.source = std::move(source);
        return out.source != nullptr && ElfFile::parse(*out.source, out.elf);
    }
};

class ElfSymbolTables : public SymbolTables {
public:
    explicit ElfSymbolTables(std::vector<Image> images, uint64_t bias = 0)
        : images_(std::move(images)), bias_(bias) {}

    void each(const std::function<void(const FileSymbol&)>& visit) override {
        for (size_t i = 0; i < images_.size(); ++i) {
            images_[i].elf.each_function([&](const ElfSymbol& symbol) {
                visit({symbol.address - bias_, symbol.size, symbol.global, static_cast<uint8_t>(i),
                       symbol.name});
            });
        }
    }

    std::string name(const FileSymbol& symbol) override {
        return images_[symbol.table].elf.name({symbol.start, symbol.size, symbol.name, false});
    }

    uint64_t latest_end(uint64_t start) override {
        uint64_t end = start;
        for (const Image& image : images_) {
            if (const ElfSection* section = image.elf.section_at(start + bias_)) {
                end = std::max(end, section->address + section->size - bias_);
            }
        }
        return end;
    }

    uint64_t find_data(const std::string& name, uint64_t size) override {
        for (const Image& image : images_) {
            if (const uint64_t address = image.elf.find_data(name, size)) {
                return address - bias_;
            }
        }
        return 0;
    }

    bool complete() override {
        return std::any_of(images_.begin(), images_.end(),
                           [](const Image& image) { return image.elf.has_symtab(); });
    }

private:
    std::vector<Image> images_;
    uint64_t bias_;
};

const ElfSegment* frame_header(const std::vector<ElfSegment>& segments) {
    const auto found = std::find_if(segments.begin(), segments.end(), [](const auto& segment) {
        return segment.type == ElfSegment::kEhFrame;
    });
    return found == segments.end() ? nullptr : &*found;
}

bool same_segments(const std::vector<ElfSegment>& a, const std::vector<ElfSegment>& b) {
    return std::equal(a.begin(), a.end(), b.begin(), b.end(),
                      [](const ElfSegment& x, const ElfSegment& y) {
                          return x.type == y.type && x.flags == y.flags && x.offset == y.offset &&
                                 x.address == y.address && x.memory_size == y.memory_size;
                      });
}

bool belongs(const Image& image, const ElfIdentity& module) {
    if (!module.build_id.empty()) {
        return image.elf.build_id() == module.build_id;
    }
    const ElfSegment* header = frame_header(image.elf.segments());
    return same_segments(image.elf.segments(), module.segments) &&
           (header == nullptr ||
            image.source->bytes(header->offset, module.frame_header.size()) == module.frame_header);
}

bool crc_matches(const std::string& path, uint32_t expected) {
    const std::unique_ptr<ByteSource> file = open_file(path);
    if (file == nullptr) {
        return false;
    }
    Crc32 crc;
    std::vector<uint8_t> block(size_t{1} << 16);
    for (uint64_t offset = 0; offset < file->size(); offset += block.size()) {
        const uint64_t size = std::min<uint64_t>(block.size(), file->size() - offset);
        if (!file->read(offset, block.data(), size)) {
            return false;
        }
        crc.add({block.data(), size});
    }
    return crc.value() == expected;
}

// Where the file with the symbols is that were taken out of `own`.
std::string find_debug_file(const ElfIdentity& module, const Image* own,
                            const std::string& debug_root) {
    if (module.build_id.size() >= 2) {
        const std::string id = hexadecimal(module.build_id);
        std::string path =
            debug_root + "/.build-id/" + id.substr(0, 2) + "/" + id.substr(2) + ".debug";
        Image image;
        if (Image::open(open_file(path), image) && image.elf.build_id() == module.build_id) {
            return path;
        }
    }
    DebugLink link;
    if (own == nullptr || !own->elf.debug_link(link)) {
        return kNowhere;
    }
    const size_t slash = module.path.rfind('/');
    const std::string directory = slash == std::string::npos ? "." : module.path.substr(0, slash);
    for (const std::string& candidate :
         {directory + "/" + link.name, directory + "/.debug/" + link.name,
          debug_root + directory + "/" + link.name}) {
        // The link may name the stripped file itself.
        if (candidate != module.path && crc_matches(candidate, link.crc)) {
            return candidate;
        }
    }
    return kNowhere;
}

class ElfFormat : public ModuleFormat {
public:
    explicit ElfFormat(ElfIdentity identity) : identity_(std::move(identity)) {}

    std::string build_id() const override { return identity_.build_id; }

    std::unique_ptr<SymbolTables> open_symbols() const override {
        return open_elf_symbols(identity_, debug_path_);
    }

    bool same_as(const ModuleFormat& other) const override {
        const auto* elf = dynamic_cast<const ElfFormat*>(&other);
        return elf != nullptr && same_segments(elf->identity_.segments, identity_.segments) &&
               elf->identity_.build_id == identity_.build_id &&
               elf->identity_.frame_header == identity_.frame_header;
    }

private:
    const ElfIdentity identity_;
    mutable std::string debug_path_;
};

// The kernel's own image, or whatever else lies in memory as a whole.
class ElfInMemory : public ModuleFormat {
public:
    // `bias`: taken off the addresses in it.
    ElfInMemory(uintptr_t address, uint64_t size, uint64_t bias = 0)
        : address_(address), size_(size), bias_(bias) {}

    std::string build_id() const override {
        Image image;
        const bool opened = Image::open(std::make_unique<MemorySource>(address_, size_), image);
        return opened ? image.elf.build_id() : std::string();
    }
    std::unique_ptr<SymbolTables> open_symbols() const override {
        std::vector<std::unique_ptr<ByteSource>> images;
        images.push_back(std::make_unique<MemorySource>(address_, size_));
        return elf_symbols(std::move(images), bias_);
    }
    bool same_as(const ModuleFormat& other) const override {
        const auto* image = dynamic_cast<const ElfInMemory*>(&other);
        return image != nullptr && image->address_ == address_ && image->size_ == size_;
    }

private:
    uintptr_t address_;
    uint64_t size_;
    uint64_t bias_;
};

std::unique_ptr<Module> module_of(std::string path, uintptr_t bias,
                                  const std::vector<ElfSegment>& segments) {
    auto module = std::make_unique<Module>();
    module->path = std::move(path);
    module->bias = bias;
    for (const ElfSegment& segment : segments) {
        if (segment.executable() && segment.memory_size <= UINTPTR_MAX / 2) {
            const uintptr_t start = bias + segment.address;
            module->code.push_back({start, start + segment.memory_size});
        }
    }
    std::sort(module->code.begin(), module->code.end(),
              [](const AddressRange& a, const AddressRange& b) { return a.start < b.start; });
    if (const ElfSegment* header = frame_header(segments)) {
        module->unwind = {UnwindInfo::Format::eh_frame_header, bias + header->address, 0};
    }
    return module;
}

}  // namespace

std::unique_ptr<Module> elf_module(std::string path, uintptr_t bias, uintptr_t headers,
                                   size_t header_count) {
    ElfIdentity identity;
    identity.segments.resize(header_count);
    if (!copy_memory(headers, identity.segments.data(), header_count * sizeof(ElfSegment))) {
        return nullptr;
    }
    for (const ElfSegment& segment : identity.segments) {
        std::vector<uint8_t> notes;
        if (segment.type == ElfSegment::kNote && identity.build_id.empty() &&
            copy_memory(bias + segment.address, std::min<uint64_t>(segment.memory_size, 4096),
                        notes)) {
            identity.build_id = build_id_of_notes({notes.data(), notes.size()});
        }
    }
    const ElfSegment* header = frame_header(identity.segments);
    if (header != nullptr && !copy_memory(bias + header->address,
                                          std::min<uint64_t>(header->file_size, kFrameHeaderBytes),
                                          identity.frame_header)) {
        identity.frame_header.clear();
    }
    auto module = module_of(path, bias, identity.segments);
    identity.path = std::move(path);
    module->format = std::make_unique<ElfFormat>(std::move(identity));
    return module;
}

std::unique_ptr<Module> elf_module_at(std::string path, uintptr_t address) {
    // What is mapped of it: its section headers lie behind its segment.
    constexpr uint64_t kPage = 4096;
    Image image;
    if (!Image::open(std::make_unique<MemorySource>(address, kPage), image)) {
        return nullptr;
    }
    uintptr_t bias = address;
    uint64_t end = 0;
    for (const ElfSegment& segment : image.elf.segments()) {
        if (segment.type == ElfSegment::kLoad) {
            bias = segment.offset == 0 ? address - segment.address : bias;
            end = std::max(end, segment.offset + segment.file_size);
        }
    }
    auto module = module_of(std::move(path), bias, image.elf.segments());
    module->format = std::make_unique<ElfInMemory>(address, (end + kPage - 1) / kPage * kPage);
    return module;
}

std::shared_ptr<Module> elf_object_at(uintptr_t address, uint64_t size) {
    Image image;
    if (!Image::open(std::make_unique<MemorySource>(address, size), image)) {
        return nullptr;
    }
    auto module = std::make_shared<Module>();
    for (const ElfSection& section : image.elf.sections()) {
        if (section.is_code() && section.address != 0 && section.size != 0 &&
            section.size <= UINT32_MAX) {
            module->code.push_back({section.address, section.address + section.size});
        }
        if (section.name == ".eh_frame" && section.address != 0) {
            // LLVM completes the one in memory only, and CPython has none there.
            const uintptr_t in_image = address + section.offset;
            uint64_t there = 0;
            uint64_t here = 0;
            const bool in_memory = copy_memory(section.address, &there, sizeof(there)) &&
                                   copy_memory(in_image, &here, sizeof(here)) && there == here;
            module->unwind = {UnwindInfo::Format::eh_frame, in_memory ? section.address : in_image,
                              section.size, in_memory ? 0 : section.address - in_image};
        }
    }
    if (module->code.empty()) {
        return nullptr;
    }
    std::sort(module->code.begin(), module->code.end(),
              [](const AddressRange& a, const AddressRange& b) { return a.start < b.start; });
    module->bias = module->code.front().start;
    module->format = std::make_unique<ElfInMemory>(address, size, module->bias);
    return module;
}

std::unique_ptr<SymbolTables> elf_symbols(std::vector<std::unique_ptr<ByteSource>> images,
                                          uint64_t bias) {
    std::vector<Image> parsed;
    for (std::unique_ptr<ByteSource>& source : images) {
        Image image;
        if (Image::open(std::move(source), image)) {
            parsed.push_back(std::move(image));
        }
    }
    return parsed.empty() ? nullptr : std::make_unique<ElfSymbolTables>(std::move(parsed), bias);
}

std::unique_ptr<SymbolTables> open_elf_symbols(const ElfIdentity& module, std::string& debug_path,
                                               const std::string& debug_root) {
    std::vector<Image> images;
    Image own;
    // It may have been replaced on disk since it was loaded.
    const bool have_own = Image::open(open_file(module.path), own) && belongs(own, module);
    if (!have_own || !own.elf.has_symtab()) {
        if (debug_path.empty()) {
            debug_path = find_debug_file(module, have_own ? &own : nullptr, debug_root);
        }
        Image debug;
        if (debug_path != kNowhere && Image::open(open_file(debug_path), debug) &&
            debug.elf.build_id() == module.build_id) {
            images.push_back(std::move(debug));
        }
    }
    if (have_own) {
        images.push_back(std::move(own));
    }
    return images.empty() ? nullptr : std::make_unique<ElfSymbolTables>(std::move(images));
}

}  // namespace spprof::native
