// Has calls of a function reported. Knows nothing of what is reported.
#pragma once

#include "interpreter/python_internals.h"

namespace spprof::interpreter {

// Stands in for `original`: calls `before(*args)`, which returns the arguments to go on with, then
// `original` with these, then `after(result, *args)`. Either may be None. Errors of theirs go to
// sys.unraisablehook, and the call goes on. A builtin function, so that no stack has a frame of it.
// A new reference, or nullptr with the exception set.
PyObject* reporting_caller(PyObject* original, PyObject* before, PyObject* after);

}  // namespace spprof::interpreter
