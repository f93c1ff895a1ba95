// How threads are observed on Windows: suspended through their handles, by the observer that all
// systems of this kind share. Between freeze() and thaw() nothing but system calls is made.
#include <atomic>

#include "platform/suspending_observer.h"
#include "platform/windows/system.h"

namespace spprof::platform {

namespace {

class HandleFreezer final : public ThreadFreezer {
public:
    ThreadHandle open(Tid tid) noexcept override {
        constexpr DWORD kWanted =
            THREAD_SUSPEND_RESUME | THREAD_GET_CONTEXT | THREAD_QUERY_INFORMATION | SYNCHRONIZE;
        const HANDLE thread = OpenThread(kWanted, FALSE, static_cast<DWORD>(tid));
        if (thread != nullptr && GetProcessIdOfThread(thread) != GetCurrentProcessId()) {
            CloseHandle(thread);
            return 0;
        }
        return reinterpret_cast<ThreadHandle>(thread);
    }
    void close(ThreadHandle thread) noexcept override { CloseHandle(handle(thread)); }

    std::int64_t cpu_ns(ThreadHandle thread) noexcept override {
        // An ended one is there as long as its handle is.
        return WaitForSingleObject(handle(thread), 0) == WAIT_TIMEOUT
                   ? handle_cpu_ns(handle(thread))
                   : -1;
    }

    bool freeze(ThreadHandle thread) noexcept override {
        constexpr auto kRefused = static_cast<DWORD>(-1);
        if (SuspendThread(handle(thread)) == kRefused) {
            return false;
        }
        // It has been told to stop; it has stopped when its registers can be had.
        context_.ContextFlags = CONTEXT_CONTROL | CONTEXT_INTEGER;
        if (GetThreadContext(handle(thread), &context_) == 0) {
            ResumeThread(handle(thread));
            return false;
        }
        return true;
    }

    bool registers(ThreadHandle, MachineRegisters& registers) noexcept override {
        // By DWARF's numbers.
        const DWORD64 in_order[] = {context_.Rax, context_.Rdx, context_.Rcx, context_.Rbx,
                                    context_.Rsi, context_.Rdi, context_.Rbp, context_.Rsp,
                                    context_.R8,  context_.R9,  context_.R10, context_.R11,
                                    context_.R12, context_.R13, context_.R14, context_.R15};
        std::size_t number = 0;
        for (const DWORD64 value : in_order) {
            registers.value[number++] = static_cast<std::uintptr_t>(value);
        }
        registers.pc = static_cast<std::uintptr_t>(context_.Rip);
        return true;
    }

    void thaw(ThreadHandle thread) noexcept override { ResumeThread(handle(thread)); }

    // One that waits in the kernel goes on waiting there.
    bool spares_waits() const noexcept override { return true; }

private:
    static HANDLE handle(ThreadHandle thread) noexcept { return reinterpret_cast<HANDLE>(thread); }

    CONTEXT context_ = {};  // of the one that is frozen
};

std::atomic<bool> visits_do_nothing{false};

Visited do_nothing(void*, const Moment&) noexcept { return Visited::refused; }

}  // namespace

std::unique_ptr<Observer> make_observer(const Plan& plan, const Visitor& visitor) {
    Visitor wanted = visitor;
    if (visits_do_nothing.load(std::memory_order_relaxed)) {
        wanted.record = do_nothing;
    }
    return std::make_unique<SuspendingObserver>(plan, wanted, std::make_unique<HandleFreezer>());
}

// For observers that are made from then on.
void set_visits_do_nothing(bool nothing) noexcept { visits_do_nothing = nothing; }

}  // namespace spprof::platform
