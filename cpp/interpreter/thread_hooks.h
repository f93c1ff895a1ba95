// Has the threads that Python starts report their first and their last moment. Knows how the
// interpreter starts threads; what is done with the report is up to whoever asks for it.
#pragma once

#include <cstdint>

#include "interpreter/python_internals.h"

namespace spprof::interpreter {

// All are called on the thread itself, with the interpreter's lock, and must not run Python code.
struct ThreadEvents {
    // False: not a thread of its own (gevent makes "threads" of greenlets); its end is not
    // reported.
    bool (*begins)() noexcept;
    // Asked when the thread has left Python for good: what a clock of the caller's says.
    std::int64_t (*clock)() noexcept;
    // The name is nullptr for a thread without one; with what the clock has said.
    void (*ends)(const char* name, std::int64_t left_python) noexcept;
};

// Stands in for a function of the interpreter that starts a thread, such as
// _thread.start_new_thread: a new reference, or nullptr with the exception set.
PyObject* reporting_thread_starter(PyObject* original, const ThreadEvents& events);

}  // namespace spprof::interpreter
