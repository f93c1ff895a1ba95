"""Reads what the Firefox Profiler opens: its processed format, and what Firefox and perf write.

Must not know any other format, nor how ours of this one is written. Of a file's versions it asks
only where each table is: in a thread, or shared by all of them.
"""

from __future__ import annotations

import re
from itertools import accumulate
from statistics import median
from typing import Any, NamedTuple

from .._profile.tables import (
    COUNT_LIMIT,
    NATIVE,
    ROOT,
    WAITING,
    Builder,
    FrameIndex,
    Meta,
    StackIndex,
    Tables,
    ThreadIndex,
)
from ._errors import FormatError
from ._json import member, parse
from ._meta import read_meta
from ._stacks import check_depth

# Categories by what they are called: machine code, and time that a thread was off the processor.
_NATIVE, _WAITING = "Native", ("Waiting", "Idle")

# The file of code that is not Python's, in what Python's own profilers write.
_NO_FILE = "~"

_HOST = re.compile(r"([0-9]{1,19})(?: on (.+))?", re.DOTALL)

# Behind a function's name in what Firefox itself writes: a file with its line, or a library.
_PLACE = re.compile(r"(?P<file>.*?)(?::(?P<line>[0-9]{1,9}))?(?::[0-9]{1,9})?", re.DOTALL)


class _Named(NamedTuple):
    """A function: its first line, and whether it is machine code; None: its frames tell."""

    name: str
    file: str
    line: int
    native: bool | None


class _Stacks(NamedTuple):
    """Each row of a stack table: its row here, and its state."""

    rows: list[StackIndex]
    states: list[int]


class _Samples(NamedTuple):
    """Samples of a thread: rows of stacks, ns, and weights as the file has them."""

    thread: ThreadIndex
    stacks: list[StackIndex]
    states: list[int]
    times: list[int]
    weights: list[float] | None
    measured: bool


def load(data: bytes, *, interval_ms: float | None = None) -> Tables:
    """Read a file that the Firefox Profiler opens; see `gecko.load`."""
    document = parse(data)
    if not isinstance(document, dict) or not isinstance(document.get("threads"), list):
        raise FormatError('not a Firefox Profiler file: there are no "threads" at its top')
    return _Reader(member(document, "meta", dict, "top"), interval_ms).profile(document)


class _Reader:
    def __init__(self, meta: dict[str, Any], interval_ms: float | None) -> None:
        self._meta = meta
        self._interval_ms = interval_ms
        self._builder = Builder()
        self._shared: _Stacks | None = None
        self._samples: list[_Samples] = []
        self._distances: list[int] = []

    def profile(self, document: dict[str, Any]) -> Tables:
        self._process(document, "top", 0)
        counted = any(not samples.measured for samples in self._samples)
        interval = self._interval() if counted else 0
        for samples in self._samples:
            self._add(samples, interval)
        self._builder.tables.meta = self._circumstances(counted, interval)
        return self._builder.tables

    def _process(self, process: dict[str, Any], where: str, later: int) -> None:
        """Read the threads of a process, and of those that Firefox has below it."""
        threads = member(process, "threads", list, where)
        for number, thread in enumerate(threads):
            at = f"threads[{number}]" if where == "top" else f"{where}.threads[{number}]"
            if not isinstance(thread, dict):
                raise FormatError(f"{at} should be an object")
            if isinstance(thread.get("stackTable"), dict) and "schema" in thread["stackTable"]:
                thread = _unrolled(thread, at)
            self._thread(process, thread, at, later)
        for number, below in enumerate(_list(process, "processes", where)):
            at = f"{where}.processes[{number}]"
            start = _number(member(below, "meta", dict, at), "startTime", at)
            own = _number(self._meta, "startTime", "meta")
            self._process(below, at, _nanoseconds(start - own, f"{at}.meta.startTime"))

    # --- stacks ---

    def _stacks(self, process: dict[str, Any], thread: dict[str, Any], where: str) -> _Stacks:
        shared = process.get("shared")
        shared = shared if isinstance(shared, dict) else {}
        common = "stackTable" in shared
        if common and self._shared is not None:
            return self._shared
        strings = _strings(process, shared, thread, where)
        place = shared if common else thread
        at = "shared" if common else where
        categories = [
            category.get("name") if isinstance(category, dict) else None
            for category in _list(self._meta, "categories", "meta")
        ]
        table = _Frames(process, shared, place, strings, categories, at, self._builder)
        frames, waiting = table.frames()
        stacks = _stack_rows(place, frames, waiting, at, self._builder)
        if common:
            self._shared = stacks
        return stacks

    # --- samples ---

    def _thread(
        self, process: dict[str, Any], thread: dict[str, Any], where: str, later: int
    ) -> None:
        samples = member(thread, "samples", dict, where)
        at = f"{where}.samples"
        stacks = self._stacks(process, thread, where)
        chosen = member(samples, "stack", list, at)
        rows, states = [], []
        for number, stack in enumerate(chosen):
            if stack is None:
                rows.append(self._builder.no_frames())
                states.append(0)
                continue
            _check_row(stack, len(stacks.rows), f"{at}.stack[{number}]", "stacks")
            rows.append(stacks.rows[stack])
            states.append(stacks.states[stack])
        times = _times(samples, len(rows), at, later)
        weights = samples.get("weight")
        kind = samples.get("weightType") or "samples"
        if kind not in ("samples", "tracing-ms"):
            raise FormatError(f"{at}.weightType is {kind!r:.40}: only time and counts can be shown")
        if weights is not None:
            weights = _column(samples, "weight", len(rows), at)
            for number, weight in enumerate(weights):
                if type(weight) not in (int, float) or not 0 <= weight < 2**63:
                    raise FormatError(f"{at}.weight[{number}] should be a number, not negative")
        ordered = sorted(times)
        self._distances += [b - a for a, b in zip(ordered, ordered[1:])]
        measured = weights is not None and kind == "tracing-ms"
        owner = self._owner(thread, len(self._samples))
        self._samples.append(_Samples(owner, rows, states, times, weights, measured))

    def _owner(self, thread: dict[str, Any], number: int) -> ThreadIndex:
        name = thread.get("name")
        match = _HOST.fullmatch(str(thread.get("pid")))
        pid, host = (int(match[1]), match[2] or "") if match is not None else (0, "")
        tid = thread.get("tid")
        if isinstance(tid, str) and re.fullmatch("[0-9]{1,19}", tid):
            tid = int(tid)
        if type(tid) is not int or not -(2**63) <= tid < 2**64:
            tid = number + 1
        return self._builder.thread(tid, name if isinstance(name, str) else "", pid, host)

    def _interval(self) -> int:
        """What a sample that is only counted stands for, in ns.

        How far neighbours are apart: what files say of it is not always meant for each thread.
        """
        if self._interval_ms is not None:
            return round(self._interval_ms * 1e6)
        usual = round(median(self._distances)) if self._distances else 0
        if usual <= 0:
            said: Any = self._meta.get("interval")
            usual = round(said * 1e6) if type(said) in (int, float) and 0 < said < 1e9 else 0
        return usual or 1_000_000

    def _add(self, samples: _Samples, interval: int) -> None:
        weights = [1] * len(samples.times) if samples.weights is None else samples.weights
        total = 0
        for number, (stack, state, time) in enumerate(
            zip(samples.stacks, samples.states, samples.times)
        ):
            weight = weights[number]
            if samples.measured:
                count, ns = 1, round(weight * 1e6)
            else:
                count, ns = min(max(1, round(weight)), COUNT_LIMIT), round(weight * interval)
            total += ns
            if total >= 2**63:
                raise FormatError("samples of a thread are of more than 292 years")
            self._builder.row(samples.thread, stack, time=time, count=count, weight=ns, state=state)

    def _circumstances(self, counted: bool, interval: int) -> Meta:
        meta = self._meta
        latest = max((max(s.times, default=0) for s in self._samples), default=0)
        start = _nanoseconds(_number(meta, "startTime", "meta"), "meta.startTime")
        tool = meta.get("importedFrom") or meta.get("product")
        notes = [f"read from a Firefox Profiler file of {tool}"] if isinstance(tool, str) else []
        if counted and self._interval_ms is None:
            notes.append(
                f"the file counts samples: {interval / 1e6:g} ms each, as neighbours are apart"
            )
        return read_meta(
            duration_ns=max(latest, 0),
            interval_ns=interval,
            weights="samples" if counted else "measured",
            notes=tuple(notes),
            start_ns=start,
        )


class _Frames:
    """The frames of a thread, or of all of them, with the tables they are made of."""

    def __init__(
        self,
        process: dict[str, Any],
        shared: dict[str, Any],
        place: dict[str, Any],
        strings: list[str],
        categories: list[Any],
        where: str,
        builder: Builder,
    ) -> None:
        self._strings = strings
        self._categories = categories
        self._where = where
        self._builder = builder
        self._table = member(place, "frameTable", dict, where)
        self._funcs = member(place, "funcTable", dict, where) if "funcTable" in place else None
        self._resources = place.get("resourceTable")
        sources = shared.get("sources")
        self._sources = sources.get("filename") if isinstance(sources, dict) else None
        self._libs = _list(process, "libs", where) or _list(place, "libs", where)

    def frames(self) -> tuple[list[FrameIndex], list[bool | None]]:
        """Each frame's row here, and whether its category is one of waiting; None: its caller's."""
        table, where = self._table, f"{self._where}.frameTable"
        if self._funcs is None:
            named = self._locations()
        else:
            funcs = self._functions()
            named = []
            for number, func in enumerate(member(table, "func", list, where)):
                _check_row(func, len(funcs), f"{where}.func[{number}]", "functions")
                named.append(funcs[func])
        size = len(named)
        lines = _column(table, "line", size, where)
        addresses = _column(table, "address", size, where)
        symbols = _column(table, "nativeSymbol", size, where)
        kinds = _column(table, "category", size, where)
        rows, waiting = [], []
        for number, (name, file, first, told) in enumerate(named):
            category = None
            if kinds[number] is not None:
                _check_row(kinds[number], len(self._categories), f"{where}.category", "categories")
                category = self._categories[kinds[number]]
            address = addresses[number]
            known = type(address) is int and 0 <= address < 2**64
            native = told
            if native is None:
                native = known or symbols[number] is not None
                native = native or (category == _NATIVE and not file.startswith("<"))
            # A function that Firefox itself names has its line behind the name.
            line = first if self._funcs is None and lines[number] is None else lines[number]
            first = 0 if self._funcs is None else first
            func = self._builder.func(name, file, first, NATIVE if native else 0)
            line = _line(line, f"{where}.line[{number}]")
            rows.append(self._builder.frame(func, line, address if known and native else 0))
            waiting.append(None if category is None else category in _WAITING)
        return rows, waiting

    def _functions(self) -> list[_Named]:
        """Each function of the table."""
        table, where = self._funcs, f"{self._where}.funcTable"
        names = member(table, "name", list, where)
        size = len(names)
        files = _column(table, "fileName", size, where)
        sources = _column(table, "source", size, where)
        resources = _column(table, "resource", size, where)
        lines = _column(table, "lineNumber", size, where)
        scripts = _column(table, "isJS", size, where)
        found = []
        for number, name in enumerate(names):
            at = f"{where}[{number}]"
            if files[number] is not None:
                file = self._string(files[number], at)
            elif sources[number] is not None:
                known = self._sources if isinstance(self._sources, list) else []
                _check_row(sources[number], len(known), f"{at}.source", "sources")
                file = self._string(known[sources[number]], at)
            else:
                file = self._resource(resources[number], at)
            line = _line(lines[number], f"{at}.lineNumber")
            native = False if scripts[number] is True else None
            if file == _NO_FILE:
                file, line, native = "", 0, True
            found.append(_Named(self._string(name, at), file, line, native))
        return found

    def _resource(self, resource: Any, where: str) -> str:
        """Path of a library, or whatever else a function is said to be from."""
        if resource is None or resource == -1:
            return ""
        table, at = self._resources, f"{self._where}.resourceTable"
        names = member(table, "name", list, at)
        _check_row(resource, len(names), f"{where}.resource", "resources")
        lib = _column(table, "lib", len(names), at)[resource]
        if lib is not None and lib != -1:
            _check_row(lib, len(self._libs), f"{at}.lib[{resource}]", "libraries")
            for key in ("path", "debugPath", "name"):
                path = self._libs[lib].get(key) if isinstance(self._libs[lib], dict) else None
                if isinstance(path, str) and path:
                    return path
        return "" if names[resource] is None else self._string(names[resource], at)

    def _locations(self) -> list[_Named]:
        """As `_functions`, for each frame of what Firefox itself writes, where all is one text."""
        where = f"{self._where}.frameTable"
        texts = member(self._table, "location", list, where)
        return [_location(self._string(text, f"{where}[{i}]")) for i, text in enumerate(texts)]

    def _string(self, index: Any, where: str) -> str:
        return self._strings[_check_row(index, len(self._strings), where, "strings")]


def _location(text: str) -> _Named:
    """``name (file:line:column)`` of a script, ``name (in library)``, or just a name."""
    name, _, place = text.rpartition(" (")
    if not name or not place.endswith(")"):
        return _Named(text, "", 0, None)
    place = place[:-1]
    if place.startswith("in "):
        return _Named(name, place[3:], 0, True)
    match = _PLACE.fullmatch(place)
    assert match is not None
    return _Named(name, match["file"], int(match["line"] or 0), False)


def _stack_rows(
    place: dict[str, Any],
    frames: list[FrameIndex],
    waiting: list[bool | None],
    where: str,
    builder: Builder,
) -> _Stacks:
    table, where = member(place, "stackTable", dict, where), f"{where}.stackTable"
    chosen = member(table, "frame", list, where)
    prefixes = _column(table, "prefix", len(chosen), where)
    rows: list[StackIndex] = []
    states: list[int] = []
    depths: list[int] = []
    for number, (frame, prefix) in enumerate(zip(chosen, prefixes)):
        at = f"{where}[{number}]"
        _check_row(frame, len(frames), f"{at}.frame", "frames")
        parent, depth, state = ROOT, 1, 0
        if prefix is not None:
            _check_row(prefix, number, f"{at}.prefix", "stacks before it")
            parent, depth, state = rows[prefix], depths[prefix] + 1, states[prefix]
        check_depth(depth, at)
        waits = waiting[frame]
        if waits is not None:
            state = WAITING if waits else 0
        rows.append(builder.stack(parent, frames[frame]))
        states.append(state)
        depths.append(depth)
    return _Stacks(rows, states)


def _strings(
    process: dict[str, Any], shared: dict[str, Any], thread: dict[str, Any], where: str
) -> list[str]:
    for place, name in (
        (shared, "stringArray"),
        (thread, "stringArray"),
        (thread, "stringTable"),
    ):
        found = place.get(name)
        if isinstance(found, list):
            if not all(isinstance(text, str) for text in found):
                raise FormatError(f"{where}: {name} should hold strings")
            return found
    raise FormatError(f"{where}: there are no strings")


def _unrolled(thread: dict[str, Any], where: str) -> dict[str, Any]:
    """Tables of rows with a schema, as Firefox itself writes them, as tables of columns."""
    result = dict(thread)
    for name in ("samples", "stackTable", "frameTable"):
        table = member(thread, name, dict, where)
        schema = member(table, "schema", dict, f"{where}.{name}")
        rows = member(table, "data", list, f"{where}.{name}")
        if not all(isinstance(row, list) for row in rows):
            raise FormatError(f"{where}.{name}.data should hold lists")
        columns = {}
        for column, at in schema.items():
            if type(at) is not int or at < 0:
                raise FormatError(f"{where}.{name}.schema.{column:.40} should be a column's number")
            if column in _KNOWN_COLUMNS:
                columns[column] = [row[at] if at < len(row) else None for row in rows]
        result[name] = columns
    return result


_KNOWN_COLUMNS = ("stack", "time", "prefix", "frame", "location", "line", "category")


def _times(samples: dict[str, Any], size: int, where: str, later: int) -> list[int]:
    """When each sample was taken, in ns from the start; -1 where the file does not say."""
    name = "time" if samples.get("time") is not None else "timeDeltas"
    if samples.get(name) is None:
        return [-1] * size
    column = _column(samples, name, size, where)
    for number, value in enumerate(column):
        if type(value) not in (int, float) or not -(2**63) < value < 2**63:
            raise FormatError(f"{where}.{name}[{number}] should be a number of ms")
    if name == "timeDeltas":
        column = list(accumulate(column))
    return [
        max(0, _nanoseconds(value + later / 1e6, f"{where}.{name}[{number}]"))
        for number, value in enumerate(column)
    ]


def _column(table: Any, name: str, size: int, where: str) -> list[Any]:
    """A column of a table; where there is none, one without values."""
    if not isinstance(table, dict) or table.get(name) is None:
        return [None] * size
    found: list[Any] = member(table, name, list, where)
    if len(found) != size:
        raise FormatError(f"{where}.{name} has {len(found)} rows, not {size}")
    return found


def _list(table: dict[str, Any], name: str, where: str) -> list[Any]:
    """A list that need not be there."""
    found: list[Any] = [] if table.get(name) is None else member(table, name, list, where)
    return found


def _check_row(index: Any, size: int, where: str, what: str) -> int:
    if type(index) is not int or not 0 <= index < size:
        raise FormatError(f"{where}: {index!r:.40} is no row of the {size} {what}")
    return index


def _line(value: Any, where: str) -> int:
    if value is None or value == -1:
        return 0
    if type(value) is not int or not 0 <= value < 2**31:
        raise FormatError(f"{where} should be a line number")
    return value


def _number(table: dict[str, Any], name: str, where: str) -> float:
    value = table.get(name, 0)
    if type(value) not in (int, float) or not -(2**63) < value < 2**63:
        raise FormatError(f"{where}.{name} should be a number of ms")
    return float(value)


def _nanoseconds(ms: float, where: str) -> int:
    # What is not finite compares with nothing.
    if not -9.2e12 < ms < 9.2e12:
        raise FormatError(f"{where}: more than 292 years")
    return round(ms * 1e6)
