// Owns what code is loaded where, how it is unwound, and the publication of both to the handler.
#include "native/code_map.h"

#include "platform/clocks.h"
#include "platform/pages.h"

namespace spprof::native {
namespace {

// Records are named within moments: more looks back than these are not needed.
constexpr size_t kEpochs = 4;

}  // namespace

CodeMap::CodeMap() {
    epochs_.emplace_back();
    epochs_.back().code = std::make_shared<const CodeSnapshot>();
    publish(epochs_.back().code);
}

CodeMap::~CodeMap() = default;

bool CodeMap::refresh() {
    const std::lock_guard<std::mutex> refresh_lock(refresh_mutex_);
    free_unused();
    const int64_t before = platform::monotonic_ns();
    generated_.refresh();
    const ModuleGeneration generated = generated_.generation();
    generated_went_.store(generated.subs != 0, std::memory_order_relaxed);
    ModuleGeneration generation = module_generation();
    generation = {generation.adds + generated.adds, generation.subs + generated.subs};
    Epoch last;
    {
        const std::lock_guard<std::mutex> lock(mutex_);
        const bool looked = !epochs_.back().modules.empty();
        if (looked && epochs_.back().generation == generation) {
            epochs_.back().until_ns = before;
            until_ns_.store(before, std::memory_order_release);
            return false;
        }
        last = epochs_.back();
    }
    std::vector<std::unique_ptr<Module>> loaded = loaded_modules(generation);
    generation = {generation.adds + generated.adds, generation.subs + generated.subs};
    // Where nothing was unloaded, what was there still is. Otherwise what was loaded since, perhaps
    // once more, stands at the end of the loader's list.
    const bool unloaded = generation.subs != last.generation.subs;
    const uint64_t added = generation.adds - last.generation.adds;
    Epoch next;
    next.generation = generation;
    for (size_t i = 0; i < loaded.size(); ++i) {
        const std::shared_ptr<const Module> module =
            same_or_new(std::move(loaded[i]), last.modules, unloaded);
        next.modules.push_back(module);
        if (unloaded && added >= loaded.size() - i) {
            next.fresh.push_back(module->id);
        }
    }
    for (const auto& [place, object] : generated_.objects()) {
        if (object.module == nullptr) {
            continue;
        }
        if (object.module->id == 0) {
            const std::lock_guard<std::mutex> lock(mutex_);
            object.module->id = static_cast<uint32_t>(modules_.size() + 1);
            modules_.push_back(object.module);
        }
        next.modules.push_back(object.module);
    }
    auto code = std::make_shared<CodeSnapshot>();
    code->version = last.code->version + (unloaded ? 1 : 0);
    for (const auto& module : next.modules) {
        for (const AddressRange& range : module->code) {
            code->ranges.push_back({range.start, range.end, module->unwind, module->id});
        }
    }
    std::sort(code->ranges.begin(), code->ranges.end(),
              [](const auto& a, const auto& b) { return a.start < b.start; });
    for (const CodeSnapshot::Guessed& function : last.code->guessed) {
        const CodeSnapshot::Range* range = code->find(function.start);
        const CodeSnapshot::Range* before_it = last.code->find(function.start);
        if (range != nullptr && before_it != nullptr && range->module == before_it->module) {
            code->guessed.push_back(function);
        }
    }
    next.code = code;
    next.since_ns = next.until_ns = platform::monotonic_ns();
    {
        const std::lock_guard<std::mutex> lock(mutex_);
        if (epochs_.size() == kEpochs) {
            epochs_.erase(epochs_.begin());
        }
        since_ns_.store(next.since_ns, std::memory_order_release);
        until_ns_.store(next.until_ns, std::memory_order_release);
        epochs_.push_back(std::move(next));
    }
    publish(std::move(code));
    return true;
}

std::shared_ptr<const Module> CodeMap::same_or_new(
    std::unique_ptr<Module> module, const std::vector<std::shared_ptr<const Module>>& before,
    bool unloaded) {
    const auto is_same = [&](const std::shared_ptr<const Module>& other) {
        return other->bias == module->bias && other->path == module->path &&
               (!unloaded || other->format->same_as(*module->format));
    };
    const auto known = std::find_if(before.begin(), before.end(), is_same);
    if (known != before.end()) {
        return *known;
    }
    const std::lock_guard<std::mutex> lock(mutex_);
    // It may come back.
    const auto earlier = std::find_if(modules_.rbegin(), modules_.rend(), is_same);
    if (unloaded && earlier != modules_.rend()) {
        return *earlier;
    }
    module->id = static_cast<uint32_t>(modules_.size() + 1);
    modules_.push_back(std::shared_ptr<const Module>(std::move(module)));
    return modules_.back();
}

void CodeMap::publish_guess(uintptr_t address, uintptr_t start, uintptr_t end,
                            std::vector<GuessedRule> rules) {
    const std::lock_guard<std::mutex> refresh_lock(refresh_mutex_);
    std::shared_ptr<CodeSnapshot> code;
    {
        const std::lock_guard<std::mutex> lock(mutex_);
        code = std::make_shared<CodeSnapshot>(*epochs_.back().code);
        const auto above = std::upper_bound(
            code->guessed.begin(), code->guessed.end(), address,
            [](uintptr_t value, const auto& other) { return value < other.start; });
        if (code->find(address) == nullptr || code->guessed_at(address) != nullptr) {
            return;
        }
        if (above != code->guessed.end()) {
            end = std::min(end, above->start);
        }
        if (above != code->guessed.begin() && start < above[-1].end) {
            start = above[-1].end;
            rules.clear();  // they count from the start
        }
        code->guessed.insert(above, {start, end, std::move(rules)});
        epochs_.back().code = code;
    }
    publish(std::move(code));
    free_unused();
}

std::vector<uintptr_t> CodeMap::take_unknown() {
    std::vector<uintptr_t> addresses;
    for (std::atomic<uintptr_t>& slot : unknown_) {
        if (slot.load(std::memory_order_relaxed) != 0) {
            addresses.push_back(slot.exchange(0, std::memory_order_relaxed));
        }
    }
    return addresses;
}

void CodeMap::publish(std::shared_ptr<const CodeSnapshot> next) {
    current_.store(next.get(), std::memory_order_seq_cst);
    retired_.push_back(std::move(next));
}

// A handler that counts itself after this look loads the newest snapshot: its count and the store
// of that one are in one total order.
void CodeMap::free_unused() {
    if (!retired_.empty() && users_.load(std::memory_order_seq_cst) == 0) {
        retired_.erase(retired_.begin(), retired_.end() - 1);
    }
}

Location CodeMap::locate(uintptr_t address, int64_t time_ns) const {
    const std::lock_guard<std::mutex> lock(mutex_);
    const auto module_at = [address](const Epoch& epoch) {
        const CodeSnapshot::Range* range = epoch.code->find(address);
        return range == nullptr ? 0 : range->module;
    };
    size_t at = epochs_.size() - 1;
    uint32_t module = module_at(epochs_[at]);
    for (; at > 0 && time_ns < epochs_[at].since_ns; --at) {
        const Epoch& older = epochs_[at - 1];
        const Epoch& newer = epochs_[at];
        const bool only_added = older.generation.subs == newer.generation.subs;
        const uint32_t before = module_at(older);
        if (time_ns <= older.until_ns) {
            module = before;
        } else if (!only_added &&
                   (module != before ||
                    std::count(newer.fresh.begin(), newer.fresh.end(), module) != 0)) {
            module = 0;
            break;
        }
    }
    if (module == 0) {
        return {0, address};
    }
    const uint64_t offset = address - modules_[module - 1]->bias;
    return offset > UINT32_MAX ? Location{0, address} : Location{module, offset};
}

void CodeMap::add_maker(uintptr_t descriptor) {
    const std::lock_guard<std::mutex> refresh_lock(refresh_mutex_);
    generated_.add_maker(descriptor);
}

Location CodeMap::told_since(const Location& location) const {
    if (location.module != 0 || generated_went_.load(std::memory_order_relaxed)) {
        return location;
    }
    const Location now = locate(static_cast<uintptr_t>(location.offset));
    const std::shared_ptr<const Module> found = module(now.module);
    return found != nullptr && found->path.empty() ? now : location;
}

std::vector<std::shared_ptr<const Module>> CodeMap::modules() const {
    const std::lock_guard<std::mutex> lock(mutex_);
    return modules_;
}

std::shared_ptr<const Module> CodeMap::module(uint32_t id) const {
    const std::lock_guard<std::mutex> lock(mutex_);
    return id == 0 || id > modules_.size() ? nullptr : modules_[id - 1];
}

size_t CodeMap::bytes() const {
    const std::lock_guard<std::mutex> lock(mutex_);
    size_t bytes = RuleCache::bytes();
    for (const auto& module : modules_) {
        bytes += sizeof(Module) + module->path.size() + module->code.size() * sizeof(AddressRange);
    }
    const CodeSnapshot& code = *epochs_.back().code;
    bytes += code.ranges.size() * sizeof(CodeSnapshot::Range) * epochs_.size();
    for (const CodeSnapshot::Guessed& function : code.guessed) {
        bytes += sizeof(function) + function.rules.size() * sizeof(GuessedRule);
    }
    return bytes;
}

void CodeMap::before_fork() {
    refresh_mutex_.lock();
    mutex_.lock();
}

void CodeMap::after_fork_in_parent() {
    mutex_.unlock();
    refresh_mutex_.unlock();
}

void CodeMap::after_fork_in_child() {
    users_.store(0, std::memory_order_seq_cst);
    after_fork_in_parent();
}

}  // namespace spprof::native
