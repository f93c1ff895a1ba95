// What a visit of a thread records. Reached while the thread stands still, perhaps from its own
// signal handler: no allocation, no lock, no lazily bound symbols, no Python call that faulthandler
// would not make there. Knows no signal, and nothing of how frames are laid out.
#pragma once

#include "platform/observer.h"
#include "platform/wake_up.h"

namespace spprof::native {
class CodeMap;
}

namespace spprof::sampling {

// The visits of Subjects. With native frames where it is known what code is loaded; not to be
// changed while there are visits.
platform::Visitor capturing_visitor(native::CodeMap* code) noexcept;

// Posted when a ring needs the collector soon.
platform::WakeUp& collector_wake_up() noexcept;
void collector_has_woken() noexcept;

}  // namespace spprof::sampling
