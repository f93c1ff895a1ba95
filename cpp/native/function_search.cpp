// Owns the search for the functions at given addresses in the symbol tables of a module.
#include "native/function_search.h"

#include <algorithm>
#include <array>
#include <optional>
#include <tuple>

namespace spprof::native {
namespace {

struct Candidate {
    FileSymbol symbol;
    std::optional<std::string> name;
};

// The symbols between one offset and the next, as far as they matter.
struct Gap {
    std::optional<Candidate> sized;     // with the highest start
    std::optional<Candidate> unsized;   // the same of those whose end is not known
    uint64_t first_sized = UINT64_MAX;  // the lowest starts
    uint64_t first = UINT64_MAX;
};

class Search {
public:
    Search(SymbolTables& tables, const std::vector<uint64_t>& offsets)
        : tables_(tables), offsets_(offsets), gaps_(offsets.size() + 1) {
        while (offsets.back() >> shift_ >= kSlices) {
            ++shift_;
        }
        for (uint64_t slice = 0; slice < kSlices; ++slice) {
            first_[slice] =
                std::lower_bound(offsets.begin(), offsets.end(), slice << shift_) - offsets.begin();
        }
        first_[kSlices] = static_cast<ptrdiff_t>(offsets.size());
    }

    std::vector<Function> run() {
        tables_.each([this](const FileSymbol& symbol) { take(symbol); });
        std::vector<Candidate*> chosen(offsets_.size());
        std::vector<Function> result(offsets_.size());
        choose(chosen, result);
        name(chosen, result);
        return result;
    }

private:
    // Gap i holds the symbols that begin behind offset i - 1, up to offset i.
    void take(const FileSymbol& symbol) {
        Gap& gap = gaps_[gap_of(symbol.start)];
        gap.first = std::min(gap.first, symbol.start);
        if (symbol.size != 0) {
            gap.first_sized = std::min(gap.first_sized, symbol.start);
        }
        std::optional<Candidate>& best = symbol.size != 0 ? gap.sized : gap.unsized;
        if (!best || symbol.start > best->symbol.start) {
            best = Candidate{symbol, {}};
        } else if (symbol.start == best->symbol.start) {
            Candidate other{symbol, {}};
            if (is_better(other, *best)) {
                best = std::move(other);
            }
        }
    }

    // A module has a million symbols, and few of them are near an offset.
    size_t gap_of(uint64_t start) const {
        const uint64_t slice = start >> shift_;
        if (slice >= kSlices) {
            return offsets_.size();
        }
        return static_cast<size_t>(std::lower_bound(offsets_.begin() + first_[slice],
                                                    offsets_.begin() + first_[slice + 1], start) -
                                   offsets_.begin());
    }

    // Among names of one address the one a person would use: exported, without the underscores of
    // the library's own aliases, short.
    bool is_better(Candidate& a, Candidate& b) {
        if (a.symbol.global != b.symbol.global) {
            return a.symbol.global;
        }
        const auto preference = [this](Candidate& candidate) {
            if (!candidate.name) {
                candidate.name = tables_.name(candidate.symbol);
            }
            const std::string& name = *candidate.name;
            const size_t underscores = std::min(name.find_first_not_of('_'), name.size());
            return std::make_tuple(name.empty(), underscores, name.size(), std::string_view(name));
        };
        return preference(a) < preference(b);
    }

    void choose(std::vector<Candidate*>& chosen, std::vector<Function>& result) {
        // What begins behind each offset.
        std::vector<std::pair<uint64_t, uint64_t>> next(offsets_.size());
        uint64_t sized_start = UINT64_MAX;
        uint64_t any_start = UINT64_MAX;
        for (size_t i = offsets_.size(); i-- > 0;) {
            sized_start = std::min(sized_start, gaps_[i + 1].first_sized);
            any_start = std::min(any_start, gaps_[i + 1].first);
            next[i] = {sized_start, any_start};
        }
        Candidate* sized = nullptr;
        Candidate* unsized = nullptr;
        for (size_t i = 0; i < offsets_.size(); ++i) {
            auto& gap = gaps_[i];
            sized = gap.sized ? &*gap.sized : sized;
            unsized = gap.unsized ? &*gap.unsized : unsized;
            const uint64_t sized_end =
                sized == nullptr ? 0 : sized->symbol.start + sized->symbol.size;
            if (offsets_[i] < sized_end) {
                // A label inside does not cut it, another function does.
                chosen[i] = sized;
                result[i].end = std::min(sized_end, next[i].first);
            } else if (unsized != nullptr && unsized->symbol.start >= sized_end &&
                       (sized == nullptr || unsized->symbol.start > sized->symbol.start)) {
                // It reaches up to whatever comes next, within its section.
                const uint64_t end =
                    std::min(tables_.latest_end(unsized->symbol.start), next[i].second);
                if (offsets_[i] < end) {
                    chosen[i] = unsized;
                    result[i].end = end;
                }
            }
            if (chosen[i] != nullptr) {
                result[i].start = chosen[i]->symbol.start;
            }
        }
    }

    // In the order in which the names lie in their file.
    void name(const std::vector<Candidate*>& chosen, std::vector<Function>& result) {
        std::vector<size_t> order;
        for (size_t i = 0; i < chosen.size(); ++i) {
            if (chosen[i] != nullptr) {
                order.push_back(i);
            }
        }
        std::sort(order.begin(), order.end(), [&](size_t a, size_t b) {
            const FileSymbol& x = chosen[a]->symbol;
            const FileSymbol& y = chosen[b]->symbol;
            return std::tie(x.table, x.name) < std::tie(y.table, y.name);
        });
        for (const size_t i : order) {
            Candidate& candidate = *chosen[i];
            if (!candidate.name) {
                candidate.name = tables_.name(candidate.symbol);
            }
            result[i].name = *candidate.name;
            if (result[i].name.empty()) {
                result[i] = Function{};
            }
        }
    }

    static constexpr uint64_t kSlices = 4096;

    SymbolTables& tables_;
    const std::vector<uint64_t>& offsets_;
    std::vector<Gap> gaps_;
    unsigned shift_ = 0;
    std::array<ptrdiff_t, kSlices + 1> first_;  // the first offset in each slice, or behind it
};

}  // namespace

std::vector<Function> find_functions(SymbolTables& tables, const std::vector<uint64_t>& offsets) {
    return offsets.empty() ? std::vector<Function>{} : Search(tables, offsets).run();
}

std::vector<Function> all_functions(SymbolTables& tables) {
    std::vector<uint64_t> starts;
    tables.each([&](const FileSymbol& symbol) { starts.push_back(symbol.start); });
    std::sort(starts.begin(), starts.end());
    starts.erase(std::unique(starts.begin(), starts.end()), starts.end());
    std::vector<Function> functions = find_functions(tables, starts);
    // A label inside a function found that function again.
    const auto end = std::unique(
        functions.begin(), functions.end(),
        [](const Function& a, const Function& b) { return b.end == 0 || a.start == b.start; });
    functions.erase(end, functions.end());
    if (!functions.empty() && functions.front().end == 0) {
        functions.erase(functions.begin());
    }
    return functions;
}

}  // namespace spprof::native
