// Asks the interpreter who a code object is. Needs the interpreter's lock; runs no Python code.
#pragma once

#include <cstdint>
#include <string>

#include "interpreter/python_internals.h"

namespace spprof::interpreter {

struct CodeDescription {
    std::string name;  // qualified where the interpreter knows it (3.11+)
    std::string file;
    std::int32_t first_line = 0;
};

CodeDescription describe(PyCodeObject* code);

// Line of the instruction at `offset` bytes; the first line for a frame that has not started.
std::int32_t line_at(PyCodeObject* code, std::uint32_t offset);

}  // namespace spprof::interpreter
