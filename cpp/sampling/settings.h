// What a session is asked for.
#pragma once

#include <cstddef>
#include <cstdint>

#include "platform/observer.h"

namespace spprof::sampling {

using platform::Mode;

struct Settings {
    std::int64_t interval_ns = 10'000'000;
    Mode mode = Mode::cpu;
    std::size_t memory_limit_bytes = 100u << 20;
    bool native = false;
    bool aggregate = false;
};

}  // namespace spprof::sampling
