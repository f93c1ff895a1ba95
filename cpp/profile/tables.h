// A finished profile: the columns of docs/ARCHITECTURE.md with every name resolved. Plain data.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "profile/recording.h"

namespace spprof::profile {

struct Tables {
    std::vector<std::string> strings;
    std::vector<std::uint32_t> func_name, func_file;
    std::vector<std::int32_t> func_line;
    std::vector<std::uint8_t> func_flags;
    std::vector<std::uint32_t> frame_func;
    std::vector<std::int32_t> frame_line;
    std::vector<std::uint64_t> frame_address;
    std::vector<std::int32_t> stack_parent;
    std::vector<std::uint32_t> stack_frame;
    std::vector<std::int32_t> label_parent;
    std::vector<std::uint32_t> label_key, label_value;
    Recording::Samples samples;
    struct Thread {
        std::int64_t tid;
        std::string name;
    };
    std::vector<Thread> threads;
    struct Module {
        std::string path, build_id;
    };
    std::vector<Module> modules;

    static constexpr std::uint8_t kNativeFunction = 1;
};

// Who a frame is, as far as it matters to a reader of the profile.
struct ResolvedFrame {
    std::uint32_t name = kNone;
    std::uint32_t file = kNone;
    std::int32_t first_line = 0;
    std::int32_t line = 0;
    bool native = false;
    bool hidden = false;  // left out of all stacks in which others are
    std::uint64_t address = 0;
};

// Moves the samples out of the recording and folds its stacks, which tell instructions apart, into
// stacks that tell lines apart. `frames` has one entry for each row of recording.frames(), with
// names interned in recording.strings().
Tables finish(Recording& recording, const std::vector<ResolvedFrame>& frames);

// The same of a recording that goes on: samples are copied.
Tables snapshot(Recording& recording, const std::vector<ResolvedFrame>& frames);

}  // namespace spprof::profile
