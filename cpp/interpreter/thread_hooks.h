// Has the threads that Python starts report their first and their last moment. Knows how the
// interpreter starts threads; what is done with the report is up to whoever asks for it.
#pragma once

#include "interpreter/python_internals.h"

namespace spprof::interpreter {

// Both are called on the thread itself, with the interpreter's lock, and must not run Python code.
struct ThreadEvents {
    // False: not a thread of its own (gevent makes "threads" of greenlets); its end is not
    // reported.
    bool (*begins)() noexcept;
    void (*ends)(const char* name) noexcept;  // nullptr: a thread without a name
};

// Stands in for a function of the interpreter that starts a thread, such as
// _thread.start_new_thread: a new reference, or nullptr with the exception set.
PyObject* reporting_thread_starter(PyObject* original, const ThreadEvents& events);

}  // namespace spprof::interpreter
