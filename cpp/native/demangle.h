// Owns the way from a linker's name to the one its author wrote: C++ and Rust. Knows no file.
#pragma once

#include <string>
#include <string_view>

namespace spprof::native {

// Without what a compiler or linker appended for a part, a clone or a version of the function:
// "f.part.0.cold" and "f@@GLIBC_2.2" are "f".
std::string_view strip_suffixes(std::string_view name);

// The readable name; the name itself when it is not mangled or cannot be read.
std::string demangle(std::string_view name);

}  // namespace spprof::native
