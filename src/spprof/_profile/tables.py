"""The tables of a profile: strings, functions, frames, stacks, samples, threads, and its Meta.

Must not know Frame, Sample or Profile, nor any file format: plain integers and strings only.
docs/ARCHITECTURE.md says what each column means.

`start` imports this, so that `stop` need not: typing and dataclasses are left to type checkers.
"""

from __future__ import annotations

import sys
from array import array
from itertools import count
from operator import eq, ge

from . import MODES

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from datetime import datetime, timedelta
    from typing import Any, NewType, Protocol, TypedDict, TypeVar, overload

    from typing_extensions import dataclass_transform

LAYOUT_VERSION = 1

# Rows of each table. Columns hold rows of other tables, and which one is part of their type: a
# frame's row where a function's is wanted is an error for the type checker.
if TYPE_CHECKING:
    StringIndex = NewType("StringIndex", int)
    FuncIndex = NewType("FuncIndex", int)
    FrameIndex = NewType("FrameIndex", int)
    StackIndex = NewType("StackIndex", int)
    LabelIndex = NewType("LabelIndex", int)
    SampleIndex = NewType("SampleIndex", int)
    ThreadIndex = NewType("ThreadIndex", int)
else:
    StringIndex = FuncIndex = FrameIndex = StackIndex = int
    LabelIndex = SampleIndex = ThreadIndex = int

ROOT = StackIndex(-1)  # the caller of a stack that has none
NO_LABEL = LabelIndex(-1)  # what is around the outermost label, and around a sample without any

NATIVE = 1  # func.flags bit 0

WAITING = 0b00001  # sample.state bits 0-1
GIL_MASK = 0b01100
GIL_NOT_HELD = 0b00100
GIL_HELD = 0b01000
MISMATCHED = 0b10000
CAUSE_SHIFT = 5  # bits 5-7: what is waited for, a row of CAUSES
STATE_WITHOUT_CAUSE = 0b11111
CAUSES = ("unknown", "gil", "lock", "sleep", "socket", "file", "process", "thread")

STATES = {"running": 0, "waiting": WAITING}
GIL = {None: 0, False: GIL_NOT_HELD, True: GIL_HELD}
_GIL_OF_STATE = {bits: held for held, bits in GIL.items()}

ENGINES = ("timer", "ticker")  # how samples are taken; "": not by spprof

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

# Where samples carry labels, and only there: a profile without has none of these columns. `label`
# is a trie as `stack` is: a row is the innermost label of a set, and its parent the rest of it.
LABEL_COLUMN_TYPES: dict[str, str] = {
    "label.parent": "i32",
    "label.key": "u32",
    "label.value": "u32",
    "sample.label": "i32",
}
_ALL_TYPES = {**COLUMN_TYPES, **LABEL_COLUMN_TYPES}


def state_name(state: int) -> str:
    """Name of a `sample.state`: "running" or "waiting"."""
    return "waiting" if state & WAITING else "running"


def state_bits(name: str) -> int:
    """Bits of a state's name.

    Raises
    ------
    ValueError
        There is no such state.
    """
    if name not in STATES:
        raise ValueError(f'state must be "running" or "waiting", not {name!r}')
    return STATES[name]


def cause_name(state: int) -> str | None:
    """What a thread of this `sample.state` waits for, one of `CAUSES`.

    None where that is unknown, or the thread runs.
    """
    cause = state >> CAUSE_SHIFT
    return CAUSES[cause] if cause and state & WAITING else None


def cause_bits(name: str) -> int:
    """Bits of what is waited for, by its name.

    Raises
    ------
    ValueError
        There is no such cause.
    """
    if name not in CAUSES:
        listed = ", ".join(map(repr, CAUSES))
        raise ValueError(f"waits_for must be one of {listed}, not {name!r}")
    return CAUSES.index(name) << CAUSE_SHIFT


def holds_gil(state: int) -> bool | None:
    """Whether a thread of this `sample.state` held the GIL; None where that is unknown."""
    return _GIL_OF_STATE.get(state & GIL_MASK)


def measure(mode: str, otherwise: str = "time") -> str:
    """What weights measure, in words: ``CPU time``, ``wall time``."""
    return MODES.get(mode, otherwise)


def parse_time(text: str) -> datetime:
    """Parse ISO 8601, with the ``Z`` that Python before 3.11 does not know.

    Raises
    ------
    ValueError
    """
    from datetime import datetime

    return datetime.fromisoformat(text[:-1] + "+00:00" if text.endswith("Z") else text)


def nanoseconds(span: timedelta) -> int:
    """A span of time in ns, to the microsecond that `datetime` knows."""
    return (span.days * 86400 + span.seconds) * 10**9 + span.microseconds * 1000


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


if TYPE_CHECKING:
    Class = TypeVar("Class")
    Item_co = TypeVar("Item_co", covariant=True)

    class Column(Protocol[Item_co]):
        """An `array` or a `memoryview` whose items are what the column's type says."""

        def __len__(self) -> int: ...
        def __iter__(self) -> Iterator[Item_co]: ...
        @overload
        def __getitem__(self, row: int, /) -> Item_co: ...
        @overload
        def __getitem__(self, rows: slice, /) -> Column[Item_co]: ...
        def __buffer__(self, flags: int, /) -> memoryview: ...

    class ThreadRow(TypedDict):
        """A row of the thread table; pid 0 and host "" mean unknown and this machine."""

        tid: int
        name: str
        pid: int
        host: str

    class ProcessRow(TypedDict):
        """A process of a profile; docs/ARCHITECTURE.md says what each member means."""

        pid: int
        host: str
        ppid: int
        command: str
        name: str
        start_ns: int
        end_ns: int | None
        ended: str
        cpu_ns: int | None
        before_ns: int
        after_ns: int
        profiler_ns: int
        profile_ns: int

    class ModuleRow(TypedDict):
        """A loaded machine code file; build_id "" where it is unknown."""

        path: str
        build_id: str

    @dataclass_transform(frozen_default=True)
    def _record(cls: type[Class]) -> type[Class]:
        """Make a frozen dataclass."""

else:
    ThreadRow = ProcessRow = ModuleRow = dict

    def _record(cls):
        """Make what a frozen dataclass is where every member has a default."""
        names = tuple(cls.__annotations__)

        def init(self, *args, **members):
            members.update(zip(names, args))
            if not members.keys() <= {*names}:
                raise TypeError(f"{cls.__name__} has no {sorted(members.keys() - {*names})}")
            self.__dict__.update({name: getattr(cls, name) for name in names})
            self.__dict__.update(members)

        def refuse(self, name, value=None):
            raise AttributeError(f"{cls.__name__} cannot be changed: make another with `but`")

        def equal(self, other):
            return self.__dict__ == other.__dict__ if type(other) is cls else NotImplemented

        def text(self):
            members = (f"{name}={value!r}" for name, value in self.__dict__.items())
            return f"{cls.__name__}({', '.join(members)})"

        cls.__init__, cls.__setattr__, cls.__delattr__ = init, refuse, refuse
        cls.__eq__, cls.__hash__, cls.__repr__ = equal, None, text
        return cls


@_record
class Meta:
    """Circumstances of a profile; docs/ARCHITECTURE.md says what each member means.

    Times are ISO 8601 texts as files have them; `start` and `end` are the same as `datetime`.
    """

    start_time: str = "1970-01-01T00:00:00+00:00"
    end_time: str = "1970-01-01T00:00:00+00:00"
    duration_ns: int = 0
    interval_ns: float = 0  # whole in all that spprof writes
    mode: str = ""
    engine: str = ""
    weights: str = "measured"
    dropped_count: int = 0
    python_version: str = ""
    platform: str = ""
    notes: tuple[str, ...] = ()
    modules: tuple[ModuleRow, ...] = ()
    timestamps_until_ns: int | None = None
    # Where it has several processes: the one that was asked first, callers before what they made.
    processes: tuple[ProcessRow, ...] = ()
    # A difference holds two profiles side by side: rows of the threads of each.
    difference: dict[str, list[int]] | None = None

    @classmethod
    def between(cls, start: datetime, end: datetime, **circumstances: Any) -> Meta:
        """Circumstances of a profile that lasted from `start` to `end`.

        Raises
        ------
        ValueError
            `end` is before `start`.
        """
        if end < start:
            raise ValueError(f"end_time {end} is before start_time {start}")
        circumstances.setdefault("duration_ns", nanoseconds(end - start))
        return cls(start.isoformat(), end.isoformat(), **circumstances)

    @property
    def start(self) -> datetime:
        """When the profile began."""
        return parse_time(self.start_time)

    @property
    def end(self) -> datetime:
        """When the profile ended."""
        return parse_time(self.end_time)

    @property
    def build_ids(self) -> dict[str, str]:
        """Build id of each module, by path."""
        return {module["path"]: module["build_id"] for module in self.modules}

    def but(self, **changes: Any) -> Meta:
        """The same circumstances except what `changes` names."""
        return Meta(**{**self.__dict__, **changes})

    def with_notes(self, *notes: str) -> Meta:
        """The same circumstances with further notes."""
        return self.but(notes=(*self.notes, *notes))

    def as_dict(self) -> dict[str, Any]:
        """As files hold it: plain lists and dicts, `difference` only where it is one."""
        members = dict(self.__dict__)
        members["notes"], members["modules"] = list(self.notes), list(self.modules)
        members["processes"] = list(self.processes)
        if not self.processes:
            del members["processes"]
        if self.difference is None:
            del members["difference"]
        return {"version": LAYOUT_VERSION, **members}


def empty_column(name: str) -> array[int]:
    """Return an empty, growing column of the type that `name` has."""
    return array(TYPECODES[_ALL_TYPES[name]])


def column_from_bytes(name: str, data: Any) -> Column[int]:
    """View little-endian bytes as the column `name` without copying them."""
    if sys.byteorder != "little":
        raise NotImplementedError("spprof's columns are little-endian; this host is big-endian")
    view: Any = memoryview(data).cast("B")
    code = TYPECODES[_ALL_TYPES[name]]
    itemsize = array(code).itemsize
    if len(view) % itemsize:
        raise ValueError(f"column {name}: {len(view)} bytes is not a multiple of {itemsize}")
    column: Column[int] = view.cast(code)
    return column


class Tables:
    """All tables of one profile. Treated as immutable once built; derived profiles share them."""

    strings: list[str]
    threads: list[ThreadRow]
    meta: Meta
    func_name: Column[StringIndex]
    func_file: Column[StringIndex]
    func_line: Column[int]
    func_flags: Column[int]
    frame_func: Column[FuncIndex]
    frame_line: Column[int]
    frame_address: Column[int]
    stack_parent: Column[StackIndex]
    stack_frame: Column[FrameIndex]
    sample_thread: Column[ThreadIndex]
    sample_stack: Column[StackIndex]
    sample_time: Column[int]
    sample_last: Column[int]
    sample_count: Column[int]
    sample_weight: Column[int]
    sample_state: Column[int]
    # Empty where there are no labels.
    label_parent: Column[LabelIndex]
    label_key: Column[StringIndex]
    label_value: Column[StringIndex]
    sample_label: Column[LabelIndex]

    def __init__(
        self, strings: list[str], threads: list[ThreadRow], meta: Meta, **columns: Any
    ) -> None:
        """Take columns by their attributes' names; those not given are new and empty."""
        self.strings, self.threads, self.meta = strings, threads, meta
        for name in _ALL_TYPES:
            given = columns.pop(attribute(name), None)
            setattr(self, attribute(name), empty_column(name) if given is None else given)
        if columns:
            raise TypeError(f"there is no column {sorted(columns)}")

    @classmethod
    def from_bytes(
        cls,
        columns: dict[str, Any],
        strings: list[str],
        threads: list[ThreadRow],
        meta: Meta,
    ) -> Tables:
        """Build tables over raw column bytes, checking names and lengths but not every value."""
        # Columns of labels are there all together, or not at all.
        labelled = any(name in columns for name in LABEL_COLUMN_TYPES)
        names = _ALL_TYPES if labelled else COLUMN_TYPES
        missing = [name for name in names if name not in columns]
        if missing:
            raise ValueError(f"missing column {missing[0]}")
        tables = cls(strings, threads, meta)
        for name in names:
            setattr(tables, attribute(name), column_from_bytes(name, columns[name]))
        for table in ("func", "frame", "stack", "sample", "label"):
            lengths = {n: len(tables.column(n)) for n in names if n.startswith(table + ".")}
            if len(set(lengths.values())) > 1:
                listed = ", ".join(f"{name} {length}" for name, length in lengths.items())
                raise ValueError(f"columns of {table} differ in length: {listed}")
        return tables

    def column(self, name: str) -> Column[int]:
        """Return the column by its table name, such as ``sample.weight``."""
        column: Column[int] = getattr(self, attribute(name))
        return column

    @property
    def rows(self) -> int:
        """Rows of the sample table (runs of equal samples)."""
        return len(self.sample_stack)

    @property
    def column_types(self) -> dict[str, str]:
        """Names and types of the columns that are there: labels' only if any sample has one."""
        return _ALL_TYPES if len(self.sample_label) else COLUMN_TYPES

    @property
    def sample_labels(self) -> Sequence[LabelIndex] | Column[LabelIndex]:
        """The label of each row, also where there are none."""
        return self.sample_label if len(self.sample_label) else [NO_LABEL] * self.rows

    def same_stacks(self, **changes: Any) -> Tables:
        """Return tables that share everything with these except what `changes` names."""
        return Tables(**{**self.__dict__, **changes})


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
    if sum(tables.sample_weight) >= 2**63:
        raise ValueError("column sample.weight: its sum does not fit in 64 bits")
    below("label.key", len(tables.strings), "string")
    below("label.value", len(tables.strings), "string")
    at_least("label.parent", -1)
    for row, outer in enumerate(tables.label_parent):
        if outer >= row:
            raise ValueError(f"column label.parent, row {row}: parent {outer} comes after it")
    at_least("sample.label", -1)
    below("sample.label", len(tables.label_parent), "label")
    if not all(map(ge, tables.sample_last, tables.sample_time)):
        pairs = zip(tables.sample_time, tables.sample_last)
        row = next(i for i, (time, last) in enumerate(pairs) if last < time)
        raise ValueError(f"column sample.last, row {row}: before sample.time")


# What follows is done for each row of all profiles that are merged: no step of it is Python's.


def _bytes_of(column: Any) -> memoryview:
    return memoryview(column).cast("B")


def _extend_mapped(column: Any, rows: Any, mapped: Sequence[int]) -> None:
    """Append `rows` of another table as rows of this one."""
    if all(map(eq, mapped, count())):
        column.frombytes(_bytes_of(rows))
    else:
        column.extend(map(mapped.__getitem__, rows))


def _extend_shifted(column: Any, times: Any, shift: int) -> None:
    """Append times `shift` ns later; none before 0, but those that were not kept."""
    least = min(times, default=0)
    if shift == 0:
        column.frombytes(_bytes_of(times))
    elif least >= 0 and least + shift >= 0:
        column.extend(map(shift.__add__, times))
    else:
        column.extend(time if time < 0 else max(0, time + shift) for time in times)


class Builder:
    """Interns strings, functions, frames, stacks and threads, and appends sample rows."""

    def __init__(self) -> None:
        self.tables = Tables([], [], Meta())
        self._strings: dict[str, StringIndex] = {}
        self._funcs: dict[tuple[StringIndex, StringIndex, int, int], FuncIndex] = {}
        self._frames: dict[tuple[FuncIndex, int, int], FrameIndex] = {}
        self._stacks: dict[tuple[StackIndex, FrameIndex], StackIndex] = {}
        self._labels: dict[tuple[LabelIndex, StringIndex, StringIndex], LabelIndex] = {}
        self._threads: dict[tuple[int, str, int, str], ThreadIndex] = {}

    def string(self, text: str) -> StringIndex:
        """Return the row of a string."""
        index = self._strings.get(text)
        if index is None:
            index = self._strings[text] = StringIndex(len(self.tables.strings))
            self.tables.strings.append(text)
        return index

    def func(self, name: str, file: str, first_line: int = 0, flags: int = 0) -> FuncIndex:
        """Return the row of a function."""
        key = (self.string(name), self.string(file), first_line, flags)
        index = self._funcs.get(key)
        if index is None:
            index = self._funcs[key] = FuncIndex(len(self._funcs))
            t: Any = self.tables
            t.func_name.append(key[0])
            t.func_file.append(key[1])
            t.func_line.append(first_line)
            t.func_flags.append(flags)
        return index

    def frame(self, func: FuncIndex, line: int = 0, address: int = 0) -> FrameIndex:
        """Return the row of a frame: a function, the line it executes, its native address."""
        key = (func, line, address)
        index = self._frames.get(key)
        if index is None:
            index = self._frames[key] = FrameIndex(len(self._frames))
            t: Any = self.tables
            t.frame_func.append(func)
            t.frame_line.append(line)
            t.frame_address.append(address)
        return index

    def stack(self, parent: StackIndex, frame: FrameIndex) -> StackIndex:
        """Return the row of the stack that calls `frame` from stack `parent` (-1: root)."""
        key = (parent, frame)
        index = self._stacks.get(key)
        if index is None:
            index = self._stacks[key] = StackIndex(len(self._stacks))
            t: Any = self.tables
            t.stack_parent.append(parent)
            t.stack_frame.append(frame)
        return index

    def stack_of(self, frames: Iterable[FrameIndex]) -> StackIndex:
        """Return the row of a stack given as rows of frames, outermost first."""
        stack = ROOT
        for frame in frames:
            stack = self.stack(stack, frame)
        return stack if stack >= 0 else self.no_frames()

    def no_frames(self) -> StackIndex:
        """Return the row of the stack that stands for a sample without frames."""
        return self.stack(ROOT, self.frame(self.func(NO_FRAMES, "")))

    def label(self, parent: LabelIndex, key: str, value: str) -> LabelIndex:
        """Return the row of the labels `parent` (-1: none) and a further one."""
        label = (parent, self.string(key), self.string(value))
        index = self._labels.get(label)
        if index is None:
            index = self._labels[label] = LabelIndex(len(self._labels))
            t: Any = self.tables
            t.label_parent.append(parent)
            t.label_key.append(label[1])
            t.label_value.append(label[2])
        return index

    def thread(self, tid: int, name: str, pid: int = 0, host: str = "") -> ThreadIndex:
        """Return the row of a thread."""
        key = (tid, name, pid, host)
        index = self._threads.get(key)
        if index is None:
            index = self._threads[key] = ThreadIndex(len(self._threads))
            self.tables.threads.append({"tid": tid, "name": name, "pid": pid, "host": host})
        return index

    def row(
        self,
        thread: ThreadIndex,
        stack: StackIndex,
        *,
        weight: int,
        time: int = -1,
        last: int = -1,
        count: int = 1,
        state: int = 0,
        label: LabelIndex = NO_LABEL,
    ) -> None:
        """Append one run of `count` equal samples."""
        t: Any = self.tables
        if label != NO_LABEL and not len(t.sample_label):
            t.sample_label.extend([NO_LABEL] * t.rows)
        for part_count, part_weight in cell_sized(count, weight):
            t.sample_thread.append(thread)
            t.sample_stack.append(stack)
            t.sample_time.append(time)
            t.sample_last.append(max(last, time))
            t.sample_count.append(part_count)
            t.sample_weight.append(part_weight)
            t.sample_state.append(state)
            if len(t.sample_label) or label != NO_LABEL:
                t.sample_label.append(label)

    def add_stacks(self, other: Tables, wanted: Sequence[int] | None = None) -> list[StackIndex]:
        """Intern the stacks of other tables here.

        Parameters
        ----------
        other : Tables
        wanted : sequence of int, optional
            One truth value a stack of `other`; all of them without it. Where a caller is not
            wanted, what it calls becomes a root.

        Returns
        -------
        list of StackIndex
            For each stack of `other` its row here; -1 where it was not wanted.
        """
        frames: dict[FrameIndex, FrameIndex] = {}
        mapped = [ROOT] * len(other.stack_frame)
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
            mapped[row] = self.stack(mapped[parent] if parent >= 0 else ROOT, here)
        return mapped

    def add_labels(
        self, other: Tables, wanted: Iterable[LabelIndex] | None = None
    ) -> dict[LabelIndex, LabelIndex]:
        """Intern the labels of other tables here, all or the wanted ones; returns their rows."""
        mapped = {NO_LABEL: NO_LABEL}
        if wanted is None:
            needed: Any = range(len(other.label_parent))
        else:
            # Those around a label come along.
            pending, marked = [*wanted], set()
            while pending:
                row = pending.pop()
                if row >= 0 and row not in marked:
                    marked.add(row)
                    pending.append(other.label_parent[row])
            needed = sorted(marked)
        for row in needed:
            mapped[row] = self.label(
                mapped[other.label_parent[row]],
                other.strings[other.label_key[row]],
                other.strings[other.label_value[row]],
            )
        return mapped

    def add_rows(self, other: Tables, shift: int) -> None:
        """Append all sample rows of other tables, `shift` ns later; none begins before 0."""
        t: Any = self.tables
        stacks, threads = self.add_stacks(other), self.add_threads(other)
        if len(other.sample_label) and not len(t.sample_label):
            t.sample_label.extend([NO_LABEL] * t.rows)
        _extend_mapped(t.sample_stack, other.sample_stack, stacks)
        _extend_mapped(t.sample_thread, other.sample_thread, threads)
        before = len(t.sample_time)
        _extend_shifted(t.sample_time, other.sample_time, shift)
        if _bytes_of(other.sample_last) == _bytes_of(other.sample_time):  # no row is a run
            t.sample_last.frombytes(_bytes_of(t.sample_time[before:]))
        else:
            _extend_shifted(t.sample_last, other.sample_last, shift)
        for name in ("sample_count", "sample_weight", "sample_state"):
            getattr(t, name).frombytes(_bytes_of(getattr(other, name)))
        if len(other.sample_label) or len(t.sample_label):
            labels = self.add_labels(other)
            t.sample_label.extend(map(labels.__getitem__, other.sample_labels))

    def copy_thread(self, row: ThreadRow) -> ThreadIndex:
        """Return the row that a thread of other tables has here."""
        return self.thread(row["tid"], row["name"], row["pid"], row["host"])

    def add_threads(self, other: Tables) -> list[ThreadIndex]:
        """Intern the threads of other tables here; returns their rows."""
        return [self.copy_thread(row) for row in other.threads]
