// See shared_signal.h. Partly reached from signal handlers.
#include "platform/linux/shared_signal.h"

#include <errno.h>
#include <unistd.h>

#include <cstring>
#include <system_error>

#include "platform/linux/machine_context.h"
#include "platform/safe_memory.h"

namespace spprof::platform {

namespace {

bool is_function(const struct sigaction& action) noexcept {
    return (action.sa_flags & SA_SIGINFO) != 0 ||
           (action.sa_handler != SIG_DFL && action.sa_handler != SIG_IGN);
}

std::uintptr_t address_of(const struct sigaction& action) noexcept {
    return (action.sa_flags & SA_SIGINFO) != 0
               ? reinterpret_cast<std::uintptr_t>(action.sa_sigaction)
               : reinterpret_cast<std::uintptr_t>(action.sa_handler);
}

// The library that an owner lived in may have been unloaded since.
bool is_mapped(const struct sigaction& action) noexcept {
    std::uintptr_t word;
    return SafeMemory().load(address_of(action) & ~(sizeof word - 1), word);
}

}  // namespace

struct sigaction SharedSignal::action() const noexcept {
    struct sigaction ours;
    std::memset(&ours, 0, sizeof ours);
    ours.sa_sigaction = entry_;
    // ONSTACK: threads with tiny stacks that brought their own signal stack stay alive.
    ours.sa_flags = SA_SIGINFO | SA_RESTART | SA_ONSTACK | (nests_ ? SA_NODEFER : 0);
    sigemptyset(&ours.sa_mask);
    if (!nests_) {
        // Another handler that ran in the middle of ours might never come back to it
        // (siglongjmp). Faults that our loads may raise are let through, and a debugger's stops.
        sigfillset(&ours.sa_mask);
        for (const int fault : {SIGSEGV, SIGBUS, SIGTRAP}) {
            sigdelset(&ours.sa_mask, fault);
        }
    }
    return ours;
}

void SharedSignal::install() {
    struct sigaction previous;
    struct sigaction ours = action();
    if (sigaction(signal_, nullptr, &previous) != 0) {
        throw std::system_error(errno, std::generic_category(), "spprof: sigaction");
    }
    if (!is_entry(previous)) {
        push(previous);
    }
    if (sigaction(signal_, &ours, nullptr) != 0) {
        throw std::system_error(errno, std::generic_category(), "spprof: sigaction");
    }
}

bool SharedSignal::reinstall_if_taken() noexcept {
    struct sigaction current;
    if (sigaction(signal_, nullptr, &current) != 0 || is_entry(current)) {
        return false;
    }
    push(current);
    struct sigaction ours = action();
    return sigaction(signal_, &ours, nullptr) == 0;
}

bool SharedSignal::on_top() const noexcept {
    struct sigaction current;
    return sigaction(signal_, nullptr, &current) == 0 && is_entry(current);
}

void SharedSignal::restore() noexcept {
    struct sigaction current;
    const int count = count_.load(std::memory_order_relaxed);
    if (count > 0 && sigaction(signal_, nullptr, &current) == 0 && is_entry(current)) {
        sigaction(signal_, &owners_[count - 1].action, nullptr);
        // What comes to us from now on was passed on by that owner: it goes to those below.
        count_.store(count - 1, std::memory_order_release);
    }
}

void SharedSignal::flush_pending() noexcept {
    struct sigaction ignore;
    std::memset(&ignore, 0, sizeof ignore);
    ignore.sa_handler = SIG_IGN;
    struct sigaction current;
    if (sigaction(signal_, nullptr, &current) == 0 && is_entry(current)) {
        sigaction(signal_, &ignore, nullptr);
        sigaction(signal_, &current, nullptr);
    }
}

void SharedSignal::push(const struct sigaction& owner) noexcept {
    const int count = count_.load(std::memory_order_relaxed);
    const int slot = count < kMaxOwners ? count : kMaxOwners - 1;
    const std::uint32_t version = owners_[slot].version.load(std::memory_order_relaxed);
    owners_[slot].version.store(version + 1, std::memory_order_release);
    std::atomic_thread_fence(std::memory_order_release);
    owners_[slot].action = owner;
    owners_[slot].version.store(version + 2, std::memory_order_release);
    count_.store(slot + 1, std::memory_order_release);
}

bool SharedSignal::read(int slot, struct sigaction& owner) const noexcept {
    const std::uint32_t before = owners_[slot].version.load(std::memory_order_acquire);
    owner = owners_[slot].action;
    std::atomic_thread_fence(std::memory_order_acquire);
    return (before & 1) == 0 && owners_[slot].version.load(std::memory_order_relaxed) == before;
}

namespace {

struct ThreadsPassing {
    std::uintptr_t frame;
    const void* context;
    int depth;
};
__attribute__((tls_model(
    "initial-exec"))) thread_local ThreadsPassing threads_passing[SharedSignal::kPlaces] = {};

// Whether what was interrupted is the return of a system call without error: of raise().
bool has_just_called(const ucontext_t& context) noexcept {
    return result_register(context) == 0 &&
           is_system_call(program_counter(context) - sizeof(CallInstruction));
}

constexpr std::uintptr_t kNested = std::uintptr_t{64} * 1024;  // frames of handlers within handlers

}  // namespace

SharedSignal::Passing SharedSignal::passing() const noexcept {
    const ThreadsPassing& known = threads_passing[place_];
    return {known.frame, known.context, known.depth};
}

void SharedSignal::set_passing(Passing now) const noexcept {
    threads_passing[place_] = {now.frame, now.context, now.depth};
}

bool SharedSignal::is_nested(Passing outer, const volatile std::uintptr_t* mark,
                             const siginfo_t& info, const void* raw_context) noexcept {
    std::uintptr_t found = 0;
    const auto here = reinterpret_cast<std::uintptr_t>(mark);
    const std::uintptr_t below = outer.frame - here;
    if (outer.frame == 0 || below == 0 || below >= kNested ||
        !SafeMemory().load(outer.frame, found) || found != kAlive) {
        return false;
    }
    if (raw_context == outer.context) {
        return true;  // handed on by the owner
    }
    // The mark may be there still where the owner has jumped away from it: what is interrupted now
    // was called from there, or it was not.
    const auto& context = *static_cast<const ucontext_t*>(raw_context);
    if (stack_pointer(context) - here >= below) {
        return false;
    }
    const bool sent = info.si_code <= 0;
    return !sent || (info.si_pid == getpid() && has_just_called(context));
}

int SharedSignal::forward(siginfo_t* info, void* context, int depth) {
    struct sigaction owner;
    const int count = count_.load(std::memory_order_acquire);
    for (; depth < count; ++depth) {
        if (!read(count - 1 - depth, owner)) {
            continue;
        }
        if (is_function(owner)) {
            if (!is_mapped(owner)) {
                continue;
            }
            if ((owner.sa_flags & SA_SIGINFO) != 0) {
                owner.sa_sigaction(signal_, info, context);
            } else {
                owner.sa_handler(signal_);
            }
            return depth;
        }
        // One that asked for nothing to happen; what the kernel itself raises cannot be ignored.
        return owner.sa_handler == SIG_IGN && info->si_code <= 0 ? depth : -1;
    }
    return -1;
}

void SharedSignal::default_action(const siginfo_t* info) noexcept {
    struct sigaction fallback;
    std::memset(&fallback, 0, sizeof fallback);
    fallback.sa_handler = SIG_DFL;
    sigaction(signal_, &fallback, nullptr);
    if (info->si_code <= 0 || !nests_) {
        raise(signal_);  // delivered when this handler returns and the mask is lifted
    }
    // A real fault happens again when the instruction is run again.
}

}  // namespace spprof::platform
