// Owns what the names of C functions mean to a merged stack: which one is CPython's eval loop,
// which are its call machinery and which are start-up code. Plain data; needs no interpreter to be
// there.
#pragma once

#include <cstdint>
#include <string_view>

namespace spprof::interpreter {

enum class FunctionKind : std::uint8_t {
    ordinary,   // worth being shown
    eval_loop,  // each C call of it runs Python frames
    machinery,  // how one call leads to the next
    jit_entry,  // how the eval loop enters code that its JIT made
    outermost,  // start-up code of a program, unless something ordinary called it
    new_stack,  // the first function of a coroutine's own stack
};

// Of CPython, by its name in the symbol table without what compilers append.
FunctionKind kind_of_function(std::string_view name) noexcept;

// Of CPython, by the name its own tables give it: "generator.send".
FunctionKind kind_of_method(std::string_view name) noexcept;

// Of another module whose functions matter: the program around a shared interpreter, extensions
// that switch stacks; "" is code that was generated. A function "" is what has no name. False where
// nothing is known of such a file.
bool kind_in_file(std::string_view file, std::string_view function, FunctionKind& kind) noexcept;

}  // namespace spprof::interpreter
