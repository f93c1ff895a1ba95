// Native stacks are not to be had on macOS yet (sampling/native_stacks.h says so to whoever asks),
// so of no loaded module anything is known.
#include "native/module.h"

namespace spprof::native {

std::vector<std::unique_ptr<Module>> loaded_modules(ModuleGeneration& generation) {
    generation = {};
    return {};
}

ModuleGeneration module_generation() { return {}; }

}  // namespace spprof::native
