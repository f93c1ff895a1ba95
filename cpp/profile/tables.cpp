// See tables.h.
#include "profile/tables.h"

#include <map>
#include <tuple>
#include <utility>

namespace spprof::profile {

namespace {

Tables fold(Recording& recording, Recording::Samples samples,
            const std::vector<ResolvedFrame>& frames) {
    Tables tables;
    std::map<std::tuple<std::uint32_t, std::uint32_t, std::int32_t, bool>, std::uint32_t> functions;
    std::map<std::tuple<std::uint32_t, std::int32_t, std::uint64_t>, std::uint32_t> rows;
    std::vector<std::uint32_t> frame_row(frames.size());
    for (std::size_t i = 0; i < frames.size(); ++i) {
        const ResolvedFrame& frame = frames[i];
        const auto [function, new_function] =
            functions.try_emplace({frame.name, frame.file, frame.first_line, frame.native},
                                  static_cast<std::uint32_t>(tables.func_name.size()));
        if (new_function) {
            tables.func_name.push_back(frame.name);
            tables.func_file.push_back(frame.file);
            tables.func_line.push_back(frame.first_line);
            tables.func_flags.push_back(frame.native ? Tables::kNativeFunction : 0);
        }
        const auto [row, new_row] =
            rows.try_emplace({function->second, frame.line, frame.address},
                             static_cast<std::uint32_t>(tables.frame_func.size()));
        if (new_row) {
            tables.frame_func.push_back(function->second);
            tables.frame_line.push_back(frame.line);
            tables.frame_address.push_back(frame.address);
        }
        frame_row[i] = row->second;
    }

    // A caller's row is always smaller than that of what it called.
    const std::size_t stack_count = recording.stack_parents().size();
    std::vector<std::uint32_t> stack_row(stack_count);
    RowMap stacks;
    const auto row_of = [&](std::uint32_t parent, std::uint32_t frame) {
        const std::uint64_t key = (static_cast<std::uint64_t>(parent) << 32) | frame;
        std::uint32_t row = stacks.find(key);
        if (row == kNone) {
            row = static_cast<std::uint32_t>(tables.stack_parent.size());
            tables.stack_parent.push_back(parent == kNone ? -1 : static_cast<std::int32_t>(parent));
            tables.stack_frame.push_back(frame);
            stacks.insert(key, row);
        }
        return row;
    };
    for (std::size_t i = 0; i < stack_count; ++i) {
        const std::uint32_t old_parent = recording.stack_parents()[i];
        const std::uint32_t parent = old_parent == kNone ? kNone : stack_row[old_parent];
        const std::uint32_t frame = recording.stack_frames()[i];
        stack_row[i] = frames[frame].hidden ? parent : row_of(parent, frame_row[frame]);
    }

    tables.samples = std::move(samples);
    for (std::size_t i = 0; i < tables.samples.stack.size(); ++i) {
        const std::uint32_t stack = tables.samples.stack[i];
        // Where nobody is left, the last one is shown after all.
        tables.samples.stack[i] = stack_row[stack] != kNone
                                      ? stack_row[stack]
                                      : row_of(kNone, frame_row[recording.stack_frames()[stack]]);
    }
    if (tables.samples.label.size() > 0) {
        for (const Recording::Label& label : recording.labels()) {
            tables.label_parent.push_back(
                label.parent == kNone ? -1 : static_cast<std::int32_t>(label.parent));
            tables.label_key.push_back(label.key);
            tables.label_value.push_back(label.value);
        }
    }
    for (const Recording::Thread& thread : recording.threads()) {
        tables.threads.push_back({thread.tid, thread.name});
    }
    tables.strings = recording.strings().all();
    return tables;
}

}  // namespace

Tables finish(Recording& recording, const std::vector<ResolvedFrame>& frames) {
    return fold(recording, std::move(recording.samples()), frames);
}

Tables snapshot(Recording& recording, const std::vector<ResolvedFrame>& frames) {
    return fold(recording, recording.samples().copy(), frames);
}

}  // namespace spprof::profile
