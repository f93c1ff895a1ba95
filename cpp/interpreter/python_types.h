// What our own Python types share: names of member kinds, which moved between versions, and how a
// descriptor that stands for a method hands it out.
#pragma once

#include "interpreter/python_internals.h"

#if PY_VERSION_HEX < 0x030C0000
#include <structmember.h>
#endif

namespace spprof::interpreter {

#if PY_VERSION_HEX >= 0x030C0000
constexpr int kTimeMember = Py_T_LONGLONG, kObjectMember = Py_T_OBJECT_EX, kReadOnly = Py_READONLY;
#else
constexpr int kTimeMember = T_LONGLONG, kObjectMember = T_OBJECT_EX, kReadOnly = READONLY;
#endif

// What looking up `original`, an attribute of a class, on an object gives; a new reference, null
// with an exception.
inline PyObject* bound_to(PyObject* original, PyObject* object, PyObject* owner) {
    const descrgetfunc bind = Py_TYPE(original)->tp_descr_get;
    if (bind == nullptr) {
        Py_INCREF(original);
        return original;
    }
    return bind(original, object, owner);
}

}  // namespace spprof::interpreter
