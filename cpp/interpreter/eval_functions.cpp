// Owns what the names of C functions mean to a merged stack. See eval_functions.h.
#include "interpreter/eval_functions.h"

#include <algorithm>
#include <iterator>

namespace spprof::interpreter {
namespace {

bool starts_with(std::string_view text, std::string_view prefix) noexcept {
    return text.substr(0, prefix.size()) == prefix;
}

template <std::size_t N>
bool any_prefix(std::string_view name, const std::string_view (&prefixes)[N]) noexcept {
    return std::any_of(std::begin(prefixes), std::end(prefixes),
                       [&](std::string_view prefix) { return starts_with(name, prefix); });
}

template <std::size_t N>
bool any_equal(std::string_view name, const std::string_view (&names)[N]) noexcept {
    return std::find(std::begin(names), std::end(names), name) != std::end(names);
}

constexpr std::string_view kEvalLoop = "_PyEval_EvalFrameDefault";
// From 3.15 on.
constexpr std::string_view kJitEntry = "_PyJIT_Entry";
// What it tells debuggers and `perf` of the code that it generates: "py::jit:executor", and
// "py::function:file" for the steps to Python functions that sys.activate_stack_trampoline() adds.
constexpr std::string_view kGeneratedPrefix = "py::";

// How CPython gets from one call to the next, 3.9 to 3.15: what these lead to is shown, they are
// not.
constexpr std::string_view kMachineryPrefixes[] = {
    // Objects/call.c and the protocols beside it
    "PyObject_Call", "_PyObject_Call", "PyObject_Vectorcall", "_PyObject_Vectorcall",
    "_PyObject_FastCall", "_PyObject_MakeTpCall", "PyVectorcall_", "_PyVectorcall_",
    "_PyFunction_Vectorcall", "_PyFunction_FastCall", "PyCFunction_Call", "_PyCFunction_",
    "cfunction_vectorcall_", "cfunction_call", "method_vectorcall", "vectorcall_", "slot_", "wrap_",
    "_PyMethodDef_", "_PyMethodDescr_", "PyDescr_", "_PyCallMethodDescriptor",
    // Python/ceval.c and the functions that the compiler makes of it
    "PyEval_Call", "PyEval_Eval", "_PyEval_Eval", "_PyEval_Vector", "_PyEval_BuiltinsFromGlobals",
    "_PyEvalFrame", "_Py_VectorCall", "_Py_BuiltinCall", "_Py_CallBuiltin", "_TAIL_CALL_",
    // generators and coroutines: their Python frames are in the stack already
    "gen_send", "gen_throw", "_gen_throw", "gen_close", "PyGen_am_send", "PyIter_Send",
    "async_gen_asend_", "async_gen_athrow_", "coro_wrapper_",
    // Python/pythonrun.c and Modules/main.c
    "PyRun_", "_PyRun_", "pyrun_", "pymain_"};
constexpr std::string_view kMachineryNames[] = {"object_vacall",
                                                "callmethod",
                                                "call_function",
                                                "trace_call_function",
                                                "do_call_core",
                                                "call_unbound",
                                                "call_unbound_noarg",
                                                "call_attribute",
                                                "call_method",
                                                "method_call",
                                                "function_code_fastcall",
                                                "function_call",
                                                "classmethoddescr_call",
                                                "methoddescr_call",
                                                "wrapper_call",
                                                "type_call",
                                                "type_vectorcall",
                                                "gen_iternext",
                                                "PyIter_Next",
                                                "PyIter_NextItem",
                                                "py_trampoline_evaluator",
                                                "run_mod",
                                                "run_eval_code_obj",
                                                "Py_RunMain",
                                                "Py_BytesMain",
                                                "Py_Main",
                                                "main",
                                                "_start",
                                                "thread_run",
                                                "t_bootstrap",
                                                "pythread_wrapper"};

// Types whose methods are call machinery, as their names are learned: "generator.send".
constexpr std::string_view kMachineryTypes[] = {"function",
                                                "builtin_function_or_method",
                                                "method",
                                                "method_descriptor",
                                                "wrapper_descriptor",
                                                "classmethod_descriptor",
                                                "method-wrapper",
                                                "generator",
                                                "coroutine",
                                                "coroutine_wrapper",
                                                "async_generator_asend",
                                                "async_generator_athrow",
                                                "type"};

// The small program around a shared interpreter.
constexpr std::string_view kLauncher = "python";
// greenlet gives each coroutine a stack of its own; this is where one begins.
constexpr std::string_view kGreenlet = "_greenlet";
constexpr std::string_view kGreenletStart = "g_initialstub";

}  // namespace

FunctionKind kind_of_function(std::string_view name) noexcept {
    if (name == kEvalLoop) {
        return FunctionKind::eval_loop;
    }
    if (name == kJitEntry) {
        return FunctionKind::jit_entry;
    }
    return any_prefix(name, kMachineryPrefixes) || any_equal(name, kMachineryNames)
               ? FunctionKind::machinery
               : FunctionKind::ordinary;
}

FunctionKind kind_of_method(std::string_view name) noexcept {
    return any_equal(name.substr(0, name.find('.')), kMachineryTypes) ? FunctionKind::machinery
                                                                      : FunctionKind::ordinary;
}

bool kind_in_file(std::string_view file, std::string_view function, FunctionKind& kind) noexcept {
    kind = FunctionKind::ordinary;
    if (file.empty()) {
        kind = starts_with(function, kGeneratedPrefix) ? FunctionKind::machinery
                                                       : FunctionKind::ordinary;
        return true;
    }
    if (starts_with(file, kLauncher)) {
        kind = function.empty()     ? FunctionKind::outermost
               : function == "main" ? FunctionKind::machinery
                                    : FunctionKind::ordinary;
        return true;
    }
    if (starts_with(file, kGreenlet)) {
        kind = function.find(kGreenletStart) != std::string_view::npos ? FunctionKind::new_stack
                                                                       : FunctionKind::ordinary;
        return true;
    }
    return false;
}

}  // namespace spprof::interpreter
