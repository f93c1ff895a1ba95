// See collection.h.
#include "interpreter/collection.h"

#include "interpreter/plain_memory.h"
#include "interpreter/walk.h"

namespace spprof::interpreter {

namespace {

// A builtin function: it has no frame of its own.
PyObject* on_collection(PyObject*, PyObject* const* args, Py_ssize_t count) {
    if (count != 2 || !PyUnicode_Check(args[0])) {
        Py_RETURN_NONE;
    }
    if (PyUnicode_CompareWithASCIIString(args[0], "start") != 0) {
        collection.thread.store(0, std::memory_order_release);
        Py_RETURN_NONE;
    }
    PyObject* generation =
        PyDict_Check(args[1]) ? PyDict_GetItemString(args[1], "generation") : nullptr;
    const long number =
        generation != nullptr && PyLong_Check(generation) ? PyLong_AsLong(generation) : -1;
    PyErr_Clear();
    const auto thread = reinterpret_cast<std::uintptr_t>(unchecked_thread_state());
    ThreadView view;
    std::uintptr_t frame = 0;
    const bool found = Layout::read_thread(PlainMemory{}, thread, view) &&
                       Layout::first(PlainMemory{}, view, 0, frame);
    collection.frame = found ? frame : 0;
    collection.generation = static_cast<std::uint8_t>(number >= 0 && number <= 2 ? number : 3);
    collection.thread.store(thread, std::memory_order_release);
    Py_RETURN_NONE;
}

PyMethodDef callback = {"spprof_garbage_collection",
                        reinterpret_cast<PyCFunction>(reinterpret_cast<void (*)()>(on_collection)),
                        METH_FASTCALL, "Tells spprof when garbage is collected."};

}  // namespace

_object* collection_callback() {
    collection.thread.store(0, std::memory_order_release);
    return PyCFunction_New(&callback, nullptr);
}

}  // namespace spprof::interpreter
