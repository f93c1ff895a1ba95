// Owns the judgement whose code an address is: eval loop, call machinery, start-up code, or
// something a person wants to see. Knows the system's start-up code; what the functions of an
// interpreter are is told to it.
#pragma once

#include <cstdint>
#include <mutex>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "native/merge.h"
#include "native/symbols.h"

namespace spprof::native {

// What the glue between the rooms tells of the interpreter's functions, by name.
struct InterpreterFunctions {
    uintptr_t any_function;  // its module is the interpreter's
    // As in the symbol table, without what compilers append.
    Role (*role_of_function)(std::string_view name);
    // As learned from the interpreter's own tables ("generator.send").
    Role (*role_of_method)(std::string_view name);
    // Of other modules that take part, by the name of their file. False: nothing is known of it.
    bool (*role_in_file)(std::string_view file, std::string_view function, Role& role);
};

// Roles, once in the life of the process: each module's functions are looked through when the first
// address in it is met, and only where they may be something else than shown.
class Classifier {
public:
    Classifier(const CodeMap& map, Symbolizer& symbolizer, const InterpreterFunctions& interpreter)
        : map_(map), symbolizer_(symbolizer), interpreter_(interpreter) {}

    Role role(const Location& location);

    // What of a stripped interpreter has no name was given as shown: with its name, or without one
    // to the end, it may turn out not to be.
    bool hides(const Location& location, const Symbol& symbol) const;

    // Looks through the interpreter's functions now.
    void prepare();

    size_t bytes() const;

    // Around fork(), before the Symbolizer's.
    void before_fork() { mutex_.lock(); }
    void after_fork() { mutex_.unlock(); }

private:
    struct Range {
        uint64_t start;
        uint64_t end;
        Role role;
    };
    struct Roles {
        std::vector<Range> ranges;  // ascending, disjoint; only what is not `others`
        Role others = Role::shown;
    };

    uint32_t interpreter_module() const { return map_.locate(interpreter_.any_function).module; }
    const Roles& roles_of(uint32_t module);
    Roles look_through(const Module& module);

    const CodeMap& map_;
    Symbolizer& symbolizer_;
    const InterpreterFunctions interpreter_;

    mutable std::mutex mutex_;
    std::unordered_map<uint32_t, Roles> modules_;
};

// What the collector asks about every native frame of a sample, each address looked up once.
// Not thread-safe.
class NativeFrames {
public:
    struct Frame {
        uint64_t key;  // Location::key()
        Role role;
    };

    NativeFrames(CodeMap& map, Symbolizer& symbolizer, Classifier& classifier)
        : map_(map), symbolizer_(symbolizer), classifier_(classifier) {}

    // Before the addresses of a sample: makes sure that it is known what was loaded then.
    void begin_sample(int64_t time_ns);

    // `lookup`: the interrupted pc, or a return address minus one, at `time_ns`.
    Frame at(uintptr_t lookup, int64_t time_ns);

    size_t bytes() const { return known_.size() * (sizeof(uintptr_t) + sizeof(Frame) + 16); }

private:
    Frame look_up(uintptr_t lookup, int64_t time_ns);

    CodeMap& map_;
    Symbolizer& symbolizer_;
    Classifier& classifier_;
    int64_t since_ns_ = 0;  // what is known holds from here on
    std::unordered_map<uintptr_t, Frame> known_;
};

}  // namespace spprof::native
