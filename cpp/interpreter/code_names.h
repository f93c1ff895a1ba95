// Asks the interpreter who a code object is. Needs the interpreter's lock (or the object to be kept
// alive otherwise); runs no Python code, allocates nothing of Python's, leaves no exception: it may
// be called while a lock of ours is held. Code objects are addresses here, without Python.h.
#pragma once

#include <cstdint>
#include <string>

namespace spprof::interpreter {

struct CodeDescription {
    std::string name;  // qualified where the interpreter knows it (3.11+)
    std::string file;
    std::int32_t first_line = 0;
};

CodeDescription describe(std::uintptr_t code);

// Line of the instruction at `offset` bytes; the first line for a frame that has not started.
std::int32_t line_at(std::uintptr_t code, std::uint32_t offset);

}  // namespace spprof::interpreter
