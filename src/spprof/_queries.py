"""Questions to the columns: top functions, call tree, selections, thinning, tables.

Must not know any file format; works on ids and looks names up last.
"""

from __future__ import annotations

import fnmatch
import re
from array import array
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Callable, Union

from . import _columns as columns
from ._columns import Tables

if TYPE_CHECKING:
    import pandas

    from ._model import Profile

Pattern = Union[str, "re.Pattern[str]"]


@dataclass(frozen=True)
class FunctionStats:
    """Time of one function, or of one line with ``lines=True``.

    Parameters
    ----------
    function_name, filename : str
    lineno : int
        The function's first line where it is known; with ``lines=True`` the executed line.
    is_native : bool
    self_ns, total_ns : int
        Time in the function itself, and with what it calls.
    self_samples, total_samples : int
    self_share, total_share : float
        Of the whole profile's time, 0 to 1.
    """

    function_name: str
    filename: str
    lineno: int
    is_native: bool
    self_ns: int
    total_ns: int
    self_samples: int
    total_samples: int
    self_share: float
    total_share: float


@dataclass
class CallNode:
    """A function in its calling context.

    Parameters
    ----------
    function_name, filename : str
        "all" and "" for the root.
    lineno : int
        As in `FunctionStats`.
    is_native : bool
    self_ns, total_ns : int
    self_samples, total_samples : int
    children : list of CallNode
        What it called, most time first.
    """

    function_name: str
    filename: str
    lineno: int
    is_native: bool
    self_ns: int = 0
    total_ns: int = 0
    self_samples: int = 0
    total_samples: int = 0
    children: list[CallNode] = field(default_factory=list)

    def walk(self) -> Iterator[tuple[int, CallNode]]:
        """Yield (depth, node) for this node and all below it, callers before callees."""
        pending = [(0, self)]
        while pending:
            depth, node = pending.pop()
            yield depth, node
            pending.extend((depth + 1, child) for child in reversed(node.children))

    def find(self, function_name: str) -> CallNode | None:
        """Return the first node of that function in `walk`'s order, or None."""
        for _, node in self.walk():
            if node.function_name == function_name:
                return node
        return None

    def __str__(self) -> str:
        whole = self.total_ns or 1
        return "\n".join(
            f"{node.total_ns / whole:7.1%} {node.self_ns / whole:7.1%}  {'  ' * depth}"
            f"{node.function_name}"
            for depth, node in self.walk()
        )

    def __repr__(self) -> str:
        return (
            f"<CallNode {self.function_name}: total {self.total_ns / 1e6:.1f} ms, "
            f"self {self.self_ns / 1e6:.1f} ms, {len(self.children)} children>"
        )


def frame_keys(tables: Tables, lines: bool) -> list[Any]:
    """What makes frames the same: the function row, with ``lines=True`` also the line."""
    if lines:
        return list(zip(tables.frame_func, tables.frame_line))
    return list(tables.frame_func)


@dataclass
class Merged:
    """Stacks of a profile with frames merged by function (or line); callers before callees."""

    parent: list[int]
    frame: list[int]  # a representative row of the frame table
    key: list[Any]
    self_samples: list[int]
    self_ns: list[int]
    total_samples: list[int]
    total_ns: list[int]


def merged_stacks(tables: Tables, lines: bool) -> Merged:
    """Sum samples and weights per distinct stack, inclusive ones too."""
    keys = frame_keys(tables, lines)
    ids = columns.canonical_stacks(tables, keys)
    n = max(ids, default=-1) + 1
    merged = Merged([-1] * n, [-1] * n, [None] * n, [0] * n, [0] * n, [], [])
    rows = zip(ids, tables.stack_parent, tables.stack_frame, *columns.sum_by_stack(tables))
    for index, parent, frame, samples, ns in rows:
        if merged.frame[index] < 0:
            merged.frame[index] = frame
            merged.key[index] = keys[frame]
            merged.parent[index] = ids[parent] if parent >= 0 else -1
        merged.self_samples[index] += samples
        merged.self_ns[index] += ns
    merged.total_samples, merged.total_ns = list(merged.self_samples), list(merged.self_ns)
    for index in range(n - 1, -1, -1):
        parent = merged.parent[index]
        if parent >= 0:
            merged.total_samples[parent] += merged.total_samples[index]
            merged.total_ns[parent] += merged.total_ns[index]
    return merged


def outermost(merged: Merged) -> bytearray:
    """Mark stacks whose innermost function does not occur among its own callers."""
    children: list[list[int]] = [[] for _ in merged.parent]
    pending: list[int] = []
    for index, parent in enumerate(merged.parent):
        (children[parent] if parent >= 0 else pending).append(index)
    marks = bytearray(len(merged.parent))
    active: set[Any] = set()
    while pending:
        index = pending.pop()
        if index < 0:
            active.discard(merged.key[~index])
            continue
        key = merged.key[index]
        if key not in active:
            active.add(key)
            marks[index] = 1
            pending.append(~index)
        pending.extend(children[index])
    return marks


def top(tables: Tables, n: int | None, by: str, *, lines: bool) -> list[FunctionStats]:
    """See `Profile.top`."""
    if by not in ("self", "total"):
        raise ValueError(f'by must be "self" or "total", not {by!r}')
    merged = merged_stacks(tables, lines)
    sums: dict[Any, list[int]] = {}
    for index, first in enumerate(outermost(merged)):
        entry = sums.setdefault(merged.key[index], [merged.frame[index], 0, 0, 0, 0])
        entry[1] += merged.self_ns[index]
        entry[3] += merged.self_samples[index]
        if first:
            entry[2] += merged.total_ns[index]
            entry[4] += merged.total_samples[index]
    whole = sum(tables.sample_weight) or 1
    stats = []
    for frame, self_ns, total_ns, self_samples, total_samples in sums.values():
        if total_samples:
            name, file, line, native = describe(tables, frame, lines)
            stats.append(
                FunctionStats(
                    name,
                    file,
                    line,
                    native,
                    self_ns,
                    total_ns,
                    self_samples,
                    total_samples,
                    self_ns / whole,
                    total_ns / whole,
                )
            )
    # Names break ties, so that the same profile gives the same table from every format.
    if by == "self":
        stats.sort(key=lambda s: (-s.self_ns, -s.total_ns, s.function_name, s.filename, s.lineno))
    else:
        stats.sort(key=lambda s: (-s.total_ns, -s.self_ns, s.function_name, s.filename, s.lineno))
    return stats if n is None else stats[:n]


def describe(tables: Tables, frame: int, lines: bool) -> tuple[str, str, int, bool]:
    """Return name, file, line and nativeness of a frame row; see `FunctionStats.lineno`."""
    func = tables.frame_func[frame]
    line = tables.frame_line[frame]
    if not lines:
        line = tables.func_line[func] or line
    return (
        tables.strings[tables.func_name[func]],
        tables.strings[tables.func_file[func]],
        line,
        bool(tables.func_flags[func] & columns.NATIVE),
    )


def tree(tables: Tables, *, lines: bool) -> CallNode:
    """See `Profile.tree`."""
    merged = merged_stacks(tables, lines)
    root = CallNode("all", "", 0, False)
    nodes: list[CallNode] = []
    for index, parent in enumerate(merged.parent):
        node = CallNode(
            *describe(tables, merged.frame[index], lines),
            merged.self_ns[index],
            merged.total_ns[index],
            merged.self_samples[index],
            merged.total_samples[index],
        )
        nodes.append(node)
        if not node.total_samples:
            continue
        (nodes[parent] if parent >= 0 else root).children.append(node)
        if parent < 0:
            root.total_ns += node.total_ns
            root.total_samples += node.total_samples
    for node in (root, *nodes):
        node.children.sort(key=lambda child: (-child.total_ns, child.function_name))
    return root


def _text_matcher(pattern: Pattern) -> Callable[[str], bool]:
    if isinstance(pattern, re.Pattern):
        found = pattern.search
        return lambda text: found(text) is not None
    if not isinstance(pattern, str):
        raise TypeError(f"a pattern is a str or a compiled regular expression, not {pattern!r}")
    if "*" in pattern or "?" in pattern:
        matches = re.compile(fnmatch.translate(pattern)).match
        return lambda text: matches(text) is not None
    return lambda text: text == pattern


def _module_matcher(pattern: Pattern) -> Callable[[str], bool]:
    if not isinstance(pattern, str) or "*" in pattern or "?" in pattern:
        return _text_matcher(pattern)
    parts = pattern.split(".")

    def matches(filename: str) -> bool:
        if pattern in (filename, filename.replace("\\", "/").rsplit("/", 1)[-1]):
            return True
        path = filename.replace("\\", "/").split("/")
        # The file's own part of a dotted name ends where its suffixes (.py, .cpython-....so) begin.
        path[-1] = path[-1].split(".", 1)[0]
        width = len(parts)
        return any(path[i : i + width] == parts for i in range(len(path) - width + 1))

    return matches


def _stacks_with(tables: Tables, function: Pattern | None, module: Pattern | None) -> list[bool]:
    """For each stack: does any of its frames match."""
    strings = tables.strings
    by_function = _text_matcher(function) if function is not None else None
    by_module = _module_matcher(module) if module is not None else None
    funcs = [
        (by_function is None or by_function(strings[name]))
        and (by_module is None or by_module(strings[file]))
        for name, file in zip(tables.func_name, tables.func_file)
    ]
    stacks: list[bool] = []
    for parent, frame in zip(tables.stack_parent, tables.stack_frame):
        stacks.append(funcs[tables.frame_func[frame]] or (parent >= 0 and stacks[parent]))
    return stacks


def select(
    tables: Tables,
    *,
    thread: int | Pattern | None = None,
    function: Pattern | None = None,
    module: Pattern | None = None,
    start_ns: int | None = None,
    end_ns: int | None = None,
    state: str | None = None,
    invert: bool = False,
) -> Tables:
    """Keep the samples that meet every condition; see `Profile.filter`.

    With `invert`, the conditions on function and module are turned around.
    """
    if state not in (None, "running", "waiting"):
        raise ValueError(f'state must be "running" or "waiting", not {state!r}')
    rows: Sequence[int] = range(tables.rows)
    if thread is not None:
        if isinstance(thread, int):
            threads = [entry["tid"] == thread for entry in tables.threads]
        else:
            by_name = _text_matcher(thread)
            threads = [by_name(entry["name"]) for entry in tables.threads]
        rows = [row for row in rows if threads[tables.sample_thread[row]]]
    if function is not None:
        stacks = _stacks_with(tables, function, None)
        rows = [row for row in rows if stacks[tables.sample_stack[row]] is not invert]
    if module is not None:
        stacks = _stacks_with(tables, None, module)
        rows = [row for row in rows if stacks[tables.sample_stack[row]] is not invert]
    if state is not None:
        wanted = columns.WAITING if state == "waiting" else 0
        rows = [row for row in rows if tables.sample_state[row] & columns.WAITING == wanted]
    if start_ns is None and end_ns is None:
        return columns.take_rows(tables, rows)
    start = 0 if start_ns is None else max(start_ns, 0)
    end = 2**63 if end_ns is None else end_ns
    keep = []
    for row in rows:
        first, last = tables.sample_time[row], tables.sample_last[row]
        if first < 0 or last < start or first >= end:
            continue
        count = tables.sample_count[row]
        if first >= start and last < end:
            keep.append((row, 0, count))
            continue
        times = [first + (last - first) * i // max(count - 1, 1) for i in range(count)]
        inside = [i for i, time in enumerate(times) if start <= time < end]
        if inside:
            keep.append((row, inside[0], inside[-1] + 1))
    return _cut_runs(tables, keep)


def keep_samples(tables: Tables, keep: Sequence[bool]) -> Tables:
    """Keep single samples, given one bool for each in order, cutting runs where needed."""
    pieces = []
    position = 0
    for row, count in enumerate(tables.sample_count):
        begin = None
        for offset in range(count + 1):
            if offset < count and keep[position + offset]:
                begin = offset if begin is None else begin
            elif begin is not None:
                pieces.append((row, begin, offset))
                begin = None
        position += count
    return _cut_runs(tables, pieces)


def _cut_runs(tables: Tables, pieces: Sequence[tuple[int, int, int]]) -> Tables:
    """Keep samples `begin` to `end` of each (row, begin, end)."""
    taken = columns.take_rows(tables, [row for row, _, _ in pieces])
    times, lasts = array("q", taken.sample_time), array("q", taken.sample_last)
    counts, weights = array("I", taken.sample_count), array("q", taken.sample_weight)
    for index, (_, begin, end) in enumerate(pieces):
        count = counts[index]
        if begin == 0 and end == count:
            continue
        weight, first, span = weights[index], times[index], lasts[index] - times[index]
        counts[index] = end - begin
        weights[index] = weight * end // count - weight * begin // count
        if first >= 0:
            times[index] = first + span * begin // max(count - 1, 1)
            lasts[index] = first + span * (end - 1) // max(count - 1, 1)
    return taken.same_stacks(
        sample_time=times, sample_last=lasts, sample_count=counts, sample_weight=weights
    )


def focus(tables: Tables, function: Pattern) -> Tables:
    """Reroot at the outermost call of `function`; see `Profile.focus`."""
    matching = _stacks_with(tables, function, None)
    rows = [row for row, stack in enumerate(tables.sample_stack) if matching[stack]]
    return columns.take_rows(tables, rows, keep_stacks=matching)


def thin(tables: Tables, limit: int) -> Tables:
    """Merge equal stacks that are close to each other until about `limit` rows are left.

    The rows are divided into parts of equal length, the shortest with which the limit is met;
    within one, each (thread, stack, state) becomes one row. Counts and weights are exact. Within a
    part a thread's rows are laid out one after the other in the order in which they first occurred,
    each as long as its share of the part's samples, so that they do not overlap. A profile with
    more than `limit` distinct (thread, stack, state) keeps them all.
    """
    if tables.rows <= limit:
        return tables
    stacks = len(tables.stack_frame)
    # One number a row for what may be merged: (thread, stack, state).
    keys = array(
        "Q",
        [
            (thread * stacks + stack) * _STATES + state
            for thread, stack, state in zip(
                tables.sample_thread, tables.sample_stack, tables.sample_state
            )
        ],
    )
    length = 2
    while length < tables.rows:
        # An estimate that is a little low would cost a merge that is thrown away.
        if _estimated_rows(keys, length) <= 0.98 * limit:
            thinned = _merge_parts(tables, keys, length)
            if thinned.rows <= limit:
                return thinned
        length = max(length + 1, length * 9 // 8)
    return _merge_parts(tables, keys, tables.rows)


_STATES = 256  # what a sample.state, one byte, can be

_ESTIMATED_FROM = 16_384  # rows


def _estimated_rows(keys: array[int], length: int) -> float:
    """Rows left after merging parts of `length` rows, estimated from some of the parts."""
    parts = -(-len(keys) // length)
    looked_at = min(parts, max(1, _ESTIMATED_FROM // length))
    distinct = 0
    for i in range(looked_at):
        # Golden ratio: spread evenly, and in step with nothing that repeats in a profile.
        part = int(i * 0.6180339887 % 1 * parts)
        distinct += len(set(keys[part * length : (part + 1) * length]))
    return distinct * parts / looked_at


def _merge_parts(tables: Tables, keys: array[int], length: int) -> Tables:
    merged = tables.same_stacks(
        **{
            columns.attribute(name): columns.empty_column(name)
            for name in columns.COLUMN_TYPES
            if name.startswith("sample.")
        }
    )
    t: Any = merged
    stacks = len(tables.stack_frame)
    for start in range(0, tables.rows, length):
        part = slice(start, start + length)
        threads, times = tables.sample_thread[part], tables.sample_time[part]
        weights = dict.fromkeys(keys[part], 0)
        for key, weight in zip(keys[part], tables.sample_weight[part]):
            weights[key] += weight
        counts = dict.fromkeys(weights, 0)
        for key, count in zip(keys[part], tables.sample_count[part]):
            counts[key] += count
        samples: dict[int, int] = {}
        for key, count in counts.items():
            thread = key // _STATES // stacks
            samples[thread] = samples.get(thread, 0) + count
        # Within a thread time only grows: its first and last rows say how long the part is. Where
        # the keeping of timestamps ended within the part, it has none.
        timed = min(times) >= 0
        begin = dict(zip(threads[::-1], times[::-1]))
        end = dict(zip(threads, tables.sample_last[part]))
        before = dict.fromkeys(begin, 0)
        for key, total in counts.items():
            cell, state = divmod(key, _STATES)
            thread, stack = divmod(cell, stacks)
            first, span, whole = begin[thread], end[thread] - begin[thread], samples[thread]
            for count, weight in columns.cell_sized(total, weights[key]):
                t.sample_thread.append(thread)
                t.sample_stack.append(stack)
                t.sample_state.append(state)
                t.sample_count.append(count)
                t.sample_weight.append(weight)
                t.sample_time.append(first + span * before[thread] // whole if timed else -1)
                before[thread] += count
                t.sample_last.append(first + span * before[thread] // whole if timed else -1)
    return merged


def to_dataframe(tables: Tables) -> pandas.DataFrame:
    """See `Profile.to_dataframe`."""
    try:
        import pandas
    except ImportError:
        raise ImportError("to_dataframe needs pandas: pip install pandas") from None

    strings, threads = tables.strings, tables.threads
    leaf = [tables.stack_frame[stack] for stack in tables.sample_stack]
    func = [tables.frame_func[frame] for frame in leaf]
    paths: list[str] = []
    for parent, frame in zip(tables.stack_parent, tables.stack_frame):
        name = strings[tables.func_name[tables.frame_func[frame]]]
        paths.append(f"{paths[parent]};{name}" if parent >= 0 else name)
    gil = {0: None, columns.GIL_NOT_HELD: False, columns.GIL_HELD: True}

    def times(column: columns.Column) -> Any:
        kept = [None if time < 0 else time for time in column]
        return pandas.array(kept, dtype="Int64")

    return pandas.DataFrame(
        {
            "time_ns": times(tables.sample_time),
            "last_ns": times(tables.sample_last),
            "thread_id": [threads[thread]["tid"] for thread in tables.sample_thread],
            "thread_name": [threads[thread]["name"] for thread in tables.sample_thread],
            "pid": [threads[thread]["pid"] for thread in tables.sample_thread],
            "host": [threads[thread]["host"] for thread in tables.sample_thread],
            "samples": list(tables.sample_count),
            "weight_ns": list(tables.sample_weight),
            "state": [
                "waiting" if state & columns.WAITING else "running" for state in tables.sample_state
            ],
            "holds_gil": pandas.array(
                [gil.get(state & columns.GIL_MASK) for state in tables.sample_state],
                dtype="boolean",
            ),
            "function": [strings[tables.func_name[f]] for f in func],
            "filename": [strings[tables.func_file[f]] for f in func],
            "lineno": [tables.frame_line[frame] for frame in leaf],
            "is_native": [bool(tables.func_flags[f] & columns.NATIVE) for f in func],
            "stack": [paths[stack] for stack in tables.sample_stack],
        }
    )


def format_ns(ns: float) -> str:
    """Nanoseconds as people write them: ``1.53 s``, ``12.0 ms``, ``340 µs``."""
    if ns >= 1e9:
        return f"{ns / 1e9:.2f} s"
    if ns >= 1e6:
        return f"{ns / 1e6:.1f} ms"
    return f"{ns / 1e3:.0f} µs"


def short_place(filename: str, lineno: int) -> str:
    """The end of a path, with its line where known."""
    parts = filename.replace("\\", "/").split("/")
    short = "/".join(parts[-2:]) if len(parts) > 2 else filename
    return f"{short}:{lineno}" if lineno else short


def summary(profile: Profile, n: int = 10) -> str:
    """A profile in a few lines of text: circumstances, top functions, threads, notes."""
    measure = {"cpu": "CPU time", "wall": "wall time"}.get(profile.mode, "time")
    how = f"{profile.effective_rate_hz:.0f} Hz"
    if profile.interval_ms:
        how = f"every {profile.interval_ms:g} ms, {how}"
    lines = [
        f"{profile.sample_count} samples ({how}) over {profile.total_duration_ms / 1e3:.2f} s: "
        f"{format_ns(profile.total_weight_ns)} of {measure}"
    ]
    if profile.sample_count:
        lines.append(f"{'self':>7} {'total':>7}  function")
        for entry in profile.top(n):
            place = short_place(entry.filename, entry.lineno)
            lines.append(
                f"{entry.self_share:7.1%} {entry.total_share:7.1%}  {entry.function_name}"
                + (f"  {place}" if place else "")
            )
    threads = [thread for thread in profile.threads if thread.samples]
    if len(threads) > 1:
        lines.append("threads:")
        for thread in sorted(threads, key=lambda t: -t.weight_ns)[:n]:
            share = thread.weight_ns / (profile.total_weight_ns or 1)
            gil = "" if thread.gil_share is None else f", held the GIL {thread.gil_share:.0%} of it"
            lines.append(f"{share:7.1%}  {thread.name} ({thread.thread_id}){gil}")
        if len(threads) > n:
            lines.append(f"         and {len(threads) - n} more")
    if profile.dropped_count and not any("dropped" in note for note in profile.notes):
        lines.append(f"note: {profile.dropped_count} samples were dropped")
    lines += [f"note: {note}" for note in profile.notes]
    return "\n".join(lines)
