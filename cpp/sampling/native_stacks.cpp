// See native_stacks.h.
#include "sampling/native_stacks.h"

#include <atomic>
#include <utility>

#include "interpreter/eval_functions.h"
#include "interpreter/known_functions.h"
#include "native/capture.h"

namespace spprof::sampling {

namespace {

native::Role role_of(interpreter::FunctionKind kind) {
    switch (kind) {
        case interpreter::FunctionKind::eval_loop:
            return native::Role::eval_loop;
        case interpreter::FunctionKind::machinery:
            return native::Role::hidden;
        case interpreter::FunctionKind::jit_entry:
            return native::Role::jit_entry;
        case interpreter::FunctionKind::outermost:
            return native::Role::outermost;
        case interpreter::FunctionKind::new_stack:
            return native::Role::stack_base;
        default:
            return native::Role::shown;
    }
}

native::InterpreterFunctions interpreter_functions() {
    native::InterpreterFunctions functions{};
    functions.any_function = interpreter::an_interpreter_function();
    functions.role_of_function = [](std::string_view name) {
        return role_of(interpreter::kind_of_function(name));
    };
    functions.role_of_method = [](std::string_view name) {
        return role_of(interpreter::kind_of_method(name));
    };
    functions.role_in_file = [](std::string_view file, std::string_view function,
                                native::Role& role) {
        interpreter::FunctionKind kind = interpreter::FunctionKind::ordinary;
        const bool known = interpreter::kind_in_file(file, function, kind);
        role = role_of(kind);
        return known;
    };
    return functions;
}

// What is known of the process's code, whichever session asks.
struct KnownCode {
    native::CodeMap map;
    native::Symbolizer symbolizer{map};
    native::Classifier classifier{map, symbolizer, interpreter_functions()};
};

KnownCode& known_code() {
    static auto* code = new KnownCode;  // never destroyed: signals may come late
    return *code;
}

// What to look up: a return address may already belong to the next function.
std::uintptr_t lookup_address(std::size_t index, std::uintptr_t address) noexcept {
    return index == 0 ? address : address - 1;
}

}  // namespace

bool native_unwinding_available() noexcept {
#if defined(__linux__) && (defined(__x86_64__) || defined(__aarch64__))
    return true;
#elif defined(_WIN32) && (defined(__x86_64__) || defined(_M_X64))
    return true;
#else
    return false;
#endif
}

native::CodeMap& code_map() { return known_code().map; }

void native_before_fork() {
    known_code().classifier.before_fork();
    known_code().symbolizer.before_fork();
    known_code().map.before_fork();
}

void native_after_fork_in_parent() {
    known_code().map.after_fork_in_parent();
    known_code().symbolizer.after_fork();
    known_code().classifier.after_fork();
}

void native_after_fork_in_child() {
    known_code().map.after_fork_in_child();
    known_code().symbolizer.after_fork();
    known_code().classifier.after_fork();
}

void learn_known_functions() {
    native::Symbolizer& symbolizer = known_code().symbolizer;
    symbolizer.look_up();
    if (!symbolizer.wants_known_functions()) {
        return;
    }
    std::vector<native::KnownFunction> functions;
    // It takes long to ask, and what is to be had grows with the modules.
    static std::atomic<std::size_t> modules_asked{0};
    const std::size_t modules = interpreter::module_count();
    if (modules_asked.exchange(modules) != modules) {
        for (interpreter::KnownFunction& known : interpreter::known_functions()) {
            functions.push_back({known.address, std::move(known.name)});
        }
    }
    symbolizer.learn(functions);
}

std::vector<NamedAddress> capture_native_stack() {
    KnownCode& code = known_code();
    const std::vector<std::uintptr_t> addresses = native::capture_here(code.map);
    std::vector<native::Location> locations;
    locations.reserve(addresses.size());
    for (const std::uintptr_t address : addresses) {
        // Every one of them is a return address.
        locations.push_back(code.map.locate(address - 1));
        code.symbolizer.want(locations.back());
    }
    learn_known_functions();
    std::vector<NamedAddress> result;
    result.reserve(addresses.size());
    for (std::size_t i = 0; i < addresses.size(); ++i) {
        result.push_back({addresses[i], code.symbolizer.symbolize(locations[i])});
    }
    return result;
}

NativeStacks::NativeStacks()
    : frames_((code_map().refresh(), code_map()), known_code().symbolizer,
              known_code().classifier) {}

void NativeStacks::refresh() {
    code_map().refresh();
    for (const std::uintptr_t address : code_map().take_unknown()) {
        known_code().symbolizer.guess_rules_around(address);
    }
    known_code().classifier.prepare();
    known_code().symbolizer.look_for_makers();
    known_code().symbolizer.look_up_some();
}

bool NativeStacks::merge(const SampleRecord& record, std::vector<Frame>& out) {
    python_.clear();
    for (std::size_t i = 0; i < record.python_count; ++i) {
        const interpreter::PyFrameRecord& frame = record.python()[i];
        python_.push_back(
            {(frame.flags & interpreter::PyFrameRecord::kEntry) != 0, frame.code != 0});
    }
    roles_.clear();
    keys_.clear();
    frames_.begin_sample(record.time_ns);
    for (std::size_t i = 0; i < record.native_count; ++i) {
        const native::NativeFrames::Frame frame =
            frames_.at(lookup_address(i, record.native()[i]), record.time_ns);
        roles_.push_back(frame.role);
        keys_.push_back(frame.key);
    }
    native::hide_jit(roles_);
    const native::PythonStack python{python_.data(), python_.size(), record.truncated != 0};
    const native::NativeStack machine{roles_.data(), roles_.size(),
                                      static_cast<native::End>(record.native_end)};
    const bool fits = native::merge(python, machine, merged_);
    out.clear();
    for (const native::MergedFrame& frame : merged_) {
        out.push_back({frame.native, frame.native ? keys_[frame.index] : frame.index});
    }
    return fits;
}

std::size_t NativeStacks::bytes() const {
    const KnownCode& code = known_code();
    return code.map.bytes() + code.symbolizer.bytes() + code.classifier.bytes() + frames_.bytes();
}

void NativeStacks::finish_names() { known_code().symbolizer.look_up(); }

NativeStacks::Name NativeStacks::name(std::uint64_t key) const {
    const native::Location location = native::Location::from_key(key);
    Name name{known_code().symbolizer.symbolize(location), false};
    name.hidden = known_code().classifier.hides(location, name.symbol);
    return name;
}

std::string NativeStacks::build_id(const std::string& path) const {
    for (const auto& module : code_map().modules()) {
        if (module->path == path) {
            return module->format->build_id();
        }
    }
    return {};
}

}  // namespace spprof::sampling
