// Owns the unwind tables of everything loaded, their rebuilding and their publication to the
// handler.
#include "native/unwind_tables.h"

#include <algorithm>

#include "native/frame_info_in_memory.h"

namespace spprof::native {

// The identity of a module and what was compiled from it.
struct UnwindTables::Compiled {
    std::shared_ptr<Module> module;  // its id is set when it is first published
    std::string header;  // .eh_frame_hdr: tells a rebuilt library from the one it replaced
    ModuleTable table;
    bool has_table = false;
};

namespace {

bool same_segments(const std::vector<ElfSegment>& a, const std::vector<ElfSegment>& b) {
    return std::equal(a.begin(), a.end(), b.begin(), b.end(),
                      [](const ElfSegment& x, const ElfSegment& y) {
                          return x.type == y.type && x.flags == y.flags && x.offset == y.offset &&
                                 x.address == y.address && x.memory_size == y.memory_size;
                      });
}

size_t bytes_of(const ModuleTable& table) {
    return table.rows.capacity() * sizeof(Row) + table.rules.capacity() * sizeof(Rule) +
           table.buckets.capacity() * sizeof(uint32_t);
}

}  // namespace

UnwindTables::UnwindTables() : set_(std::make_unique<TableSet>()) { current_.store(set_.get()); }

UnwindTables::~UnwindTables() = default;

bool UnwindTables::refresh() {
    const std::lock_guard<std::mutex> refresh_lock(refresh_mutex_);
    free_unused();
    if (looked_ && module_generation() == generation_) {
        return false;
    }
    ModuleGeneration generation = generation_;
    std::vector<LoadedModule> loaded = loaded_modules(generation);

    std::vector<std::shared_ptr<Compiled>> next;
    bool changed = false;
    for (LoadedModule& module : loaded) {
        FrameInfoInMemory info(module);
        const auto known = std::find_if(
            in_use_.begin(), in_use_.end(), [&](const std::shared_ptr<Compiled>& compiled) {
                const LoadedModule& other = compiled->module->loaded;
                return other.bias == module.bias && other.path == module.path &&
                       same_segments(other.segments, module.segments) &&
                       compiled->header == info.header();
            });
        if (known != in_use_.end()) {
            next.push_back(*known);
            continue;
        }
        changed = true;
        auto compiled = std::make_shared<Compiled>();
        compiled->header = info.header();
        compiled->has_table = info.compile(compiled->table);
        compiled->module = std::make_shared<Module>();
        compiled->module->build_id = build_id_in_memory(module);
        compiled->module->loaded = std::move(module);
        next.push_back(std::move(compiled));
    }
    looked_ = true;
    generation_ = generation;
    if (!changed && next.size() == in_use_.size()) {
        return false;
    }
    publish(std::move(next));
    free_unused();
    return true;
}

void UnwindTables::publish(std::vector<std::shared_ptr<Compiled>> next) {
    const std::lock_guard<std::mutex> lock(mutex_);
    auto set = std::make_unique<TableSet>();
    bytes_ = 0;
    for (const auto& compiled : next) {
        Module& record = *compiled->module;
        if (record.id == 0) {
            record.id = static_cast<uint32_t>(modules_.size() + 1);
            modules_.push_back(compiled->module);
        }
        for (const ElfSegment& segment : record.loaded.segments) {
            if (segment.type == ElfSegment::kLoad &&
                (segment.flags & ElfSegment::kExecutable) != 0) {
                const uintptr_t start = record.loaded.bias + segment.address;
                set->ranges.push_back({start, start + segment.memory_size,
                                       compiled->has_table ? &compiled->table : nullptr,
                                       record.id});
            }
        }
        bytes_ += bytes_of(compiled->table) + compiled->header.size();
    }
    std::sort(set->ranges.begin(), set->ranges.end(),
              [](const TableSet::Range& a, const TableSet::Range& b) { return a.start < b.start; });

    current_.store(set.get(), std::memory_order_seq_cst);
    retired_.push_back({std::move(set_), std::move(in_use_)});
    set_ = std::move(set);
    in_use_ = std::move(next);
}

// A handler that counts itself after this look loads the new set: its count and the store of the
// new set are in one total order.
void UnwindTables::free_unused() {
    if (!retired_.empty() && users_.load(std::memory_order_seq_cst) == 0) {
        retired_.clear();
    }
}

Location UnwindTables::locate(uintptr_t address) const {
    const std::lock_guard<std::mutex> lock(mutex_);
    const TableSet::Range* range = set_->find(address);
    if (range == nullptr) {
        return {0, address};
    }
    const uint64_t offset = address - modules_[range->module - 1]->loaded.bias;
    return offset > UINT32_MAX ? Location{0, address} : Location{range->module, offset};
}

std::vector<std::shared_ptr<const Module>> UnwindTables::modules() const {
    const std::lock_guard<std::mutex> lock(mutex_);
    return modules_;
}

size_t UnwindTables::bytes() const {
    const std::lock_guard<std::mutex> lock(mutex_);
    return bytes_;
}

void UnwindTables::before_fork() {
    refresh_mutex_.lock();
    mutex_.lock();
}

void UnwindTables::after_fork_in_parent() {
    mutex_.unlock();
    refresh_mutex_.unlock();
}

void UnwindTables::after_fork_in_child() {
    users_.store(0, std::memory_order_seq_cst);
    after_fork_in_parent();
}

}  // namespace spprof::native
