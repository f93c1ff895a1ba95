// Refuses an interpreter whose frames are not laid out as this build expects.
#pragma once

namespace spprof::interpreter {

// Compares this build with what the running interpreter says of itself, and a walk of the calling
// thread's own stack with the public API. nullptr when they agree, else why this build must not be
// used here. Needs the interpreter's lock; to be called before anything is walked.
const char* self_test();

}  // namespace spprof::interpreter
