// What has been sampled so far: interned code keys, frames and stacks, and the sample columns, all
// within a memory limit. Code addresses are opaque keys. Knows neither Python nor the OS.
//
// Not thread-safe: the collector's mutex guards it.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <unordered_map>
#include <vector>

#include "profile/interning.h"

namespace spprof::profile {

enum class FrameKind : std::uint8_t {
    python,   // code row + instruction offset
    native,   // address of a machine instruction
    special,  // a marker such as "[truncated]"
};

enum class SpecialFrame : std::uint32_t { truncated, memory_limit };

// Bits of the sample.state column; see docs/ARCHITECTURE.md.
struct SampleState {
    static constexpr std::uint8_t kWaiting = 1;
    static constexpr std::uint8_t kGilNotHeld = 1 << 2;
    static constexpr std::uint8_t kGilHeld = 2 << 2;
    static constexpr std::uint8_t kMismatched = 1 << 4;
};

class Strings {
public:
    std::uint32_t intern(const std::string& text);
    const std::vector<std::string>& all() const noexcept { return texts_; }
    std::size_t bytes() const noexcept { return bytes_; }

private:
    std::unordered_map<std::string, std::uint32_t> rows_;
    std::vector<std::string> texts_;
    std::size_t bytes_ = 0;
};

// Who a code key was, once somebody who may ask the interpreter has named it.
struct CodeName {
    std::uint32_t name = kNone;
    std::uint32_t file = kNone;
    std::int32_t first_line = 0;
    bool known() const noexcept { return name != kNone; }
};

class Recording {
public:
    Recording(std::size_t memory_limit_bytes, bool counts_only);

    // --- interning ------------------------------------------------------------------------------

    std::uint32_t python_frame(std::uint64_t code_address, std::uint32_t offset);
    std::uint32_t native_frame(std::uint64_t address);
    std::uint32_t special_frame(SpecialFrame which);
    // The stack with `frame` on top of `parent` (kNone: root). At the memory limit, stacks that
    // are not known yet are counted under a "[memory limit]" frame of their nearest known caller.
    std::uint32_t stack(std::uint32_t parent, std::uint32_t frame);

    // --- samples --------------------------------------------------------------------------------

    std::uint32_t add_thread(std::int64_t tid, std::string name);
    void rename_thread(std::uint32_t thread, std::string name);

    // One more sample; extends the thread's last row when nothing but the time differs. `count` may
    // be more than one: a thread that was seen waiting for so many ticks.
    void add_sample(std::uint32_t thread, std::uint32_t stack, std::uint8_t state,
                    std::int64_t time_ns, std::uint32_t count, std::int64_t weight_ns);
    // Adds time to the thread's last row in which it was waiting, or running: what passed since
    // its last sample. `time_ns`: until when. False when the thread has no such row yet.
    bool extend(std::uint32_t thread, bool waiting, std::int64_t time_ns, std::uint32_t count,
                std::int64_t weight_ns);

    // --- code objects that are about to die
    // -------------------------------------------------------

    // Row of the code key, kNone when it was never sampled.
    std::uint32_t find_code(std::uint64_t address) const noexcept {
        return codes_by_address_.find(address);
    }
    // From now on the address means a new code object.
    void forget_code(std::uint64_t address) noexcept { codes_by_address_.erase(address); }

    // Calls visit(frame_row, offset) for each frame of a code row.
    template <class Visit>
    void each_frame_of(std::uint32_t code, Visit visit) const {
        for (std::uint32_t f = codes_[code].first_frame; f != kNone; f = frames_[f].next_of_code) {
            visit(f, frames_[f].offset);
        }
    }

    // --- the tables, for whoever turns them into names
    // --------------------------------------------

    struct Code {
        std::uint64_t address = 0;
        std::uint32_t first_frame = kNone;
        CodeName name;
    };
    struct FrameRow {
        std::uint64_t value = 0;  // code row, address or SpecialFrame
        std::uint32_t offset = 0;
        std::int32_t line = 0;
        std::uint32_t next_of_code = kNone;
        FrameKind kind = FrameKind::python;
    };
    struct Thread {
        std::int64_t tid = 0;
        std::string name;
        std::uint32_t last_row = kNone;
        std::uint32_t last_row_doing[2] = {kNone, kNone};  // running, waiting
    };

    Strings& strings() noexcept { return strings_; }
    std::vector<Code>& codes() noexcept { return codes_; }
    std::vector<FrameRow>& frames() noexcept { return frames_; }
    const std::vector<Thread>& threads() const noexcept { return threads_; }
    const Column<std::uint32_t>& stack_parents() const noexcept { return stack_parent_; }
    const Column<std::uint32_t>& stack_frames() const noexcept { return stack_frame_; }

    struct Samples {
        Column<std::uint32_t> thread, stack, count;
        Column<std::int64_t> time, last, weight;
        Column<std::uint8_t> state;
        std::size_t bytes() const noexcept {
            return thread.bytes() + stack.bytes() + count.bytes() + time.bytes() + last.bytes() +
                   weight.bytes() + state.bytes();
        }
        void make_room();  // for one row more
        Samples copy() const;
        void clear() noexcept;
    };
    Samples& samples() noexcept { return samples_; }

    std::uint64_t sample_count() const noexcept { return sample_count_; }
    std::size_t bytes() const noexcept;
    // Memory that somebody else uses on behalf of this profile (rings).
    void set_outside_bytes(std::size_t bytes) noexcept { outside_bytes_ = bytes; }
    bool counts_only() const noexcept { return counts_only_; }
    // Time of the first sample whose timestamp was given up for the memory limit; -1: never.
    std::int64_t timestamps_until_ns() const noexcept { return timestamps_until_ns_; }
    bool stacks_were_cut() const noexcept { return stacks_were_cut_; }

private:
    bool full() const noexcept { return bytes() >= memory_limit_; }
    // Nothing new is interned any more; what is known goes on counting.
    bool at_limit() const noexcept { return counts_only_ && full(); }
    void give_up_timestamps(std::int64_t now_ns);
    void append_row(std::uint32_t thread, std::uint32_t stack, std::uint8_t state,
                    std::int64_t time_ns, std::int64_t last_ns, std::uint32_t count,
                    std::int64_t weight_ns);
    void count_row(std::uint32_t thread, std::uint32_t stack, std::uint8_t state,
                   std::uint32_t count, std::int64_t weight_ns);
    std::uint32_t add_frame(FrameRow row, RowMap* rows, std::uint64_t key);
    void set_last_row(std::uint32_t thread, std::uint32_t row) noexcept;

    std::size_t memory_limit_;
    std::size_t outside_bytes_ = 0;
    bool counts_only_;
    std::int64_t timestamps_until_ns_ = -1;
    bool stacks_were_cut_ = false;
    std::uint64_t sample_count_ = 0;

    Strings strings_;
    std::vector<Code> codes_;
    RowMap codes_by_address_;
    std::vector<FrameRow> frames_;
    RowMap python_frames_;  // code row << 32 | offset
    RowMap native_frames_;  // address
    std::uint32_t special_frames_[2] = {kNone, kNone};
    Column<std::uint32_t> stack_parent_, stack_frame_;
    RowMap stacks_;  // parent << 32 | frame
    std::vector<Thread> threads_;
    Samples samples_;
    RowMap counted_rows_;  // counts only: (thread, state) bucket and stack -> row
};

}  // namespace spprof::profile
