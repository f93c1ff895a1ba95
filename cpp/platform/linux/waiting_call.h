// Reached from a visit of a thread. What a thread waits for by the system call it is in. Pure, but
// for one question about a descriptor.
#pragma once

#include <cstdint>

#include "platform/threads.h"

namespace spprof::platform {

// `arguments`: the first two.
Wait reason_of_call(long number, const std::uintptr_t* arguments) noexcept;

}  // namespace spprof::platform
