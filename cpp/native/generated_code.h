// Owns the code that was generated while the program runs, as its makers tell debuggers of it: the
// JIT interface of GDB, which LLVM serves. Each of their objects is a module. Never used by the
// handler.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <vector>

#include "native/module.h"

namespace spprof::native {

class GeneratedCode {
public:
    // The descriptor of a maker of code in this process: the data of this name and size.
    static constexpr const char* kDescriptorName = "__jit_debug_descriptor";
    static constexpr uint64_t kDescriptorSize = 24;
    void add_maker(uintptr_t descriptor) { makers_.push_back({descriptor, {}}); }

    // Reads again what they tell, where it changed. Objects come into `modules` without an id.
    void refresh();

    struct Object {
        uintptr_t image = 0;  // where the file is that describes it
        uint64_t size = 0;
        std::shared_ptr<Module> module;  // null when it has no code
    };
    // By where their makers keep them.
    const std::map<uintptr_t, Object>& objects() const { return objects_; }

    // How many came and went.
    ModuleGeneration generation() const { return generation_; }

private:
    // What the interface keeps for each maker, as it lies in memory.
    struct Descriptor {
        uint32_t version;
        uint32_t action;
        uintptr_t relevant;
        uintptr_t first;
    };
    static_assert(sizeof(Descriptor) == kDescriptorSize);
    struct Maker {
        uintptr_t address;
        Descriptor last;
    };

    std::vector<Maker> makers_;
    std::map<uintptr_t, Object> objects_;
    ModuleGeneration generation_;
};

}  // namespace spprof::native
