"""Reads the binary files of Python 3.15's `profiling.sampling`.

Must not know any other format. Its layout: InternalDocs/profiling_binary_format.md in CPython.
"""

from __future__ import annotations

import struct
from typing import NamedTuple

from .._profile.tables import (
    GIL_HELD,
    GIL_NOT_HELD,
    NATIVE,
    ROOT,
    WAITING,
    Builder,
    FrameIndex,
    StackIndex,
    Tables,
    ThreadIndex,
    cause_bits,
)
from ._errors import FormatError
from ._meta import read_meta
from ._stacks import check_depth
from ._unpacking import unpack_zstd
from ._varint import read_varint

# Its magic number is a word in the byte order of the machine that wrote it.
ORDERS = {b"HCAT": "<", b"TACH": ">"}
_VERSION = 1
_HEADER, _FOOTER = 64, 32
_STATISTICS, _STATISTICS_SIZE = b"TACHSTAT", 56
_PLAIN, _ZSTD = 0, 1

_REPEAT, _FULL, _SUFFIX, _POP_PUSH = range(4)
_HAS_GIL, _ON_CPU, _UNKNOWN, _WANTS_GIL, _MAIN_THREAD = 1, 2, 4, 8, 32
_WALL = 0

# What it starts programs with, which its own views leave out.
_ITS_OWN = "_sync_coordinator.py"

_MOST_US = 2**63 // 1000


def load(data: bytes, *, interval_ms: float | None = None) -> Tables:
    """Read what ``python3.15 -m profiling.sampling run --binary`` writes.

    Parameters
    ----------
    data : bytes
    interval_ms : float, optional
        Is not asked for: the file says it.

    Raises
    ------
    FormatError
    """
    return _File(data).profile()


class _Thread:
    """What a thread's next record is told against."""

    def __init__(self, row: ThreadIndex) -> None:
        self.row = row
        self.time_us = 0
        self.seen = False
        # Of each frame of its stack, outermost first, the stack that ends there.
        self.stacks: list[StackIndex] = []


class _Statistics(NamedTuple):
    """What the profiler measured of itself: seconds, and percents of what it tried."""

    duration_s: float
    failed: float
    missed: float


class _File:
    def __init__(self, data: bytes) -> None:
        if len(data) < _HEADER + _FOOTER:
            raise FormatError(f"{len(data)} bytes are too few for a file of profiling.sampling")
        order = ORDERS.get(data[:4])
        if order is None:
            raise FormatError("does not begin as a file of profiling.sampling does")
        self._data, self._order = data, order
        (version,) = self._unpack("I", 4)
        if version != _VERSION:
            raise FormatError(
                f"version {version} of profiling.sampling's files; known is {_VERSION}"
            )
        self._python = ".".join(map(str, data[8:11]))
        interval_us, self._declared, _, strings, frames, packing, self._modes = self._unpack(
            "QQIQQII", 20
        )
        if not 0 < interval_us < _MOST_US:
            raise FormatError(f"an interval of {interval_us} us")
        self._interval_ns = interval_us * 1000
        footer = len(data) - _FOOTER
        self._string_count, self._frame_count, size = self._unpack("IIQ", footer)
        if size != len(data) or not _HEADER <= strings <= frames <= footer:
            raise FormatError(f"says that it has {size} bytes, and has {len(data)}: cut off?")
        self._tables_at = strings, frames
        self._builder = Builder()
        self._total_ns = 0
        self._statistics = self._read_statistics(footer)
        packed = data[_HEADER:strings]
        if packing not in (_PLAIN, _ZSTD):
            raise FormatError(f"packed in a way that is not known: {packing}")
        self._samples = packed if packing == _PLAIN else unpack_zstd(packed)

    def profile(self) -> Tables:
        frames = self._read_frames(self._read_strings())
        self._read_samples(frames)
        times = self._builder.tables.sample_last
        duration = max(times, default=0)
        notes = [f"read from a file of profiling.sampling of Python {self._python}"]
        statistics = self._statistics
        if statistics is not None:
            duration = max(duration, round(statistics.duration_s * 1e9))
            if statistics.failed > 0:
                whose = "their time is the next one's" if self._is_wall() else "their time is lost"
                notes.append(f"{statistics.failed:.2g} % of its samples failed: {whose}")
        self._builder.tables.meta = read_meta(
            duration_ns=duration,
            interval_ns=self._interval_ns,
            weights="measured" if self._is_wall() else "samples",
            notes=tuple(notes),
        ).but(python_version=self._python)
        return self._builder.tables

    def _is_wall(self) -> bool:
        """Whether threads were looked at whatever they did: all their time is there then."""
        return (self._modes & 0b111) == _WALL + 1

    def _unpack(self, layout: str, at: int) -> tuple[int, ...]:
        return struct.unpack_from(self._order + layout, self._data, at)

    def _read_statistics(self, end: int) -> _Statistics | None:
        """What is before the footer, in files that have it."""
        at = end - _STATISTICS_SIZE
        if at < self._tables_at[1] or self._data[at + 40 : at + 48] != _STATISTICS:
            return None
        duration, _, failed, missed, there = struct.unpack_from(
            self._order + "ddddI", self._data, at
        )
        failed, missed = failed if there & 1 else 0.0, missed if there & 2 else 0.0
        if not (0 <= duration < 9.2e9 and 0 <= failed <= 100 and 0 <= missed <= 100):
            raise FormatError(f"byte {at}: no statistics of a profiler")
        return _Statistics(duration, failed, missed)

    # --- tables ---

    def _read_strings(self) -> list[str]:
        at, end = self._tables_at
        if self._string_count > end - at:
            raise FormatError(f"{self._string_count} strings in {end - at} bytes")
        strings = []
        for _ in range(self._string_count):
            size, at = read_varint(self._data, at, end)
            if size > end - at:
                raise FormatError(f"byte {at}: a string of {size} bytes ends behind its table")
            strings.append(self._data[at : at + size].decode("utf-8", "replace"))
            at += size
        return strings

    def _read_frames(self, strings: list[str]) -> list[FrameIndex | None]:
        """Each frame's row here; None for what is the profiler's own."""
        at, end = self._tables_at[1], len(self._data) - _FOOTER
        frames: list[FrameIndex | None] = []
        if self._frame_count * 7 > end - at:
            raise FormatError(f"{self._frame_count} frames in {end - at} bytes")
        for _ in range(self._frame_count):
            begin, numbers = at, []
            for _ in range(6):
                number, at = read_varint(self._data, at, end)
                numbers.append(number)
            at += 1  # which instruction
            file, name, line = numbers[:3]
            line = line >> 1 ^ -(line & 1)
            if max(file, name) >= len(strings) or not -1 <= line < 2**31 or at > end:
                raise FormatError(f"byte {begin}: a frame of strings or lines that there are not")
            frames.append(self._frame(strings[file], strings[name], max(line, 0)))
        return frames

    def _frame(self, file: str, name: str, line: int) -> FrameIndex | None:
        if file.replace("\\", "/").rpartition("/")[2] == _ITS_OWN:
            return None
        if file == "~":
            # `<native>` and `<GC>`, which it puts where other code than Python's runs.
            return self._builder.frame(self._builder.func(name, "", 0, NATIVE))
        return self._builder.frame(self._builder.func(name, file), line)

    # --- samples ---

    def _read_samples(self, frames: list[FrameIndex | None]) -> None:
        data, end, at = self._samples, len(self._samples), 0
        head = struct.Struct(self._order + "QIB")
        threads: dict[tuple[int, int], _Thread] = {}
        samples = 0
        while at < end:
            if end - at < head.size:
                raise FormatError(f"sample byte {at}: ends in the middle of a record")
            begin = at
            tid, interpreter, kind = head.unpack_from(data, at)
            at += head.size
            count = 1
            if kind == _REPEAT:
                count, at = read_varint(data, at, end)
            elif kind > _POP_PUSH:
                raise FormatError(f"sample byte {begin}: no kind of record has number {kind}")
            for _ in range(count):
                delta, at = read_varint(data, at, end)
                if at >= end:
                    raise FormatError(f"sample byte {at}: ends in the middle of a record")
                status, at = data[at], at + 1
                thread = threads.get((tid, interpreter))
                if thread is None:
                    thread = _Thread(self._thread(tid, interpreter, status))
                    threads[tid, interpreter] = thread
                if kind != _REPEAT:
                    at = self._read_stack(thread, kind, frames, at)
                elif not thread.seen:
                    raise FormatError(f"sample byte {begin}: repeats what was not there before")
                self._add(thread, delta, status, begin)
            samples += count
        if samples != self._declared:
            raise FormatError(f"says that it has {self._declared} samples, and has {samples}")

    def _read_stack(
        self, thread: _Thread, kind: int, frames: list[FrameIndex | None], at: int
    ) -> int:
        """Read what has changed of a thread's stack; returns where the next record begins."""
        data, end, begin = self._samples, len(self._samples), at
        stacks = thread.stacks
        kept = 0
        if kind != _FULL:
            number, at = read_varint(data, at, end)
            kept = number if kind == _SUFFIX else max(len(stacks) - number, 0)
            if kept > len(stacks):
                raise FormatError(f"sample byte {begin}: keeps {kept} of {len(stacks)} frames")
        size, at = read_varint(data, at, end)
        if size > end - at:
            raise FormatError(f"sample byte {begin}: {size} frames in {end - at} bytes")
        check_depth(kept + size, f"sample byte {begin}")
        inner_first = []
        for _ in range(size):
            frame, at = read_varint(data, at, end)
            if frame >= len(frames):
                raise FormatError(f"sample byte {begin}: frame {frame} of {len(frames)}")
            inner_first.append(frames[frame])
        del stacks[kept:]
        stack = stacks[-1] if stacks else ROOT
        for row in reversed(inner_first):
            if row is not None:
                stack = self._builder.stack(stack, row)
            stacks.append(stack)
        return at

    def _thread(self, tid: int, interpreter: int, status: int) -> ThreadIndex:
        name = "MainThread" if status & _MAIN_THREAD else f"thread {tid}"
        if interpreter:
            name += f", interpreter {interpreter}"
        return self._builder.thread(tid, name)

    def _add(self, thread: _Thread, delta_us: int, status: int, at: int) -> None:
        thread.time_us += delta_us
        if thread.time_us >= _MOST_US:
            raise FormatError(f"sample byte {at}: more than 292 years")
        time = thread.time_us * 1000
        # Nobody knows what it did before it was first looked at.
        weight = delta_us * 1000 if thread.seen and self._is_wall() else self._interval_ns
        thread.seen = True
        # What is summed later has to fit, too.
        self._total_ns += weight
        if self._total_ns >= 2**63:
            raise FormatError(f"sample byte {at}: more than 292 years")
        stack = thread.stacks[-1] if thread.stacks else ROOT
        self._builder.row(
            thread.row,
            stack if stack != ROOT else self._builder.no_frames(),
            time=time,
            weight=weight,
            state=_state(status),
        )


def _state(status: int) -> int:
    state = GIL_HELD if status & _HAS_GIL else GIL_NOT_HELD
    if status & _WANTS_GIL:
        return state | WAITING | cause_bits("gil")
    return state if status & (_ON_CPU | _UNKNOWN) else state | WAITING
