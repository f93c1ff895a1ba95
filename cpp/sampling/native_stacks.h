// The native half of a session: what code is loaded for the handler, roles and merging for the
// collector, names at the end. Glue between the rooms native/ and interpreter/, which do not know
// each other.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "native/classify.h"
#include "native/code_map.h"
#include "native/symbols.h"
#include "sampling/record.h"

namespace spprof::sampling {

// Whether native frames can be had on this system at all.
bool native_unwinding_available() noexcept;

// --- kept from session to session ---------------------------------------------------------------

native::CodeMap& code_map();

// Around fork(), after the locks of the other rooms were taken.
void native_before_fork();
void native_after_fork_in_parent();
void native_after_fork_in_child();

// Asks the interpreter for the names of functions that were seen and have no symbol. Needs the
// interpreter's lock and none of ours: Python code may run.
void learn_known_functions();

struct NamedAddress {
    std::uint64_t address = 0;
    native::Symbol symbol;
};

// The calling thread's native stack, innermost first, with names. As above.
std::vector<NamedAddress> capture_native_stack();

// --- of one session -----------------------------------------------------------------------------

class NativeStacks {
public:
    NativeStacks();

    // Notices modules that came and went, and looks up names, as far as that takes little of the
    // time. Not with the collector's mutex held: files are read.
    void refresh();

    struct Frame {
        bool native;
        std::uint64_t value;  // native: key of its location; else row in the record's Python frames
    };

    // Innermost first. False when the two stacks did not fit together.
    bool merge(const SampleRecord& record, std::vector<Frame>& out);

    // Of everything that is known of native code, other sessions' included.
    std::size_t bytes() const;

    // At the end: looks up what is left to be looked up.
    void finish_names();
    struct Name {
        native::Symbol symbol;
        bool hidden = false;  // it is no function that a person wants to see after all
    };
    Name name(std::uint64_t key) const;
    // Raw build id of the module at `path`; "" when it has none.
    std::string build_id(const std::string& path) const;

private:
    native::NativeFrames frames_;
    std::vector<native::PythonFrame> python_;
    std::vector<native::Role> roles_;
    std::vector<std::uint64_t> keys_;
    std::vector<native::MergedFrame> merged_;
};

}  // namespace spprof::sampling
