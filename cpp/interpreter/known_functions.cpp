// See known_functions.h.
//
// Any call here that makes or releases an object may run Python code (until 3.11 by the garbage
// collector in the middle of an allocation, later when a reference is given back), which may change
// the dictionaries and types that are looked at: only copies of them are walked, and everything
// that is used is held by a reference.
#include "interpreter/known_functions.h"

#include <Python.h>

#include <memory>
#include <unordered_set>
#include <utility>

namespace spprof::interpreter {
namespace {

struct Release {
    void operator()(PyObject* object) const { Py_XDECREF(object); }
};
using Owned = std::unique_ptr<PyObject, Release>;

Owned another(PyObject* object) {
    Py_INCREF(object);
    return Owned(object);
}

// The exception that is on its way, put aside for the moment.
class ExceptionAside {
public:
    ExceptionAside() { PyErr_Fetch(&type_, &value_, &traceback_); }
    ~ExceptionAside() { PyErr_Restore(type_, value_, traceback_); }  // replaces what is set
    ExceptionAside(const ExceptionAside&) = delete;
    ExceptionAside& operator=(const ExceptionAside&) = delete;

private:
    PyObject* type_ = nullptr;
    PyObject* value_ = nullptr;
    PyObject* traceback_ = nullptr;
};

class Collection {
public:
    void add(const void* function, std::string name) {
        functions.push_back({reinterpret_cast<std::uintptr_t>(function), std::move(name)});
    }
    template <class Result, class... Arguments>
    void add(Result (*function)(Arguments...), std::string name) {
        add(reinterpret_cast<const void*>(function), std::move(name));
    }
    std::vector<KnownFunction> functions;
};

std::string text_of(PyObject* object) {
    const char* text =
        object != nullptr && PyUnicode_Check(object) ? PyUnicode_AsUTF8(object) : nullptr;
    if (text == nullptr) {
        PyErr_Clear();
        return {};
    }
    return text;
}

void visit_function(PyObject* function, Collection& found) {
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
    found.add(builtin->m_ml->ml_meth,
              module.empty() || module == "builtins" ? name : module + "." + name);
}

// A copy of what the type defines itself. Not by attribute: a metaclass might run Python code.
Owned attributes_of(PyTypeObject* type) {
#if PY_VERSION_HEX >= 0x030C0000
    const Owned attributes(PyType_GetDict(type));
#else
    const Owned attributes(type->tp_dict != nullptr ? another(type->tp_dict) : nullptr);
#endif
    Owned values(attributes && PyDict_Check(attributes.get()) ? PyDict_Values(attributes.get())
                                                              : nullptr);
    if (!values) {
        PyErr_Clear();
    }
    return values;
}

// The methods and slots that a type defines itself.
void visit_type(PyTypeObject* type, Collection& found) {
    const Owned values = attributes_of(type);
    if (!values) {
        return;
    }
    const std::string prefix = std::string(type->tp_name) + ".";
    for (Py_ssize_t i = 0; i < PyList_GET_SIZE(values.get()); ++i) {
        PyObject* value = PyList_GET_ITEM(values.get(), i);
        if (Py_TYPE(value) == &PyMethodDescr_Type || Py_TYPE(value) == &PyClassMethodDescr_Type) {
            const PyMethodDef* method = reinterpret_cast<PyMethodDescrObject*>(value)->d_method;
            found.add(method->ml_meth, prefix + method->ml_name);
        } else if (Py_TYPE(value) == &PyWrapperDescr_Type) {
            const auto* wrapper = reinterpret_cast<PyWrapperDescrObject*>(value);
            found.add(wrapper->d_wrapped, prefix + wrapper->d_base->name);
        } else if (PyCFunction_Check(value)) {
            found.add(PyCFunction_GET_FUNCTION(value),
                      prefix + reinterpret_cast<PyCFunctionObject*>(value)->m_ml->ml_name);
        }
    }
}

void visit_modules(Collection& found) {
    PyObject* modules = PyImport_GetModuleDict();
    // Somebody may have put another mapping there: then only the types tell.
    const Owned values(modules != nullptr && PyDict_Check(modules) ? PyDict_Values(modules)
                                                                   : nullptr);
    if (!values) {
        PyErr_Clear();
        return;
    }
    for (Py_ssize_t i = 0; i < PyList_GET_SIZE(values.get()); ++i) {
        PyObject* module = PyList_GET_ITEM(values.get(), i);
        if (!PyModule_Check(module)) {
            continue;
        }
        const Owned attributes(PyDict_Values(PyModule_GetDict(module)));
        if (!attributes) {
            PyErr_Clear();
            continue;
        }
        for (Py_ssize_t j = 0; j < PyList_GET_SIZE(attributes.get()); ++j) {
            PyObject* value = PyList_GET_ITEM(attributes.get(), j);
            if (PyCFunction_Check(value)) {
                visit_function(value, found);
            }
        }
    }
}

// Types are reached through their bases: `object.__subclasses__()` and so on down. All of them are
// held until the end, so that an address is one type's only.
void visit_types(Collection& found) {
    std::vector<Owned> types;
    std::unordered_set<PyObject*> seen;
    const auto meet = [&](PyObject* type) {
        if (seen.insert(type).second) {
            types.push_back(another(type));
        }
    };
    meet(reinterpret_cast<PyObject*>(&PyBaseObject_Type));
    for (std::size_t i = 0; i < types.size(); ++i) {
        PyObject* type = types[i].get();
        // Classes written in Python have no C functions of their own, but may have children that
        // do.
        visit_type(reinterpret_cast<PyTypeObject*>(type), found);
        const Owned children(PyObject_CallMethod(reinterpret_cast<PyObject*>(&PyType_Type),
                                                 "__subclasses__", "O", type));
        if (!children || !PyList_Check(children.get())) {
            PyErr_Clear();
            continue;
        }
        for (Py_ssize_t j = 0; j < PyList_GET_SIZE(children.get()); ++j) {
            meet(PyList_GET_ITEM(children.get(), j));
        }
    }
}

}  // namespace

std::vector<KnownFunction> known_functions() {
    const ExceptionAside aside;
    Collection found;
    visit_modules(found);
    visit_types(found);
    return std::move(found.functions);
}

std::size_t module_count() {
    PyObject* modules = PyImport_GetModuleDict();
    const Py_ssize_t count = modules == nullptr ? 0 : PyDict_Size(modules);
    return count < 0 ? 0 : static_cast<std::size_t>(count);
}

std::uintptr_t an_interpreter_function() noexcept {
    return reinterpret_cast<std::uintptr_t>(&PyEval_EvalCode);
}

}  // namespace spprof::interpreter
