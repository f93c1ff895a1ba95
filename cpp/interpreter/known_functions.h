// Owns the names of C functions as the interpreter's own tables tell them: builtins, methods and
// slots of types. A stripped interpreter has no other names for them. Without Python.h.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

namespace spprof::interpreter {

struct KnownFunction {
    std::uintptr_t address;
    std::string name;
};

// Every builtin function and method that can be reached from the loaded modules and the types:
// "sorted", "math.sqrt", "list.sort", "int.__add__". An address may come more than once; the first
// name is the best one. Needs the interpreter's lock. Takes no lock of ours, and must be called
// before any is taken: it allocates Python objects and gives references back, so finalizers and the
// garbage collector may run in the middle of it, and whatever Python code they call. Leaves no
// exception behind, and one that is on its way untouched.
std::vector<KnownFunction> known_functions();

// How many modules are loaded: what there is to know grows with them. Needs the interpreter's lock.
std::size_t module_count();

// Some function of the interpreter's: whatever module it is in, the eval loop is in it, too.
std::uintptr_t an_interpreter_function() noexcept;

}  // namespace spprof::interpreter
