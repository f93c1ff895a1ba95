// Refuses an interpreter whose frames are not laid out as this build expects.
#pragma once

namespace spprof::interpreter {

// Walks the calling thread's own stack and compares it with what the interpreter's public API says.
// nullptr when they agree, else why this build must not be used. Needs the interpreter's lock.
const char* self_test();

}  // namespace spprof::interpreter
