// Owns the names of C functions as the interpreter's own tables tell them. See known_functions.h.
#include "interpreter/known_functions.h"

#include <Python.h>

#include <memory>
#include <unordered_set>
#include <vector>

namespace spprof::interpreter {
namespace {

struct Release {
    void operator()(PyObject* object) const { Py_XDECREF(object); }
};
using Owned = std::unique_ptr<PyObject, Release>;

using Visit = std::function<void(std::uintptr_t, const std::string&)>;

std::string text_of(PyObject* object) {
    const char* text =
        object != nullptr && PyUnicode_Check(object) ? PyUnicode_AsUTF8(object) : nullptr;
    if (text == nullptr) {
        PyErr_Clear();
        return {};
    }
    return text;
}

void visit_function(PyObject* function, const Visit& visit) {
    auto* builtin = reinterpret_cast<PyCFunctionObject*>(function);
    if (builtin->m_ml == nullptr || builtin->m_ml->ml_name == nullptr) {
        return;
    }
    // A method bound to an object is named by its type, later.
    if (builtin->m_self != nullptr && !PyModule_Check(builtin->m_self)) {
        return;
    }
    const std::string module = text_of(builtin->m_module);
    const std::string name = builtin->m_ml->ml_name;
    visit(reinterpret_cast<std::uintptr_t>(builtin->m_ml->ml_meth),
          module.empty() || module == "builtins" ? name : module + "." + name);
}

// The methods and slots that a type defines itself.
void visit_type(PyTypeObject* type, const Visit& visit) {
    // `type`'s own lookup: a metaclass might run Python code.
    const Owned name(PyUnicode_InternFromString("__dict__"));
    const Owned attributes(
        name ? PyType_Type.tp_getattro(reinterpret_cast<PyObject*>(type), name.get()) : nullptr);
    const Owned items(attributes ? PyMapping_Items(attributes.get()) : nullptr);
    if (!items || !PyList_Check(items.get())) {
        PyErr_Clear();
        return;
    }
    const std::string prefix = std::string(type->tp_name) + ".";
    for (Py_ssize_t i = 0; i < PyList_GET_SIZE(items.get()); ++i) {
        PyObject* value = PyTuple_GET_ITEM(PyList_GET_ITEM(items.get(), i), 1);
        if (Py_TYPE(value) == &PyMethodDescr_Type || Py_TYPE(value) == &PyClassMethodDescr_Type) {
            const PyMethodDef* method = reinterpret_cast<PyMethodDescrObject*>(value)->d_method;
            visit(reinterpret_cast<std::uintptr_t>(method->ml_meth), prefix + method->ml_name);
        } else if (Py_TYPE(value) == &PyWrapperDescr_Type) {
            const auto* wrapper = reinterpret_cast<PyWrapperDescrObject*>(value);
            visit(reinterpret_cast<std::uintptr_t>(wrapper->d_wrapped),
                  prefix + wrapper->d_base->name);
        } else if (PyCFunction_Check(value)) {
            visit(reinterpret_cast<std::uintptr_t>(PyCFunction_GET_FUNCTION(value)),
                  prefix + reinterpret_cast<PyCFunctionObject*>(value)->m_ml->ml_name);
        }
    }
}

void visit_modules(const Visit& visit) {
    PyObject* modules = PyImport_GetModuleDict();
    const Owned values(modules != nullptr ? PyDict_Values(modules) : nullptr);
    for (Py_ssize_t i = 0; values && i < PyList_GET_SIZE(values.get()); ++i) {
        PyObject* module = PyList_GET_ITEM(values.get(), i);
        if (!PyModule_Check(module)) {
            continue;
        }
        const Owned attributes(PyDict_Values(PyModule_GetDict(module)));
        for (Py_ssize_t j = 0; attributes && j < PyList_GET_SIZE(attributes.get()); ++j) {
            PyObject* value = PyList_GET_ITEM(attributes.get(), j);
            if (PyCFunction_Check(value)) {
                visit_function(value, visit);
            }
        }
    }
}

// Types are reached through their bases: `object.__subclasses__()` and so on down.
void visit_types(const Visit& visit) {
    std::vector<Owned> pending;
    std::unordered_set<PyObject*> seen;
    Py_INCREF(&PyBaseObject_Type);
    pending.emplace_back(reinterpret_cast<PyObject*>(&PyBaseObject_Type));
    while (!pending.empty()) {
        const Owned type = std::move(pending.back());
        pending.pop_back();
        auto* as_type = reinterpret_cast<PyTypeObject*>(type.get());
        // Classes written in Python have no C functions of their own, but may have children that
        // do.
        visit_type(as_type, visit);
        const Owned children(PyObject_CallMethod(reinterpret_cast<PyObject*>(&PyType_Type),
                                                 "__subclasses__", "O", type.get()));
        if (!children || !PyList_Check(children.get())) {
            PyErr_Clear();
            continue;
        }
        for (Py_ssize_t i = 0; i < PyList_GET_SIZE(children.get()); ++i) {
            PyObject* child = PyList_GET_ITEM(children.get(), i);
            if (seen.insert(child).second) {
                Py_INCREF(child);
                pending.emplace_back(child);
            }
        }
    }
}

}  // namespace

void each_known_function(const Visit& visit) {
    PyObject* type = nullptr;
    PyObject* value = nullptr;
    PyObject* traceback = nullptr;
    PyErr_Fetch(&type, &value, &traceback);
    visit_modules(visit);
    visit_types(visit);
    PyErr_Clear();
    PyErr_Restore(type, value, traceback);
}

}  // namespace spprof::interpreter
