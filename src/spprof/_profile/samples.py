"""Samples, frames and stacks as objects: made from tables when asked for, and turned into tables.

Must not know Profile, nor any file format.
"""

from __future__ import annotations

import sys
from array import array
from bisect import bisect_right
from collections.abc import Iterable, Iterator, Sequence
from itertools import accumulate
from typing import TYPE_CHECKING, Any, overload

from . import MODES
from .rows import canonical_stacks
from .tables import (
    ENGINES,
    GIL,
    NATIVE,
    NO_FRAMES,
    Builder,
    FrameIndex,
    Meta,
    StackIndex,
    Tables,
    cause_bits,
    cause_name,
    holds_gil,
    state_bits,
    state_name,
)
from .values import AggregatedStack, Frame, Sample

if TYPE_CHECKING:
    from datetime import datetime


def _frames_of_tables(tables: Tables) -> list[Frame]:
    names = tables.strings
    return [
        Frame(
            names[tables.func_name[func]],
            names[tables.func_file[func]],
            line,
            bool(tables.func_flags[func] & NATIVE),
        )
        for func, line in zip(tables.frame_func, tables.frame_line)
    ]


class _StackFrames:
    """Frames of each stack as tuples, made when first asked for and then kept."""

    def __init__(self, tables: Tables) -> None:
        self._tables = tables
        self._frames: list[Frame] | None = None
        self._stacks: dict[StackIndex, tuple[Frame, ...]] = {}

    def __getitem__(self, stack: StackIndex) -> tuple[Frame, ...]:
        found = self._stacks.get(stack)
        if found is None:
            if self._frames is None:
                self._frames = _frames_of_tables(self._tables)
            collected = []
            row = stack
            while row >= 0:
                collected.append(self._frames[self._tables.stack_frame[row]])
                row = self._tables.stack_parent[row]
            if len(collected) == 1 and collected[0] == Frame(NO_FRAMES, "", 0):
                collected = []
            found = self._stacks[stack] = tuple(collected)
        return found


class _SampleMaker:
    """Makes single samples out of rows; shared by a sequence and its slices."""

    def __init__(self, tables: Tables) -> None:
        self._tables = tables
        self._frames = _StackFrames(tables)
        self._weights_assumed = tables.meta.weights == "samples"
        self._ends: array[int] | None = None
        self.count = sum(tables.sample_count)

    def place(self, position: int) -> tuple[int, int]:
        """The row that a sample is in, and its place in the row's run."""
        if self.count == self._tables.rows:
            return position, 0
        if self._ends is None:
            self._ends = array("Q", accumulate(self._tables.sample_count))
        row = bisect_right(self._ends, position)
        return row, position - (self._ends[row - 1] if row else 0)

    def made(self, row: int, offset: int) -> Sample:
        """The sample at `offset` of a row's run."""
        t = self._tables
        count, weight, state = t.sample_count[row], t.sample_weight[row], t.sample_state[row]
        time: int | None = t.sample_time[row]
        if time is not None and time < 0:
            time = None
        elif time is not None and offset:
            time += (t.sample_last[row] - time) * offset // (count - 1)
        thread = t.threads[t.sample_thread[row]]
        return Sample(
            time,
            thread["tid"],
            thread["name"],
            self._frames[t.sample_stack[row]],
            None
            if self._weights_assumed
            else weight * (offset + 1) // count - weight * offset // count,
            state_name(state),
            holds_gil(state),
            cause_name(state),
        )

    def all_from(self, position: int, number: int) -> Iterator[Sample]:
        """So many samples in order."""
        counts = self._tables.sample_count
        row, offset = self.place(position)
        for _ in range(number):
            yield self.made(row, offset)
            offset += 1
            if offset == counts[row]:
                row, offset = row + 1, 0


class SampleSequence(Sequence[Sample]):
    """The samples of a profile, each made when asked for.

    A stored run of n equal samples appears as n samples with timestamps evenly spread over the
    run and weights whose sum is exactly the run's. Slices are lazy too. Compares equal to any
    sequence with equal samples.
    """

    def __init__(self, maker: _SampleMaker, indices: range) -> None:
        self._maker = maker
        self._indices = indices

    def __len__(self) -> int:
        return len(self._indices)

    @overload
    def __getitem__(self, index: int) -> Sample: ...
    @overload
    def __getitem__(self, index: slice) -> SampleSequence: ...
    def __getitem__(self, index: int | slice) -> Sample | SampleSequence:
        if isinstance(index, slice):
            return SampleSequence(self._maker, self._indices[index])
        try:
            position = self._indices[index]
        except IndexError:
            raise IndexError(f"sample {index} of {len(self)}") from None
        return self._maker.made(*self._maker.place(position))

    def __iter__(self) -> Iterator[Sample]:
        indices = self._indices
        if indices.step == 1 and indices:
            yield from self._maker.all_from(indices.start, len(indices))
            return
        for index in range(len(indices)):
            yield self[index]

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Sequence) or isinstance(other, (str, bytes)):
            return NotImplemented
        return len(self) == len(other) and all(a == b for a, b in zip(self, other))

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        return f"<{len(self)} samples>"


def samples_of(tables: Tables) -> SampleSequence:
    """All samples of a profile, lazily."""
    maker = _SampleMaker(tables)
    return SampleSequence(maker, range(maker.count))


def stacks_of(tables: Tables) -> tuple[AggregatedStack, ...]:
    """Every distinct stack of every thread, by thread."""
    ids = canonical_stacks(tables, _frames_of_tables(tables))
    sums: dict[tuple[int, int], list[Any]] = {}
    columns = (tables.sample_thread, tables.sample_stack, tables.sample_count, tables.sample_weight)
    for thread, stack, count, weight in zip(*columns):
        entry = sums.setdefault((thread, ids[stack]), [stack, 0, 0])
        entry[1] += count
        entry[2] += weight
    frames = _StackFrames(tables)
    threads = tables.threads
    return tuple(
        AggregatedStack(frames[stack], threads[thread]["tid"], threads[thread]["name"], count, ns)
        for (thread, _), (stack, count, ns) in sums.items()
    )


class _StackInterner:
    """Turns tuples of Frame into stacks, remembering tuples and frames already seen."""

    def __init__(self, builder: Builder) -> None:
        self._builder = builder
        self._frames: dict[Frame, FrameIndex] = {}
        self._stacks: dict[tuple[Frame, ...], StackIndex] = {}

    def _frame(self, frame: Frame) -> FrameIndex:
        known = self._frames.get(frame)
        if known is None:
            if frame.lineno < 0:
                raise ValueError(f"a line number cannot be negative: {frame!r}")
            func = self._builder.func(
                frame.function_name,
                frame.filename,
                flags=NATIVE if frame.is_native else 0,
            )
            known = self._frames[frame] = self._builder.frame(func, frame.lineno)
        return known

    def __call__(self, sequence: Sequence[Frame]) -> StackIndex:
        frames = tuple(sequence)
        stack = self._stacks.get(frames)
        if stack is None:
            ids = [self._frame(frame) for frame in reversed(frames)]
            stack = self._stacks[frames] = self._builder.stack_of(ids)
        return stack


def tables_of_samples(samples: Iterable[Sample], meta: Meta) -> Tables:
    """Tables that hold these samples; those without a weight stand for one interval."""
    builder = Builder()
    intern = _StackInterner(builder)
    measured = False
    for sample in samples:
        time, weight = sample.timestamp_ns, sample.weight_ns
        if time is not None and time < 0:
            raise ValueError(f"a timestamp cannot be negative: {time}")
        if weight is not None and weight < 0:
            raise ValueError(f"a weight cannot be negative: {weight}")
        measured = measured or weight is not None
        builder.row(
            builder.thread(sample.thread_id, sample.thread_name),
            intern(sample.frames),
            time=-1 if time is None else time,
            weight=round(meta.interval_ns) if weight is None else weight,
            state=state_bits(sample.state)
            | GIL[sample.holds_gil]
            | cause_bits(sample.waits_for or "unknown"),
        )
    builder.tables.meta = meta.but(weights="measured" if measured else "samples")
    return builder.tables


def tables_of_stacks(stacks: Iterable[AggregatedStack], meta: Meta) -> Tables:
    """Tables that hold these counts; those without a weight stand for one interval each."""
    builder = Builder()
    intern = _StackInterner(builder)
    measured = False
    for stack in stacks:
        weight = stack.weight_ns
        if stack.count < 1:
            raise ValueError(f"a stack's count must be at least 1, not {stack.count}")
        measured = measured or weight is not None
        builder.row(
            builder.thread(stack.thread_id, stack.thread_name),
            intern(stack.frames),
            count=stack.count,
            weight=round(stack.count * meta.interval_ns) if weight is None else weight,
        )
    builder.tables.meta = meta.but(weights="measured" if measured else "samples")
    return builder.tables


def meta_of(
    start_time: datetime,
    end_time: datetime,
    interval_ms: float,
    dropped_count: int,
    python_version: str | None,
    platform: str | None,
    *,
    mode: str,
    engine: str,
    notes: Sequence[str],
) -> Meta:
    """Circumstances as `Profile` takes them.

    Raises
    ------
    ValueError
        As `Profile` says.
    """
    if not 0 <= interval_ms < 2**63 / 1e6:
        raise ValueError(f"interval_ms must not be negative nor infinite, got {interval_ms!r}")
    for name, value, known in (("mode", mode, MODES), ("engine", engine, ENGINES)):
        if value and value not in known:
            listed = ", ".join(map(repr, known))
            raise ValueError(f'{name} must be one of {listed} or "", not {value!r}')
    return Meta.between(
        start_time,
        end_time,
        interval_ns=round(interval_ms * 1e6),
        mode=mode,
        engine=engine,
        dropped_count=dropped_count,
        python_version=(
            python_version if python_version is not None else sys.version.partition(" ")[0]
        ),
        platform=platform if platform is not None else sys.platform,
        notes=tuple(notes),
    )
