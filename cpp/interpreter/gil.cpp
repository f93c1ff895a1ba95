// See gil.h.
#include "interpreter/gil.h"

#include "interpreter/python_internals.h"

#if defined(__GLIBC__)
#include <dlfcn.h>
#include <link.h>
#endif

namespace spprof::interpreter {

void find_runtime_memory() noexcept {
#if defined(__GLIBC__)
    void* runtime = dlsym(RTLD_DEFAULT, "_PyRuntime");
    Dl_info info;
    ElfW(Sym)* symbol = nullptr;
    if (runtime != nullptr &&
        dladdr1(runtime, &info, reinterpret_cast<void**>(&symbol), RTLD_DL_SYMENT) != 0 &&
        symbol != nullptr && info.dli_saddr == runtime) {
        runtime_memory.begin = reinterpret_cast<std::uintptr_t>(runtime);
        runtime_memory.end = runtime_memory.begin + symbol->st_size;
    }
#endif
}

}  // namespace spprof::interpreter
