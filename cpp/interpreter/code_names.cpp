// See code_names.h.
#include "interpreter/code_names.h"

#include "interpreter/python_internals.h"

namespace spprof::interpreter {

namespace {

void append_utf8(std::string& out, Py_UCS4 c) {
    const auto byte = [&out](unsigned bits) { out.push_back(static_cast<char>(bits)); };
    if (c < 0x80) {
        byte(c);
    } else if (c < 0x800) {
        byte(0xC0 | c >> 6);
        byte(0x80 | (c & 0x3F));
    } else if (c >= 0xD800 && c < 0xE000) {
        // Lone surrogates (possible in file names) have no UTF-8 form: they are kept readable, as
        // the "backslashreplace" error handler does.
        constexpr char digits[] = "0123456789abcdef";
        out += "\\u";
        for (int shift = 12; shift >= 0; shift -= 4) {
            out.push_back(digits[c >> shift & 0xF]);
        }
    } else if (c < 0x10000) {
        byte(0xE0 | c >> 12);
        byte(0x80 | (c >> 6 & 0x3F));
        byte(0x80 | (c & 0x3F));
    } else {
        byte(0xF0 | c >> 18);
        byte(0x80 | (c >> 12 & 0x3F));
        byte(0x80 | (c >> 6 & 0x3F));
        byte(0x80 | (c & 0x3F));
    }
}

// From the string's own characters: every encoder of Python's allocates an object, which may start
// the garbage collector until 3.11, and the string's cached UTF-8 takes a lock on free-threaded
// builds.
std::string to_utf8(PyObject* text) {
    if (text == nullptr || !PyUnicode_Check(text)) {
        return "?";
    }
#if PY_VERSION_HEX < 0x030C0000
    if (!PyUnicode_IS_READY(text)) {
        return "?";  // a code object's constructors see to it that this does not happen
    }
#endif
    const auto kind = PyUnicode_KIND(text);
    const void* data = PyUnicode_DATA(text);
    const Py_ssize_t length = PyUnicode_GET_LENGTH(text);
    if (PyUnicode_IS_ASCII(text)) {
        return std::string(static_cast<const char*>(data), static_cast<std::size_t>(length));
    }
    std::string result;
    for (Py_ssize_t i = 0; i < length; ++i) {
        append_utf8(result, PyUnicode_READ(kind, data, i));
    }
    return result;
}

std::uint32_t bytecode_size(const PyCodeObject* code) {
#if PY_VERSION_HEX >= 0x030B0000
    return static_cast<std::uint32_t>(Py_SIZE(code)) * sizeof(std::uint16_t);
#else
    return static_cast<std::uint32_t>(PyBytes_GET_SIZE(code->co_code));
#endif
}

}  // namespace

CodeDescription describe(std::uintptr_t address) {
    const auto* code = reinterpret_cast<const PyCodeObject*>(address);
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

std::int32_t line_at(std::uintptr_t address, std::uint32_t offset) {
    auto* code = reinterpret_cast<PyCodeObject*>(address);
    // An offset that was read while its frame changed hands must not lead outside of the code.
    if (offset >= bytecode_size(code)) {
        return code->co_firstlineno;
    }
    const int line = PyCode_Addr2Line(code, static_cast<int>(offset));
    return line > 0 ? line : code->co_firstlineno;
}

}  // namespace spprof::interpreter
