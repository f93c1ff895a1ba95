// One thread that is sampled, and what is kept of it, by who keeps it. Knows neither how it is
// observed nor what its frames mean.
#pragma once

#include <atomic>
#include <cstdint>
#include <string>
#include <vector>

#include "interpreter/python_thread.h"
#include "platform/observer.h"
#include "profile/recording.h"
#include "sampling/ring.h"

namespace spprof::sampling {

// Written by visits, of which there is one at a time.
struct Visits {
    Ring ring;
    std::uint32_t unkept_bytes = 0;  // of the record that was written last and nobody reads yet
    std::atomic<interpreter::ThreadState*> state{nullptr};  // where it was found last
    std::atomic<std::uintptr_t> ident{0};                   // Python's identifier; 0: not known
    std::atomic<bool> not_python{false};                    // the last visit found no thread state
    std::atomic<std::uint64_t> captured{0};                 // samples written to the ring
    std::atomic<std::uint64_t> dropped{0};                  // ring full

    void begin() noexcept {
        unkept_bytes = 0;
        state = nullptr;
        ident = 0;
        not_python = false;
        captured = 0;
        dropped = 0;
    }
};

// A thread's time at its last sample.
struct Times {
    std::int64_t time_ns = 0;  // the two clocks
    std::int64_t cpu_ns = 0;
    bool waiting = false;  // it was met waiting there
    bool outside = false;  // no Python was found there
    // Wall mode: time that has passed and belongs to the next stack that is met doing the same.
    std::int64_t owed_running_ns = 0;
    std::int64_t owed_waiting_ns = 0;
    std::int64_t kept_waiting_ns = 0;  // kept from the processors where it runs; not a sample yet
    std::int64_t uncounted_waiting_ns = 0;  // waiting that has not made up a whole sample yet
    std::int64_t ran_ns = 0;                // CPU time that its stacks have...
    std::int64_t met_running = 0;           // ...from so many samples
};

// What the collector knows of a thread's time: guarded by the registry's mutex.
struct Account : Times {
    std::uint32_t row = profile::kNone;  // in the recording; none until the first sample
    std::int64_t final_time_ns = -1;     // when the thread ended...
    std::int64_t final_cpu_ns = -1;      // ...and its CPU clock then; -1: nobody told

    struct SeenFrame {
        std::uint64_t value;  // code object or native location
        std::uint32_t offset;
        bool native;
        bool operator==(const SeenFrame& other) const noexcept {
            return value == other.value && offset == other.offset && native == other.native;
        }
    };
    std::vector<SeenFrame> seen;             // root first: the frames of the last sample...
    std::vector<std::uint32_t> seen_stacks;  // ...and the stacks they make
    std::uint64_t seen_epoch = 0;

    void forget_seen() noexcept {
        seen.clear();
        seen_stacks.clear();
    }

    // Nothing up to now counts: measuring starts here.
    void rebase(std::int64_t now_ns, std::int64_t cpu) noexcept {
        time_ns = now_ns;
        cpu_ns = cpu > cpu_ns ? cpu : cpu_ns;
        waiting = false;
        owed_running_ns = 0;
        owed_waiting_ns = 0;
        kept_waiting_ns = 0;
    }
};

enum class Following : std::uint8_t {
    followed,
    muted,    // unregister_thread() was called for it
    dormant,  // no Python was found there: it is asked again later
};

struct Subject {
    // --- the registry's, under its mutex
    platform::Tid tid = 0;
    std::size_t place = 0;  // among the live ones
    std::string name;
    Following following = Following::followed;
    platform::Watch* watch = nullptr;  // while it is followed
    platform::VisitFigures figures;    // of the watches it had before
    bool has_begun = false;            // its beginning was before the session, or was reported
    bool registered = false;           // by the program: never dormant
    std::int64_t probe_at = 0;
    std::int64_t probe_wait = 0;

    Visits visits;
    Account account;
};

}  // namespace spprof::sampling
