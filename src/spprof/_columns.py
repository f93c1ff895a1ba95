"""The columns behind a profile: strings, functions, frames, stacks, samples, and work on their ids.

Must not know Frame, Sample or Profile, nor any file format: plain integers and strings only.
"""

from __future__ import annotations

import sys
from array import array
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import repeat
from operator import ge
from typing import Any, TypedDict, Union, cast

LAYOUT_VERSION = 1

NATIVE = 1  # func.flags bit 0

WAITING = 0b00001  # sample.state bits 0-1
GIL_MASK = 0b01100
GIL_NOT_HELD = 0b00100
GIL_HELD = 0b01000
MISMATCHED = 0b10000

# A sample needs a stack; one without frames gets this one, so that totals stay whole everywhere.
NO_FRAMES = "(no frames)"

COLUMN_TYPES: dict[str, str] = {
    "func.name": "u32",
    "func.file": "u32",
    "func.line": "i32",
    "func.flags": "u8",
    "frame.func": "u32",
    "frame.line": "i32",
    "frame.address": "u64",
    "stack.parent": "i32",
    "stack.frame": "u32",
    "sample.thread": "u32",
    "sample.stack": "u32",
    "sample.time": "i64",
    "sample.last": "i64",
    "sample.count": "u32",
    "sample.weight": "i64",
    "sample.state": "u8",
}


def _typecodes() -> dict[str, str]:
    # "I" is 4 bytes on every platform CPython supports today, but the standard promises only 2.
    codes = {"u8": "B", "u32": "I", "i32": "i", "u64": "Q", "i64": "q"}
    for name, code in codes.items():
        if array(code).itemsize * 8 != int(name[1:]):
            raise ImportError(f"this platform has no {name} array type")
    return codes


TYPECODES = _typecodes()

COUNT_LIMIT = 2**32 - 1


def cell_sized(count: int, weight: int) -> Iterator[tuple[int, int]]:
    """Split a run into parts whose count fits the 32 bits of a cell; sums stay exact."""
    while count > COUNT_LIMIT:
        part = weight * COUNT_LIMIT // count
        yield COUNT_LIMIT, part
        count, weight = count - COUNT_LIMIT, weight - part
    yield count, weight


Column = Union["array[int]", "memoryview"]


class ThreadRow(TypedDict):
    """A row of the thread table; pid 0 and host "" mean unknown and this machine."""

    tid: int
    name: str
    pid: int
    host: str


def empty_column(name: str) -> array[int]:
    """Return an empty, growing column of the type that `name` has."""
    return array(TYPECODES[COLUMN_TYPES[name]])


def column_from_bytes(name: str, data: Any) -> Column:
    """View little-endian bytes as the column `name` without copying them."""
    if sys.byteorder != "little":
        raise NotImplementedError("spprof's columns are little-endian; this host is big-endian")
    view = memoryview(data).cast("B")
    code = TYPECODES[COLUMN_TYPES[name]]
    itemsize = array(code).itemsize
    if len(view) % itemsize:
        raise ValueError(f"column {name}: {len(view)} bytes is not a multiple of {itemsize}")
    return view.cast(cast(Any, code))


@dataclass
class Tables:
    """All tables of one profile. Treated as immutable once built; derived profiles share them."""

    strings: list[str]
    threads: list[ThreadRow]
    meta: dict[str, Any]
    func_name: Column = field(default_factory=lambda: empty_column("func.name"))
    func_file: Column = field(default_factory=lambda: empty_column("func.file"))
    func_line: Column = field(default_factory=lambda: empty_column("func.line"))
    func_flags: Column = field(default_factory=lambda: empty_column("func.flags"))
    frame_func: Column = field(default_factory=lambda: empty_column("frame.func"))
    frame_line: Column = field(default_factory=lambda: empty_column("frame.line"))
    frame_address: Column = field(default_factory=lambda: empty_column("frame.address"))
    stack_parent: Column = field(default_factory=lambda: empty_column("stack.parent"))
    stack_frame: Column = field(default_factory=lambda: empty_column("stack.frame"))
    sample_thread: Column = field(default_factory=lambda: empty_column("sample.thread"))
    sample_stack: Column = field(default_factory=lambda: empty_column("sample.stack"))
    sample_time: Column = field(default_factory=lambda: empty_column("sample.time"))
    sample_last: Column = field(default_factory=lambda: empty_column("sample.last"))
    sample_count: Column = field(default_factory=lambda: empty_column("sample.count"))
    sample_weight: Column = field(default_factory=lambda: empty_column("sample.weight"))
    sample_state: Column = field(default_factory=lambda: empty_column("sample.state"))

    @classmethod
    def from_bytes(
        cls,
        columns: dict[str, Any],
        strings: list[str],
        threads: list[ThreadRow],
        meta: dict[str, Any],
    ) -> Tables:
        """Build tables over raw column bytes, checking names and lengths but not every value."""
        missing = [name for name in COLUMN_TYPES if name not in columns]
        if missing:
            raise ValueError(f"missing column {missing[0]}")
        tables = cls(strings, threads, meta)
        for name in COLUMN_TYPES:
            setattr(tables, attribute(name), column_from_bytes(name, columns[name]))
        for table in ("func", "frame", "stack", "sample"):
            lengths = {n: len(tables.column(n)) for n in COLUMN_TYPES if n.startswith(table + ".")}
            if len(set(lengths.values())) > 1:
                listed = ", ".join(f"{name} {length}" for name, length in lengths.items())
                raise ValueError(f"columns of {table} differ in length: {listed}")
        return tables

    def column(self, name: str) -> Column:
        """Return the column by its table name, such as ``sample.weight``."""
        return cast(Column, getattr(self, attribute(name)))

    @property
    def rows(self) -> int:
        """Rows of the sample table (runs of equal samples)."""
        return len(self.sample_stack)

    def same_stacks(self, **changes: Any) -> Tables:
        """Return tables that share everything with these except what `changes` names."""
        state = dict(self.__dict__)
        state.update(changes)
        return Tables(**state)


def attribute(name: str) -> str:
    """Name of the `Tables` attribute that holds column `name`."""
    return name.replace(".", "_")


def check(tables: Tables) -> None:
    """Verify every index and range.

    Raises
    ------
    ValueError
        Names the column and what is wrong with it.
    """

    def below(name: str, limit: int, table: str) -> None:
        column = tables.column(name)
        if len(column) and max(column) >= limit:
            row = next(i for i, value in enumerate(column) if value >= limit)
            raise ValueError(
                f"column {name}, row {row}: refers to {table} {column[row]} of only {limit}"
            )

    def at_least(name: str, limit: int) -> None:
        column = tables.column(name)
        if len(column) and min(column) < limit:
            row = next(i for i, value in enumerate(column) if value < limit)
            raise ValueError(f"column {name}, row {row}: {column[row]} is below {limit}")

    below("func.name", len(tables.strings), "string")
    below("func.file", len(tables.strings), "string")
    at_least("func.line", 0)
    below("frame.func", len(tables.func_name), "function")
    at_least("frame.line", 0)
    below("stack.frame", len(tables.frame_func), "frame")
    at_least("stack.parent", -1)
    for row, parent in enumerate(tables.stack_parent):
        if parent >= row:
            raise ValueError(f"column stack.parent, row {row}: parent {parent} comes after it")
    below("sample.thread", len(tables.threads), "thread")
    below("sample.stack", len(tables.stack_frame), "stack")
    at_least("sample.time", -1)
    at_least("sample.count", 1)
    at_least("sample.weight", 0)
    if not all(map(ge, tables.sample_last, tables.sample_time)):
        pairs = zip(tables.sample_time, tables.sample_last)
        row = next(i for i, (time, last) in enumerate(pairs) if last < time)
        raise ValueError(f"column sample.last, row {row}: before sample.time")


class Builder:
    """Interns strings, functions, frames, stacks and threads, and appends sample rows."""

    def __init__(self) -> None:
        self.tables = Tables([], [], {})
        self._strings: dict[str, int] = {}
        self._funcs: dict[tuple[int, int, int, int], int] = {}
        self._frames: dict[tuple[int, int, int], int] = {}
        self._stacks: dict[tuple[int, int], int] = {}
        self._threads: dict[tuple[int, str, int, str], int] = {}

    def string(self, text: str) -> int:
        """Return the id of a string."""
        index = self._strings.get(text)
        if index is None:
            index = self._strings[text] = len(self.tables.strings)
            self.tables.strings.append(text)
        return index

    def func(self, name: str, file: str, first_line: int = 0, flags: int = 0) -> int:
        """Return the id of a function."""
        key = (self.string(name), self.string(file), first_line, flags)
        index = self._funcs.get(key)
        if index is None:
            index = self._funcs[key] = len(self._funcs)
            t = cast(Any, self.tables)
            t.func_name.append(key[0])
            t.func_file.append(key[1])
            t.func_line.append(first_line)
            t.func_flags.append(flags)
        return index

    def frame(self, func: int, line: int = 0, address: int = 0) -> int:
        """Return the id of a frame: a function, the line it executes, its native address."""
        key = (func, line, address)
        index = self._frames.get(key)
        if index is None:
            index = self._frames[key] = len(self._frames)
            t = cast(Any, self.tables)
            t.frame_func.append(func)
            t.frame_line.append(line)
            t.frame_address.append(address)
        return index

    def stack(self, parent: int, frame: int) -> int:
        """Return the id of the stack that calls `frame` from stack `parent` (-1: root)."""
        key = (parent, frame)
        index = self._stacks.get(key)
        if index is None:
            index = self._stacks[key] = len(self._stacks)
            t = cast(Any, self.tables)
            t.stack_parent.append(parent)
            t.stack_frame.append(frame)
        return index

    def stack_of(self, frames: Iterable[int]) -> int:
        """Return the id of a stack given as frame ids, outermost first."""
        stack = -1
        for frame in frames:
            stack = self.stack(stack, frame)
        return stack if stack >= 0 else self.no_frames()

    def no_frames(self) -> int:
        """Return the id of the stack that stands for a sample without frames."""
        return self.stack(-1, self.frame(self.func(NO_FRAMES, "")))

    def thread(self, tid: int, name: str, pid: int = 0, host: str = "") -> int:
        """Return the id of a thread."""
        key = (tid, name, pid, host)
        index = self._threads.get(key)
        if index is None:
            index = self._threads[key] = len(self._threads)
            self.tables.threads.append({"tid": tid, "name": name, "pid": pid, "host": host})
        return index

    def row(
        self,
        thread: int,
        stack: int,
        *,
        weight: int,
        time: int = -1,
        last: int = -1,
        count: int = 1,
        state: int = 0,
    ) -> None:
        """Append one run of `count` equal samples."""
        t = cast(Any, self.tables)
        for part_count, part_weight in cell_sized(count, weight):
            t.sample_thread.append(thread)
            t.sample_stack.append(stack)
            t.sample_time.append(time)
            t.sample_last.append(max(last, time))
            t.sample_count.append(part_count)
            t.sample_weight.append(part_weight)
            t.sample_state.append(state)

    def add_stacks(self, other: Tables, wanted: Sequence[int] | None = None) -> list[int]:
        """Intern the stacks of other tables here.

        Parameters
        ----------
        other : Tables
        wanted : sequence of int, optional
            One truth value a stack of `other`; all of them without it. Where a caller is not
            wanted, what it calls becomes a root.

        Returns
        -------
        list of int
            For each stack of `other` its id here; -1 where it was not wanted.
        """
        frames: dict[int, int] = {}
        mapped = [-1] * len(other.stack_frame)
        for row, (parent, frame) in enumerate(zip(other.stack_parent, other.stack_frame)):
            if wanted is not None and not wanted[row]:
                continue
            here = frames.get(frame)
            if here is None:
                func = other.frame_func[frame]
                here = frames[frame] = self.frame(
                    self.func(
                        other.strings[other.func_name[func]],
                        other.strings[other.func_file[func]],
                        other.func_line[func],
                        other.func_flags[func],
                    ),
                    other.frame_line[frame],
                    other.frame_address[frame],
                )
            mapped[row] = self.stack(mapped[parent] if parent >= 0 else -1, here)
        return mapped

    def add_threads(self, other: Tables) -> list[int]:
        """Intern the threads of other tables here; returns their ids."""
        return [self.thread(t["tid"], t["name"], t["pid"], t["host"]) for t in other.threads]


def take_rows(
    tables: Tables, rows: Sequence[int], keep_stacks: Sequence[int] | None = None
) -> Tables:
    """Return tables with only the given sample rows, and nothing that they do not refer to.

    Callers for which `keep_stacks` (one truth value a stack) is false are cut off.
    """
    stacks = [tables.sample_stack[row] for row in rows]
    wanted = bytearray(len(tables.stack_frame))
    for stack in set(stacks):
        while stack >= 0 and not wanted[stack] and (keep_stacks is None or keep_stacks[stack]):
            wanted[stack] = 1
            stack = tables.stack_parent[stack]
    builder = Builder()
    mapped = builder.add_stacks(tables, wanted)
    t = builder.tables
    used = sorted({tables.sample_thread[row] for row in rows})
    thread_ids = {}
    for thread in used:
        entry = tables.threads[thread]
        thread_ids[thread] = builder.thread(
            entry["tid"], entry["name"], entry["pid"], entry["host"]
        )
    t.meta = dict(tables.meta)
    t.sample_stack = array("I", [mapped[stack] for stack in stacks])
    t.sample_thread = array("I", [thread_ids[tables.sample_thread[row]] for row in rows])
    for name in ("time", "last", "count", "weight", "state"):
        source = tables.column("sample." + name)
        column = empty_column("sample." + name)
        column.extend([source[row] for row in rows])
        setattr(t, "sample_" + name, column)
    return t


def canonical_stacks(
    tables: Tables, frame_keys: Sequence[Any], seen: dict[tuple[int, Any], int] | None = None
) -> list[int]:
    """Give equal ids to stacks that are equal under `frame_keys`.

    Parameters
    ----------
    tables : Tables
    frame_keys : sequence
        One hashable a row of the frame table; frames with equal keys count as the same frame.
    seen : dict, optional
        Shared between calls to compare the stacks of several tables.

    Returns
    -------
    list of int
        One id a stack row. Without `seen`, ids grow from 0 without gaps and a caller's id is
        smaller than its callees'.
    """
    if seen is None:
        seen = {}
    ids: list[int] = []
    for parent, frame in zip(tables.stack_parent, tables.stack_frame):
        key = (ids[parent] if parent >= 0 else -1, frame_keys[frame])
        ids.append(seen.setdefault(key, len(seen)))
    return ids


def sum_by_stack(tables: Tables) -> tuple[list[int], list[int]]:
    """Return for each stack its self samples and self weight in ns, over all threads."""
    counts = [0] * len(tables.stack_frame)
    weights = list(counts)
    for stack, count, weight in zip(tables.sample_stack, tables.sample_count, tables.sample_weight):
        counts[stack] += count
        weights[stack] += weight
    return counts, weights


def sum_by_thread_and_stack(tables: Tables) -> Iterator[tuple[int, int, int, int]]:
    """Yield (thread, stack, samples, weight in ns), threads and stacks in the order of the tables.

    One pass over the rows on flat lists where threads times stacks fit, as they nearly always do.
    """
    threads, stacks = len(tables.threads), len(tables.stack_frame)
    columns = zip(
        tables.sample_thread, tables.sample_stack, tables.sample_count, tables.sample_weight
    )
    if threads * stacks <= max(4_000_000, 4 * tables.rows):
        counts = [0] * (threads * stacks)
        weights = [0] * (threads * stacks)
        for thread, stack, count, weight in columns:
            cell = thread * stacks + stack
            counts[cell] += count
            weights[cell] += weight
        for cell, count in enumerate(counts):
            if count:
                yield cell // stacks, cell % stacks, count, weights[cell]
        return
    sums: dict[int, list[int]] = {}
    for thread, stack, count, weight in columns:
        entry = sums.setdefault(thread * stacks + stack, [0, 0])
        entry[0] += count
        entry[1] += weight
    for cell in sorted(sums):
        yield cell // stacks, cell % stacks, sums[cell][0], sums[cell][1]


@dataclass
class ThreadRows:
    """The sample rows of one thread, in order."""

    stack: array[int]
    weight: array[int]
    count: array[int] | None  # None: one sample a row


def rows_by_thread(tables: Tables) -> dict[int, ThreadRows]:
    """Return for each thread that has samples its rows, threads in the order of the table."""
    used = sorted(set(tables.sample_thread))
    runs = sum(tables.sample_count) != tables.rows
    if len(used) == 1:
        return {
            used[0]: ThreadRows(
                array("I", tables.sample_stack),
                array("q", tables.sample_weight),
                array("I", tables.sample_count) if runs else None,
            )
        }
    parts = {
        thread: ThreadRows(array("I"), array("q"), array("I") if runs else None) for thread in used
    }
    add_stack = {thread: part.stack.append for thread, part in parts.items()}
    add_weight = {thread: part.weight.append for thread, part in parts.items()}
    for thread, stack, weight in zip(
        tables.sample_thread, tables.sample_stack, tables.sample_weight
    ):
        add_stack[thread](stack)
        add_weight[thread](weight)
    if runs:
        for thread, count in zip(tables.sample_thread, tables.sample_count):
            column = parts[thread].count
            if column is not None:
                column.append(count)
    return parts


def aggregate(tables: Tables) -> Tables:
    """Return tables with one row for each (thread, stack): timestamps and states are given up."""
    cells = [
        (thread, stack, *part)
        for thread, stack, count, weight in sum_by_thread_and_stack(tables)
        for part in cell_sized(count, weight)
    ]
    n = len(cells)
    return tables.same_stacks(
        meta=dict(tables.meta),
        sample_thread=array("I", [cell[0] for cell in cells]),
        sample_stack=array("I", [cell[1] for cell in cells]),
        sample_time=array("q", repeat(-1, n)),
        sample_last=array("q", repeat(-1, n)),
        sample_count=array("I", [cell[2] for cell in cells]),
        sample_weight=array("q", [cell[3] for cell in cells]),
        sample_state=array("B", bytes(n)),
    )
