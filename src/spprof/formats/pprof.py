"""pprof: a gzipped profile.proto, written and read with a small encoder of its own.

Must not know any other format. Field numbers are those of
https://github.com/google/pprof/blob/main/proto/profile.proto.
"""

from __future__ import annotations

import gzip
import json
import re
from array import array
from collections.abc import Iterable, Iterator
from datetime import datetime, timezone
from typing import Any, BinaryIO

from .._profile.labels import REGION
from .._profile.rows import sum_by_thread_and_stack
from .._profile.tables import (
    CAUSE_SHIFT,
    CAUSES,
    COUNT_LIMIT,
    NATIVE,
    NO_LABEL,
    WAITING,
    Builder,
    FrameIndex,
    LabelIndex,
    Meta,
    StackIndex,
    Tables,
    ThreadIndex,
    ThreadRow,
    cause_bits,
)
from ._errors import FormatError
from ._meta import kept_meta, read_meta, with_kept
from ._stacks import check_depth, texts_of
from ._varint import read_varint

# Circumstances that profile.proto has no field for, as JSON; readers skip fields unknown to them.
_OWN_FIELD = 5117

# Labels of a sample that are of its thread; that of what it waits for; those that follow are of the
# program's regions.
_OF_THREAD = ("thread", "thread_name", "host")
_CAUSE = "waits_for"

# Code without a module of its own; pprof calls the first mapping the profiled file.
_PYTHON_MAPPING = "[python]"

# Names of what is counted where that stands for time.
_SAMPLES = re.compile("sample|cpu|wall|cycle|event|hit|tick", re.IGNORECASE)

_UNITS_NS = {"nanoseconds": 1, "microseconds": 1_000, "milliseconds": 1_000_000, "seconds": 10**9}

_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5
_MASK = 2**64 - 1  # ten bytes may hold more


def _varint(value: int) -> bytes:
    if value < 0:
        value += 1 << 64
    encoded = bytearray()
    while value > 0x7F:
        encoded.append(value & 0x7F | 0x80)
        value >>= 7
    encoded.append(value)
    return bytes(encoded)


def _int(number: int, value: int) -> bytes:
    """One integer field; left out at its default, as protobuf does."""
    return _varint(number << 3) + _varint(value) if value else b""


def _bytes(number: int, value: bytes) -> bytes:
    return _varint(number << 3 | _BYTES) + _varint(len(value)) + value


def _packed(number: int, values: Iterable[int]) -> bytes:
    return _bytes(number, b"".join(map(_varint, values)))


class _Strings:
    """The string table; the empty string is always its first entry."""

    def __init__(self) -> None:
        self._ids = {"": 0}

    def __getitem__(self, text: str) -> int:
        return self._ids.setdefault(text, len(self._ids))

    def __iter__(self) -> Iterator[str]:
        return iter(self._ids)


def dump(tables: Tables, file: BinaryIO) -> None:
    """Write samples and time per thread and stack; timestamps are given up."""
    # mtime 0 and no name: the same profile gives the same bytes.
    with gzip.GzipFile(filename="", mode="wb", fileobj=file, mtime=0, compresslevel=6) as packed:
        for part in _message(tables):
            packed.write(part)


def _message(tables: Tables) -> Iterator[bytes]:
    strings = _Strings()
    meta = tables.meta
    kind = meta.mode or "time"

    def value_type(name: str, unit: str) -> bytes:
        return _int(1, strings[name]) + _int(2, strings[unit])

    yield _bytes(1, value_type("samples", "count"))
    yield _bytes(1, value_type(kind, "nanoseconds"))

    labels = [_labels_of(thread, strings) for thread in tables.threads]
    # Locations count from 1, innermost first.
    locations = [_varint(row + 1) for row in range(len(tables.frame_func))]
    paths = texts_of(tables, tables.sample_stack, locations, b"", inner_first=True)
    for thread, stack, label, cause, count, weight in _sums(tables):
        told = labels[thread] + _labels_of_sample(tables, label, cause, strings)
        yield _bytes(2, _bytes(1, paths[stack]) + _packed(2, (count, weight)) + told)

    mappings = _mappings(tables)
    build_ids = meta.build_ids
    for path, number in mappings.items():
        # Symbols and lines are already there: pprof must not look for the binary to find them.
        yield _bytes(
            3,
            _int(1, number)
            + _int(5, strings[path])
            + _int(6, strings[build_ids.get(path, "")])
            + _int(7, 1)
            + _int(8, 1)
            + _int(9, 1),
        )
    for row, func in enumerate(tables.frame_func):
        path = tables.strings[tables.func_file[func]]
        native = tables.func_flags[func] & NATIVE
        yield _bytes(
            4,
            _int(1, row + 1)
            + _int(2, mappings[path if native else _PYTHON_MAPPING])
            + _int(3, tables.frame_address[row])
            + _bytes(4, _int(1, func + 1) + _int(2, tables.frame_line[row])),
        )
    for row, name in enumerate(tables.func_name):
        # No system_name: pprof would take `<module>` for a C++ template and cut it away.
        yield _bytes(
            5,
            _int(1, row + 1)
            + _int(2, strings[tables.strings[name]])
            + _int(4, strings[tables.strings[tables.func_file[row]]])
            + _int(5, tables.func_line[row]),
        )

    yield _int(9, _epoch_ns(meta.start))
    yield _int(10, meta.duration_ns)
    yield _bytes(11, value_type(kind, "nanoseconds"))
    yield _int(12, round(meta.interval_ns))
    yield _packed(13, [strings[note] for note in meta.notes])
    yield _int(14, strings[kind])
    yield _bytes(_OWN_FIELD, json.dumps(kept_meta(meta)).encode("ascii"))
    for text in strings:
        yield _bytes(6, text.encode("utf-8", "backslashreplace"))


def _sums(tables: Tables) -> Iterator[tuple[ThreadIndex, StackIndex, LabelIndex, int, int, int]]:
    """Yield (thread, stack, label, state's cause of waiting, samples, ns) of what is told apart."""
    causes = any(state >> CAUSE_SHIFT for state in tables.sample_state)
    if not causes and not len(tables.sample_label):
        for thread, stack, count, weight in sum_by_thread_and_stack(tables):
            yield thread, stack, NO_LABEL, 0, count, weight
        return
    sums: dict[tuple[ThreadIndex, StackIndex, LabelIndex, int], list[int]] = {}
    for thread, stack, label, state, count, weight in zip(
        tables.sample_thread,
        tables.sample_stack,
        tables.sample_labels,
        tables.sample_state,
        tables.sample_count,
        tables.sample_weight,
    ):
        entry = sums.setdefault((thread, stack, label, state >> CAUSE_SHIFT), [0, 0])
        entry[0] += count
        entry[1] += weight
    for key in sorted(sums):
        yield (*key, sums[key][0], sums[key][1])


def _text_label(key: str, value: str, strings: _Strings) -> bytes:
    return _bytes(3, _int(1, strings[key]) + _int(2, strings[value])) if value else b""


def _labels_of_sample(tables: Tables, label: LabelIndex, cause: int, strings: _Strings) -> bytes:
    """Its regions with their labels, outermost first: a key may occur several times."""
    parts = [_text_label(_CAUSE, CAUSES[cause], strings)] if cause else []
    around = []
    while label >= 0:
        key, value = tables.label_key[label], tables.label_value[label]
        around.append(_text_label(tables.strings[key], tables.strings[value], strings))
        label = tables.label_parent[label]
    return b"".join([*parts, *reversed(around)])


def _labels_of(thread: ThreadRow, strings: _Strings) -> bytes:
    def text(key: str, value: str) -> bytes:
        return _text_label(key, value, strings)

    def number(key: str, value: int) -> bytes:
        return _bytes(3, _int(1, strings[key]) + _int(3, value)) if value else b""

    return (
        text("thread", thread["name"])
        + number("thread_id", thread["tid"])
        + number("pid", thread["pid"])
        + text("host", thread["host"])
    )


def _mappings(tables: Tables) -> dict[str, int]:
    numbers = {_PYTHON_MAPPING: 1}
    for file, flags in zip(tables.func_file, tables.func_flags):
        if flags & NATIVE:
            numbers.setdefault(tables.strings[file], len(numbers) + 1)
    return numbers


def _epoch_ns(time: datetime) -> int:
    # By subtraction: the first and the last years have no UTC of their own in every time zone.
    if time.tzinfo is None:
        time = time.replace(tzinfo=timezone.utc)
    since = time - datetime(1970, 1, 1, tzinfo=timezone.utc)
    ns = (since.days * 86400 + since.seconds) * 10**9 + since.microseconds * 1000
    return max(-(2**63), min(ns, 2**63 - 1))  # what the field can hold: from 1678 to 2262


# Reading


def load(data: bytes, *, interval_ms: float | None = None) -> Tables:
    """Read a profile.proto, already unpacked, of this or any other tool.

    Parameters
    ----------
    data : bytes
    interval_ms : float, optional
        What one sample stands for where the file only counts; 1 ms without it.

    Raises
    ------
    FormatError
    """
    return _Reader(data, interval_ms).profile()


def _fields(data: bytes) -> Iterator[tuple[int, Any]]:
    """Yield (number, value): an int, or bytes for anything with a length."""
    at = 0
    while at < len(data):
        start = at
        tag, at = read_varint(data, at, len(data))
        tag &= _MASK
        kind = tag & 7
        if kind == _VARINT:
            value: Any
            value, at = read_varint(data, at, len(data))
            value &= _MASK
        elif kind == _BYTES:
            length, at = read_varint(data, at, len(data))
            length &= _MASK
            value, at = data[at : at + length], at + length
        elif kind in (_FIXED64, _FIXED32):
            width = 8 if kind == _FIXED64 else 4
            value, at = int.from_bytes(data[at : at + width], "little"), at + width
        else:
            raise FormatError(f"byte {start}: protobuf has no wire type {kind}")
        if at > len(data):
            raise FormatError(f"byte {start}: field {tag >> 3} is cut off")
        yield tag >> 3, value


def _repeated(value: Any) -> list[int]:
    """A repeated integer field, packed or not."""
    if isinstance(value, int):
        return [value]
    values, at = [], 0
    while at < len(value):
        number, at = read_varint(value, at, len(value))
        values.append(number & _MASK)
    return values


def _message_of(value: Any, what: str) -> bytes:
    if not isinstance(value, bytes):
        raise FormatError(f"{what} should be a message")
    return value


def _signed(value: int) -> int:
    return value - 2**64 if value >= 2**63 else value


class _Fields:
    """The integer fields of one message; bytes are kept in lists."""

    def __init__(self, data: bytes, what: str) -> None:
        self._what = what
        self._values: dict[int, list[Any]] = {}
        for number, value in _fields(data):
            self._values.setdefault(number, []).append(value)

    def number(self, field: int) -> int:
        value = self._values.get(field, [0])[-1]
        if not isinstance(value, int):
            raise FormatError(f"{self._what}: field {field} should be an integer")
        return value

    def numbers(self, field: int) -> list[int]:
        return [number for value in self._values.get(field, []) for number in _repeated(value)]

    def messages(self, field: int, what: str) -> list[_Fields]:
        return [_Fields(_message_of(value, what), what) for value in self._values.get(field, [])]

    def all(self, field: int) -> list[Any]:
        return self._values.get(field, [])


class _Reader:
    def __init__(self, data: bytes, interval_ms: float | None) -> None:
        self._top = _Fields(data, "profile")
        self._interval_ms = interval_ms
        self._strings = [
            _message_of(value, "a string").decode("utf-8", "replace") for value in self._top.all(6)
        ]
        if not self._strings or self._strings[0]:
            raise FormatError(
                "not a pprof profile: its string table does not begin with an empty one"
            )
        self._builder = Builder()

    def _string(self, index: int, what: str) -> str:
        if index >= len(self._strings):
            raise FormatError(f"{what}: string {index} of only {len(self._strings)}")
        return self._strings[index]

    def profile(self) -> Tables:
        position, scale = self._value_to_read()
        count_position = self._position_of("count")
        locations = self._locations()
        assumed = 0
        if not scale:
            assumed = round((1.0 if self._interval_ms is None else self._interval_ms) * 1e6)
        labels: list[LabelIndex] = []
        for number, message in enumerate(self._top.all(2)):
            what = f"sample {number}"
            sample = _Fields(_message_of(message, what), what)
            values = [_signed(value) for value in sample.numbers(2)]
            if position >= len(values):
                raise FormatError(f"{what} has {len(values)} values")
            if values[position] < 0:
                raise FormatError(f"{what} has a negative value: differences cannot be shown")
            count = values[count_position] if 0 <= count_position < len(values) else 1
            weight = values[position] * (scale or assumed)
            if weight >= 2**63:
                raise FormatError(f"{what}: more than 292 years")
            if not weight and not count:
                continue
            frames = []
            for location in reversed(sample.numbers(1)):
                if location not in locations:
                    raise FormatError(f"{what}: there is no location {location}")
                frames += locations[location]
                check_depth(len(frames), what)
            thread, label, state = self._labels(sample, what)
            self._builder.row(
                thread,
                self._builder.stack_of(frames),
                count=min(max(count, 1), COUNT_LIMIT),
                weight=weight,
                state=state,
            )
            labels.append(label)
        tables = self._builder.tables
        tables.meta = self._meta(assumed)
        if len(tables.label_parent):
            return tables.same_stacks(sample_label=array("i", labels))
        return tables

    def _types(self) -> list[tuple[str, str]]:
        return [
            (
                self._string(kind.number(1), "sample type"),
                self._string(kind.number(2), "sample type"),
            )
            for kind in self._top.messages(1, "sample type")
        ]

    def _position_of(self, unit: str) -> int:
        return next((i for i, (_, u) in enumerate(self._types()) if u == unit), -1)

    def _value_to_read(self) -> tuple[int, int]:
        """Which value of each sample is time, and its unit in ns; unit 0: it only counts."""
        types = self._types()
        default = self._string(self._top.number(14), "default sample type")
        timed = [i for i, (_, unit) in enumerate(types) if unit in _UNITS_NS]
        for position in timed:
            if types[position][0] == default:
                return position, _UNITS_NS[types[position][1]]
        if timed:
            return timed[-1], _UNITS_NS[types[timed[-1]][1]]
        counted = self._position_of("count")
        # Objects, goroutines and threads are counted as well, and are no time.
        if counted < 0 or not _SAMPLES.search(types[counted][0]):
            listed = ", ".join(f"{name}/{unit}" for name, unit in types) or "nothing"
            raise FormatError(f"the profile measures {listed}: only time and samples can be shown")
        return counted, 0

    def _locations(self) -> dict[int, list[FrameIndex]]:
        """For each location id its frames, outermost first (several where code was inlined)."""
        mappings = {
            mapping.number(1): self._string(mapping.number(5), "mapping")
            for mapping in self._top.messages(3, "mapping")
        }
        functions = {}
        for function in self._top.messages(5, "function"):
            name = self._string(function.number(2), "function")
            name = name or self._string(function.number(3), "function")
            file = self._string(function.number(4), "function")
            functions[function.number(1)] = (name, file, _line(function.number(5)))
        locations: dict[int, list[FrameIndex]] = {}
        for location in self._top.messages(4, "location"):
            number, mapping, address = (location.number(field) for field in (1, 2, 3))
            native = mappings.get(mapping, _PYTHON_MAPPING) != _PYTHON_MAPPING
            flags = NATIVE if native else 0
            frames = []
            for line in location.messages(4, "line"):
                if line.number(1) not in functions:
                    raise FormatError(f"location {number}: no function {line.number(1)}")
                name, file, first = functions[line.number(1)]
                func = self._builder.func(name, file, first, flags)
                frames.append(self._builder.frame(func, _line(line.number(2)), address))
            if not frames:
                module = mappings.get(mapping, "")
                func = self._builder.func(f"0x{address:x}", module, 0, NATIVE)
                frames = [self._builder.frame(func, 0, address)]
            locations[number] = frames[::-1]
        return locations

    def _labels(self, sample: _Fields, what: str) -> tuple[ThreadIndex, LabelIndex, int]:
        """The sample's thread, the row of its other labels, and its state."""
        texts: dict[str, str] = {}
        label, state, in_region = NO_LABEL, 0, False
        numbers: dict[str, int] = {}
        for message in sample.messages(3, what):
            key = self._string(message.number(1), what)
            if message.number(2):
                text = self._string(message.number(2), what)
                in_region = in_region or key == REGION
                if key in _OF_THREAD and not in_region:
                    texts[key] = text
                elif key == _CAUSE and text in CAUSES and not in_region:
                    state = WAITING | cause_bits(text)
                else:
                    label = self._builder.label(label, key, text)
            else:
                numbers[key] = _signed(message.number(3))
        tid = numbers.get("thread_id", numbers.get("tid", 0))
        name = texts.get("thread") or texts.get("thread_name") or ""
        if not name and not ({"thread_id", "tid"} & set(numbers)):
            name = "main"
        thread = self._builder.thread(tid, name, numbers.get("pid", 0), texts.get("host", ""))
        return thread, label, state

    def _meta(self, assumed_interval_ns: int) -> Meta:
        for own in self._top.all(_OWN_FIELD):
            try:
                kept = json.loads(_message_of(own, "spprof's own field"))
            except (ValueError, RecursionError):
                raise FormatError("spprof's own field is not JSON") from None
            if isinstance(kept, dict):
                return with_kept(Meta(), kept)
        notes = [self._string(index, "comment") for index in self._top.numbers(13)]
        if assumed_interval_ns and self._interval_ms is None:
            notes.append("the file counts samples without their interval: 1 ms each is assumed")
        period = self._top.messages(11, "period type")
        in_ns = bool(period) and self._string(period[-1].number(2), "period") == "nanoseconds"
        return read_meta(
            start_ns=_signed(self._top.number(9)),
            duration_ns=max(0, _signed(self._top.number(10))),
            interval_ns=assumed_interval_ns
            or (max(0, _signed(self._top.number(12))) if in_ns else 0),
            weights="samples" if assumed_interval_ns else "measured",
            notes=tuple(notes),
        )


def _line(value: int) -> int:
    return value if value < 2**31 else 0
