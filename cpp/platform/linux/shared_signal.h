// One signal of the process that we share with whoever had it before us and whoever takes it
// while we have it. Knows nothing of what the signals are for. Reached from signal handlers.
#pragma once

#include <signal.h>

#include <atomic>
#include <cstdint>

namespace spprof::platform {

class SharedSignal {
public:
    using Entry = void (*)(int, siginfo_t*, void*);

    // `place`: a number of its own among those that are shared, below kPlaces.
    constexpr SharedSignal(int signal, int place, Entry entry, bool nests) noexcept
        : signal_(signal), place_(place), nests_(nests), entry_(entry) {}
    static constexpr int kPlaces = 3;

    // Puts ours on top. Throws std::system_error.
    void install();
    // Somebody installed a handler over ours: go on top again, and remember them as the one to
    // pass signals to. They may in turn pass on to us; see forward(). True when that was needed.
    bool reinstall_if_taken() noexcept;
    bool on_top() const noexcept;
    void restore() noexcept;
    // Discards what is pending on every thread: POSIX has that happen when a signal gets ignored.
    void flush_pending() noexcept;

    // Hands a signal that is not ours to the owners below us, newest first, until one of them has
    // taken it. False when none did: the caller does what the default action would. No noexcept
    // and no destructors on the way: an owner may leave by siglongjmp or pthread_exit.
    //
    // An owner may raise the signal again, fault itself, or call us (we are what it found when it
    // was installed): then it is the turn of the one below. One that somebody else sends meanwhile
    // is the owner's, too.
    //
    // `taken(owner_returned)` decides what it means that an owner returned.
    template <class Taken>
    bool pass_on(siginfo_t* info, void* context, Taken taken) {
        volatile std::uintptr_t mark = kAlive;
        const Passing outer = passing();
        int depth = is_nested(outer, &mark, *info, context) ? outer.depth + 1 : 0;
        bool done = false;
        while (!done) {
            set_passing({reinterpret_cast<std::uintptr_t>(&mark), context, depth});
            const int taken_by = forward(info, context, depth);
            set_passing(outer);
            if (taken_by < 0) {
                break;
            }
            done = taken();
            depth = taken_by + 1;
        }
        mark = 0;
        return done;
    }
    // As if we had never been there; returns for signals that are delivered a moment later.
    void default_action(const siginfo_t* info) noexcept;

private:
    static constexpr int kMaxOwners = 8;

    // A signal that this thread is passing on right now. The owner may never come back: so what is
    // kept here only counts while the frame that wrote it is alive, which has this mark.
    struct Passing {
        std::uintptr_t frame = 0;       // address of the mark
        const void* context = nullptr;  // of the signal
        int depth = 0;                  // owners that have had it
    };
    static constexpr std::uintptr_t kAlive = 0x7370'7072'6f66'2d6d;

    Passing passing() const noexcept;
    void set_passing(Passing now) const noexcept;
    static bool is_nested(Passing outer, const volatile std::uintptr_t* mark, const siginfo_t& info,
                          const void* context) noexcept;
    // The depth of the one that took it, -1 when there is none left.
    int forward(siginfo_t* info, void* context, int depth);

    // Readers are handlers, which must not see half of an owner: a slot is written before its
    // number is published, and one in use is only replaced by way of its version.
    struct Owner {
        std::atomic<std::uint32_t> version{0};  // odd: being written
        struct sigaction action = {};
    };

    void push(const struct sigaction& owner) noexcept;
    bool read(int slot, struct sigaction& owner) const noexcept;
    struct sigaction action() const noexcept;
    bool is_entry(const struct sigaction& action) const noexcept {
        return (action.sa_flags & SA_SIGINFO) != 0 && action.sa_sigaction == entry_;
    }

    int signal_;
    int place_;
    bool nests_;  // may arrive while its own handler runs
    Entry entry_;
    Owner owners_[kMaxOwners];
    std::atomic<int> count_{0};
};

}  // namespace spprof::platform
