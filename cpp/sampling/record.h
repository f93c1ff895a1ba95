// Reached from the signal handler. What one sample looks like in a ring: this head, then
// `python_count` PyFrameRecords, then `native_count` native addresses, both innermost first.
#pragma once

#include <cstddef>
#include <cstdint>

#include "interpreter/frame_record.h"
#include "interpreter/regions.h"

namespace spprof::sampling {

struct SampleRecord {
    std::uint32_t bytes;  // of the whole record, a multiple of 8
    std::uint16_t python_count;
    std::uint16_t native_count;
    std::int64_t time_ns;               // monotonic clock
    std::int64_t cpu_ns;                // the thread's CPU clock
    std::int64_t stood_still_until_ns;  // where it was met waiting before; 0: not known
    interpreter::RegionId region;       // that the thread is in
    std::uint8_t state;                 // profile::SampleState
    std::uint8_t truncated;             // more Python frames than kMaxPythonFrames
    std::uint8_t native_end;            // native::End
    std::uint8_t never_slept;     // since the record before, if that was made on the thread itself
    std::uint8_t could_run;       // it waited for a processor only
    std::uint8_t collecting;      // garbage: which generation, counted from 1; 0: it is not
    std::uint16_t collecting_at;  // so many of the innermost Python frames were called by it

    static constexpr std::size_t kMaxPythonFrames = 2048;
    static constexpr std::size_t kMaxNativeFrames = 256;

    interpreter::PyFrameRecord* python() noexcept {
        return reinterpret_cast<interpreter::PyFrameRecord*>(this + 1);
    }
    const interpreter::PyFrameRecord* python() const noexcept {
        return reinterpret_cast<const interpreter::PyFrameRecord*>(this + 1);
    }
    std::uintptr_t* native() noexcept {
        return reinterpret_cast<std::uintptr_t*>(python() + python_count);
    }
    const std::uintptr_t* native() const noexcept {
        return reinterpret_cast<const std::uintptr_t*>(python() + python_count);
    }
    // False for what no visit can have written: somebody else wrote into the ring.
    bool is_sound(std::int64_t now_ns) const noexcept {
        // Clocks of a process that was moved here may be ahead; sums of them must not overflow.
        const std::int64_t latest = now_ns + (std::int64_t{1} << 55);
        return bytes >= sizeof(SampleRecord) && python_count <= kMaxPythonFrames &&
               native_count <= kMaxNativeFrames && bytes == size() && time_ns >= 0 &&
               time_ns < latest && cpu_ns >= -1 && cpu_ns < latest && stood_still_until_ns >= 0 &&
               stood_still_until_ns < latest;
    }
    std::size_t size() const noexcept {
        return sizeof(SampleRecord) + python_count * sizeof(interpreter::PyFrameRecord) +
               native_count * sizeof(std::uintptr_t);
    }
};
static_assert(sizeof(SampleRecord) % 8 == 0 && sizeof(interpreter::PyFrameRecord) % 8 == 0 &&
                  sizeof(std::uintptr_t) == 8,
              "records keep 8-byte alignment");

constexpr std::size_t kMaxRecordBytes =
    sizeof(SampleRecord) + SampleRecord::kMaxPythonFrames * sizeof(interpreter::PyFrameRecord) +
    SampleRecord::kMaxNativeFrames * sizeof(std::uintptr_t);

}  // namespace spprof::sampling
