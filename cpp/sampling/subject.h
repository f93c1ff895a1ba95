// One thread that is sampled, and what is kept of it, by who keeps it. Knows neither how it is
// observed nor what its frames mean.
#pragma once

#include <atomic>
#include <cstdint>
#include <string>
#include <vector>

#include "interpreter/python_thread.h"
#include "native/recent_steps.h"
#include "platform/observer.h"
#include "profile/recording.h"
#include "sampling/account.h"
#include "sampling/ring.h"

namespace spprof::sampling {

// Written by visits, of which there is one at a time.
struct Visits {
    Ring ring;
    native::RecentSteps* recent_steps = nullptr;  // behind the ring
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

// What the collector has written of it into the recording.
struct Written {
    std::uint32_t row = profile::kNone;  // none until the first sample

    struct SeenFrame {
        std::uint64_t value;  // code object or native location
        std::uint32_t offset;
        bool native;
        bool special = false;  // value: a SpecialFrame
        bool operator==(const SeenFrame& other) const noexcept {
            return value == other.value && offset == other.offset && native == other.native &&
                   special == other.special;
        }
    };
    std::vector<SeenFrame> seen;             // root first: the frames of the last sample...
    std::vector<std::uint32_t> seen_stacks;  // ...and the stacks they make
    std::uint64_t seen_epoch = 0;
    std::uint64_t seen_region = 0;              // of the last sample...
    std::uint32_t seen_label = profile::kNone;  // ...and its labels

    void forget_seen() noexcept {
        seen.clear();
        seen_stacks.clear();
    }
    // For a new thread; the memory stays.
    void begin() noexcept {
        row = profile::kNone;
        seen_region = 0;
        seen_label = profile::kNone;
        forget_seen();
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
    // --- the collector's, under the registry's mutex
    Account account;  // its time
    Written written;
};

}  // namespace spprof::sampling
