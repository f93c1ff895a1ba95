// Owns the capture of the calling thread's native stack outside of any signal.
#include "native/capture.h"

#include <cstring>

#if defined(_MSC_VER)
#include "platform/windows/system.h"
#elif defined(__GNUC__)
#include <pthread.h>
#endif

#include "native/process_memory.h"
#include "native/unwind.h"

namespace spprof::native {
namespace {

// The calling thread's own stack, from here to its outer end, is read as it is. Outside of it a
// number may lead anywhere.
class OwnStack {
public:
    explicit OwnStack(uintptr_t stack_pointer) : low_(stack_pointer) {
#if defined(__linux__)
        pthread_attr_t attributes;
        if (pthread_getattr_np(pthread_self(), &attributes) == 0) {
            void* address = nullptr;
            size_t size = 0;
            if (pthread_attr_getstack(&attributes, &address, &size) == 0) {
                high_ = reinterpret_cast<uintptr_t>(address) + size;
            }
            pthread_attr_destroy(&attributes);
        }
#elif defined(__APPLE__)
        high_ = reinterpret_cast<uintptr_t>(pthread_get_stackaddr_np(pthread_self()));
#endif
    }

    bool load(uintptr_t address, uintptr_t& value) const noexcept {
        if (address < low_ || address > high_ - sizeof(value) || high_ < sizeof(value)) {
            return others_.load(address, value);
        }
        std::memcpy(&value, reinterpret_cast<const void*>(address), sizeof(value));
        return true;
    }

private:
    uintptr_t low_;
    uintptr_t high_ = 0;
    ProcessMemory others_;
};

#if defined(__GNUC__) && (defined(__x86_64__) || defined(__aarch64__))
[[gnu::always_inline]] inline Registers registers_here() {
    Registers r;
#if defined(__x86_64__)
    asm volatile(
        "leaq 0f(%%rip), %%rax\n"
        "0: movq %%rax, %[pc]\n"
        : [pc] "=m"(r.pc)
        :
        : "rax");
    asm volatile("movq %%rbx, %0" : "=m"(r.value[3]));
    asm volatile("movq %%rbp, %0" : "=m"(r.value[6]));
    asm volatile("movq %%rsp, %0" : "=m"(r.value[7]));
    asm volatile("movq %%r12, %0" : "=m"(r.value[12]));
    asm volatile("movq %%r13, %0" : "=m"(r.value[13]));
    asm volatile("movq %%r14, %0" : "=m"(r.value[14]));
    asm volatile("movq %%r15, %0" : "=m"(r.value[15]));
#else
    asm volatile(
        "stp x19, x20, [%0, #152]\n"
        "stp x21, x22, [%0, #168]\n"
        "stp x23, x24, [%0, #184]\n"
        "stp x25, x26, [%0, #200]\n"
        "stp x27, x28, [%0, #216]\n"
        "stp x29, x30, [%0, #232]\n"
        "mov x9, sp\n"
        "str x9, [%0, #248]\n"
        "adr x9, .\n"
        "str x9, [%1]\n"
        :
        : "r"(r.value), "r"(&r.pc)
        : "x9", "memory");
#endif
    return r;
}
#elif defined(_MSC_VER) && defined(_M_X64)
__forceinline Registers registers_here() {
    CONTEXT context;
    RtlCaptureContext(&context);
    Registers r;
    r.pc = context.Rip;
    r.value[3] = context.Rbx;
    r.value[6] = context.Rbp;
    r.value[7] = context.Rsp;
    r.value[12] = context.R12;
    r.value[13] = context.R13;
    r.value[14] = context.R14;
    r.value[15] = context.R15;
    return r;
}
#endif

}  // namespace

std::vector<uintptr_t> capture_here(CodeMap& map) {
    constexpr size_t kMostFrames = 256;
    std::vector<uintptr_t> addresses(kMostFrames + 1);
#if (defined(__GNUC__) && (defined(__x86_64__) || defined(__aarch64__))) || defined(_M_X64)
    map.refresh();
    const CodeMap::Use use(map);
    UnwindContext context(use);
    End end = End::complete;
    const Registers registers = registers_here();
    addresses.resize(unwind(context, registers, OwnStack(registers.sp()), addresses.data(),
                            addresses.size(), &end));
    addresses.erase(addresses.begin());  // this function
#else
    (void)map;
    addresses.clear();
#endif
    return addresses;
}

}  // namespace spprof::native
