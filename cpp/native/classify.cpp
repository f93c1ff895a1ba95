// Owns the judgement whose code an address is: eval loop, call machinery, start-up code, or
// something a person wants to see. Knows the names of CPython's functions, and none of its structs.
#include "native/classify.h"

#include <algorithm>

#include "native/demangle.h"

namespace spprof::native {
namespace {

bool starts_with(std::string_view text, std::string_view prefix) {
    return text.substr(0, prefix.size()) == prefix;
}

bool contains(std::string_view text, std::string_view part) {
    return text.find(part) != std::string_view::npos;
}

template <size_t N>
bool any_prefix(std::string_view name, const std::string_view (&prefixes)[N]) {
    return std::any_of(std::begin(prefixes), std::end(prefixes),
                       [&](std::string_view prefix) { return starts_with(name, prefix); });
}

template <size_t N>
bool any_equal(std::string_view name, const std::string_view (&names)[N]) {
    return std::find(std::begin(names), std::end(names), name) != std::end(names);
}

constexpr std::string_view kEvalLoop = "_PyEval_EvalFrameDefault";

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

// Start-up code, outside the interpreter.
constexpr std::string_view kStartNames[] = {"_start",
                                            "__libc_start_main",
                                            "__libc_start_call_main",
                                            "__libc_start_main_impl",
                                            "start_thread",
                                            "clone",
                                            "clone3",
                                            "__clone",
                                            "__clone3",
                                            "__clone_internal"};

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

std::string_view file_name(std::string_view path) {
    const size_t slash = path.rfind('/');
    return slash == std::string_view::npos ? path : path.substr(slash + 1);
}

}  // namespace

Role role_of_interpreter_function(std::string_view name) {
    name = strip_suffixes(name);
    if (name == kEvalLoop) {
        return Role::eval_loop;
    }
    if (any_prefix(name, kMachineryPrefixes) || any_equal(name, kMachineryNames) ||
        any_equal(name, kStartNames)) {
        return Role::hidden;
    }
    return Role::shown;
}

Role role_of_learned_function(std::string_view name) {
    return any_equal(name.substr(0, name.find('.')), kMachineryTypes) ? Role::hidden : Role::shown;
}

Classifier Classifier::build(const UnwindTables& tables, Symbolizer& symbolizer,
                             uintptr_t interpreter_address) {
    Classifier classifier;
    const uint32_t interpreter = tables.locate(interpreter_address).module;
    // The profiler starts threads on Python's behalf: that is nothing to show. (A program that it
    // is linked into is.)
    constexpr uint32_t kProgram = 1;
    const uint32_t own =
        tables.locate(reinterpret_cast<uintptr_t>(&role_of_interpreter_function)).module;
    for (const auto& module : tables.modules()) {
        if (module->id == interpreter) {
            classifier.add_interpreter(*module, symbolizer);
        } else if (module->id == own && own != kProgram) {
            for (const ElfSegment& segment : module->loaded.segments) {
                if (segment.type == ElfSegment::kLoad) {
                    classifier.add(own, segment.address, segment.address + segment.memory_size,
                                   Role::hidden);
                }
            }
        } else {
            classifier.add_others(*module, symbolizer);
        }
    }
    classifier.finish();
    return classifier;
}

void Classifier::add(uint32_t module, uint64_t start, uint64_t end, Role role) {
    if (start < end && role != Role::shown) {
        ranges_.push_back({Location{module, start}.key(), Location{module, end}.key(), role});
    }
}

void Classifier::finish() {
    std::sort(ranges_.begin(), ranges_.end(),
              [](const Range& a, const Range& b) { return a.start < b.start; });
}

// What has no name in the interpreter is hidden: in a stripped one that is every static function,
// and showing them as numbers would help nobody.
void Classifier::add_interpreter(const Module& module, Symbolizer& symbolizer) {
    struct Named {
        uint64_t start;
        uint64_t end;
        Role role;
    };
    std::vector<Named> named;
    const FunctionTable& functions = symbolizer.functions(module.id);
    for (const Function& function : functions.functions()) {
        named.push_back(
            {function.start, function.end, role_of_interpreter_function(function.name)});
        knows_eval_loop_ = knows_eval_loop_ || named.back().role == Role::eval_loop;
    }
    if (!functions.complete()) {
        for (const CodeRange& range : symbolizer.code(module.id)) {
            if (functions.find(range.start) != nullptr) {
                continue;
            }
            const Symbolizer::Name name = symbolizer.name(module.id, range.start);
            if (name.origin == Symbolizer::Origin::symbol) {
                named.push_back({range.start, range.end, role_of_interpreter_function(name.text)});
            } else if (name.origin == Symbolizer::Origin::learned) {
                named.push_back({range.start, range.end, role_of_learned_function(name.text)});
            }
        }
        std::sort(named.begin(), named.end(),
                  [](const Named& a, const Named& b) { return a.start < b.start; });
    }
    for (const ElfSegment& segment : module.loaded.segments) {
        if (segment.type != ElfSegment::kLoad || (segment.flags & ElfSegment::kExecutable) == 0) {
            continue;
        }
        uint64_t at = segment.address;
        const uint64_t end = segment.address + segment.memory_size;
        for (const Named& function : named) {
            if (function.start < at || function.end > end) {
                continue;
            }
            add(module.id, at, function.start, Role::hidden);
            add(module.id, function.start, function.end, function.role);
            at = function.end;
        }
        add(module.id, at, end, Role::hidden);
    }
}

void Classifier::add_others(const Module& module, Symbolizer& symbolizer) {
    const std::string_view file = file_name(module.loaded.path);
    const bool libc = starts_with(file, "libc.so") || starts_with(file, "libc-") ||
                      starts_with(file, "libpthread") || starts_with(file, "ld-");
    // The small program around a shared interpreter.
    const bool launcher = starts_with(file, "python");
    const bool program = module.id == 1;
    const bool greenlet = starts_with(file, "_greenlet");
    if (!libc && !launcher && !program && !greenlet) {
        return;
    }
    uint64_t at = 0;
    for (const ElfSegment& segment : module.loaded.segments) {
        if (segment.type != ElfSegment::kLoad || (segment.flags & ElfSegment::kExecutable) == 0) {
            continue;
        }
        at = segment.address;
        const uint64_t end = segment.address + segment.memory_size;
        const Role unnamed = libc || launcher ? Role::outermost : Role::shown;
        for (const Function& function : symbolizer.functions(module.id).functions()) {
            if (function.start < at || function.end > end) {
                continue;
            }
            const std::string_view name = strip_suffixes(function.name);
            Role role = Role::shown;
            if (any_equal(name, kStartNames) || (launcher && name == "main")) {
                role = Role::hidden;
            } else if (greenlet && contains(name, "g_initialstub")) {
                role = Role::stack_base;
            }
            add(module.id, at, function.start, unnamed);
            add(module.id, function.start, function.end, role);
            at = function.end;
        }
        add(module.id, at, end, unnamed);
    }
}

Role Classifier::role(const Location& location) const {
    const uint64_t key = location.key();
    const auto above =
        std::upper_bound(ranges_.begin(), ranges_.end(), key,
                         [](uint64_t value, const Range& range) { return value < range.start; });
    if (above == ranges_.begin() || key >= above[-1].end) {
        return Role::shown;
    }
    return above[-1].role;
}

NativeFrames::NativeFrames(const UnwindTables& tables, Symbolizer& symbolizer,
                           uintptr_t interpreter_address)
    : tables_(tables), symbolizer_(symbolizer), interpreter_address_(interpreter_address) {
    modules_changed();
}

void NativeFrames::modules_changed() {
    classifier_ = Classifier::build(tables_, symbolizer_, interpreter_address_);
    known_.clear();
}

NativeFrames::Frame NativeFrames::at(uintptr_t lookup) {
    const auto [found, inserted] = known_.try_emplace(lookup);
    if (inserted) {
        const Location location = tables_.locate(lookup);
        found->second = {location.key(), classifier_.role(location)};
    }
    return found->second;
}

}  // namespace spprof::native
