// See code_names.h.
#include "interpreter/code_names.h"

namespace spprof::interpreter {

namespace {

// Lone surrogates (possible in file names) have no UTF-8 form: keep them readable.
std::string to_utf8(PyObject* text) {
    if (text == nullptr || !PyUnicode_Check(text)) {
        return "?";
    }
    Py_ssize_t length = 0;
    if (const char* utf8 = PyUnicode_AsUTF8AndSize(text, &length)) {
        return std::string(utf8, static_cast<std::size_t>(length));
    }
    PyErr_Clear();
    std::string result;
    if (PyObject* bytes = PyUnicode_AsEncodedString(text, "utf-8", "backslashreplace")) {
        result.assign(PyBytes_AS_STRING(bytes), static_cast<std::size_t>(PyBytes_GET_SIZE(bytes)));
        Py_DECREF(bytes);
    } else {
        PyErr_Clear();
        result = "?";
    }
    return result;
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
    if (offset > 0x7FFFFFFFu) {
        return code->co_firstlineno;
    }
    const int line = PyCode_Addr2Line(code, static_cast<int>(offset));
    return line > 0 ? line : code->co_firstlineno;
}

}  // namespace spprof::interpreter
