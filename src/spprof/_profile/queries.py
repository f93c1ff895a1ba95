"""Questions to the tables: top functions, call tree, threads, selections.

Must not know any file format; works on rows and looks names up last.
"""

from __future__ import annotations

import fnmatch
import heapq
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from typing import TYPE_CHECKING, Any, Callable, TypeVar

from . import outline
from .confidence import design_effects, effective_count, wilson
from .labels import REGION, labels_with
from .names import process_name
from .rows import canonical_stacks, cut_runs, keep_below, sum_by_stack, take_rows
from .tables import (
    GIL_HELD,
    GIL_MASK,
    GIL_NOT_HELD,
    NATIVE,
    STATE_WITHOUT_CAUSE,
    WAITING,
    FrameIndex,
    Tables,
    cause_bits,
    cause_name,
    holds_gil,
    state_bits,
    state_name,
)
from .values import Pattern, ThreadSummary

if TYPE_CHECKING:
    from typing import SupportsIndex, overload

    import pandas

    from .tables import Column


Row = TypeVar("Row")


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
    self_interval, total_interval : (float, float)
        Where these shares lie in 19 of 20 cases, as far as the samples tell: few of them tell
        little, and less if they are alike in a row. `confidence` says by which model.
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
    # Of the same counts less is known where their order was not kept.
    self_interval: tuple[float, float] = field(default=(0.0, 1.0), compare=False)
    total_interval: tuple[float, float] = field(default=(0.0, 1.0), compare=False)


class FunctionList(list[FunctionStats]):
    """What `Profile.top` returns: a list that notebooks show as a table, and `print` as lines."""

    if TYPE_CHECKING:

        @overload
        def __getitem__(self, index: SupportsIndex, /) -> FunctionStats: ...
        @overload
        def __getitem__(self, index: slice, /) -> FunctionList: ...

    def __getitem__(self, index: Any, /) -> Any:
        found = super().__getitem__(index)
        return FunctionList(found) if isinstance(index, slice) else found

    def __str__(self) -> str:
        return "\n".join(outline.function_lines(self))

    def _repr_html_(self) -> str:
        return outline.functions_html(self)

    def _repr_pretty_(self, printer: Any, cycle: bool) -> None:
        """IPython's text form of an output."""
        alone = len(printer.stack) == 1
        printer.text(str(self) if alone else repr(self))


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
        return "\n".join(outline.tree_line(node, depth, whole) for depth, node in self.walk())

    def _repr_html_(self) -> str:
        return outline.tree_html(self)

    def _repr_pretty_(self, printer: Any, cycle: bool) -> None:
        """IPython's text form of an output."""
        alone = len(printer.stack) == 1  # not one of many in a list
        printer.text(outline.tree_text(self) if alone else repr(self))

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

    ids: list[int]  # of each row of the stack table, its row here
    parent: list[int]
    frame: list[FrameIndex]  # a representative row of the frame table
    key: list[Any]
    self_samples: list[int]
    self_ns: list[int]
    total_samples: list[int]
    total_ns: list[int]


class Evidence:
    """How many independent samples tell of each function; see `confidence` for the model."""

    def __init__(self, tables: Tables, merged: Merged) -> None:
        self.samples = effective_count(tables.sample_count, tables.sample_weight)
        of_threads = sequences(tables, merged.ids)

        @cache
        def functions(index: int) -> frozenset[Any]:
            found = set()
            while index >= 0:
                found.add(merged.key[index])
                index = merged.parent[index]
            return frozenset(found)

        self._self = design_effects(of_threads, lambda index: (merged.key[index],))
        self._total = design_effects(of_threads, functions)

    def of_self(self, key: Any) -> float:
        """Effective samples of the share of time in this function itself."""
        return self.samples / self._self.get(key, 1.0)

    def of_total(self, key: Any) -> float:
        """The same, with what it calls."""
        return self.samples / self._total.get(key, 1.0)


def sequences(tables: Tables, ids: Sequence[int]) -> list[tuple[Sequence[int], Sequence[int]]]:
    """For each thread the stacks of its rows in order of time, and their samples.

    Rows without a timestamp are in no order.
    """
    rows: Iterable[tuple[int, int, int, int]] = zip(
        tables.sample_thread, tables.sample_stack, tables.sample_count, tables.sample_time
    )
    of_thread: list[tuple[list[int], list[int]]] = [([], []) for _ in tables.threads]
    for thread, stack, count, time in rows:
        if time >= 0:
            stacks, counts = of_thread[thread]
            stacks.append(ids[stack])
            counts.append(count)
    return [sequence for sequence in of_thread if sequence[0]]


def merged_stacks(tables: Tables, lines: bool) -> Merged:
    """Sum samples and weights per distinct stack, inclusive ones too."""
    keys = frame_keys(tables, lines)
    ids = canonical_stacks(tables, keys)
    n = max(ids, default=-1) + 1
    merged = Merged(ids, [-1] * n, [FrameIndex(-1)] * n, [None] * n, [0] * n, [0] * n, [], [])
    own_samples, own_ns = sum_by_stack(tables)
    rows = zip(ids, tables.stack_parent, tables.stack_frame, own_samples, own_ns)
    for index, caller, frame, samples, ns in rows:
        if merged.frame[index] < 0:
            merged.frame[index] = frame
            merged.key[index] = keys[frame]
            merged.parent[index] = ids[caller] if caller >= 0 else -1
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
    sums: dict[Any, list[Any]] = {}
    for index, first in enumerate(outermost(merged)):
        entry = sums.setdefault(merged.key[index], [merged.frame[index], 0, 0, 0, 0])
        entry[1] += merged.self_ns[index]
        entry[3] += merged.self_samples[index]
        if first:
            entry[2] += merged.total_ns[index]
            entry[4] += merged.total_samples[index]
    whole = sum(tables.sample_weight) or 1
    evidence = Evidence(tables, merged)
    stats = []
    for key, (frame, self_ns, total_ns, self_samples, total_samples) in sums.items():
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
                    wilson(self_ns / whole, evidence.of_self(key)),
                    wilson(total_ns / whole, evidence.of_total(key)),
                )
            )
    # Names break ties, so that the same profile gives the same table from every format.
    if by == "self":
        stats.sort(key=lambda s: (-s.self_ns, -s.total_ns, s.function_name, s.filename, s.lineno))
    else:
        stats.sort(key=lambda s: (-s.total_ns, -s.self_ns, s.function_name, s.filename, s.lineno))
    return first_rows(n, stats)


def first_rows(n: int | None, rows: list[Row]) -> list[Row]:
    """The first `n` rows; None for all."""
    if n is not None and n < 0:
        raise ValueError(f"n must not be negative, got {n}")
    return rows[:n]


def describe(tables: Tables, frame: FrameIndex, lines: bool) -> tuple[str, str, int, bool]:
    """Return name, file, line and nativeness of a frame row; see `FunctionStats.lineno`."""
    func = tables.frame_func[frame]
    line = tables.frame_line[frame]
    if not lines:
        line = tables.func_line[func] or line
    return (
        tables.strings[tables.func_name[func]],
        tables.strings[tables.func_file[func]],
        line,
        bool(tables.func_flags[func] & NATIVE),
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
        node.children.sort(key=_by_time)
    return root


def wide_tree(
    tables: Tables, min_share: float, named: int
) -> tuple[CallNode, dict[int, tuple[int, int]]]:
    """Return `tree` without the calls under a share of the whole, in little time for any profile.

    Parameters
    ----------
    tables : Tables
    min_share : float
        0 to 1.
    named : int
        Of a node's narrower callees so many are there all the same, those with most time; what
        they call is not.

    Returns
    -------
    root : CallNode
    left_out : dict
        How many callees of a node are not there, and their time in ns, by the node's id.
    """
    size = len(tables.stack_frame)
    samples, times = sum_by_stack(tables)
    own_samples, own_times = samples[:], times[:]
    # Callees of a stack as a chain: the last one, and for each the one before. Row `size` is the
    # root.
    last_callee, one_before = [-1] * (size + 1), [-1] * size
    samples.append(0)
    times.append(0)
    row = size
    for parent in reversed(list(tables.stack_parent)):  # -1 is the root's place, too
        row -= 1
        samples[parent] += samples[row]
        times[parent] += times[row]
        one_before[row] = last_callee[parent]
        last_callee[parent] = row

    def callees(rows: Iterable[int]) -> Iterable[list[int]]:
        """Stacks that these call, of one function each; in the order of the tables."""
        found = []
        for row in rows:
            row = last_callee[row]
            while row >= 0:
                found.append(row)
                row = one_before[row]
        groups: dict[int, list[int]] = {}
        for row in sorted(found):
            groups.setdefault(tables.frame_func[tables.stack_frame[row]], []).append(row)
        return groups.values()

    root = CallNode("all", "", 0, False, 0, times[size], 0, samples[size])
    left_out: dict[int, tuple[int, int]] = {}
    whole = root.total_ns or 1
    pending = [(root, [size])]
    while pending:
        node, rows = pending.pop()
        narrow: list[CallNode] = []
        for group in callees(rows):
            total_samples = sum(samples[row] for row in group)
            if not total_samples:
                continue
            callee = CallNode(
                *describe(tables, tables.stack_frame[group[0]], False),
                sum(own_times[row] for row in group),
                sum(times[row] for row in group),
                sum(own_samples[row] for row in group),
                total_samples,
            )
            if callee.total_ns / whole < min_share:
                narrow.append(callee)
            else:
                node.children.append(callee)
                pending.append((callee, group))
        if narrow:
            most = heapq.nsmallest(named, narrow, key=_by_time)
            kept_ns = sum(callee.total_ns for callee in most)
            narrow_ns = sum(callee.total_ns for callee in narrow)
            left_out[id(node)] = len(narrow) - len(most), narrow_ns - kept_ns
            node.children += most
        node.children.sort(key=_by_time)
    return root, left_out


def _by_time(node: CallNode) -> tuple[int, str]:
    return -node.total_ns, node.function_name


def sample_count(tables: Tables) -> int:
    """Number of samples, those inside of runs included."""
    return sum(tables.sample_count)


def rate_hz(tables: Tables) -> float:
    """Samples a second that were really taken; see `Profile.effective_rate_hz`."""
    if tables.meta.weights == "samples":
        seconds = tables.meta.duration_ns / 1e9
    else:
        seconds = sum(tables.sample_weight) / 1e9
    return sample_count(tables) / seconds if seconds > 0 else 0.0


def threads(tables: Tables) -> tuple[ThreadSummary, ...]:
    """See `Profile.threads`."""
    n = len(tables.threads)
    samples, weights = [0] * n, [0] * n
    by_gil = [[0] * (GIL_MASK + 1) for _ in range(n)]
    rows = zip(tables.sample_thread, tables.sample_count, tables.sample_weight, tables.sample_state)
    for thread, count, weight, state in rows:
        samples[thread] += count
        weights[thread] += weight
        by_gil[thread][state & GIL_MASK] += weight
    summaries = []
    for index, entry in enumerate(tables.threads):
        held = by_gil[index][GIL_HELD]
        known = held + by_gil[index][GIL_NOT_HELD]
        summaries.append(
            ThreadSummary(
                entry["tid"],
                entry["name"],
                samples[index],
                weights[index],
                held / known if known else None,
                entry["pid"],
                entry["host"],
            )
        )
    return tuple(summaries)


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


def _threads_of(tables: Tables, process: int | Pattern) -> list[bool]:
    """For each thread whether it is of the process of this pid, or of one that is called so."""
    if isinstance(process, int):
        return [thread["pid"] == process for thread in tables.threads]
    by_name = _text_matcher(process)
    wanted = {
        (row["host"], row["pid"])
        for row in tables.meta.processes
        if by_name(process_name(row["name"], row["command"]))
    }
    return [(thread["host"], thread["pid"]) in wanted for thread in tables.threads]


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
    process: int | Pattern | None = None,
    thread: int | Pattern | None = None,
    function: Pattern | None = None,
    module: Pattern | None = None,
    start_ns: int | None = None,
    end_ns: int | None = None,
    state: str | None = None,
    waits_for: str | None = None,
    region: Pattern | None = None,
    labels: Mapping[str, Pattern] | None = None,
    invert: bool = False,
) -> Tables:
    """Keep the samples that meet every condition; see `Profile.filter`.

    With `invert`, the conditions on function and module are turned around.
    """
    wanted = None if state is None else state_bits(state)
    cause = None if waits_for is None else WAITING | cause_bits(waits_for)
    rows: Sequence[int] = range(tables.rows)
    if process is not None:
        chosen = _threads_of(tables, process)
        rows = [row for row in rows if chosen[tables.sample_thread[row]]]
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
    for key, pattern in [*([] if region is None else [(REGION, region)]), *(labels or {}).items()]:
        those = labels_with(tables, key, _text_matcher(pattern))
        of_rows = tables.sample_labels
        rows = [row for row in rows if of_rows[row] in those]
    if wanted is not None:
        rows = [row for row in rows if tables.sample_state[row] & WAITING == wanted]
    if cause is not None:
        mask = WAITING | 0xFF & ~STATE_WITHOUT_CAUSE
        rows = [row for row in rows if tables.sample_state[row] & mask == cause]
    if start_ns is None and end_ns is None:
        return take_rows(tables, rows)
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
    return cut_runs(tables, keep)


def focus(tables: Tables, function: Pattern) -> Tables:
    """Reroot at the outermost call of `function`; see `Profile.focus`."""
    return keep_below(tables, _stacks_with(tables, function, None))


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

    def times(column: Column[int]) -> Any:
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
            "state": [state_name(state) for state in tables.sample_state],
            "waits_for": [cause_name(state) for state in tables.sample_state],
            "holds_gil": pandas.array(
                [holds_gil(state) for state in tables.sample_state],
                dtype="boolean",
            ),
            "function": [strings[tables.func_name[f]] for f in func],
            "filename": [strings[tables.func_file[f]] for f in func],
            "lineno": [tables.frame_line[frame] for frame in leaf],
            "is_native": [bool(tables.func_flags[f] & NATIVE) for f in func],
            "stack": [paths[stack] for stack in tables.sample_stack],
        }
    )
