"""The Firefox Profiler's processed format, for https://profiler.firefox.com and profiler-cli.

Must not know any other format. The version written is old enough for every viewer in use, which
upgrade it themselves.
"""

from __future__ import annotations

import json
from array import array
from itertools import islice
from typing import TYPE_CHECKING, Any, BinaryIO

from .._profile.labels import REGION, label_sets
from .._profile.tables import (
    CAUSES,
    NATIVE,
    WAITING,
    FrameIndex,
    StackIndex,
    Tables,
    ThreadIndex,
    ThreadRow,
    cause_name,
    measure,
)
from . import _labels as labels

if TYPE_CHECKING:
    from collections.abc import Iterable

# https://github.com/firefox-devtools/profiler/blob/main/docs-developer/CHANGELOG-formats.md
PROCESSED_VERSION = 61
GECKO_VERSION = 33

_OTHER, _PYTHON, _NATIVE, _WAITING = range(4)
_CATEGORIES = [
    {"name": "Other", "color": "grey", "subcategories": ["Other"]},
    {"name": "Python", "color": "yellow", "subcategories": ["Other"]},
    {"name": "Native", "color": "blue", "subcategories": ["Other"]},
    {"name": "Waiting", "color": "transparent", "subcategories": ["Other"]},
]

_WAIT, _REGION = "spprof wait", "spprof region"
_WHERE = ["marker-chart", "marker-table", "timeline-overview"]
_MARKERS = [
    {
        "name": _WAIT,
        "display": _WHERE,
        "chartLabel": "{marker.data.name}",
        "tableLabel": "{marker.data.name}",
        "fields": [{"key": "name", "label": "Waits for", "format": "string"}],
    },
    {
        "name": _REGION,
        "display": _WHERE,
        "chartLabel": "{marker.data.name}",
        "tableLabel": "{marker.data.name}",
        "fields": [{"key": "name", "label": "Region", "format": "string", "searchable": True}],
    },
]
_INTERVAL = 1  # phase of a marker with a beginning and an end

_LIBRARY = 1  # resource type

_CHUNK = 8192


def dump(tables: Tables, file: BinaryIO) -> None:
    """Write the profile as JSON, each sample row with its time and its measured weight."""
    _Writer(tables, file).write()


def load(data: bytes, *, interval_ms: float | None = None) -> Tables:
    """Read a file of any tool, processed or as Firefox and ``perf script report gecko`` write it.

    Functions, files, lines, times, weights and threads are read; markers and counters are not.

    Parameters
    ----------
    data : bytes
    interval_ms : float, optional
        What a sample stands for in files that only count them; without it, how far neighbours are
        apart.

    Raises
    ------
    FormatError
    """
    from . import _gecko_reader

    return _gecko_reader.load(data, interval_ms=interval_ms)


class _Writer:
    """Writes shared tables first, then each thread's samples in pieces."""

    def __init__(self, tables: Tables, file: Any) -> None:
        self._tables = tables
        self._file = file
        self._strings: dict[str, int] = {}
        self._libs: list[dict[str, Any]] = []
        self._waiting_stacks: dict[StackIndex, int] = {}
        self._rows: dict[ThreadIndex, array[int]] = {}
        for row, thread in enumerate(tables.sample_thread):
            rows = self._rows.get(thread)
            if rows is None:
                rows = self._rows[thread] = array("I")
            rows.append(row)
        self._threads = sorted(self._rows)
        self._process_names = labels.process_names(tables)
        # Regions of each row of labels, outermost first.
        self._regions = {
            label: tuple(value for key, value in pairs if key == REGION)
            for label, pairs in label_sets(tables).items()
        }
        names = {*CAUSES, *(name for regions in self._regions.values() for name in regions)}
        self._shared_names = {name: self._string(name) for name in sorted(names)}

    def write(self) -> None:
        """Write the whole document."""
        t = self._tables
        for stack, state in set(zip(t.sample_stack, t.sample_state)):
            if state & WAITING:
                self._waiting_stacks.setdefault(stack, -1)
        shared = self._shared()
        head = {"meta": self._meta(), "libs": self._libs, "pages": [], "shared": shared}
        self._file.write(json.dumps(head, separators=(",", ":"))[:-1].encode("ascii"))
        self._file.write(b',"threads":[')
        for number, thread in enumerate(self._threads):
            self._file.write(b"," if number else b"")
            self._write_thread(thread, number)
        self._file.write(b"]}")

    def _string(self, text: str) -> int:
        return self._strings.setdefault(text, len(self._strings))

    def _meta(self) -> dict[str, Any]:
        meta = self._tables.meta
        extra = [
            ("Python", meta.python_version),
            ("Mode", measure(meta.mode, "")),
            ("Engine", meta.engine),
            ("Dropped samples", str(meta.dropped_count) if meta.dropped_count else ""),
            *(("Note", note) for note in meta.notes),
        ]
        start_ms = meta.start.timestamp() * 1e3
        return {
            "interval": meta.interval_ns / 1e6 or 1.0,
            "startTime": start_ms,
            "profilingStartTime": 0,
            "profilingEndTime": max(meta.duration_ns, max(self._tables.sample_last, default=0))
            / 1e6,
            "processType": 0,
            "product": "Python",
            "stackwalk": 1,
            "version": GECKO_VERSION,
            "preprocessedProfileVersion": PROCESSED_VERSION,
            "categories": _CATEGORIES,
            "markerSchema": _MARKERS,
            "sampleUnits": {"time": "ms", "eventDelay": "ms", "threadCPUDelta": "ns"},
            "symbolicated": True,
            "usesOnlyOneStackType": True,
            "sourceCodeIsNotOnSearchfox": True,
            "oscpu": meta.platform,
            "platform": meta.platform,
            "importedFrom": labels.exporter(),
            "extra": [
                {
                    "label": "spprof",
                    "entries": [
                        {"label": label, "format": "string", "value": value}
                        for label, value in extra
                        if value
                    ],
                }
            ],
        }

    def _shared(self) -> dict[str, Any]:
        t = self._tables
        libs: dict[int, int] = {}
        sources: dict[int, int] = {}
        resources: list[int] = []
        build_ids = t.meta.build_ids
        func_resource: list[int] = []
        func_source: list[int | None] = []
        for file, flags in zip(t.func_file, t.func_flags):
            path = t.strings[file]
            if flags & NATIVE and path:
                if file not in libs:
                    libs[file] = len(self._libs)
                    self._libs.append(_lib(path, build_ids.get(path, "")))
                    resources.append(self._string(_file_name(path)))
                func_resource.append(libs[file])
                func_source.append(None)
            else:
                func_resource.append(-1)
                func_source.append(sources.setdefault(file, len(sources)) if path else None)
        funcs, frames = len(t.func_name), len(t.frame_func)
        categories = [_NATIVE if t.func_flags[func] & NATIVE else _PYTHON for func in t.frame_func]
        stack_frames: list[int] = list(t.stack_frame)
        prefixes: list[int | None] = [parent if parent >= 0 else None for parent in t.stack_parent]
        frame_of = [FrameIndex(frame) for frame in range(frames)]
        # A category belongs to a frame, and a waiting stack is told apart by its innermost one.
        waiting_frames: dict[int, int] = {}
        for stack in sorted(self._waiting_stacks):
            frame = t.stack_frame[stack]
            if frame not in waiting_frames:
                waiting_frames[frame] = len(frame_of)
                frame_of.append(frame)
                categories.append(_WAITING)
            self._waiting_stacks[stack] = len(stack_frames)
            stack_frames.append(waiting_frames[frame])
            prefixes.append(prefixes[stack])
        count = len(frame_of)
        shared: dict[str, Any] = {
            "stackTable": {
                "frame": stack_frames,
                "prefix": prefixes,
                "length": len(stack_frames),
            },
            "frameTable": {
                "address": [
                    t.frame_address[frame] if t.func_flags[t.frame_func[frame]] & NATIVE else -1
                    for frame in frame_of
                ],
                "inlineDepth": [0] * count,
                "category": categories,
                "subcategory": [0] * count,
                "func": [t.frame_func[frame] for frame in frame_of],
                "nativeSymbol": [None] * count,
                "innerWindowID": [0] * count,
                "line": [t.frame_line[frame] or None for frame in frame_of],
                "column": [None] * count,
                "length": count,
            },
            "funcTable": {
                "name": [self._string(t.strings[name]) for name in t.func_name],
                "isJS": [False] * funcs,
                "relevantForJS": [False] * funcs,
                "resource": func_resource,
                "source": func_source,
                "lineNumber": [line or None for line in t.func_line],
                "columnNumber": [None] * funcs,
                "length": funcs,
            },
            "resourceTable": {
                "lib": list(range(len(resources))),
                "name": resources,
                "host": [None] * len(resources),
                "type": [_LIBRARY] * len(resources),
                "length": len(resources),
            },
            "nativeSymbols": {
                "libIndex": [],
                "address": [],
                "name": [],
                "functionSize": [],
                "length": 0,
            },
            "sources": {
                "id": [None] * len(sources),
                "filename": [self._string(t.strings[file]) for file in sources],
                "startLine": [1] * len(sources),
                "startColumn": [1] * len(sources),
                "sourceMapURL": [None] * len(sources),
                "length": len(sources),
            },
        }
        shared["stringArray"] = list(self._strings)
        return shared

    def _write_thread(self, thread: ThreadIndex, number: int) -> None:
        t = self._tables
        entry = t.threads[thread]
        # The graphs need samples in order of time.
        rows = sorted(self._rows.pop(thread), key=t.sample_time.__getitem__)
        pid = str(entry["pid"])
        head = {
            "processType": "default",
            "processName": self._process_name(entry),
            "processStartupTime": 0,
            "processShutdownTime": None,
            "registerTime": 0,
            "unregisterTime": None,
            "pausedRanges": [],
            "name": entry["name"] or f"thread {entry['tid']}",
            "isMainThread": number == 0 or (entry["tid"] == entry["pid"] and not entry["host"]),
            "pid": f"{pid} on {entry['host']}" if entry["host"] else pid,
            "tid": entry["tid"],
            "markers": self._markers(rows),
        }
        self._file.write(json.dumps(head, separators=(",", ":"))[:-1].encode("ascii"))
        self._file.write(b',"samples":{"weightType":"tracing-ms","length":%d,"stack":' % len(rows))
        if self._waiting_stacks:
            stacks = (
                self._waiting_stacks[t.sample_stack[row]]
                if t.sample_state[row] & WAITING
                else t.sample_stack[row]
                for row in rows
            )
        else:
            stacks = (t.sample_stack[row] for row in rows)
        self._write_list(str(stack) for stack in stacks)
        self._file.write(b',"time":')
        self._write_list(str(max(t.sample_time[row], 0) / 1e6) for row in rows)
        self._file.write(b',"weight":')
        self._write_list(str(t.sample_weight[row] / 1e6) for row in rows)
        if t.meta.mode == "cpu":
            # Weights are CPU time then, which is what the activity graph is drawn from.
            self._file.write(b',"threadCPUDelta":')
            self._write_list(str(t.sample_weight[row]) for row in rows)
        self._file.write(b"}}")

    def _markers(self, rows: list[int]) -> dict[str, Any]:
        """What a thread waited for, and the regions that it was in, as spans of neighbours."""
        t = self._tables
        timed = [row for row in rows if t.sample_time[row] >= 0]
        spans: list[tuple[float, float, str, str]] = []
        causes = ((row, cause_name(t.sample_state[row])) for row in timed)
        spans += _spans(t, ((row, (cause,) if cause else ()) for row, cause in causes), _WAIT)
        if len(t.sample_label):
            regions = ((row, self._regions[t.sample_label[row]]) for row in timed)
            spans += _spans(t, regions, _REGION)
        spans.sort()
        return {
            "data": [{"type": kind, "name": name} for _, _, kind, name in spans],
            "name": [self._shared_names[name] for _, _, _, name in spans],
            "startTime": [begin for begin, _, _, _ in spans],
            "endTime": [end for _, end, _, _ in spans],
            "phase": [_INTERVAL] * len(spans),
            "category": [_WAITING if kind == _WAIT else _PYTHON for _, _, kind, _ in spans],
            "length": len(spans),
        }

    def _process_name(self, thread: ThreadRow) -> str:
        if not thread["pid"]:
            return "Python"
        name = None if thread["host"] else self._process_names.get(thread["pid"])
        return labels.process_label(thread) if name is None else name

    def _write_list(self, items: Any) -> None:
        self._file.write(b"[")
        first = True
        while chunk := ",".join(islice(items, _CHUNK)):
            self._file.write((chunk if first else "," + chunk).encode("ascii"))
            first = False
        self._file.write(b"]")


def _spans(
    tables: Tables, rows: Iterable[tuple[int, tuple[str, ...]]], kind: str
) -> list[tuple[float, float, str, str]]:
    """Begin and end in ms, kind and name: what neighbouring rows have in common is one span.

    Rows come in order of time, each with names from the outermost in.
    """
    found = []
    open_since: list[tuple[str, float]] = []
    until = 0.0
    for row, names in rows:
        end = max(tables.sample_time[row], tables.sample_last[row])
        begin = max(until, (end - tables.sample_weight[row]) / 1e6)
        same = 0
        for (name, _), now in zip(open_since, names):
            if name != now:
                break
            same += 1
        found += [(since, until, kind, name) for name, since in open_since[same:]]
        del open_since[same:]
        open_since += [(name, begin) for name in names[same:]]
        until = max(until, end / 1e6)
    found += [(since, until, kind, name) for name, since in open_since]
    return found


def _file_name(path: str) -> str:
    return path.replace("\\", "/").rsplit("/", 1)[-1]


def _lib(path: str, build_id: str) -> dict[str, Any]:
    name = _file_name(path)
    return {
        "arch": "",
        "name": name,
        "path": path,
        "debugName": name,
        "debugPath": path,
        "breakpadId": build_id.upper(),
        "codeId": build_id or None,
    }
