// Freezes threads of this process on Linux, so that the observer for systems that can freeze a
// thread from outside is tested here, too: the thread parks itself in a signal handler.
#pragma once

#include <linux/futex.h>
#include <signal.h>
#include <sys/syscall.h>
#include <ucontext.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <cstring>

#include "platform/clocks.h"
#include "platform/linux/interrupted_call.h"
#include "platform/linux/machine_context.h"
#include "platform/linux/time_spec.h"
#include "platform/suspending_observer.h"

namespace spprof::testing {

class ParkingFreezer final : public platform::ThreadFreezer {
public:
    ParkingFreezer() {
        struct sigaction action;
        std::memset(&action, 0, sizeof action);
        action.sa_sigaction = park;
        action.sa_flags = SA_SIGINFO | SA_RESTART | SA_ONSTACK;
        sigfillset(&action.sa_mask);
        sigaction(SIGRTMIN + 3, &action, nullptr);
    }

    bool freeze(platform::ThreadHandle thread) noexcept override {
        const auto tid = static_cast<platform::Tid>(thread);
        Place& place = shared();
        const std::uint32_t ticket = ++place.last_ticket;
        place.state.store(pair(ticket, kWanted), std::memory_order_seq_cst);
        siginfo_t info;
        std::memset(&info, 0, sizeof info);
        info.si_signo = SIGRTMIN + 3;
        info.si_code = SI_QUEUE;
        info.si_pid = getpid();
        info.si_value.sival_int = static_cast<int>(ticket);
        if (syscall(SYS_rt_tgsigqueueinfo, info.si_pid, tid, SIGRTMIN + 3, &info) != 0) {
            return false;
        }
        // One that does not come in time (it has the signal blocked, or has ended) finds that
        // nobody wants it any more.
        constexpr std::int64_t kPatience = 200'000'000;
        const std::int64_t deadline = platform::monotonic_ns() + kPatience;
        while (place.state.load(std::memory_order_acquire) == pair(ticket, kWanted)) {
            wait(place.state_word(), kWanted, deadline);
            if (platform::monotonic_ns() >= deadline || platform::thread_cpu_ns(tid) < 0) {
                std::uint64_t wanted = pair(ticket, kWanted);
                if (place.state.compare_exchange_strong(wanted, pair(ticket, kGone))) {
                    return false;
                }
            }
        }
        return true;
    }

    bool registers(platform::ThreadHandle,
                   platform::MachineRegisters& registers) noexcept override {
        registers = shared().registers;
        return true;
    }

    void thaw(platform::ThreadHandle) noexcept override {
        Place& place = shared();
        place.state.store(pair(place.last_ticket, kGone), std::memory_order_release);
        syscall(SYS_futex, place.state_word(), FUTEX_WAKE_PRIVATE, 2, nullptr, nullptr, 0);
    }

    bool spares_waits() const noexcept override { return false; }

private:
    enum Phase : std::uint32_t { kGone, kWanted, kParked };

    static constexpr std::uint64_t pair(std::uint32_t ticket, Phase phase) noexcept {
        return static_cast<std::uint64_t>(ticket) << 32 | phase;
    }

    struct Place {
        std::atomic<std::uint64_t> state{0};
        std::uint32_t last_ticket = 0;
        platform::MachineRegisters registers;
        platform::CallFigures calls;
        // The half that has the phase.
        std::uint32_t* state_word() noexcept { return reinterpret_cast<std::uint32_t*>(&state); }
    };
    static Place& shared() noexcept {
        static Place place;
        return place;
    }

    static void wait(std::uint32_t* word, std::uint32_t value, std::int64_t deadline_ns) noexcept {
        const timespec left = platform::to_timespec(
            std::max<std::int64_t>(0, deadline_ns - platform::monotonic_ns()));
        constexpr std::int64_t kAtMost = 5'000'000;
        const timespec some = platform::to_timespec(kAtMost);
        syscall(SYS_futex, word, FUTEX_WAIT_PRIVATE, value,
                left.tv_sec > 0 || left.tv_nsec > kAtMost ? &some : &left, nullptr, 0);
    }

    static void park(int, siginfo_t* info, void* raw_context) {
        const int saved_errno = errno;
        Place& place = shared();
        auto& context = *static_cast<ucontext_t*>(raw_context);
        const auto ticket = static_cast<std::uint32_t>(info->si_value.sival_int);
        std::uint64_t wanted = pair(ticket, kWanted);
        if (place.state.load(std::memory_order_acquire) == wanted) {
            platform::MachineRegisters registers;
            platform::fill(registers, context);
            place.registers = registers;
            if (place.state.compare_exchange_strong(wanted, pair(ticket, kParked))) {
                syscall(SYS_futex, place.state_word(), FUTEX_WAKE_PRIVATE, 1, nullptr, nullptr, 0);
                while (place.state.load(std::memory_order_acquire) == pair(ticket, kParked)) {
                    wait(place.state_word(), kParked, platform::monotonic_ns() + 5'000'000);
                }
            }
        }
        errno = saved_errno;
        platform::continue_interrupted_call(context, place.calls);
        errno = saved_errno;
    }
};

}  // namespace spprof::testing
