// Owns the judgement whose code an address is: eval loop, call machinery, start-up code, or
// something a person wants to see.
#include "native/classify.h"

#include <algorithm>

#include "native/demangle.h"

namespace spprof::native {
namespace {

// Start-up code of programs and threads, wherever it was linked into.
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

bool is_start_code(std::string_view name) {
    return std::find(std::begin(kStartNames), std::end(kStartNames), name) != std::end(kStartNames);
}

bool is_system_library(std::string_view file) {
    constexpr std::string_view kPrefixes[] = {"libc.so", "libc-", "libpthread", "ld-"};
    return std::any_of(std::begin(kPrefixes), std::end(kPrefixes), [&](std::string_view prefix) {
        return file.substr(0, prefix.size()) == prefix;
    });
}

// The program itself is the first module that is seen.
constexpr uint32_t kProgram = 1;

}  // namespace

Classifier::Roles Classifier::look_through(const Module& module) {
    const std::string_view path = module.path;
    const std::string_view file = path.substr(path.rfind('/') + 1);
    const bool interpreter = module.id == interpreter_module();
    const bool system = is_system_library(file);
    Role of_file = Role::shown;
    const bool takes_part = interpreter_.role_in_file(file, "", of_file);
    // The profiler starts threads on Python's behalf: that is nothing to show. (A program that it
    // is linked into is.)
    const uintptr_t own = reinterpret_cast<uintptr_t>(&is_system_library);
    Roles roles;
    if (!interpreter && module.id != kProgram && module.id == map_.locate(own).module) {
        roles.others = Role::hidden;
        return roles;
    }
    if (!interpreter && !system && !takes_part && module.id != kProgram) {
        return roles;
    }
    const Symbolizer::ModuleFunctions all = symbolizer_.functions(module.id);
    // What has no name in a stripped interpreter is named later, or not at all.
    roles.others = interpreter ? all.complete ? Role::hidden : Role::shown
                   : system    ? Role::outermost
                               : of_file;
    for (const Function& function : all.functions) {
        const std::string_view name = strip_suffixes(function.name);
        Role role = Role::shown;
        if (is_start_code(name)) {
            role = Role::hidden;
        } else if (interpreter) {
            role = interpreter_.role_of_function(name);
        } else if (takes_part) {
            interpreter_.role_in_file(file, name, role);
        }
        if (role != roles.others) {
            roles.ranges.push_back({function.start, function.end, role});
        }
    }
    return roles;
}

const Classifier::Roles& Classifier::roles_of(uint32_t module) {
    const auto [found, inserted] = modules_.try_emplace(module);
    if (inserted) {
        found->second = look_through(*map_.module(module));
    }
    return found->second;
}

void Classifier::prepare() {
    const std::lock_guard<std::mutex> lock(mutex_);
    const uint32_t interpreter = interpreter_module();
    if (interpreter != 0) {
        roles_of(interpreter);
    }
}

Role Classifier::role(const Location& location) {
    if (location.module == 0) {
        return Role::generated;
    }
    const std::lock_guard<std::mutex> lock(mutex_);
    const Roles& roles = roles_of(location.module);
    const auto above =
        std::upper_bound(roles.ranges.begin(), roles.ranges.end(), location.offset,
                         [](uint64_t value, const Range& range) { return value < range.start; });
    return above == roles.ranges.begin() || location.offset >= above[-1].end ? roles.others
                                                                             : above[-1].role;
}

bool Classifier::hides(const Location& location, const Symbol& symbol) const {
    Role role = Role::shown;
    if (location.module == 0) {
        return interpreter_.role_in_file("", symbol.name, role) && role == Role::hidden;
    }
    return location.module == interpreter_module() &&
           (!symbol.resolved ||
            (symbol.learned && interpreter_.role_of_method(symbol.name) == Role::hidden));
}

size_t Classifier::bytes() const {
    const std::lock_guard<std::mutex> lock(mutex_);
    size_t bytes = 0;
    for (const auto& [id, roles] : modules_) {
        bytes += sizeof(roles) + roles.ranges.capacity() * sizeof(Range);
    }
    return bytes;
}

void NativeFrames::begin_sample(int64_t time_ns) {
    if (time_ns > map_.current_until_ns()) {
        map_.refresh();
    }
    const int64_t since = map_.current_since_ns();
    if (since != since_ns_) {
        since_ns_ = since;
        known_.clear();
    }
}

NativeFrames::Frame NativeFrames::look_up(uintptr_t lookup, int64_t time_ns) {
    const Location location = map_.locate(lookup, time_ns);
    symbolizer_.want(location);
    return {location.key(), classifier_.role(location)};
}

NativeFrames::Frame NativeFrames::at(uintptr_t lookup, int64_t time_ns) {
    if (time_ns < since_ns_) {
        return look_up(lookup, time_ns);
    }
    const auto [found, inserted] = known_.try_emplace(lookup);
    if (inserted) {
        found->second = look_up(lookup, time_ns);
    }
    return found->second;
}

}  // namespace spprof::native
