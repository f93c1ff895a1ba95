// See recording.h.
#include "profile/recording.h"

#include <algorithm>
#include <utility>

namespace spprof::profile {

namespace {

constexpr std::uint64_t pair(std::uint32_t high, std::uint32_t low) noexcept {
    return (static_cast<std::uint64_t>(high) << 32) | low;
}

// Grows by a quarter: twice as much at once would go far beyond the limit.
template <class Row>
void make_room(std::vector<Row>& rows) {
    if (rows.size() == rows.capacity()) {
        rows.reserve(rows.size() + std::max<std::size_t>(64, rows.size() / 4));
    }
}

}  // namespace

std::uint32_t Strings::intern(const std::string& text) {
    make_room(texts_);
    const auto [position, is_new] =
        rows_.try_emplace(text, static_cast<std::uint32_t>(texts_.size()));
    if (is_new) {
        try {
            texts_.push_back(text);
        } catch (...) {
            rows_.erase(position);
            throw;
        }
        bytes_ += 2 * (text.size() + sizeof(std::string)) + 32;
    }
    return position->second;
}

void Recording::Samples::make_room() {
    thread.make_room();
    stack.make_room();
    count.make_room();
    time.make_room();
    last.make_room();
    weight.make_room();
    state.make_room();
    if (label.size() > 0) {
        label.make_room();
    }
}

Recording::Samples Recording::Samples::copy() const {
    return {thread.copy(), stack.copy(),  count.copy(), time.copy(),
            last.copy(),   weight.copy(), state.copy(), label.copy()};
}

void Recording::Samples::clear() noexcept {
    thread.clear();
    stack.clear();
    count.clear();
    time.clear();
    last.clear();
    weight.clear();
    state.clear();
    label.clear();
}

Recording::Recording(std::size_t memory_limit_bytes, bool counts_only)
    : memory_limit_(memory_limit_bytes), counts_only_(counts_only) {}

std::size_t Recording::bytes() const noexcept {
    return outside_bytes_ + strings_.bytes() + codes_.capacity() * sizeof(Code) +
           frames_.capacity() * sizeof(FrameRow) + codes_by_address_.bytes() +
           python_frames_.bytes() + native_frames_.bytes() + stack_parent_.bytes() +
           stack_frame_.bytes() + stacks_.bytes() + threads_.capacity() * sizeof(Thread) +
           samples_.bytes() + counted_rows_.bytes() + lanes_.bytes() +
           labels_.size() * (sizeof(Label) + 80);
}

// --- interning ----------------------------------------------------------------------------------

// Of a frame that is interned by `key`. What refers to a row is written when there is room for it,
// so that nothing is half there where memory runs out.
std::uint32_t Recording::add_frame(FrameRow row, RowMap* rows, std::uint64_t key) {
    make_room(frames_);
    const auto number = static_cast<std::uint32_t>(frames_.size());
    if (rows != nullptr) {
        rows->insert(key, number);
    }
    frames_.push_back(row);
    return number;
}

std::uint32_t Recording::python_frame(std::uint64_t code_address, std::uint32_t offset) {
    std::uint32_t code = codes_by_address_.find(code_address);
    if (code == kNone) {
        if (at_limit()) {
            return special_frame(SpecialFrame::memory_limit);
        }
        code = static_cast<std::uint32_t>(codes_.size());
        make_room(codes_);
        codes_by_address_.insert(code_address, code);
        codes_.push_back({code_address, kNone, {}});
    }
    const std::uint64_t key = pair(code, offset);
    std::uint32_t frame = python_frames_.find(key);
    if (frame == kNone) {
        if (at_limit()) {
            return special_frame(SpecialFrame::memory_limit);
        }
        frame = add_frame({code, offset, 0, codes_[code].first_frame, FrameKind::python},
                          &python_frames_, key);
        codes_[code].first_frame = frame;
    }
    return frame;
}

std::uint32_t Recording::native_frame(std::uint64_t address) {
    std::uint32_t frame = native_frames_.find(address);
    if (frame == kNone) {
        if (at_limit()) {
            return special_frame(SpecialFrame::memory_limit);
        }
        frame = add_frame({address, 0, 0, kNone, FrameKind::native}, &native_frames_, address);
    }
    return frame;
}

std::uint32_t Recording::special_frame(SpecialFrame which) {
    std::uint32_t& frame = special_frames_[static_cast<std::size_t>(which)];
    if (frame == kNone) {
        frame = add_frame({static_cast<std::uint64_t>(which), 0, 0, kNone, FrameKind::special},
                          nullptr, 0);
    }
    return frame;
}

std::uint32_t Recording::stack(std::uint32_t parent, std::uint32_t frame) {
    std::uint64_t key = pair(parent, frame);
    std::uint32_t row = stacks_.find(key);
    if (row != kNone) {
        return row;
    }
    const std::uint32_t marker = special_frames_[static_cast<int>(SpecialFrame::memory_limit)];
    if (marker != kNone && parent != kNone && stack_frame_[parent] == marker) {
        return parent;
    }
    if (at_limit()) {
        stacks_were_cut_ = true;
        frame = special_frame(SpecialFrame::memory_limit);
        key = pair(parent, frame);
        row = stacks_.find(key);
        if (row != kNone) {
            return row;
        }
    }
    row = static_cast<std::uint32_t>(stack_parent_.size());
    stack_parent_.make_room();
    stack_frame_.make_room();
    stacks_.insert(key, row);
    stack_parent_.push_back(parent);
    stack_frame_.push_back(frame);
    return row;
}

// --- samples ------------------------------------------------------------------------------------

std::uint32_t Recording::add_thread(std::int64_t tid, std::string name) {
    Thread row;
    row.tid = tid;
    row.name = std::move(name);
    threads_.push_back(std::move(row));
    return static_cast<std::uint32_t>(threads_.size() - 1);
}

void Recording::rename_thread(std::uint32_t thread, std::string name) {
    threads_[thread].name = std::move(name);
}

void Recording::append_row(std::uint32_t thread, std::uint32_t stack, std::uint8_t state,
                           std::int64_t time_ns, std::int64_t last_ns, std::uint32_t count,
                           std::int64_t weight_ns, std::uint32_t label) {
    samples_.make_room();
    if (label != kNone && samples_.label.size() == 0) {
        Column<std::uint32_t> before;
        for (std::size_t row = 0; row < samples_.thread.size(); ++row) {
            before.push_back(kNone);
        }
        before.push_back(label);
        samples_.label = std::move(before);
    } else if (samples_.label.size() > 0) {
        samples_.label.push_back(label);
    }
    samples_.thread.push_back(thread);
    samples_.stack.push_back(stack);
    samples_.state.push_back(state);
    samples_.time.push_back(time_ns);
    samples_.last.push_back(last_ns);
    samples_.count.push_back(count);
    samples_.weight.push_back(weight_ns);
    set_last_row(thread, static_cast<std::uint32_t>(samples_.thread.size() - 1));
}

void Recording::set_last_row(std::uint32_t thread, std::uint32_t row) noexcept {
    threads_[thread].last_row = row;
    threads_[thread].last_row_doing[samples_.state[row] & SampleState::kWaiting] = row;
}

std::uint32_t Recording::label(std::uint32_t parent, const std::string& key,
                               const std::string& value) {
    if (at_limit()) {
        return parent;
    }
    const std::uint32_t key_row = strings_.intern(key), value_row = strings_.intern(value);
    make_room(labels_);
    const auto [position, is_new] = label_rows_.try_emplace(
        {parent, key_row, value_row}, static_cast<std::uint32_t>(labels_.size()));
    if (is_new) {
        labels_.push_back({parent, key_row, value_row});
    }
    return position->second;
}

// Threads by their labels, in 24 bits: what is beyond goes without its labels.
std::uint32_t Recording::lane(std::uint32_t thread, std::uint32_t label) {
    constexpr std::uint32_t kMost = 1u << 24;
    const std::uint64_t key = pair(thread, label);
    std::uint32_t row = lanes_.find(key);
    if (row == kNone) {
        if (lane_count_ >= kMost) {
            return label == kNone ? kMost - 1 : lane(thread, kNone);
        }
        lanes_.insert(key, lane_count_);
        row = lane_count_++;
    }
    return row;
}

// One row for each (thread, stack, state, label). Threads with their labels are bucketed with the
// state to make a key of 64 bits.
void Recording::count_row(std::uint32_t thread, std::uint32_t stack, std::uint8_t state,
                          std::uint32_t count, std::int64_t weight_ns, std::uint32_t label) {
    const std::uint64_t key = pair((lane(thread, label) << 8) | state, stack);
    const std::uint32_t row = counted_rows_.find(key);
    if (row == kNone) {
        samples_.make_room();
        counted_rows_.insert(key, static_cast<std::uint32_t>(samples_.thread.size()));
        append_row(thread, stack, state, -1, -1, count, weight_ns, label);
    } else {
        set_last_row(thread, row);
        samples_.count[row] += count;
        samples_.weight[row] += weight_ns;
    }
}

void Recording::add_sample(std::uint32_t thread, std::uint32_t stack, std::uint8_t state,
                           std::int64_t time_ns, std::uint32_t count, std::int64_t weight_ns,
                           std::uint32_t label) {
    if (!counts_only_ && (samples_.thread.size() & 0xFF) == 0 && full()) {
        give_up_timestamps(time_ns);
    }
    if (counts_only_) {
        count_row(thread, stack, state, count, weight_ns, label);
        sample_count_ += count;
        return;
    }
    const std::uint32_t last = threads_[thread].last_row;
    if (last != kNone && samples_.stack[last] == stack && samples_.state[last] == state &&
        samples_.label_of(last) == label) {
        samples_.last[last] = time_ns;
        samples_.count[last] += count;
        samples_.weight[last] += weight_ns;
    } else {
        append_row(thread, stack, state, time_ns, time_ns, count, weight_ns, label);
    }
    sample_count_ += count;
}

bool Recording::extend(std::uint32_t thread, bool waiting, std::int64_t time_ns,
                       std::uint32_t count, std::int64_t weight_ns) {
    const std::uint32_t row = threads_[thread].last_row_doing[waiting ? 1 : 0];
    if (row == kNone) {
        return false;
    }
    sample_count_ += count;
    samples_.count[row] += count;
    samples_.weight[row] += weight_ns;
    if (!counts_only_ && count > 0 && row == threads_[thread].last_row) {
        samples_.last[row] = time_ns;
    }
    return true;
}

void Recording::give_up_timestamps(std::int64_t now_ns) {
    counts_only_ = true;
    timestamps_until_ns_ = now_ns;
    Samples timed;
    std::swap(timed, samples_);
    for (Thread& thread : threads_) {
        thread.last_row = kNone;
        thread.last_row_doing[0] = kNone;
        thread.last_row_doing[1] = kNone;
    }
    for (std::size_t row = 0; row < timed.thread.size(); ++row) {
        count_row(timed.thread[row], timed.stack[row], timed.state[row], timed.count[row],
                  timed.weight[row], timed.label_of(row));
    }
}

}  // namespace spprof::profile
