// See thread_hooks.h.
//
// Why plain C style: a daemon thread that outlives the interpreter is ended by pthread_exit() in
// the middle of the call below, which unwinds through it. There must be no destructor, no handler
// and no noexcept on its way: each of them would run without the interpreter's lock, or abort.
#include "interpreter/thread_hooks.h"

namespace spprof::interpreter {

namespace {

ThreadEvents thread_events = {nullptr, nullptr, nullptr};

// threading.Thread passes a bound method of the thread object, which has its latest name.
void report_end(PyObject* function, std::int64_t left_python) {
    PyObject *type, *value, *traceback;
    PyErr_Fetch(&type, &value, &traceback);
    PyObject* owner = PyObject_GetAttrString(function, "__self__");
    PyObject* name = owner == nullptr ? nullptr : PyObject_GetAttrString(owner, "name");
    const char* text = name != nullptr && PyUnicode_Check(name) ? PyUnicode_AsUTF8(name) : nullptr;
    PyErr_Clear();  // a function without an owner, or an owner without a name
    thread_events.ends(text, left_python);
    Py_XDECREF(name);
    Py_XDECREF(owner);
    PyErr_Restore(type, value, traceback);
}

PyObject* run_thread(PyObject* function, PyObject* args, PyObject* kwargs) {
    const bool followed = thread_events.begins();
    PyObject* result = PyObject_Call(function, args, kwargs);
    if (followed) {
        report_end(function, thread_events.clock());
    }
    return result;
}

PyMethodDef thread_body = {
    "thread", reinterpret_cast<PyCFunction>(reinterpret_cast<void (*)()>(run_thread)),
    METH_VARARGS | METH_KEYWORDS, "A thread that spprof follows from its first moment."};

PyObject* start_thread(PyObject* original, PyObject* args, PyObject* kwargs) {
    PyObject* function = PyTuple_GET_SIZE(args) > 0 ? PyTuple_GET_ITEM(args, 0) : nullptr;
    if (function == nullptr || !PyCallable_Check(function)) {
        return PyObject_Call(original, args, kwargs);  // its own words for what is wrong
    }
    PyObject* rest = PyTuple_GetSlice(args, 1, PyTuple_GET_SIZE(args));
    PyObject* body = rest == nullptr ? nullptr : PyCFunction_New(&thread_body, function);
    PyObject* first = body == nullptr ? nullptr : PyTuple_Pack(1, body);
    PyObject* all = first == nullptr ? nullptr : PySequence_Concat(first, rest);
    PyObject* result = all == nullptr ? nullptr : PyObject_Call(original, all, kwargs);
    Py_XDECREF(all);
    Py_XDECREF(first);
    Py_XDECREF(body);
    Py_XDECREF(rest);
    return result;
}

PyMethodDef thread_starter = {
    "start_new_thread", reinterpret_cast<PyCFunction>(reinterpret_cast<void (*)()>(start_thread)),
    METH_VARARGS | METH_KEYWORDS, "Starts a thread that spprof follows from its first moment."};

}  // namespace

PyObject* reporting_thread_starter(PyObject* original, const ThreadEvents& events) {
    thread_events = events;
    return PyCFunction_New(&thread_starter, original);
}

}  // namespace spprof::interpreter
