// The Python module spprof._native, and the only file that knows nanobind. What the functions mean
// is documented in docs/ARCHITECTURE.md; the public API is the Python package.
#include <nanobind/nanobind.h>
#include <nanobind/stl/string.h>
#include <nanobind/stl/tuple.h>
#include <nanobind/stl/vector.h>

#include <cstring>
#include <string>
#include <vector>

#include "interpreter/call_report.h"
#include "interpreter/collection.h"
#include "interpreter/fork_call.h"
#include "interpreter/jobs.h"
#include "interpreter/loop_rounds.h"
#include "interpreter/regions.h"
#include "interpreter/self_test.h"
#include "interpreter/thread_hooks.h"
#include "native/demangle.h"
#include "native/hexadecimal.h"
#include "platform/clocks.h"
#include "platform/observer.h"
#include "platform/safe_memory.h"
#include "platform/threads.h"
#include "sampling/native_stacks.h"
#include "sampling/session.h"

namespace nb = nanobind;
using spprof::sampling::Session;

namespace {

// The session of this process. Never destroyed: hooks may call late.
Session& session() {
    static auto* const instance = new Session;
    return *instance;
}

// (thread id of the system, name, Python's identifier). Only the lower half of the first is ours.
using ThreadNames = std::vector<std::tuple<std::uint64_t, std::string, std::uintptr_t>>;

std::vector<spprof::sampling::ThreadName> to_names(const ThreadNames& names) {
    std::vector<spprof::sampling::ThreadName> result;
    for (const auto& [tid, name, ident] : names) {
        result.push_back({static_cast<spprof::platform::Tid>(tid), name, ident});
    }
    return result;
}

template <class T>
nb::bytes to_bytes(const spprof::profile::Column<T>& column) {
    PyObject* bytes =
        PyBytes_FromStringAndSize(nullptr, static_cast<Py_ssize_t>(column.size() * sizeof(T)));
    if (bytes == nullptr) {
        throw nb::python_error();
    }
    column.copy_to(PyBytes_AS_STRING(bytes));
    return nb::steal<nb::bytes>(bytes);
}

template <class T>
nb::bytes to_bytes(const std::vector<T>& values) {
    return nb::bytes(values.data(), values.size() * sizeof(T));
}

nb::list to_list(const std::vector<std::string>& texts) {
    nb::list result;
    for (const std::string& text : texts) {
        result.append(nb::str(text.data(), text.size()));
    }
    return result;
}

nb::dict to_dict(const spprof::sampling::Figures& figures) {
    nb::dict result;
    result["samples"] = figures.samples;
    result["dropped"] = figures.dropped;
    result["torn"] = figures.torn;
    result["mismatched"] = figures.mismatched;
    result["handler_calls"] = figures.handler_calls;
    result["handler_ns"] = figures.handler_ns;
    result["handler_worst_ns"] = figures.handler_worst_ns;
    result["calls_continued"] = figures.calls_continued;
    result["calls_cut_short"] = figures.calls_cut_short;
    result["duration_ns"] = figures.duration_ns;
    result["process_cpu_ns"] = figures.process_cpu_ns;
    result["background_cpu_ns"] = figures.background_cpu_ns;
    result["threads"] = figures.threads;
    result["memory_bytes"] = figures.memory_bytes;
    result["paused"] = figures.paused;
    return result;
}

std::string start(std::int64_t interval_ns, const std::string& mode, std::size_t memory_limit_bytes,
                  bool native, bool aggregate, const ThreadNames& names) {
    spprof::sampling::Settings settings;
    settings.interval_ns = interval_ns;
    settings.mode = mode == "wall" ? spprof::sampling::Mode::wall : spprof::sampling::Mode::cpu;
    settings.memory_limit_bytes = memory_limit_bytes;
    settings.native = native;
    settings.aggregate = aggregate;
    return session().start(settings, to_names(names));
}

nb::dict to_dict(spprof::sampling::Outcome outcome) {
    spprof::profile::Tables& tables = outcome.tables;
    nb::dict columns;
    columns["func.name"] = to_bytes(tables.func_name);
    columns["func.file"] = to_bytes(tables.func_file);
    columns["func.line"] = to_bytes(tables.func_line);
    columns["func.flags"] = to_bytes(tables.func_flags);
    columns["frame.func"] = to_bytes(tables.frame_func);
    columns["frame.line"] = to_bytes(tables.frame_line);
    columns["frame.address"] = to_bytes(tables.frame_address);
    columns["stack.parent"] = to_bytes(tables.stack_parent);
    columns["stack.frame"] = to_bytes(tables.stack_frame);
    // A column is given up as soon as it is copied: never two of everything in memory.
    const auto move_out = [&columns](const char* name, auto& column) {
        columns[name] = to_bytes(column);
        column.clear();
    };
    move_out("sample.thread", tables.samples.thread);
    move_out("sample.stack", tables.samples.stack);
    move_out("sample.time", tables.samples.time);
    move_out("sample.last", tables.samples.last);
    move_out("sample.count", tables.samples.count);
    move_out("sample.weight", tables.samples.weight);
    move_out("sample.state", tables.samples.state);
    if (!tables.label_parent.empty()) {
        columns["label.parent"] = to_bytes(tables.label_parent);
        columns["label.key"] = to_bytes(tables.label_key);
        columns["label.value"] = to_bytes(tables.label_value);
        move_out("sample.label", tables.samples.label);  // kNone is -1
    }
    nb::list threads;
    for (const auto& thread : tables.threads) {
        nb::dict row;
        row["tid"] = thread.tid;
        row["name"] = thread.name;
        row["pid"] = spprof::platform::current_pid();
        row["host"] = "";
        threads.append(row);
    }
    nb::list modules;
    for (const auto& module : tables.modules) {
        nb::dict row;
        row["path"] = module.path;
        row["build_id"] = spprof::native::hexadecimal(std::string_view(module.build_id));
        modules.append(row);
    }
    nb::dict meta;
    meta["start_realtime_ns"] = outcome.start_realtime_ns;
    meta["start_monotonic_ns"] = outcome.start_ns;
    meta["end_realtime_ns"] = outcome.end_realtime_ns;
    meta["duration_ns"] = outcome.figures.duration_ns;
    meta["interval_ns"] = outcome.settings.interval_ns;
    meta["mode"] = outcome.settings.mode == spprof::sampling::Mode::wall ? "wall" : "cpu";
    meta["engine"] = outcome.engine;
    meta["dropped_count"] = outcome.figures.dropped;
    meta["timestamps_until_ns"] = outcome.timestamps_until_ns;
    meta["unsampled_ns"] = outcome.unsampled_ns;
    nb::list out_of_reach;
    for (const auto& [thread, cpu_ns] : outcome.out_of_reach) {
        out_of_reach.append(nb::make_tuple(thread, cpu_ns));
    }
    meta["out_of_reach"] = out_of_reach;
    nb::list hardly_met;
    for (const auto& [thread, samples, due] : outcome.hardly_met) {
        hardly_met.append(nb::make_tuple(thread, samples, due));
    }
    meta["hardly_met"] = hardly_met;
    meta["stacks_were_cut"] = outcome.stacks_were_cut;
    meta["notes"] = to_list(outcome.notes);
    meta["modules"] = modules;
    nb::dict result;
    result["columns"] = columns;
    result["strings"] = to_list(tables.strings);
    result["threads"] = threads;
    result["meta"] = meta;
    result["stats"] = to_dict(outcome.figures);
    return result;
}

// Owns a new reference, or throws the exception that is set.
nb::object owned(PyObject* made) {
    if (made == nullptr) {
        throw nb::python_error();
    }
    return nb::steal(made);
}

// Stands in for a function of the interpreter that starts threads, such as
// _thread.start_new_thread.
nb::object thread_starter(const nb::object& original) {
    constexpr spprof::interpreter::ThreadEvents events = {
        []() noexcept { return session().registry().current_thread_begins(); },
        spprof::platform::current_thread_cpu_ns,
        [](const char* name, std::int64_t left_python_ns) noexcept {
            session().registry().current_thread_ends(name, left_python_ns);
        },
    };
    return owned(spprof::interpreter::reporting_thread_starter(original.ptr(), events));
}

// Stands in for a function whose calls are reported.
nb::object reporting_caller(const nb::object& original, const nb::object& before,
                            const nb::object& after) {
    return owned(spprof::interpreter::reporting_caller(original.ptr(), before.ptr(), after.ptr()));
}

}  // namespace

NB_MODULE(_native, module) {
    module.doc() = "The native core of spprof (internal).";

    if (const char* problem = spprof::interpreter::self_test()) {
        throw nb::import_error(problem);
    }
    session();

    module.def("start", &start, nb::arg("interval_ns"), nb::arg("mode"),
               nb::arg("memory_limit_bytes"), nb::arg("native"), nb::arg("aggregate"),
               nb::arg("names") = ThreadNames{});
    module.def(
        "stop", [](const ThreadNames& names) { return to_dict(session().stop(to_names(names))); },
        nb::arg("names") = ThreadNames{});
    module.def(
        "snapshot",
        [](const ThreadNames& names) { return to_dict(session().snapshot(to_names(names))); },
        nb::arg("names") = ThreadNames{});
    module.def("is_active", [] { return session().active(); });
    module.def("stats", [] { return to_dict(session().figures()); });
    module.def("notes", [] { return to_list(session().notes()); });
    module.def("pause", [] { return session().pause(); });
    module.def("resume", [] { session().resume(); });
    module.def("give_signal_back", [] { session().give_signal_back(); });
    module.def("take_signal_again", [] { session().take_signal_again(); });
    // For tests: what the handler's fault-tolerant loads make of an address.
    module.def("can_read", [](std::uintptr_t address) {
        if (!session().active()) {
            throw std::runtime_error("Profiler not running");
        }
        std::uintptr_t word = 0;
        return spprof::platform::SafeMemory().load(address, word);
    });
    module.def("set_handler_does_nothing", &spprof::platform::set_visits_do_nothing);
    module.def(
        "register_thread",
        [](const std::string& name, std::uintptr_t ident) {
            return session().register_current_thread(name, ident);
        },
        nb::arg("name") = "", nb::arg("ident") = 0);
    module.def("about_to_block_signal", [] { session().current_thread_closes_itself(); });
    module.def("is_thread_registered", [] { return session().current_thread_is_registered(); });
    module.def(
        "settle_thread", [](const std::string& name) { session().settle_current_thread(name); },
        nb::arg("name"));
    module.def("unregister_thread", [] { return session().unregister_current_thread(); });
    module.def("end_threads", [] {
        spprof::interpreter::fork_begins();
        session().end_threads();
    });
    module.def("begin_threads", [] {
        const auto begin = []() noexcept { session().begin_threads(); };
        if (!spprof::interpreter::call_when_fork_has_returned(begin)) {
            begin();
        }
    });
    module.def("after_fork_in_child", [] {
        spprof::interpreter::forget_fork();
        session().after_fork_in_child();
    });
    module.def("native_unwinding_available", &spprof::sampling::native_unwinding_available);
    module.def("demangle", [](const std::string& name) { return spprof::native::demangle(name); });
    // (address, name, module, offset in the function, whether the name is known) of each frame
    module.def("capture_native_stack", [] {
        nb::list result;
        for (const spprof::sampling::NamedAddress& frame :
             spprof::sampling::capture_native_stack()) {
            result.append(nb::make_tuple(frame.address, frame.symbol.name, frame.symbol.module,
                                         frame.symbol.function_offset, frame.symbol.resolved));
        }
        return result;
    });
    module.def("region_type", [] { return owned(spprof::interpreter::region_type()); });
    module.def("job_hook_type", [] { return owned(spprof::interpreter::job_hook_type()); });
    module.def("collection_callback",
               [] { return owned(spprof::interpreter::collection_callback()); });
    module.def("loop_watch_type", [] { return owned(spprof::interpreter::loop_watch_type()); });
    module.def("loop_hook_type", [] {
        return owned(spprof::interpreter::loop_hook_type(&spprof::platform::monotonic_ns));
    });
    module.def("monotonic_ns", &spprof::platform::monotonic_ns);
    module.def("labels_in", [](const nb::object& context) {
        return owned(spprof::interpreter::labels_in(context.ptr()));
    });
    module.def("regions_entered", &spprof::interpreter::regions_entered);
    module.def("kernel_tick_ns", &spprof::platform::kernel_tick_ns);
    module.def("thread_starter", &thread_starter, nb::arg("original"));
    module.def("reporting_caller", &reporting_caller, nb::arg("original"), nb::arg("before").none(),
               nb::arg("after").none());
}
