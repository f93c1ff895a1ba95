// Owns the names of C functions as the interpreter's own tables tell them: builtins, methods and
// slots of types. A stripped interpreter has no other names for them. Needs the interpreter's lock.
#pragma once

#include <cstdint>
#include <functional>
#include <string>

namespace spprof::interpreter {

// Calls visit(address, name) for every builtin function and method that can be reached from the
// loaded modules and the types: "sorted", "math.sqrt", "list.sort", "int.__add__". An address may
// come more than once; the first name is the best one. Leaves no exception behind.
void each_known_function(const std::function<void(std::uintptr_t, const std::string&)>& visit);

}  // namespace spprof::interpreter
