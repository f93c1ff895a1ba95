"""Speedscope's JSON: written one sampled profile a thread, read from any tool.

Must not know any other format. What Speedscope does not provide for (native frames, counts,
thread ids, circumstances) travels in additional keys, which Speedscope ignores.
"""

from __future__ import annotations

import json
from array import array
from itertools import accumulate
from typing import Any, BinaryIO, Callable

from .._profile.labels import REGION, labels_with, regions
from .._profile.rows import ThreadRows, rows_by_thread
from .._profile.tables import (
    COUNT_LIMIT,
    NATIVE,
    ROOT,
    Builder,
    FrameIndex,
    FuncIndex,
    Meta,
    StackIndex,
    Tables,
    ThreadIndex,
    ThreadRow,
)
from . import _labels as labels
from ._errors import FormatError
from ._json import member, parse
from ._meta import kept_meta, read_meta, with_kept
from ._stacks import check_depth

SCHEMA = "https://www.speedscope.app/file-format-schema.json"

_CHUNK = 8192
_MOST_REGIONS = 30


class _Layout:
    """Speedscope's frames, each stack as their indices, and the rows of each thread."""

    def __init__(self, tables: Tables, lines: bool) -> None:
        self.tables = tables
        self.frames: list[dict[str, Any]] = []
        known: dict[tuple[FuncIndex, int], int] = {}
        of_frame = []
        for row, func in enumerate(tables.frame_func):
            frame = FrameIndex(row)
            line = labels.shown_line(tables, frame, lines)
            index = known.get((func, line))
            if index is None:
                index = known[func, line] = len(self.frames)
                self.frames.append(self._frame(func, line, lines))
            of_frame.append(index)
        self._of_frame = of_frame
        self.rows = rows_by_thread(tables)
        self.regions = _rows_by_region(tables)
        self.several_processes = len(labels.processes(tables)) > 1

    def _frame(self, func: FuncIndex, line: int, lines: bool) -> dict[str, Any]:
        t = self.tables
        frame: dict[str, Any] = {"name": t.strings[t.func_name[func]] or "(unnamed)"}
        if t.strings[t.func_file[func]]:
            frame["file"] = t.strings[t.func_file[func]]
        if line:
            frame["line"] = line
            if not lines and t.func_line[func]:
                frame["definition"] = True
        if t.func_flags[func] & NATIVE:
            frame["native"] = True
        return frame

    def stack(self, stack: StackIndex) -> list[int]:
        """Indices of a stack's frames, root first."""
        t = self.tables
        path = []
        while stack >= 0:
            path.append(self._of_frame[t.stack_frame[stack]])
            stack = t.stack_parent[stack]
        path.reverse()
        return path

    def head(self, thread: ThreadIndex) -> dict[str, Any]:
        """A thread's profile without its samples and weights."""
        entry = self.tables.threads[thread]
        return {
            "type": "sampled",
            "name": labels.thread_label(entry, with_process=self.several_processes),
            "unit": "nanoseconds",
            "startValue": 0,
            "endValue": sum(self.rows[thread].weight),
            "thread": dict(entry),
        }

    def parts(self) -> list[tuple[dict[str, Any], ThreadRows]]:
        """Heads and rows of what Speedscope lets choose from: threads, then regions."""
        threads = [(self.head(thread), rows) for thread, rows in self.rows.items()]
        regions = [
            (
                {
                    "type": "sampled",
                    "name": f"region {name}",
                    "unit": "nanoseconds",
                    "startValue": 0,
                    "endValue": sum(rows.weight),
                    "region": name,
                },
                rows,
            )
            for name, rows in self.regions.items()
        ]
        return threads + regions


def _rows_by_region(tables: Tables) -> dict[str, ThreadRows]:
    """Rows of the regions with most time, of all threads; a row in several is in each of them."""
    names = [region.name for region in regions(tables, "name")[:_MOST_REGIONS]]
    found = {}
    for name in names:
        within = labels_with(tables, REGION, name.__eq__)
        rows = [row for row, label in enumerate(tables.sample_labels) if label in within]
        found[name] = ThreadRows(
            array("I", [tables.sample_stack[row] for row in rows]),
            array("q", [tables.sample_weight[row] for row in rows]),
            array("I", [tables.sample_count[row] for row in rows]),
        )
    return found


def _document(layout: _Layout, name: str | None) -> dict[str, Any]:
    meta = layout.tables.meta
    heads = [layout.head(thread) for thread in layout.rows]
    busiest = max(range(len(heads)), key=lambda i: heads[i]["endValue"], default=0)
    return {
        "$schema": SCHEMA,
        "exporter": labels.exporter(),
        "name": name or f"Python profile of {meta.start_time}",
        "activeProfileIndex": busiest,
        "spprof": kept_meta(meta),
        "shared": {"frames": layout.frames},
    }


def _empty_head() -> dict[str, Any]:
    # Speedscope cannot open a document without any profile.
    return {
        "type": "sampled",
        "name": "no samples",
        "unit": "nanoseconds",
        "startValue": 0,
        "endValue": 0,
    }


def content(tables: Tables, *, name: str | None = None, lines: bool = False) -> dict[str, Any]:
    """Return the document; see `Profile.to_speedscope`. Equal stacks share one list."""
    layout = _Layout(tables, lines)
    document = _document(layout, name)
    profiles = document["profiles"] = []
    used = set(tables.sample_stack)
    stacks: dict[int, list[int]] = {stack: layout.stack(stack) for stack in used}
    for head, rows in layout.parts():
        samples = list(map(stacks.__getitem__, rows.stack))
        profiles.append({**head, "samples": samples, "weights": rows.weight.tolist()})
        if rows.count is not None:
            profiles[-1]["counts"] = rows.count.tolist()
    if not profiles:
        profiles.append({**_empty_head(), "samples": [], "weights": []})
    return document


def dump(tables: Tables, file: BinaryIO, *, name: str | None = None, lines: bool = False) -> None:
    """Write the document piece by piece: each stack's text is made once, no list of lists."""
    layout = _Layout(tables, lines)
    used = set(tables.sample_stack)
    texts: dict[int, str] = {
        stack: "[" + ",".join(map(str, layout.stack(stack))) + "]" for stack in used
    }

    def write_list(values: array[int], text: Callable[[int], str]) -> None:
        file.write(b"[")
        for start in range(0, len(values), _CHUNK):
            chunk = ",".join(map(text, values[start : start + _CHUNK]))
            file.write((chunk if not start else "," + chunk).encode("ascii"))
        file.write(b"]")

    def write_members(members: dict[str, Any]) -> None:
        file.write(json.dumps(members, separators=(",", ":"))[:-1].encode("ascii"))

    write_members(_document(layout, name))
    file.write(b',"profiles":[')
    for number, (head, rows) in enumerate(layout.parts()):
        file.write(b"," if number else b"")
        write_members(head)
        file.write(b',"samples":')
        write_list(rows.stack, texts.__getitem__)
        file.write(b',"weights":')
        write_list(rows.weight, str)
        if rows.count is not None:
            file.write(b',"counts":')
            write_list(rows.count, str)
        file.write(b"}")
    if not layout.rows:
        write_members({**_empty_head(), "samples": [], "weights": []})
        file.write(b"}")
    file.write(b"]}")


_UNITS_NS = {
    "nanoseconds": 1,
    "microseconds": 1_000,
    "milliseconds": 1_000_000,
    "seconds": 1_000_000_000,
}


def load(data: bytes, *, interval_ms: float | None = None) -> Tables:
    """Read a Speedscope document, of this or any other tool.

    Parameters
    ----------
    data : bytes
    interval_ms : float, optional
        What one sample stands for in profiles that only count ("unit": "none"); 1 ms without it.

    Raises
    ------
    FormatError
    """
    return _Reader(parse(data), interval_ms).profile()


class _Reader:
    """Turns a parsed document into a profile; `where` names the place in messages."""

    def __init__(self, document: Any, interval_ms: float | None) -> None:
        if not isinstance(document, dict) or "shared" not in document:
            raise FormatError('not a Speedscope document: there is no "shared" at its top')
        self._document = document
        self._interval_ns = round((1.0 if interval_ms is None else interval_ms) * 1e6)
        self._interval_assumed = interval_ms is None
        self._builder = Builder()
        self._counted = False
        shared = member(document, "shared", dict, "top")
        self._frames = [
            self._frame(frame, f"shared.frames[{i}]")
            for i, frame in enumerate(member(shared, "frames", list, "shared"))
        ]

    def _frame(self, frame: Any, where: str) -> FrameIndex:
        name = member(frame, "name", str, where)
        file = frame.get("file") or ""
        line = frame.get("line") or 0
        if not isinstance(file, str):
            raise FormatError(f"{where}.file should be a string")
        if isinstance(line, float) and line.is_integer():
            line = int(line)
        if type(line) is not int or not 0 <= line < 2**31:
            raise FormatError(f"{where}.line should be a line number")
        native = frame.get("native") is True
        if not native and "spprof" not in self._document:
            native = bool(file) and labels.looks_native(file, bool(line))
        flags = NATIVE if native else 0
        if frame.get("definition") is True:
            return self._builder.frame(self._builder.func(name, file, line, flags))
        return self._builder.frame(self._builder.func(name, file, 0, flags), line)

    def profile(self) -> Tables:
        profiles = member(self._document, "profiles", list, "top")
        for number, profile in enumerate(profiles):
            where = f"profiles[{number}]"
            kind = member(profile, "type", str, where)
            if "region" in profile and "spprof" in self._document:
                continue  # a choice of what the threads have already
            unit = member(profile, "unit", str, where)
            if unit == "none":
                self._counted = True
                scale = self._interval_ns
            elif unit in _UNITS_NS:
                scale = _UNITS_NS[unit]
            else:
                raise FormatError(f"{where}.unit is {unit!r}: only time and counts can be shown")
            thread = self._thread(profile, number)
            if kind == "sampled":
                self._sampled(profile, where, thread, unit, scale)
            elif kind == "evented":
                self._evented(profile, where, thread, scale)
            else:
                raise FormatError(f"{where}.type is {kind!r}, neither sampled nor evented")
        tables = self._builder.tables
        tables.meta = self._meta()
        return tables

    def _thread(self, profile: dict[str, Any], number: int) -> ThreadIndex:
        name = profile.get("name")
        entry: ThreadRow = labels.parse_thread_label(
            name if isinstance(name, str) else f"thread {number + 1}", number + 1
        )
        kept = profile.get("thread")
        if isinstance(kept, dict):
            for key, kind in (("tid", int), ("name", str), ("pid", int), ("host", str)):
                if type(kept.get(key)) is kind:
                    if kind is int and not -(2**63) <= kept[key] < 2**64:
                        raise FormatError(f"profiles[{number}].thread.{key} is out of range")
                    entry[key] = kept[key]  # type: ignore[literal-required]
        return self._builder.thread(entry["tid"], entry["name"], entry["pid"], entry["host"])

    def _sampled(
        self, profile: dict[str, Any], where: str, thread: ThreadIndex, unit: str, scale: int
    ) -> None:
        samples = member(profile, "samples", list, where)
        weights = member(profile, "weights", list, where)
        if len(samples) != len(weights):
            raise FormatError(f"{where}: {len(samples)} samples but {len(weights)} weights")
        counts = profile.get("counts")
        if counts is not None and (
            not isinstance(counts, list)
            or len(counts) != len(samples)
            or not all(type(c) is int and 0 < c <= COUNT_LIMIT for c in counts)
        ):
            raise FormatError(f"{where}.counts should hold one positive integer a sample")
        frames = self._frames
        known: dict[tuple[int, ...], int] = {}
        stacks = array("I")
        for row, path in enumerate(samples):
            try:
                stacks.append(known[tuple(path)])
                continue
            except (TypeError, KeyError):
                pass  # not seen before, or no path at all
            if not isinstance(path, list) or not all(
                type(index) is int and 0 <= index < len(frames) for index in path
            ):
                raise FormatError(f"{where}.samples[{row}] should hold indices into shared.frames")
            check_depth(len(path), f"{where}.samples[{row}]")
            stack = known[tuple(path)] = self._builder.stack_of(frames[index] for index in path)
            stacks.append(stack)
        if scale == 1 and all(type(weight) is int and 0 <= weight < 2**63 for weight in weights):
            ns = array("q", weights)
        else:
            place = f"{where}.weights"
            ns = array("q", [_nanoseconds(weight, scale, place) for weight in weights])
        if unit == "none":
            counts = [min(max(1, round(weight)), COUNT_LIMIT) for weight in weights]
        _in_range(sum(ns), where)
        times = array("q", [0, *accumulate(ns)][: len(ns)])
        t: Any = self._builder.tables
        t.sample_thread.extend(array("I", [thread]) * len(ns))
        t.sample_stack.extend(stacks)
        t.sample_time.extend(times)
        t.sample_last.extend(times)
        t.sample_count.extend(array("I", [1]) * len(ns) if counts is None else array("I", counts))
        t.sample_weight.extend(ns)
        t.sample_state.extend(array("B", bytes(len(ns))))

    def _evented(
        self, profile: dict[str, Any], where: str, thread: ThreadIndex, scale: int
    ) -> None:
        open_frames: list[int] = []
        stacks = [ROOT]
        start = _nanoseconds(profile.get("startValue", 0), scale, f"{where}.startValue")
        previous = start
        for number, event in enumerate(member(profile, "events", list, where)):
            place = f"{where}.events[{number}]"
            kind = member(event, "type", str, place)
            frame = event.get("frame")
            if type(frame) is not int or not 0 <= frame < len(self._frames):
                raise FormatError(f"{place}.frame should be an index into shared.frames")
            at = _nanoseconds(event.get("at"), scale, f"{place}.at")
            if at < previous:
                raise FormatError(f"{place} is earlier than the event before it")
            if at > previous and open_frames:
                time = previous - start
                self._builder.row(thread, stacks[-1], time=time, last=time, weight=at - previous)
            previous = at
            if kind == "O":
                open_frames.append(frame)
                check_depth(len(open_frames), place)
                stacks.append(self._builder.stack(stacks[-1], self._frames[frame]))
            elif kind == "C":
                if not open_frames or open_frames[-1] != frame:
                    raise FormatError(f"{place} closes frame {frame}, which is not the innermost")
                open_frames.pop()
                stacks.pop()
            else:
                raise FormatError(f'{place}.type is {kind!r}, neither "O" nor "C"')
        if open_frames:
            raise FormatError(f"{where}: {len(open_frames)} frames are never closed")

    def _meta(self) -> Meta:
        t = self._builder.tables
        spans: dict[int, int] = {}
        for thread, weight in zip(t.sample_thread, t.sample_weight):
            spans[thread] = spans.get(thread, 0) + weight
        duration = max(spans.values(), default=0)
        exporter = self._document.get("exporter")
        notes = []
        if isinstance(exporter, str) and not exporter.startswith("spprof"):
            notes.append(f"read from a Speedscope file of {exporter}")
        if self._counted and self._interval_assumed:
            notes.append("the file counts samples without their interval: 1 ms each is assumed")
        meta = read_meta(
            duration_ns=duration,
            interval_ns=self._interval_ns if self._counted else 0,
            weights="samples" if self._counted else "measured",
            notes=tuple(notes),
        )
        kept = self._document.get("spprof")
        if isinstance(kept, dict):
            return with_kept(meta, kept)
        return meta


def _nanoseconds(value: Any, scale: int, where: str) -> int:
    if type(value) not in (int, float) or not value >= 0:
        raise FormatError(f"{where} should be a number that is not negative")
    if value >= 2**63:  # before it is computed with: it may be infinite, or have a thousand digits
        raise FormatError(f"{where}: more than 292 years")
    return _in_range(round(value * scale), where)


def _in_range(ns: int, where: str) -> int:
    if ns >= 2**63:
        raise FormatError(f"{where}: more than 292 years")
    return ns
