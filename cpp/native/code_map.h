// Owns what code is loaded where, how it is unwound, and the publication of both to the handler.
// Only CodeMap::Use and what it leads to may be touched from the signal handler.
#pragma once

#include <algorithm>
#include <array>
#include <atomic>
#include <cstdint>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "native/generated_code.h"
#include "native/module.h"
#include "native/prologue.h"
#include "native/rule_cache.h"

namespace spprof::native {

// Where an address is: in module `module`, `offset` behind its load bias. Packed into one number it
// is the key under which a native frame can be kept.
struct Location {
    uint32_t module = 0;  // 0: in no module (generated code); then `offset` is the address itself
    uint64_t offset = 0;

    uint64_t key() const {
        return module == 0 ? kNowhere | offset : uint64_t{module} << 32 | offset;
    }
    static Location from_key(uint64_t key) {
        if ((key & kNowhere) != 0) {
            return {0, key & ~kNowhere};
        }
        return {static_cast<uint32_t>(key >> 32), key & 0xffffffffU};
    }

private:
    static constexpr uint64_t kNowhere = uint64_t{1} << 63;
};

// All code of the process at one moment. Never changed once a handler may see it.
struct CodeSnapshot {
    struct Range {
        uintptr_t start;
        uintptr_t end;
        UnwindInfo unwind;
        uint32_t module;  // Module::id
    };
    // Code without unwind information: a function whose rules are guesses, or a stretch of which
    // nothing can be guessed.
    struct Guessed {
        uintptr_t start;
        uintptr_t end;
        std::vector<GuessedRule> rules;

        Rule rule_at(uintptr_t address) const noexcept {
            const auto above = std::upper_bound(
                rules.begin(), rules.end(), address - start,
                [](uint64_t offset, const GuessedRule& rule) { return offset < rule.offset; });
            return above == rules.begin() ? Rule{} : above[-1].rule;
        }
    };
    std::vector<Range> ranges;     // ascending, disjoint
    std::vector<Guessed> guessed;  // the same
    // Changes when an address may have got another meaning.
    uint32_t version = 1;

    const Range* find(uintptr_t address) const noexcept { return find_in(ranges, address); }

    // Null where nobody has tried to guess.
    const Guessed* guessed_at(uintptr_t address) const noexcept {
        return find_in(guessed, address);
    }

private:
    template <class Item>
    static const Item* find_in(const std::vector<Item>& items, uintptr_t address) noexcept {
        const auto above =
            std::upper_bound(items.begin(), items.end(), address,
                             [](uintptr_t value, const Item& item) { return value < item.start; });
        return above == items.begin() || address >= above[-1].end ? nullptr : &above[-1];
    }
};

class CodeMap {
public:
    CodeMap();
    ~CodeMap();
    CodeMap(const CodeMap&) = delete;
    CodeMap& operator=(const CodeMap&) = delete;

    // Handler-safe: the snapshot stays valid while the object lives. It belongs on the handler's
    // stack, around the walk.
    class Use {
    public:
        explicit Use(CodeMap& map) noexcept : map_(map) {
            map_.users_.fetch_add(1, std::memory_order_seq_cst);
            code_ = map_.current_.load(std::memory_order_seq_cst);
        }
        ~Use() { map_.users_.fetch_sub(1, std::memory_order_release); }
        Use(const Use&) = delete;
        Use& operator=(const Use&) = delete;
        const CodeSnapshot& code() const noexcept { return *code_; }
        RuleCache& cache() const noexcept { return map_.cache_; }
        // Asks for a guess at the code around `address`.
        void ask(uintptr_t address) const noexcept {
            map_.unknown_[(address >> 4) % map_.unknown_.size()].store(address,
                                                                       std::memory_order_relaxed);
        }

    private:
        CodeMap& map_;
        const CodeSnapshot* code_;
    };

    // Looks for modules that came or went since, and publishes. True when any did. One cheap look
    // when none did. Not for the handler; takes the loader's lock.
    bool refresh();

    // The same for the rules of the function around `address` that has no unwind information; none
    // where they cannot be guessed. What is known of its neighbours stays.
    void publish_guess(uintptr_t address, uintptr_t start, uintptr_t end,
                       std::vector<GuessedRule> rules);
    // Addresses for which handlers asked for a guess since the last time.
    std::vector<uintptr_t> take_unknown();

    // Where `address` was at `time_ns` (monotonic clock). Not known where something was loaded or
    // unloaded around then, and the looks before and after do not agree.
    Location locate(uintptr_t address, int64_t time_ns = INT64_MAX) const;
    // What `locate` says of this time and later ones will hold until the next refresh.
    int64_t current_since_ns() const { return since_ns_.load(std::memory_order_acquire); }
    // And up to this time it is known to hold.
    int64_t current_until_ns() const { return until_ns_.load(std::memory_order_acquire); }

    // Told of one, refresh() looks for the code that it generates.
    void add_maker(uintptr_t descriptor);
    // Where an address in no module is by what was told since, if it cannot be anything else.
    Location told_since(const Location& location) const;

    // Every module ever seen, by id - 1.
    std::vector<std::shared_ptr<const Module>> modules() const;
    std::shared_ptr<const Module> module(uint32_t id) const;

    size_t bytes() const;

    // Around fork(): a child must not inherit a lock that nobody will release, nor users that are
    // not there.
    void before_fork();
    void after_fork_in_parent();
    void after_fork_in_child();

private:
    // Which modules were there, and when this is known to have been so.
    struct Epoch {
        std::shared_ptr<const CodeSnapshot> code;
        std::vector<std::shared_ptr<const Module>> modules;
        std::vector<uint32_t> fresh;  // those that were perhaps not there all the time before
        ModuleGeneration generation;
        int64_t since_ns = 0;
        int64_t until_ns = 0;
    };

    std::shared_ptr<const Module> same_or_new(
        std::unique_ptr<Module> module, const std::vector<std::shared_ptr<const Module>>& before,
        bool unloaded);
    void free_unused();
    void publish(std::shared_ptr<const CodeSnapshot> next);

    RuleCache cache_;
    std::atomic<const CodeSnapshot*> current_;
    std::atomic<uint32_t> users_{0};
    std::atomic<int64_t> since_ns_{0};
    std::atomic<int64_t> until_ns_{0};
    std::array<std::atomic<uintptr_t>, 16> unknown_{};

    // One refresh at a time. Taken before mutex_.
    std::mutex refresh_mutex_;
    GeneratedCode generated_;
    std::atomic<bool> generated_went_{false};
    // Snapshots that a handler may still be reading.
    std::vector<std::shared_ptr<const CodeSnapshot>> retired_;

    mutable std::mutex mutex_;   // what follows
    std::vector<Epoch> epochs_;  // the newest last; a few
    std::vector<std::shared_ptr<const Module>> modules_;
};

}  // namespace spprof::native
