// Reached from a visit of a thread. What regions.cpp makes and a visit reads.
#pragma once

#include <atomic>
#include <cstdint>

#include "interpreter/contexts.h"
#include "interpreter/region_cells.h"

namespace spprof::interpreter {

// How values of the context variable begin: a region that was entered, in the region around it.
struct EnteredRegion {
    PyObject_HEAD std::uint64_t id;
    EnteredRegion* around;  // null: none
};

struct RegionsInForce {
    // What a visit needs; set before the first region is entered, and never again.
    std::atomic<bool> any{false};
    ContextVariable variable;
    std::uintptr_t region_type = 0, again_type = 0;  // of its values
    RegionCells cells;
};

inline RegionsInForce regions;

template <class Memory>
std::uint64_t region_of_thread(const Memory& memory, std::uintptr_t thread) noexcept {
    if (!regions.any.load(std::memory_order_acquire)) {
        return 0;
    }
    const std::uintptr_t value = value_of_thread(memory, thread, regions.variable);
    std::uintptr_t type = 0;
    std::uint64_t id = 0;
    if (value == 0 || !memory.load(value + offsetof(PyObject, ob_type), type) ||
        (type != regions.region_type && type != regions.again_type) ||
        !load_field(memory, value + offsetof(EnteredRegion, id), id)) {
        return 0;
    }
    // Whatever was read, this is a cell or nothing.
    RegionCell* cell = regions.cells.find_id(id);
    if (cell == nullptr) {
        return 0;
    }
    cell->met.store(true, std::memory_order_relaxed);
    return id;
}

}  // namespace spprof::interpreter
