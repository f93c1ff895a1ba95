// How threads are observed on macOS: frozen through their Mach ports, by the observer that all
// systems of this kind share. Between freeze() and thaw() nothing but system calls is made.
#include <mach/mach.h>

#include <atomic>

#include "platform/macos/thread_ports.h"
#include "platform/suspending_observer.h"

namespace spprof::platform {

namespace {

class MachFreezer final : public ThreadFreezer {
public:
    ThreadHandle open(Tid tid) noexcept override { return known_ports().retain(tid); }
    void close(ThreadHandle thread) noexcept override { ThreadPorts::release(port(thread)); }
    std::int64_t cpu_ns(ThreadHandle thread) noexcept override { return port_cpu_ns(port(thread)); }
    bool is_runnable(ThreadHandle thread) noexcept override {
        return port_is_running(port(thread));
    }

    bool freeze(ThreadHandle thread) noexcept override {
        return thread_suspend(port(thread)) == KERN_SUCCESS;
    }

    bool registers(ThreadHandle thread, MachineRegisters& registers) noexcept override {
#if defined(__aarch64__)
        arm_thread_state64_t state;
        mach_msg_type_number_t count = ARM_THREAD_STATE64_COUNT;
        if (thread_get_state(port(thread), ARM_THREAD_STATE64,
                             reinterpret_cast<thread_state_t>(&state), &count) != KERN_SUCCESS) {
            return false;
        }
        for (std::size_t number = 0; number < 29; ++number) {
            registers.value[number] = static_cast<std::uintptr_t>(state.__x[number]);
        }
        // Those that hold addresses may be signed.
        registers.value[29] = static_cast<std::uintptr_t>(arm_thread_state64_get_fp(state));
        registers.value[30] =
            stripped(static_cast<std::uintptr_t>(arm_thread_state64_get_lr(state)));
        registers.value[MachineRegisters::kStackPointer] =
            static_cast<std::uintptr_t>(arm_thread_state64_get_sp(state));
        registers.pc = stripped(static_cast<std::uintptr_t>(arm_thread_state64_get_pc(state)));
#else
        x86_thread_state64_t state;
        mach_msg_type_number_t count = x86_THREAD_STATE64_COUNT;
        if (thread_get_state(port(thread), x86_THREAD_STATE64,
                             reinterpret_cast<thread_state_t>(&state), &count) != KERN_SUCCESS) {
            return false;
        }
        // By DWARF's numbers.
        const std::uint64_t in_order[] = {state.__rax, state.__rdx, state.__rcx, state.__rbx,
                                          state.__rsi, state.__rdi, state.__rbp, state.__rsp,
                                          state.__r8,  state.__r9,  state.__r10, state.__r11,
                                          state.__r12, state.__r13, state.__r14, state.__r15};
        std::size_t number = 0;
        for (const std::uint64_t value : in_order) {
            registers.value[number++] = static_cast<std::uintptr_t>(value);
        }
        registers.pc = static_cast<std::uintptr_t>(state.__rip);
#endif
        return true;
    }

    void thaw(ThreadHandle thread) noexcept override { thread_resume(port(thread)); }

    // One that waits in the kernel goes on waiting there.
    bool spares_waits() const noexcept override { return true; }

private:
    static mach_port_t port(ThreadHandle thread) noexcept {
        return static_cast<mach_port_t>(thread);
    }
#if defined(__aarch64__)
    // Pointer authentication keeps its signature above the user's address space.
    static std::uintptr_t stripped(std::uintptr_t address) noexcept {
        return address & ((std::uintptr_t{1} << 47) - 1);
    }
#endif
};

std::atomic<bool> visits_do_nothing{false};

Visited do_nothing(void*, const Moment&) noexcept { return Visited::refused; }

}  // namespace

std::unique_ptr<Observer> make_observer(const Plan& plan, const Visitor& visitor) {
    Visitor wanted = visitor;
    if (visits_do_nothing.load(std::memory_order_relaxed)) {
        wanted.record = do_nothing;
    }
    return std::make_unique<SuspendingObserver>(plan, wanted, std::make_unique<MachFreezer>());
}

// For observers that are made from then on.
void set_visits_do_nothing(bool nothing) noexcept { visits_do_nothing = nothing; }

}  // namespace spprof::platform
