// What the names of C functions mean to a merged stack.
#include "interpreter/eval_functions.h"

#include <doctest/doctest.h>

#include "native/demangle.h"

using namespace spprof::interpreter;
using spprof::native::strip_suffixes;

TEST_CASE("functions of the interpreter") {
    for (const char* name : {"_PyEval_EvalFrameDefault", "_PyEval_EvalFrameDefault.cold",
                             "_PyEval_EvalFrameDefault.part.0.lto_priv.0"}) {
        CAPTURE(name);
        CHECK(kind_of_function(strip_suffixes(name)) == FunctionKind::eval_loop);
    }
    for (const char* name :
         {"_PyEval_Vector", "_PyFunction_Vectorcall", "PyObject_Vectorcall", "_PyObject_Call",
          "method_vectorcall", "cfunction_vectorcall_FASTCALL_KEYWORDS", "PyEval_EvalCode",
          "slot_tp_call", "gen_send_ex2", "run_mod", "Py_RunMain", "pymain_run_python.constprop.0",
          "_start", "_TAIL_CALL_CALL_PY_EXACT_ARGS", "py_trampoline_evaluator"}) {
        CAPTURE(name);
        CHECK(kind_of_function(strip_suffixes(name)) == FunctionKind::machinery);
    }
    for (const char* name : {"builtin_sorted", "list_sort_impl", "PyObject_GetAttr", "_PyLong_Add",
                             "dict_subscript", "gc_collect_main", "builtin_exec"}) {
        CAPTURE(name);
        CHECK(kind_of_function(name) == FunctionKind::ordinary);
    }
    CHECK(kind_of_method("generator.send") == FunctionKind::machinery);
    CHECK(kind_of_method("type.__call__") == FunctionKind::machinery);
    CHECK(kind_of_method("sorted") == FunctionKind::ordinary);
    CHECK(kind_of_method("list.sort") == FunctionKind::ordinary);
}

TEST_CASE("functions of other files that take part") {
    FunctionKind kind = FunctionKind::eval_loop;
    CHECK_FALSE(kind_in_file("libm.so.6", "main", kind));
    CHECK(kind == FunctionKind::ordinary);
    CHECK(kind_in_file("python3.11", "main", kind));
    CHECK(kind == FunctionKind::machinery);
    CHECK(kind_in_file("python3.11", "", kind));
    CHECK(kind == FunctionKind::outermost);
    CHECK(kind_in_file("_greenlet.cpython-311-x86_64-linux-gnu.so",
                       "_ZN8greenlet10UserGreenlet13g_initialstubEPv", kind));
    CHECK(kind == FunctionKind::new_stack);
}
