// See call_report.h.
//
// Why plain C style: see thread_hooks.cpp.
#include "interpreter/call_report.h"

namespace spprof::interpreter {

namespace {

// A new reference to what `before` made of the arguments, or to these themselves.
PyObject* prepared(PyObject* before, PyObject* args) {
    if (before != Py_None) {
        PyObject* made = PyObject_Call(before, args, nullptr);
        if (made != nullptr && PyTuple_Check(made)) {
            return made;
        }
        if (made == nullptr) {
            PyErr_WriteUnraisable(before);
        }
        Py_XDECREF(made);
    }
    Py_INCREF(args);
    return args;
}

void report(PyObject* after, PyObject* result, PyObject* args) {
    PyObject* first = PyTuple_Pack(1, result);
    PyObject* all = first == nullptr ? nullptr : PySequence_Concat(first, args);
    PyObject* done = all == nullptr ? nullptr : PyObject_Call(after, all, nullptr);
    if (done == nullptr) {
        PyErr_WriteUnraisable(after);
    }
    Py_XDECREF(done);
    Py_XDECREF(all);
    Py_XDECREF(first);
}

PyObject* call(PyObject* parts, PyObject* args, PyObject* kwargs) {
    PyObject* with = prepared(PyTuple_GET_ITEM(parts, 1), args);
    PyObject* result = PyObject_Call(PyTuple_GET_ITEM(parts, 0), with, kwargs);
    PyObject* after = PyTuple_GET_ITEM(parts, 2);
    if (result != nullptr && after != Py_None) {
        report(after, result, with);
    }
    Py_DECREF(with);
    return result;
}

PyMethodDef caller = {"call", reinterpret_cast<PyCFunction>(reinterpret_cast<void (*)()>(call)),
                      METH_VARARGS | METH_KEYWORDS, "A call that spprof takes note of."};

}  // namespace

PyObject* reporting_caller(PyObject* original, PyObject* before, PyObject* after) {
    PyObject* parts = PyTuple_Pack(3, original, before, after);
    PyObject* made = parts == nullptr ? nullptr : PyCFunction_New(&caller, parts);
    Py_XDECREF(parts);
    return made;
}

}  // namespace spprof::interpreter
