// See pe_file.h. The format: "PE Format" in Microsoft's documentation.
#include "native/pe_file.h"

#include <algorithm>
#include <array>
#include <map>
#include <string>

namespace spprof::native {
namespace {

constexpr uint64_t kMostExports = uint64_t{1} << 20;
constexpr uint64_t kLongestName = 4096;

struct Function {  // of .pdata
    uint32_t begin = 0, end = 0, info = 0;
};
static_assert(sizeof(Function) == 12);

template <class Item>
std::vector<Item> array_at(const ByteSource& image, uint64_t address, uint64_t count) {
    const std::vector<uint8_t> bytes = image.bytes(address, count * sizeof(Item));
    std::vector<Item> items(bytes.size() / sizeof(Item));
    if (!items.empty()) {
        std::memcpy(items.data(), bytes.data(), items.size() * sizeof(Item));
    }
    return items;
}

class PeExports final : public SymbolTables {
public:
    PeExports(std::unique_ptr<ByteSource> image, PeFile file)
        : image_(std::move(image)), file_(std::move(file)) {
        functions_ = array_at<Function>(*image_, file_.functions.address,
                                        file_.functions.size / sizeof(Function));
        if (!std::is_sorted(functions_.begin(), functions_.end(), by_begin)) {
            functions_.clear();
        }
        read_exports();
        add_parts();
    }

    bool empty() const { return symbols_.empty(); }

    void each(const std::function<void(const FileSymbol&)>& visit) override {
        for (const FileSymbol& symbol : symbols_) {
            visit(symbol);
        }
    }
    std::string name(const FileSymbol& symbol) override {
        std::array<char, 64> part;
        std::string result;
        while (result.size() < kLongestName && symbol.name + result.size() < image_->size()) {
            const uint64_t at = symbol.name + result.size();
            const size_t count = std::min<uint64_t>(part.size(), image_->size() - at);
            if (!image_->read(at, part.data(), count)) {
                return {};
            }
            const size_t length = static_cast<size_t>(
                std::find(part.begin(), part.begin() + count, '\0') - part.begin());
            result.append(part.data(), length);
            if (length < count) {
                return result;
            }
        }
        return {};
    }
    uint64_t latest_end(uint64_t start) override { return start; }  // all have a size
    uint64_t find_data(const std::string&, uint64_t) override { return 0; }
    bool complete() override { return false; }

private:
    static bool by_begin(const Function& a, const Function& b) { return a.begin < b.begin; }

    // Where the code that this address is in ends; 0: it is in none.
    uint64_t end_of_code(uint64_t address) const {
        for (const AddressRange& range : file_.code) {
            if (address >= range.start && address < range.end) {
                return range.end;
            }
        }
        return 0;
    }

    void read_exports() {
        struct Table {
            uint32_t functions = 0, names = 0, functions_at = 0, names_at = 0, ordinals_at = 0;
        } table;
        constexpr uint64_t kCounts = 20;  // behind the directory's own name
        if (file_.exports.address == 0 || !image_->read(file_.exports.address + kCounts, table) ||
            table.functions > kMostExports || table.names > kMostExports) {
            return;
        }
        const auto places = array_at<uint32_t>(*image_, table.functions_at, table.functions);
        const auto names = array_at<uint32_t>(*image_, table.names_at, table.names);
        const auto ordinals = array_at<uint16_t>(*image_, table.ordinals_at, table.names);
        for (size_t i = 0; i < std::min(names.size(), ordinals.size()); ++i) {
            const uint64_t start = ordinals[i] < places.size() ? places[ordinals[i]] : 0;
            // Data, or the name of another file's function.
            if (end_of_code(start) != 0 && start - file_.exports.address >= file_.exports.size) {
                FileSymbol symbol;
                symbol.start = start;
                symbol.global = true;
                symbol.name = names[i];
                symbols_.push_back(symbol);
            }
        }
        std::sort(symbols_.begin(), symbols_.end(),
                  [](const FileSymbol& a, const FileSymbol& b) { return a.start < b.start; });
        for (auto it = symbols_.rbegin(); it != symbols_.rend(); ++it) {
            it->size = end_of(it->start) - it->start;
        }
    }

    uint64_t end_of(uint64_t start) const {
        const auto next = std::upper_bound(
            functions_.begin(), functions_.end(), start,
            [](uint64_t value, const Function& function) { return value < function.begin; });
        if (next != functions_.begin() && start < next[-1].end) {
            return next[-1].end;
        }
        // It uses no stack, so it is not described: at most up to what comes next.
        const auto later = std::upper_bound(
            symbols_.begin(), symbols_.end(), start,
            [](uint64_t value, const FileSymbol& symbol) { return value < symbol.start; });
        uint64_t end = end_of_code(start);
        end = next == functions_.end() ? end : std::min<uint64_t>(end, next->begin);
        return later == symbols_.end() ? end : std::min(end, later->start);
    }

    // Compilers move parts of a function away from it: their unwind information leads back.
    void add_parts() {
        std::map<uint64_t, uint64_t> names;
        for (const FileSymbol& symbol : symbols_) {
            names.try_emplace(symbol.start, symbol.name);
        }
        if (names.empty()) {
            return;
        }
        for (const Function& function : functions_) {
            const uint32_t owner = owner_of(function);
            const auto name = owner == function.begin ? names.end() : names.find(owner);
            if (name != names.end() && function.begin < function.end &&
                function.end <= end_of_code(function.begin)) {
                FileSymbol symbol;
                symbol.start = function.begin;
                symbol.size = function.end - function.begin;
                symbol.global = true;
                symbol.name = name->second;
                symbols_.push_back(symbol);
            }
        }
    }

    uint32_t owner_of(Function function) const {
        constexpr int kMostChained = 32;
        constexpr uint8_t kChained = 4;
        for (int i = 0; i < kMostChained; ++i) {
            uint64_t next = function.info & ~uint64_t{1};
            if ((function.info & 1) == 0) {
                std::array<uint8_t, 4> header;
                if (!image_->read(function.info, header) || (header[0] >> 3 & kChained) == 0) {
                    break;
                }
                next += 4 + uint64_t{2} * ((header[2] + 1U) & ~1U);
            }
            if (!image_->read(next, function)) {
                break;
            }
        }
        return function.begin;
    }

    std::unique_ptr<ByteSource> image_;
    PeFile file_;
    std::vector<Function> functions_;
    std::vector<FileSymbol> symbols_;
};

}  // namespace

bool PeFile::parse(const ByteSource& image, PeFile& file) {
    constexpr uint16_t kDosMagic = 0x5a4d;
    constexpr uint32_t kSignature = 0x4550;
    constexpr uint16_t kX86_64 = 0x8664;
    constexpr uint16_t kOptionalMagic = 0x20b;
    constexpr uint32_t kExecutable = 0x20000000;
    constexpr uint64_t kOptional = 24, kSection = 40;
    constexpr uint32_t kExports = 0, kFunctions = 3;
    uint16_t magic = 0, machine = 0, sections = 0, optional_size = 0, optional_magic = 0;
    uint32_t at = 0, signature = 0, directories = 0;
    if (!image.read(0, magic) || magic != kDosMagic || !image.read(0x3c, at) ||
        !image.read(at, signature) || signature != kSignature ||
        !image.read(at + uint64_t{4}, machine) || machine != kX86_64 ||
        !image.read(at + uint64_t{6}, sections) || !image.read(at + uint64_t{8}, file.stamp) ||
        !image.read(at + uint64_t{20}, optional_size) ||
        !image.read(at + kOptional, optional_magic) || optional_magic != kOptionalMagic ||
        !image.read(at + kOptional + 56, file.size) ||
        !image.read(at + kOptional + 108, directories)) {
        return false;
    }
    const auto directory = [&](uint32_t number, Directory& out) {
        if (number < directories && !image.read(at + kOptional + 112 + uint64_t{8} * number, out)) {
            out = {};
        }
    };
    directory(kExports, file.exports);
    directory(kFunctions, file.functions);
    for (unsigned i = 0; i < sections; ++i) {
        struct {
            uint32_t virtual_size, address;
        } place{};
        uint32_t characteristics = 0;
        const uint64_t section = at + kOptional + optional_size + kSection * i;
        if (!image.read(section + 8, place) || !image.read(section + 36, characteristics)) {
            return false;
        }
        if ((characteristics & kExecutable) != 0 && place.virtual_size != 0) {
            file.code.push_back(
                {place.address, static_cast<uintptr_t>(place.address) + place.virtual_size});
        }
    }
    std::sort(file.code.begin(), file.code.end(),
              [](const AddressRange& a, const AddressRange& b) { return a.start < b.start; });
    return true;
}

std::unique_ptr<SymbolTables> pe_exports(std::unique_ptr<ByteSource> image) {
    PeFile file;
    if (!PeFile::parse(*image, file)) {
        return nullptr;
    }
    auto exports = std::make_unique<PeExports>(std::move(image), std::move(file));
    return exports->empty() ? nullptr : std::move(exports);
}

}  // namespace spprof::native
