// See native_stacks.h.
#include "sampling/native_stacks.h"

#include <utility>

#include "interpreter/known_functions.h"
#include "native/capture.h"

namespace spprof::sampling {

namespace {

void teach(native::Symbolizer& symbolizer, std::vector<interpreter::KnownFunction> known) {
    std::vector<native::KnownFunction> functions;
    for (interpreter::KnownFunction& function : known) {
        functions.push_back({function.address, std::move(function.name)});
    }
    symbolizer.learn(functions);
}

// What to look up: a return address may already belong to the next function.
std::uintptr_t lookup_address(std::size_t index, std::uintptr_t address) noexcept {
    return index == 0 ? address : address - 1;
}

}  // namespace

bool native_unwinding_available() noexcept {
#if defined(__linux__) && (defined(__x86_64__) || defined(__aarch64__))
    return true;
#else
    return false;
#endif
}

native::UnwindTables& unwind_tables() {
    static auto* tables = new native::UnwindTables;  // never destroyed: signals may come late
    return *tables;
}

std::vector<NamedAddress> capture_native_stack() {
    const std::vector<std::uintptr_t> addresses = native::capture_here(unwind_tables());
    native::Symbolizer symbolizer(unwind_tables());
    teach(symbolizer, interpreter::known_functions());
    std::vector<NamedAddress> result;
    for (const std::uintptr_t address : addresses) {
        // Every one of them is a return address.
        result.push_back({address, symbolizer.symbolize(unwind_tables().locate(address - 1))});
    }
    return result;
}

NativeStacks::NativeStacks()
    : symbolizer_((unwind_tables().refresh(), unwind_tables())),
      frames_((teach(symbolizer_, interpreter::known_functions()), unwind_tables()), symbolizer_,
              interpreter::an_interpreter_function()) {}

bool NativeStacks::merge(const SampleRecord& record, std::vector<Frame>& out) {
    python_.clear();
    for (std::size_t i = 0; i < record.python_count; ++i) {
        const interpreter::PyFrameRecord& frame = record.python()[i];
        python_.push_back(
            {(frame.flags & interpreter::PyFrameRecord::kEntry) != 0, frame.code != 0});
    }
    roles_.clear();
    keys_.clear();
    for (std::size_t i = 0; i < record.native_count; ++i) {
        const native::NativeFrames::Frame frame = frames_.at(lookup_address(i, record.native()[i]));
        roles_.push_back(frame.role);
        keys_.push_back(frame.key);
    }
    const native::PythonStack python{python_.data(), python_.size(), record.truncated};
    const native::NativeStack machine{roles_.data(), roles_.size(),
                                      static_cast<native::End>(record.native_end)};
    const bool fits = native::merge(python, machine, merged_);
    out.clear();
    for (const native::MergedFrame& frame : merged_) {
        out.push_back({frame.native, frame.native ? keys_[frame.index] : frame.index});
    }
    return fits;
}

void NativeStacks::learn(std::vector<interpreter::KnownFunction> known) {
    teach(symbolizer_, std::move(known));
}

native::Symbol NativeStacks::name(std::uint64_t key) {
    return symbolizer_.symbolize(native::Location::from_key(key));
}

std::string NativeStacks::build_id(const std::string& path) const {
    for (const auto& module : unwind_tables().modules()) {
        if (module->loaded.path == path) {
            return module->build_id;
        }
    }
    return {};
}

}  // namespace spprof::sampling
