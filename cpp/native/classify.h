// Owns the judgement whose code an address is: eval loop, call machinery, start-up code, or
// something a person wants to see. Knows the names of CPython's functions, and none of its structs.
#pragma once

#include <cstdint>
#include <string_view>
#include <vector>

#include "native/merge.h"
#include "native/symbols.h"
#include "native/unwind_tables.h"

namespace spprof::native {

// The role of a function of the interpreter, by its name as in the symbol table.
Role role_of_interpreter_function(std::string_view name);

// The same for a name learned from the interpreter's own tables ("generator.send").
Role role_of_learned_function(std::string_view name);

class Classifier {
public:
    Classifier() = default;  // everything is shown

    // `interpreter_address`: any function of the interpreter. Only modules loaded now count.
    static Classifier build(const UnwindTables& tables, Symbolizer& symbolizer,
                            uintptr_t interpreter_address);

    Role role(const Location& location) const;

    // False when the eval loop was not found: nothing can be merged.
    bool knows_eval_loop() const { return knows_eval_loop_; }

private:
    struct Range {
        uint64_t start;  // Location::key()
        uint64_t end;
        Role role;
    };

    void add(uint32_t module, uint64_t start, uint64_t end, Role role);
    void add_interpreter(const Module& module, Symbolizer& symbolizer);
    void add_others(const Module& module, Symbolizer& symbolizer);
    void finish();

    std::vector<Range> ranges_;  // ascending, disjoint
    bool knows_eval_loop_ = false;
};

// What the collector asks about every native frame of a sample, each address looked up once.
// Not thread-safe.
class NativeFrames {
public:
    struct Frame {
        uint64_t key;  // Location::key(): give it back to Location::from_key() and a Symbolizer
        Role role;
    };

    NativeFrames(const UnwindTables& tables, Symbolizer& symbolizer, uintptr_t interpreter_address);

    // After UnwindTables::refresh() returned true.
    void modules_changed();

    // `lookup`: the interrupted pc, or a return address minus one.
    Frame at(uintptr_t lookup);

    bool can_merge() const { return classifier_.knows_eval_loop(); }

private:
    const UnwindTables& tables_;
    Symbolizer& symbolizer_;
    uintptr_t interpreter_address_;
    Classifier classifier_;
    std::unordered_map<uintptr_t, Frame> known_;
};

}  // namespace spprof::native
