// See jobs.h. What is handed out is a builtin function: none of ours is in the program's stacks.
#include "interpreter/jobs.h"

#include <cstddef>

#include "interpreter/python_types.h"
#include "interpreter/regions.h"

namespace spprof::interpreter {

namespace {

struct Hook {
    PyObject base;
    PyObject* original;
    PyObject* begun;
};

// The arguments with the function in the regions of the caller; a new reference, null with an
// exception.
PyObject* with_regions(PyObject* args) {
    PyObject* function = in_these_regions(PyTuple_GET_ITEM(args, 0));
    if (function == nullptr) {
        return nullptr;
    }
    const Py_ssize_t count = PyTuple_GET_SIZE(args);
    PyObject* made = PyTuple_New(count);
    if (made == nullptr) {
        Py_DECREF(function);
        return nullptr;
    }
    PyTuple_SET_ITEM(made, 0, function);
    for (Py_ssize_t i = 1; i < count; ++i) {
        PyObject* argument = PyTuple_GET_ITEM(args, i);
        Py_INCREF(argument);
        PyTuple_SET_ITEM(made, i, argument);
    }
    return made;
}

PyObject* call(PyObject* parts, PyObject* args, PyObject* kwargs) {
    PyObject* bound = PyTuple_GET_ITEM(parts, 0);
    PyObject* begun = PyTuple_GET_ITEM(parts, 1);
    if (PyTuple_GET_SIZE(args) == 0) {  // it will say what is wrong
        return PyObject_Call(bound, args, kwargs);
    }
    PyObject* with = with_regions(args);
    if (with == nullptr) {
        return nullptr;
    }
    PyObject* result = PyObject_Call(bound, with, kwargs);
    Py_DECREF(with);
    if (result != nullptr && begun != Py_None) {
        PyObject* told =
            PyObject_CallFunctionObjArgs(begun, result, PyTuple_GET_ITEM(args, 0), nullptr);
        if (told == nullptr) {
            PyErr_WriteUnraisable(begun);
        }
        Py_XDECREF(told);
    }
    return result;
}

PyMethodDef method = {"submit", reinterpret_cast<PyCFunction>(reinterpret_cast<void (*)()>(call)),
                      METH_VARARGS | METH_KEYWORDS, "A call that spprof takes note of."};

PyObject* hand_out(PyObject* self, PyObject* object, PyObject* owner) {
    const auto* hook = reinterpret_cast<Hook*>(self);
    PyObject* bound = bound_to(hook->original, object, owner);
    if (bound == nullptr || object == nullptr || object == Py_None) {
        return bound;
    }
    PyObject* parts = PyTuple_Pack(2, bound, hook->begun);
    Py_DECREF(bound);
    PyObject* made = parts == nullptr ? nullptr : PyCFunction_New(&method, parts);
    Py_XDECREF(parts);
    return made;
}

PyObject* new_hook(PyTypeObject* type, PyObject* args, PyObject*) {
    PyObject *original = nullptr, *begun = nullptr;
    if (PyArg_ParseTuple(args, "OO:JobHook", &original, &begun) == 0) {
        return nullptr;
    }
    PyObject* self = type->tp_alloc(type, 0);
    if (self != nullptr) {
        auto* hook = reinterpret_cast<Hook*>(self);
        Py_INCREF(original);
        Py_INCREF(begun);
        hook->original = original;
        hook->begun = begun;
    }
    return self;
}

int traverse_hook(PyObject* self, visitproc visit, void* arg) {
    const auto* hook = reinterpret_cast<Hook*>(self);
    Py_VISIT(Py_TYPE(self));
    Py_VISIT(hook->original);
    Py_VISIT(hook->begun);
    return 0;
}

void free_hook(PyObject* self) {
    PyTypeObject* type = Py_TYPE(self);
    PyObject_GC_UnTrack(self);
    auto* hook = reinterpret_cast<Hook*>(self);
    Py_CLEAR(hook->original);
    Py_CLEAR(hook->begun);
    type->tp_free(self);
    Py_DECREF(type);
}

PyMemberDef members[] = {
    {"original", kObjectMember, offsetof(Hook, original), kReadOnly, nullptr},
    {nullptr, 0, 0, 0, nullptr},
};
PyType_Slot slots[] = {
    {Py_tp_new, reinterpret_cast<void*>(new_hook)},
    {Py_tp_dealloc, reinterpret_cast<void*>(free_hook)},
    {Py_tp_traverse, reinterpret_cast<void*>(traverse_hook)},
    {Py_tp_descr_get, reinterpret_cast<void*>(hand_out)},
    {Py_tp_members, members},
    {0, nullptr},
};
PyType_Spec spec = {"spprof._native.JobHook", sizeof(Hook), 0,
                    Py_TPFLAGS_DEFAULT | Py_TPFLAGS_BASETYPE | Py_TPFLAGS_HAVE_GC, slots};

}  // namespace

_object* job_hook_type() { return PyType_FromSpec(&spec); }

}  // namespace spprof::interpreter
