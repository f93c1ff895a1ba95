// See naming.h.
#include "sampling/naming.h"

#include <string>

#include "interpreter/code_names.h"

namespace spprof::sampling {

void name_code(profile::Recording& recording, std::uint32_t row) {
    profile::Recording::Code& code = recording.codes()[row];
    const auto object = static_cast<std::uintptr_t>(code.address);
    if (object == 0) {  // it died when there was no memory for its name
        code.name = {recording.strings().intern("[memory limit]"), recording.strings().intern(""),
                     0};
        return;
    }
    const interpreter::CodeDescription description = interpreter::describe(object);
    code.name = {recording.strings().intern(description.name),
                 recording.strings().intern(description.file), description.first_line};
    recording.each_frame_of(row, [&](std::uint32_t frame, std::uint32_t offset) {
        recording.frames()[frame].line = interpreter::line_at(object, offset);
    });
}

std::vector<profile::ResolvedFrame> name_all(profile::Recording& recording, NativeStacks* native) {
    for (std::uint32_t row = 0; row < recording.codes().size(); ++row) {
        const profile::Recording::Code& code = recording.codes()[row];
        if (!code.name.known() || recording.find_code(code.address) == row) {
            name_code(recording, row);
        }
    }
    const std::uint32_t no_file = recording.strings().intern("");
    const std::uint32_t special[] = {recording.strings().intern("[truncated]"),
                                     recording.strings().intern("[memory limit]")};
    std::vector<profile::ResolvedFrame> frames;
    frames.reserve(recording.frames().size());
    for (const profile::Recording::FrameRow& row : recording.frames()) {
        profile::ResolvedFrame frame;
        switch (row.kind) {
            case profile::FrameKind::python: {
                const profile::CodeName& name = recording.codes()[row.value].name;
                frame.name = name.name;
                frame.file = name.file;
                frame.first_line = name.first_line;
                frame.line = row.line;
                break;
            }
            case profile::FrameKind::native: {
                const auto [symbol, hidden] = native->name(row.value);
                frame.native = true;
                frame.hidden = hidden;
                frame.address = symbol.module_offset;
                frame.name = recording.strings().intern(symbol.name);
                frame.file = recording.strings().intern(symbol.module);
                break;
            }
            case profile::FrameKind::special:
                frame.name = special[row.value];
                frame.file = no_file;
                break;
        }
        frames.push_back(frame);
    }
    return frames;
}

void name_modules(profile::Tables& tables, NativeStacks* native) {
    std::vector<bool> listed(tables.strings.size(), false);
    for (std::size_t i = 0; i < tables.func_file.size(); ++i) {
        const std::uint32_t file = tables.func_file[i];
        if (tables.func_flags[i] == profile::Tables::kNativeFunction && !listed[file]) {
            listed[file] = true;
            const std::string& path = tables.strings[file];
            tables.modules.push_back({path, native->build_id(path)});
        }
    }
}

}  // namespace spprof::sampling
