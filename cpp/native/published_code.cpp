// Owns what makers of code write down for `perf`.
#include "native/published_code.h"

#include <algorithm>
#include <charconv>
#include <string_view>

namespace spprof::native {
namespace {

constexpr size_t kMostEntries = size_t{1} << 18;
constexpr size_t kLongestName = 512;
// Longer ones are nothing that a maker of code writes.
constexpr size_t kLongestLine = 4096;
constexpr size_t kBlock = size_t{1} << 16;

// The dump's format is in the kernel's sources: tools/perf/Documentation/jitdump-specification.txt
constexpr uint32_t kDumpMagic = 0x4a695444;
struct DumpHeader {
    uint32_t magic;
    uint32_t version;
    uint32_t size;
};
enum RecordKind : uint32_t { code_load = 0, code_move = 1 };
struct RecordHeader {
    uint32_t kind;
    uint32_t size;
    uint64_t time;
};
struct CodeLoad {
    uint32_t process;
    uint32_t thread;
    uint64_t virtual_address;
    uint64_t address;
    uint64_t size;
    uint64_t index;
    // behind it: the name, a zero, the code
};
struct CodeMove {
    uint32_t process;
    uint32_t thread;
    uint64_t virtual_address;
    uint64_t old_address;
    uint64_t address;
    uint64_t size;
    uint64_t index;
};

// "START SIZE NAME", both numbers hexadecimal.
bool parse_line(std::string_view line, uint64_t& start, uint64_t& size, size_t& name) {
    const char* end = line.data() + line.size();
    const auto number = [end](const char* at, uint64_t& value) {
        const std::string_view rest(at, static_cast<size_t>(end - at));
        at += rest.substr(0, 2) == "0x" ? 2 : 0;
        const auto [behind, error] = std::from_chars(at, end, value, 16);
        return error == std::errc() && behind != end && *behind == ' ' ? behind + 1 : nullptr;
    };
    const char* at = number(line.data(), start);
    at = at == nullptr ? nullptr : number(at, size);
    name = at == nullptr ? 0 : static_cast<size_t>(at - line.data());
    return at != nullptr && at != end;
}

}  // namespace

void CodeListing::read(const std::string& path, uint64_t most) {
    FileStatus status;
    const std::unique_ptr<ByteSource> file = open_file(path, &status);
    // Where it lies anybody may put a file.
    if (file == nullptr || !status.trusted) {
        return;
    }
    if (path != path_ || !(status == status_) || file->size() < read_) {
        *this = {};
        path_ = path;
        status_ = status;
    }
    read(*file, most);
}

void CodeListing::read(const ByteSource& file, uint64_t most) {
    if (read_ == 0) {
        DumpHeader header{};
        dump_ = file.read(0, header) && header.magic == kDumpMagic && header.version == 1;
        read_ = dump_ ? std::max<uint64_t>(header.size, sizeof(header)) : 0;
    }
    if (read_ < file.size() && entries_.size() < kMostEntries) {
        const uint64_t end = read_ + std::min(most, file.size() - read_);
        read_ = dump_ ? read_records(file, end) : read_lines(file, end);
    }
}

void CodeListing::add(const Entry& entry) {
    if (entry.size != 0 && entry.size <= UINT64_MAX - entry.start &&
        entries_.size() < kMostEntries) {
        entries_.push_back(entry);
    }
}

// Both return how far they came: what is not complete yet is left for the next time.
uint64_t CodeListing::read_lines(const ByteSource& file, uint64_t end) {
    uint64_t at = read_;
    while (at < end) {
        const std::vector<uint8_t> block =
            file.bytes(at, std::min<uint64_t>(kBlock, file.size() - at));
        const std::string_view text(reinterpret_cast<const char*>(block.data()), block.size());
        size_t line = 0;
        for (size_t behind = text.find('\n'); behind != std::string_view::npos;
             line = behind + 1, behind = text.find('\n', line)) {
            Entry entry{};
            size_t name = 0;
            if (behind - line <= kLongestLine &&
                parse_line(text.substr(line, behind - line), entry.start, entry.size, name)) {
                entry.name = at + line + name;
                add(entry);
            }
        }
        if (line == 0 && text.size() < kBlock) {
            break;
        }
        at += line == 0 ? text.size() : line;
    }
    return at;
}

uint64_t CodeListing::read_records(const ByteSource& file, uint64_t end) {
    uint64_t at = read_;
    RecordHeader header{};
    while (at < end && file.read(at, header)) {
        const uint64_t body = at + sizeof(header);
        if (header.size < sizeof(header)) {
            return file.size();  // broken: nothing behind it means anything
        }
        if (header.size > file.size() - at) {
            break;
        }
        CodeLoad load{};
        CodeMove move{};
        if (header.kind == code_load && file.read(body, load)) {
            add({load.address, load.size, body + sizeof(load)});
        } else if (header.kind == code_move && file.read(body, move)) {
            const auto moved =
                std::find_if(entries_.rbegin(), entries_.rend(),
                             [&](const Entry& entry) { return entry.start == move.old_address; });
            if (moved != entries_.rend()) {
                add({move.address, move.size, moved->name});
            }
        }
        at += header.size;
    }
    return at;
}

std::string CodeListing::name_at(uint64_t address, uint64_t& start) const {
    const auto found = std::find_if(entries_.rbegin(), entries_.rend(), [&](const Entry& entry) {
        return address >= entry.start && address - entry.start < entry.size;
    });
    const std::unique_ptr<ByteSource> file =
        found == entries_.rend() ? nullptr : open_file(path_, nullptr);
    if (file == nullptr || found->name >= file->size()) {
        return {};
    }
    start = found->start;
    const std::vector<uint8_t> bytes =
        file->bytes(found->name, std::min<uint64_t>(kLongestName, file->size() - found->name));
    const uint8_t end_of_name = dump_ ? 0 : uint8_t{'\n'};
    const auto end = std::find(bytes.begin(), bytes.end(), end_of_name);
    return {bytes.begin(), end};
}

std::string PublishedCode::name_at(uint64_t address, uint64_t& start) const {
    std::string name = dump_.name_at(address, start);
    return name.empty() ? map_.name_at(address, start) : name;
}

}  // namespace spprof::native
