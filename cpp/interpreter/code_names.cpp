// See code_names.h.
#include "interpreter/code_names.h"

namespace spprof::interpreter {

namespace {

// Lone surrogates (possible in file names) have no UTF-8 form: they are kept readable. Always a
// copy, never the string's own cached UTF-8: filling that cache takes a lock on free-threaded
// builds.
std::string to_utf8(PyObject* text) {
    std::string result = "?";
    if (text == nullptr || !PyUnicode_Check(text)) {
        return result;
    }
    if (PyObject* bytes = PyUnicode_AsEncodedString(text, "utf-8", "backslashreplace")) {
        result.assign(PyBytes_AS_STRING(bytes), static_cast<std::size_t>(PyBytes_GET_SIZE(bytes)));
        Py_DECREF(bytes);
    } else {
        PyErr_Clear();  // no memory
    }
    return result;
}

std::uint32_t bytecode_size(PyCodeObject* code) {
#if PY_VERSION_HEX >= 0x030B0000
    return static_cast<std::uint32_t>(Py_SIZE(code)) * sizeof(std::uint16_t);
#else
    return static_cast<std::uint32_t>(PyBytes_GET_SIZE(code->co_code));
#endif
}

}  // namespace

CodeDescription describe(PyCodeObject* code) {
    CodeDescription result;
#if PY_VERSION_HEX >= 0x030B0000
    result.name = to_utf8(code->co_qualname);
#else
    result.name = to_utf8(code->co_name);
#endif
    result.file = to_utf8(code->co_filename);
    result.first_line = code->co_firstlineno;
    return result;
}

std::int32_t line_at(PyCodeObject* code, std::uint32_t offset) {
    // An offset that was read while its frame changed hands must not lead outside of the code.
    if (offset >= bytecode_size(code)) {
        return code->co_firstlineno;
    }
    const int line = PyCode_Addr2Line(code, static_cast<int>(offset));
    return line > 0 ? line : code->co_firstlineno;
}

}  // namespace spprof::interpreter
