// The one place that opens CPython's internal headers, and the names that moved between versions.
// Reached from a visit of a thread, too.
#pragma once

#ifndef Py_BUILD_CORE
#define Py_BUILD_CORE 1
#endif
#include <Python.h>

#if PY_VERSION_HEX >= 0x030E0000
#include <internal/pycore_interpframe_structs.h>
#elif PY_VERSION_HEX >= 0x030B0000
#include <internal/pycore_frame.h>
#else
#include <frameobject.h>
#endif

extern "C" {
#include <internal/pycore_context.h>
}

namespace spprof::interpreter {

// The attached thread state, without asserting that there is one. Handler-safe.
inline PyThreadState* unchecked_thread_state() noexcept {
#if PY_VERSION_HEX >= 0x030D0000
    return PyThreadState_GetUnchecked();
#else
    return _PyThreadState_UncheckedGet();
#endif
}

}  // namespace spprof::interpreter
