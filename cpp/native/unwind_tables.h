// Owns the unwind tables of everything loaded, their rebuilding and their publication to the
// handler. Only UnwindTables::Use may be touched from the signal handler.
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "native/modules.h"
#include "native/unwind_rule.h"

namespace spprof::native {

// One loaded module as it was when it was first seen. Ids are never used twice, so what was
// recorded of a module can be named after it was unloaded.
struct Module {
    uint32_t id = 0;
    LoadedModule loaded;
    std::string build_id;  // raw bytes
};

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

class UnwindTables {
public:
    UnwindTables();
    ~UnwindTables();
    UnwindTables(const UnwindTables&) = delete;
    UnwindTables& operator=(const UnwindTables&) = delete;

    // Handler-safe: the tables stay valid while the object lives. It belongs on the handler's
    // stack, around the walk.
    class Use {
    public:
        explicit Use(UnwindTables& tables) noexcept : tables_(tables) {
            tables_.users_.fetch_add(1, std::memory_order_seq_cst);
            set_ = tables_.current_.load(std::memory_order_seq_cst);
        }
        ~Use() { tables_.users_.fetch_sub(1, std::memory_order_release); }
        Use(const Use&) = delete;
        Use& operator=(const Use&) = delete;
        const TableSet& set() const noexcept { return *set_; }

    private:
        UnwindTables& tables_;
        const TableSet* set_;
    };

    // Looks for modules that came or went since, compiles the new ones (each once), and publishes.
    // True when the published set changed. One cheap look when nothing did. Not for the handler;
    // takes the dynamic loader's lock.
    bool refresh();

    // Where `address` is now, by the newest set. Not for the handler.
    Location locate(uintptr_t address) const;

    // Every module ever seen, by id - 1.
    std::vector<std::shared_ptr<const Module>> modules() const;

    // Of the tables in use now.
    size_t bytes() const;

    // Around fork(): a child must not inherit a lock that nobody will release, nor users that are
    // not there.
    void before_fork();
    void after_fork_in_parent();
    void after_fork_in_child();

private:
    struct Compiled;

    void free_unused();
    void publish(std::vector<std::shared_ptr<Compiled>> next);

    std::atomic<const TableSet*> current_;
    std::atomic<uint32_t> users_{0};

    // One refresh at a time; compiling may take long, so the tables stay readable meanwhile.
    // Taken before mutex_.
    std::mutex refresh_mutex_;
    ModuleGeneration generation_;
    bool looked_ = false;
    std::vector<std::shared_ptr<Compiled>> in_use_;
    // Sets that a handler may still be reading, with what they point to.
    struct Retired {
        std::unique_ptr<const TableSet> set;
        std::vector<std::shared_ptr<Compiled>> compiled;
    };
    std::vector<Retired> retired_;

    mutable std::mutex mutex_;  // what follows
    std::unique_ptr<const TableSet> set_;
    std::vector<std::shared_ptr<const Module>> modules_;
    size_t bytes_ = 0;
};

}  // namespace spprof::native
