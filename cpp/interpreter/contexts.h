// Reached from a visit of a thread. Reads what a context variable is set to in the context that a
// thread state is in: through the `Memory` that is given (frame_view.h), since the visit may come
// between any two stores. A context's variables are a hash trie that is never changed once made, so
// there is an old one or a new one, never half of one. Knows nothing of what the value means.
#pragma once

#include <cstddef>
#include <cstdint>

#include "interpreter/frame_view.h"
#include "interpreter/python_internals.h"

namespace spprof::interpreter {

// What of the trie's nodes no header tells on every version. The same since contexts exist;
// regions.cpp compares with the interpreter's own answers before it believes them.
struct TrieBitmapNode {
    PyObject_VAR_HEAD std::uint32_t bitmap;  // which of 32 children are there
    std::uintptr_t array[1];  // key and value of each; without a key the value is a node
};
struct TrieArrayNode {
    PyObject_HEAD std::uintptr_t children[32];
};

// How to find one variable.
struct ContextVariable {
    std::uintptr_t variable = 0;
    std::uintptr_t bitmap_type = 0, array_type = 0;  // of the trie's nodes
    std::uint32_t hash = 0;                          // as the trie folds it
};

// As the trie folds the hash of a key.
constexpr std::uint32_t folded_hash(std::int64_t hash) noexcept {
    const auto bits = static_cast<std::uint64_t>(hash);
    const auto folded = static_cast<std::uint32_t>(bits) ^ static_cast<std::uint32_t>(bits >> 32);
    return folded == 0xFFFFFFFFu ? 0xFFFFFFFEu : folded;
}

namespace detail {

// Without a call: the compiler's own function lies in a library.
constexpr unsigned bits_set(std::uint32_t bits) noexcept {
    bits -= (bits >> 1) & 0x55555555u;
    bits = (bits & 0x33333333u) + ((bits >> 2) & 0x33333333u);
    return (((bits + (bits >> 4)) & 0x0F0F0F0Fu) * 0x01010101u) >> 24;
}

}  // namespace detail

// The value; 0 where it is not set, or cannot be read. Of variables whose hashes agree in all 32
// bits none is found.
template <class Memory>
std::uintptr_t value_in_context(const Memory& memory, std::uintptr_t context,
                                const ContextVariable& wanted) noexcept {
    std::uintptr_t type = 0, vars = 0, node = 0;
    if (context == 0 || !memory.load(context + offsetof(PyObject, ob_type), type) ||
        type != reinterpret_cast<std::uintptr_t>(&PyContext_Type) ||
        !memory.load(context + offsetof(struct _pycontextobject, ctx_vars), vars) || vars == 0 ||
        !memory.load(vars + offsetof(PyHamtObject, h_root), node)) {
        return 0;
    }
    for (unsigned shift = 0; shift < 35 && node != 0; shift += 5) {
        const std::uint32_t place = (wanted.hash >> (shift < 32 ? shift : 31)) & 31u;
        if (!memory.load(node + offsetof(PyObject, ob_type), type)) {
            return 0;
        }
        if (type == wanted.array_type) {
            const std::uintptr_t child =
                node + offsetof(TrieArrayNode, children) + place * sizeof(std::uintptr_t);
            if (!memory.load(child, node)) {
                return 0;
            }
            continue;
        }
        std::uint32_t bitmap = 0;
        if (type != wanted.bitmap_type ||
            !load_field(memory, node + offsetof(TrieBitmapNode, bitmap), bitmap) ||
            (bitmap & (1u << place)) == 0) {
            return 0;
        }
        const std::uintptr_t pair =
            node + offsetof(TrieBitmapNode, array) +
            2 * sizeof(std::uintptr_t) * detail::bits_set(bitmap & ((1u << place) - 1));
        std::uintptr_t key = 0, value = 0;
        if (!memory.load(pair, key) || !memory.load(pair + sizeof(std::uintptr_t), value)) {
            return 0;
        }
        if (key != 0) {
            return key == wanted.variable ? value : 0;
        }
        node = value;
    }
    return 0;
}

// Of the context that the thread state is in.
template <class Memory>
std::uintptr_t value_of_thread(const Memory& memory, std::uintptr_t thread,
                               const ContextVariable& wanted) noexcept {
    std::uintptr_t context = 0;
    return memory.load(thread + offsetof(PyThreadState, context), context)
               ? value_in_context(memory, context, wanted)
               : 0;
}

}  // namespace spprof::interpreter
