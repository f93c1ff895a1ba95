// Owns the code that was generated while the program runs, as its makers tell debuggers of it.
#include "native/generated_code.h"

#include "native/elf_module.h"
#include "native/process_memory.h"

namespace spprof::native {
namespace {

constexpr size_t kMostObjects = 65536;
constexpr uint64_t kLargestObject = uint64_t{64} << 20;

// An item of the list that a descriptor leads to.
struct Entry {
    uintptr_t next;
    uintptr_t previous;
    uintptr_t image;
    uint64_t size;
};

}  // namespace

void GeneratedCode::refresh() {
    bool changed = false;
    for (Maker& maker : makers_) {
        Descriptor now{};
        copy_memory(maker.address, &now, sizeof(now));
        changed = changed || now.action != maker.last.action ||
                  now.relevant != maker.last.relevant || now.first != maker.last.first;
        maker.last = now;
    }
    if (!changed) {
        return;
    }
    std::map<uintptr_t, Object> objects;
    size_t kept = 0;
    for (const Maker& maker : makers_) {
        Entry entry{};
        for (uintptr_t at = maker.last.first;
             at != 0 && objects.size() < kMostObjects && objects.count(at) == 0 &&
             copy_memory(at, &entry, sizeof(entry));
             at = entry.next) {
            Object& object = objects[at];
            object = {entry.image, entry.size, nullptr};
            const auto known = objects_.find(at);
            if (known != objects_.end() && known->second.image == entry.image &&
                known->second.size == entry.size) {
                object = known->second;
                ++kept;
            } else {
                ++generation_.adds;
                if (entry.size <= kLargestObject) {
                    object.module = elf_object_at(entry.image, entry.size);
                }
            }
        }
    }
    generation_.subs += objects_.size() - kept;
    objects_ = std::move(objects);
}

}  // namespace spprof::native
