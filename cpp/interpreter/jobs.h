// Jobs that a program gives to an executor: what stands for `submit` while a session runs.
#pragma once

struct _object;  // NOLINT(bugprone-reserved-identifier): a PyObject

namespace spprof::interpreter {

// A new reference to a type to derive from; nullptr with an exception. JobHook(original, begun) is
// a descriptor that hands out a method whose first argument is a function: that is run in the
// regions of whoever calls the method. Afterwards begun(result, function) is told, where it is not
// None.
_object* job_hook_type();

}  // namespace spprof::interpreter
