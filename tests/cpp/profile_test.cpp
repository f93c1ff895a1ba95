// Interned stacks and sample rows: plain data, so every rule of it can be stated.
#include <doctest/doctest.h>

#include <map>
#include <new>
#include <random>
#include <unordered_map>

#include "failing_new.h"
#include "profile/interning.h"
#include "profile/recording.h"
#include "profile/tables.h"

using namespace spprof::profile;
using spprof::testing::allocations_left;

namespace {

constexpr std::size_t kPlenty = std::size_t{1} << 30;

std::uint32_t stack_of(Recording& recording, std::initializer_list<std::uint64_t> codes) {
    std::uint32_t stack = kNone;
    for (const std::uint64_t code : codes) {
        stack = recording.stack(stack, recording.python_frame(code, 0));
    }
    return stack;
}

std::vector<ResolvedFrame> named(Recording& recording) {
    std::vector<ResolvedFrame> result;
    for (const Recording::FrameRow& row : recording.frames()) {
        ResolvedFrame frame;
        frame.file = recording.strings().intern("f.py");
        frame.name = recording.strings().intern(
            row.kind == FrameKind::python
                ? "code" + std::to_string(recording.codes()[row.value].address)
                : "special" + std::to_string(row.value));
        frame.line = row.line;
        result.push_back(frame);
    }
    return result;
}

}  // namespace

TEST_CASE("RowMap does what a map does, erasing included") {
    RowMap map;
    std::unordered_map<std::uint64_t, std::uint32_t> model;
    std::mt19937_64 random(1);
    for (std::uint32_t step = 0; step < 200'000; ++step) {
        // Few keys, neighbours among them: long probes, and holes in their middle.
        const std::uint64_t key = random() % 5000 << (random() % 2 * 32);
        switch (random() % 3) {
            case 0:
                if (model.emplace(key, step).second) {
                    map.insert(key, step);
                }
                break;
            case 1:
                map.erase(key);
                model.erase(key);
                break;
            default: {
                const auto found = model.find(key);
                REQUIRE(map.find(key) == (found == model.end() ? kNone : found->second));
            }
        }
    }
    for (const auto& [key, row] : model) {
        REQUIRE(map.find(key) == row);
    }
}

TEST_CASE("Column gives back what was put in, at any size") {
    for (const std::size_t size : {0u, 1u, 4095u, 4096u, 4097u, 20'000u}) {
        Column<std::uint32_t> column;
        for (std::uint32_t i = 0; i < size; ++i) {
            column.push_back(i * 3);
        }
        std::vector<std::uint32_t> copy(size);
        column.copy_to(copy.data());
        CHECK(column.size() == size);
        for (std::uint32_t i = 0; i < size; ++i) {
            REQUIRE(copy[i] == i * 3);
            REQUIRE(column[i] == i * 3);
        }
    }
}

TEST_CASE("equal stacks are one row, and callers come before what they call") {
    Recording recording(kPlenty, false);
    const std::uint32_t one = stack_of(recording, {1, 2, 3});
    CHECK(stack_of(recording, {1, 2, 3}) == one);
    CHECK(stack_of(recording, {1, 2}) < one);
    CHECK(stack_of(recording, {3, 2, 1}) != one);
    CHECK(recording.python_frame(1, 0) != recording.python_frame(1, 2));
    for (std::size_t row = 0; row < recording.stack_parents().size(); ++row) {
        const std::uint32_t parent = recording.stack_parents()[row];
        CHECK((parent == kNone || parent < row));
    }
}

TEST_CASE("neighbouring equal samples of a thread share a row, others do not") {
    Recording recording(kPlenty, false);
    const std::uint32_t a = stack_of(recording, {1}), b = stack_of(recording, {2});
    const std::uint32_t first = recording.add_thread(11, "first");
    const std::uint32_t second = recording.add_thread(12, "second");
    recording.add_sample(first, a, 0, 10, 1, 5);
    recording.add_sample(second, a, 0, 11, 1, 6);
    recording.add_sample(first, a, 0, 20, 1, 7);
    recording.add_sample(first, a, SampleState::kWaiting, 30, 1, 8);
    recording.add_sample(first, b, SampleState::kWaiting, 40, 2, 9);
    REQUIRE(recording.samples().thread.size() == 4);
    CHECK(recording.samples().count[0] == 2);
    CHECK(recording.samples().weight[0] == 12);
    CHECK(recording.samples().time[0] == 10);
    CHECK(recording.samples().last[0] == 20);
    CHECK(recording.samples().weight[1] == 6);
    CHECK(recording.samples().count[3] == 2);
    CHECK(recording.sample_count() == 6);

    CHECK(recording.extend(first, true, 60, 3, 100));
    CHECK(recording.samples().count[3] == 5);
    CHECK(recording.samples().weight[3] == 109);
    CHECK(recording.samples().last[3] == 60);
    CHECK_FALSE(recording.extend(recording.add_thread(13, ""), true, 70, 1, 1));
}

TEST_CASE("time goes to the last row that was met doing the same") {
    Recording recording(kPlenty, false);
    const std::uint32_t a = stack_of(recording, {1}), b = stack_of(recording, {2});
    const std::uint32_t thread = recording.add_thread(11, "t");
    recording.add_sample(thread, a, SampleState::kGilHeld, 10, 1, 5);
    CHECK_FALSE(recording.extend(thread, true, 15, 1, 1));  // it never waited
    recording.add_sample(thread, b, SampleState::kWaiting, 20, 1, 6);
    // What it ran belongs to the first row, which is not its last: it ended there and then.
    CHECK(recording.extend(thread, false, 30, 0, 50));
    CHECK(recording.samples().weight[0] == 55);
    CHECK(recording.samples().last[0] == 10);
    CHECK(recording.extend(thread, true, 40, 2, 70));
    CHECK(recording.samples().weight[1] == 76);
    CHECK(recording.samples().last[1] == 40);
    CHECK(recording.sample_count() == 4);
    // Time alone, with no sample of its own, does not lengthen a row.
    CHECK(recording.extend(thread, true, 50, 0, 1));
    CHECK(recording.samples().last[1] == 40);
}

TEST_CASE("time goes to the row that was met doing the same without timestamps, too") {
    constexpr std::size_t kLimit = 2 << 20;
    Recording recording(kLimit, false);
    const std::uint32_t thread = recording.add_thread(1, "t");
    const std::uint32_t a = stack_of(recording, {1}), b = stack_of(recording, {2});
    for (int i = 0; !recording.counts_only(); ++i) {
        recording.add_sample(thread, i % 2 ? a : b, i % 2 ? SampleState::kWaiting : 0, i, 1, 1);
    }
    recording.add_sample(thread, b, 0, 1'000'000, 1, 1);
    recording.add_sample(thread, a, SampleState::kWaiting, 1'000'001, 1, 1);
    REQUIRE(recording.samples().thread.size() == 2);
    const std::uint32_t waiting_row = recording.samples().state[0] == 0 ? 1 : 0;
    const std::int64_t ran = recording.samples().weight[1 - waiting_row];
    const std::int64_t waited = recording.samples().weight[waiting_row];
    CHECK(recording.extend(thread, false, 1'000'002, 0, 1000));
    CHECK(recording.extend(thread, true, 1'000'003, 1, 100));
    CHECK(recording.samples().weight[1 - waiting_row] == ran + 1000);
    CHECK(recording.samples().weight[waiting_row] == waited + 100);
    CHECK(recording.samples().last[waiting_row] == -1);
}

TEST_CASE("an address whose code died means new code") {
    Recording recording(kPlenty, false);
    const std::uint32_t before = recording.python_frame(0x1000, 4);
    const std::uint32_t code = recording.find_code(0x1000);
    REQUIRE(code != kNone);
    std::vector<std::uint32_t> offsets;
    recording.python_frame(0x1000, 8);
    recording.each_frame_of(
        code, [&](std::uint32_t, std::uint32_t offset) { offsets.push_back(offset); });
    CHECK(offsets == std::vector<std::uint32_t>{8, 4});
    recording.forget_code(0x1000);
    CHECK(recording.find_code(0x1000) == kNone);
    CHECK(recording.python_frame(0x1000, 4) != before);
    CHECK(recording.codes().size() == 2);
}

TEST_CASE("counts only: a row a thread, stack and state, whatever comes") {
    Recording recording(kPlenty, true);
    const std::uint32_t thread = recording.add_thread(1, "t");
    const std::uint32_t a = stack_of(recording, {1}), b = stack_of(recording, {2});
    for (int i = 0; i < 1000; ++i) {
        recording.add_sample(thread, i % 2 ? a : b, 0, i, 1, 10);
    }
    REQUIRE(recording.samples().thread.size() == 2);
    CHECK(recording.samples().count[0] == 500);
    CHECK(recording.samples().weight[1] == 5000);
    CHECK(recording.samples().time[0] == -1);
    CHECK(recording.sample_count() == 1000);
}

TEST_CASE("samples of other labels are told apart, whether or not timestamps are kept") {
    for (const bool counts_only : {false, true}) {
        Recording recording(kPlenty, counts_only);
        const std::uint32_t thread = recording.add_thread(1, "t");
        const std::uint32_t a = stack_of(recording, {1});
        recording.add_sample(thread, a, 0, 0, 1, 1);
        CHECK(recording.samples().label.size() == 0);  // nothing of them where there are none
        const std::uint32_t outer = recording.label(kNone, "region", "load");
        const std::uint32_t inner = recording.label(outer, "region", "parse");
        CHECK(recording.label(kNone, "region", "load") == outer);
        CHECK(recording.label(kNone, "region", "parse") != inner);
        recording.add_sample(thread, a, 0, 10, 1, 2, outer);
        recording.add_sample(thread, a, 0, 20, 1, 4, outer);
        recording.add_sample(thread, a, 0, 30, 1, 8, inner);
        recording.add_sample(thread, a, 0, 40, 1, 16);
        const auto& samples = recording.samples();
        REQUIRE(samples.label.size() == samples.thread.size());
        std::map<std::uint32_t, std::int64_t> weights;
        for (std::size_t row = 0; row < samples.label.size(); ++row) {
            weights[samples.label[row]] += samples.weight[row];
        }
        CHECK(weights[kNone] == 17);
        CHECK(weights[outer] == 6);
        CHECK(weights[inner] == 8);
        CHECK(samples.thread.size() == (counts_only ? 3 : 4));
        CHECK(recording.labels()[inner].parent == outer);
    }
}

TEST_CASE("at the memory limit timestamps go and every count and weight stays") {
    constexpr std::size_t kLimit = 2 << 20;
    Recording recording(kLimit, false);
    const std::uint32_t thread = recording.add_thread(1, "t");
    std::vector<std::uint32_t> stacks;
    for (std::uint64_t i = 0; i < 200; ++i) {
        stacks.push_back(stack_of(recording, {1, 2, i + 10}));
    }
    std::mt19937 random(4);
    std::int64_t weight = 0;
    constexpr int kSamples = 300'000;
    for (int i = 0; i < kSamples; ++i) {
        recording.add_sample(thread, stacks[random() % stacks.size()], 0, i, 1, i % 7);
        weight += i % 7;
    }
    CHECK(recording.counts_only());
    CHECK(recording.timestamps_until_ns() > 10'000);
    CHECK(recording.timestamps_until_ns() < kSamples);
    CHECK_FALSE(recording.stacks_were_cut());
    CHECK(recording.bytes() < kLimit);
    std::uint64_t count = 0;
    std::int64_t sum = 0;
    for (std::size_t row = 0; row < recording.samples().thread.size(); ++row) {
        count += recording.samples().count[row];
        sum += recording.samples().weight[row];
    }
    CHECK(count == kSamples);
    CHECK(sum == weight);
    CHECK(recording.samples().thread.size() == stacks.size());
}

TEST_CASE("where even stacks do not fit, new ones are counted under a mark of their caller") {
    constexpr std::size_t kLimit = 1 << 20;
    Recording recording(kLimit, true);
    const std::uint32_t thread = recording.add_thread(1, "t");
    constexpr std::uint64_t kStacks = 200'000;
    for (std::uint64_t i = 0; i < kStacks; ++i) {
        recording.add_sample(thread, stack_of(recording, {1, 2, i + 10}), 0,
                             static_cast<std::int64_t>(i), 1, 1);
    }
    CHECK(recording.stacks_were_cut());
    // Tables grow by doubling: the last growth may go past the limit.
    CHECK(recording.bytes() < 3 * kLimit);
    CHECK(recording.samples().thread.size() < kStacks / 10);
    std::uint64_t count = 0;
    for (std::size_t row = 0; row < recording.samples().thread.size(); ++row) {
        count += recording.samples().count[row];
    }
    CHECK(count == kStacks);
    // Known callers are still told apart from the mark.
    const std::uint32_t cut = stack_of(recording, {1, 2, 999'999'999});
    CHECK(recording.stack_parents()[cut] == stack_of(recording, {1, 2}));
}

TEST_CASE("finish folds instructions of one line, and keeps parents before children") {
    Recording recording(kPlenty, false);
    const std::uint32_t thread = recording.add_thread(5, "main");
    const std::uint32_t root = recording.stack(kNone, recording.python_frame(100, 0));
    const std::uint32_t x = recording.stack(root, recording.python_frame(200, 2));
    const std::uint32_t y = recording.stack(root, recording.python_frame(200, 4));
    const std::uint32_t z = recording.stack(root, recording.python_frame(200, 6));
    recording.each_frame_of(recording.find_code(200), [&](std::uint32_t row, std::uint32_t offset) {
        recording.frames()[row].line = offset < 6 ? 1 : 2;
    });
    for (const std::uint32_t stack : {x, y, z}) {
        recording.add_sample(thread, stack, 0, 1, 1, 1);
    }
    const std::vector<ResolvedFrame> frames = named(recording);
    const Tables tables = finish(recording, frames);
    CHECK(tables.func_name.size() == 2);
    CHECK(tables.frame_func.size() == 3);
    CHECK(tables.stack_parent == std::vector<std::int32_t>{-1, 0, 0});
    CHECK(tables.samples.stack[0] == tables.samples.stack[1]);
    CHECK(tables.samples.stack[1] != tables.samples.stack[2]);
    CHECK(tables.threads.at(0).name == "main");
}

TEST_CASE("a hidden frame is in no stack with others, and is a stack where it is alone") {
    Recording recording(kPlenty, false);
    const std::uint32_t thread = recording.add_thread(5, "main");
    for (const auto& codes : {std::initializer_list<std::uint64_t>{100, 200, 300, 200},
                              std::initializer_list<std::uint64_t>{100},
                              std::initializer_list<std::uint64_t>{100, 100}}) {
        recording.add_sample(thread, stack_of(recording, codes), 0, 1, 1, 1);
    }
    std::vector<ResolvedFrame> frames = named(recording);
    frames.at(0).hidden = true;  // 100
    const Tables tables = finish(recording, frames);
    CHECK(tables.stack_parent == std::vector<std::int32_t>{-1, 0, 1, -1});
    CHECK(tables.stack_frame == std::vector<std::uint32_t>{1, 2, 1, 0});
    CHECK(tables.samples.stack[0] == 2);
    CHECK(tables.samples.stack[1] == 3);
    CHECK(tables.samples.stack[2] == 3);
}

TEST_CASE("a million samples of 5,000 stacks take at most 40 bytes each") {
    Recording recording(kPlenty, false);
    const std::uint32_t thread = recording.add_thread(1, "t");
    std::vector<std::uint32_t> stacks;
    for (std::uint64_t i = 0; i < 5000; ++i) {
        stacks.push_back(
            stack_of(recording, {1, 2 + i % 10, 100 + i % 100, 1000 + i % 1000, 10'000 + i}));
    }
    constexpr std::size_t kSamples = 1'000'000;
    std::uint32_t last = kNone;
    std::mt19937 random(5);
    for (std::size_t i = 0; i < kSamples; ++i) {
        std::uint32_t stack = stacks[random() % stacks.size()];
        while (stack == last) {
            stack = stacks[random() % stacks.size()];
        }
        last = stack;
        recording.add_sample(thread, stack, 0, static_cast<std::int64_t>(i), 1, 1);
    }
    REQUIRE(recording.samples().thread.size() == kSamples);
    CHECK(recording.bytes() <= 40 * kSamples);
}

TEST_CASE("where memory runs out a sample is not there at all, and the next one is whole") {
    const auto record = [](Recording& recording, std::uint32_t thread, std::uint64_t code) {
        const std::uint32_t caller = recording.stack(kNone, recording.python_frame(1, 0));
        const std::uint32_t stack = recording.stack(caller, recording.python_frame(code, 8));
        recording.add_sample(thread, stack, 0, static_cast<std::int64_t>(code), 1, 10);
    };
    for (const bool counts_only : {false, true}) {
        int failures = 0;
        // Each allocation fails in turn, until there is one more than are made.
        for (bool failed = true; failed; failures += failed ? 1 : 0) {
            Recording recording(kPlenty, counts_only);
            const std::uint32_t thread = recording.add_thread(1, "thread");
            std::uint64_t taken = 0;
            failed = false;
            int left = failures;
            for (std::uint64_t code = 2; code < 400; ++code) {
                allocations_left = failed ? -1 : left;
                try {
                    record(recording, thread, code);
                    left = allocations_left;
                    ++taken;
                } catch (const std::bad_alloc&) {
                    failed = true;
                }
                allocations_left = -1;
            }
            REQUIRE(recording.sample_count() == taken);
            REQUIRE(recording.stack_parents().size() == recording.stack_frames().size());
            const Tables tables = finish(recording, named(recording));
            std::uint64_t count = 0;
            std::int64_t weight = 0;
            for (std::size_t row = 0; row < tables.samples.thread.size(); ++row) {
                count += tables.samples.count[row];
                weight += tables.samples.weight[row];
            }
            REQUIRE(count == taken);
            REQUIRE(weight == static_cast<std::int64_t>(10 * taken));
        }
        CHECK(failures > 0);
    }
}
