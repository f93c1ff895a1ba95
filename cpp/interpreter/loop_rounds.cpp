// See loop_rounds.h.
#include "interpreter/loop_rounds.h"

#include <cstddef>
#include <cstdint>

#include "interpreter/python_types.h"

namespace spprof::interpreter {

namespace {

struct Watch {
    PyObject base;
    long long waits_since;  // on our clock; 0: the loop works
    long long idle;         // for how long it had nothing to do
    long long due_idle;     // it is looked at when it was idle for so long,
    long long due;          // or when the clock says so
};

struct Hook {
    PyObject base;
    PyObject* original;
    PyObject* watches;  // a dict: the watches of loops by their ids
    PyObject* met;      // makes the watch of a loop that has none
    bool after_waiting;
};

PyTypeObject* watch_class = nullptr;
Clock read_clock = nullptr;

PyMemberDef watch_members[] = {
    {"waits_since", kTimeMember, offsetof(Watch, waits_since), 0, nullptr},
    {"idle", kTimeMember, offsetof(Watch, idle), 0, nullptr},
    {"due_idle", kTimeMember, offsetof(Watch, due_idle), 0, nullptr},
    {"due", kTimeMember, offsetof(Watch, due), 0, nullptr},
    {nullptr, 0, 0, 0, nullptr},
};
PyType_Slot watch_slots[] = {
    {Py_tp_members, watch_members},
    {0, nullptr},
};
PyType_Spec watch_spec = {"spprof._native.LoopWatch", sizeof(Watch), 0,
                          Py_TPFLAGS_DEFAULT | Py_TPFLAGS_BASETYPE, watch_slots};

// A new reference; null without an exception where there is none.
PyObject* get(PyObject* dict, PyObject* key) {
    PyObject* found = nullptr;
#if PY_VERSION_HEX >= 0x030D0000
    PyDict_GetItemRef(dict, key, &found);
#else
    found = PyDict_GetItemWithError(dict, key);
    Py_XINCREF(found);
#endif
    return found;
}

// The watch of a loop, a new reference; null with an exception.
Watch* watch_of(Hook* hook, PyObject* loop, std::int64_t now) {
    PyObject* key = PyLong_FromVoidPtr(loop);
    if (key == nullptr) {
        return nullptr;
    }
    PyObject* found = get(hook->watches, key);
    Py_DECREF(key);
    if (found == nullptr && PyErr_Occurred() == nullptr) {
        // One that has waited is met for the first time: it has waited since before the session.
        found = hook->after_waiting
                    ? PyObject_CallFunctionObjArgs(hook->met, loop, Py_None, nullptr)
                    : PyObject_CallFunction(hook->met, "OL", loop, static_cast<long long>(now));
    }
    if (found != nullptr && !PyObject_TypeCheck(found, watch_class)) {
        PyErr_SetString(PyExc_TypeError, "a loop's watch is none");
        Py_CLEAR(found);
    }
    return reinterpret_cast<Watch*>(found);
}

bool tell(Hook* hook, PyObject* loop) {
    const std::int64_t now = read_clock();
    Watch* watch = watch_of(hook, loop, now);
    if (watch == nullptr) {
        return false;
    }
    bool fine = true;
    if (!hook->after_waiting) {
        watch->waits_since = now;
    } else {
        if (watch->waits_since != 0) {
            watch->idle += now - watch->waits_since;
            watch->waits_since = 0;
        }
        const bool fair = watch->idle >= watch->due_idle;
        if (fair || now >= watch->due) {
            PyObject* result = PyObject_CallMethod(reinterpret_cast<PyObject*>(watch), "look", "O",
                                                   fair ? Py_True : Py_False);
            fine = result != nullptr;
            Py_XDECREF(result);
        }
    }
    Py_DECREF(watch);
    return fine;
}

PyObject* hand_out(PyObject* self, PyObject* loop, PyObject* owner) {
    auto* hook = reinterpret_cast<Hook*>(self);
    if (loop != nullptr && loop != Py_None && !tell(hook, loop)) {
        return nullptr;
    }
    return bound_to(hook->original, loop, owner);
}

PyObject* new_hook(PyTypeObject* type, PyObject* args, PyObject*) {
    PyObject *original = nullptr, *watches = nullptr, *met = nullptr;
    int after_waiting = 0;
    if (PyArg_ParseTuple(args, "OO!Op:LoopHook", &original, &PyDict_Type, &watches, &met,
                         &after_waiting) == 0) {
        return nullptr;
    }
    PyObject* self = type->tp_alloc(type, 0);
    if (self != nullptr) {
        auto* hook = reinterpret_cast<Hook*>(self);
        Py_INCREF(original);
        Py_INCREF(watches);
        Py_INCREF(met);
        hook->original = original;
        hook->watches = watches;
        hook->met = met;
        hook->after_waiting = after_waiting != 0;
    }
    return self;
}

int traverse_hook(PyObject* self, visitproc visit, void* arg) {
    const auto* hook = reinterpret_cast<Hook*>(self);
    Py_VISIT(Py_TYPE(self));
    Py_VISIT(hook->original);
    Py_VISIT(hook->watches);
    Py_VISIT(hook->met);
    return 0;
}

int clear_hook(PyObject* self) {
    auto* hook = reinterpret_cast<Hook*>(self);
    // The method stays: a loop on another thread may be asking for it.
    Py_CLEAR(hook->met);
    return 0;
}

void free_hook(PyObject* self) {
    PyTypeObject* type = Py_TYPE(self);
    PyObject_GC_UnTrack(self);
    auto* hook = reinterpret_cast<Hook*>(self);
    Py_CLEAR(hook->met);
    Py_CLEAR(hook->watches);
    Py_CLEAR(hook->original);
    type->tp_free(self);
    Py_DECREF(type);
}

PyMemberDef hook_members[] = {
    {"original", kObjectMember, offsetof(Hook, original), kReadOnly, nullptr},
    {nullptr, 0, 0, 0, nullptr},
};
PyType_Slot hook_slots[] = {
    {Py_tp_new, reinterpret_cast<void*>(new_hook)},
    {Py_tp_dealloc, reinterpret_cast<void*>(free_hook)},
    {Py_tp_traverse, reinterpret_cast<void*>(traverse_hook)},
    {Py_tp_clear, reinterpret_cast<void*>(clear_hook)},
    {Py_tp_descr_get, reinterpret_cast<void*>(hand_out)},
    {Py_tp_members, hook_members},
    {0, nullptr},
};
PyType_Spec hook_spec = {"spprof._native.LoopHook", sizeof(Hook), 0,
                         Py_TPFLAGS_DEFAULT | Py_TPFLAGS_BASETYPE | Py_TPFLAGS_HAVE_GC, hook_slots};

}  // namespace

_object* loop_watch_type() {
    if (watch_class == nullptr) {
        watch_class = reinterpret_cast<PyTypeObject*>(PyType_FromSpec(&watch_spec));
    }
    Py_XINCREF(watch_class);
    return reinterpret_cast<PyObject*>(watch_class);
}

_object* loop_hook_type(Clock clock) {
    read_clock = clock;
    return PyType_FromSpec(&hook_spec);
}

}  // namespace spprof::interpreter
