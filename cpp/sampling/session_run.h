// What a running session consists of. For the files of Session only.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "platform/observer.h"
#include "sampling/session.h"

namespace spprof::sampling {

struct Session::Run {
    Run(const Settings& wanted, ThreadRegistry& registry, std::unique_ptr<NativeStacks> native);

    const Settings settings;
    const std::int64_t start_ns;
    const std::int64_t start_realtime_ns;
    const std::int64_t start_process_cpu;
    std::int64_t paused_since = -1;
    std::int64_t paused_ns = 0;
    std::vector<std::string> notes;
    std::unique_ptr<platform::Observer> observer;
    Collector collector;
};

}  // namespace spprof::sampling
