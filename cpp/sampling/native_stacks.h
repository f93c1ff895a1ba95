// The native half of a session: unwind tables for the handler, roles and merging for the collector,
// names at the end. Glue between the rooms native/ and interpreter/, which do not know each other.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "interpreter/known_functions.h"
#include "native/classify.h"
#include "native/merge.h"
#include "native/symbols.h"
#include "native/unwind_tables.h"
#include "sampling/record.h"

namespace spprof::sampling {

// Whether native frames can be had on this system at all.
bool native_unwinding_available() noexcept;

// The process's tables: compiled once for each module, kept from session to session.
native::UnwindTables& unwind_tables();

struct NamedAddress {
    std::uint64_t address = 0;
    native::Symbol symbol;
};

// The calling thread's native stack, innermost first, with names. Needs the interpreter's lock.
std::vector<NamedAddress> capture_native_stack();

class NativeStacks {
public:
    // Needs the interpreter's lock; compiles the tables of what is loaded.
    NativeStacks();

    // --- collector
    // --------------------------------------------------------------------------------

    // Notices modules that came and went. Not with the collector's mutex held: it may take long.
    bool refresh_tables() { return unwind_tables().refresh(); }
    void modules_changed() { frames_.modules_changed(); }

    struct Frame {
        bool native;
        std::uint64_t value;  // native: key of its location; else row in the record's Python frames
    };

    // Innermost first. False when the two stacks did not fit together.
    bool merge(const SampleRecord& record, std::vector<Frame>& out);

    // --- at the end, with the interpreter's lock
    // ----------------------------------------------------

    // Names of functions that have no symbols.
    void learn(std::vector<interpreter::KnownFunction> known);
    native::Symbol name(std::uint64_t key);
    // Raw build id of the module at `path`; "" when it has none.
    std::string build_id(const std::string& path) const;

private:
    native::Symbolizer symbolizer_;
    native::NativeFrames frames_;
    std::vector<native::PythonFrame> python_;
    std::vector<native::Role> roles_;
    std::vector<std::uint64_t> keys_;
    std::vector<native::MergedFrame> merged_;
};

}  // namespace spprof::sampling
