"""Several profiles at once: equality, merge, difference. All over tables.

Must not know any file format.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from .folding import folded
from .labels import label_sets
from .queries import top
from .rows import canonical_stacks, sum_by_stack, take_rows
from .tables import Builder, Meta, ModuleRow, Tables, measure, nanoseconds


def _full_frame_keys(tables: Tables) -> list[Any]:
    strings = tables.strings
    funcs = [
        (strings[name], strings[file], line, flags)
        for name, file, line, flags in zip(
            tables.func_name, tables.func_file, tables.func_line, tables.func_flags
        )
    ]
    return [
        (funcs[func], line, address)
        for func, line, address in zip(tables.frame_func, tables.frame_line, tables.frame_address)
    ]


def equal(a: Tables, b: Tables) -> bool:
    """Whether two profiles hold the same, however their tables number it."""
    if a is b:
        return True
    if a.rows != b.rows or a.meta != b.meta:
        return False
    for name in ("time", "last", "count", "weight", "state"):
        if list(a.column("sample." + name)) != list(b.column("sample." + name)):
            return False
    sets_a, sets_b = label_sets(a), label_sets(b)
    if any(sets_a[x] != sets_b[y] for x, y in {*zip(a.sample_labels, b.sample_labels)}):
        return False
    seen: dict[tuple[int, Any], int] = {}
    ids_a = canonical_stacks(a, _full_frame_keys(a), seen)
    ids_b = canonical_stacks(b, _full_frame_keys(b), seen)
    if any(ids_a[x] != ids_b[y] for x, y in zip(a.sample_stack, b.sample_stack)):
        return False
    return all(a.threads[x] == b.threads[y] for x, y in set(zip(a.sample_thread, b.sample_thread)))


def merge(several: Sequence[Tables]) -> Tables:
    """See `spprof.merge`."""
    if not several:
        raise ValueError("merge needs at least one profile")
    metas = [t.meta for t in several]
    modes = {meta.mode for meta in metas if meta.mode}
    if len(modes) > 1:
        raise ValueError("CPU time and wall time do not add up: merge profiles of one mode only")
    starts, ends = [meta.start for meta in metas], [meta.end for meta in metas]
    if len({start.tzinfo is None for start in starts}) > 1:
        # A naive time is local time; comparing it with an aware one needs that said.
        starts = [start.astimezone() for start in starts]
        ends = [end.astimezone() for end in ends]
    start, end = min(starts), max(ends)
    shifts = [nanoseconds(began - start) for began in starts]

    builder = Builder()
    merged: Any = builder.tables
    labelled = any(len(t.sample_label) for t in several)
    for t, shift in zip(several, shifts):
        stacks, threads = builder.add_stacks(t), builder.add_threads(t)
        merged.sample_stack.extend([stacks[stack] for stack in t.sample_stack])
        merged.sample_thread.extend([threads[thread] for thread in t.sample_thread])
        merged.sample_time.extend([time if time < 0 else time + shift for time in t.sample_time])
        merged.sample_last.extend([time if time < 0 else time + shift for time in t.sample_last])
        merged.sample_count.extend(t.sample_count)
        merged.sample_weight.extend(t.sample_weight)
        merged.sample_state.extend(t.sample_state)
        if labelled:
            labels = builder.add_labels(t)
            merged.sample_label.extend([labels[label] for label in t.sample_labels])

    def only(name: str, otherwise: Any) -> Any:
        values = {getattr(meta, name) for meta in metas}
        return values.pop() if len(values) == 1 else otherwise

    def joined(name: str) -> str:
        texts = [getattr(meta, name) for meta in metas]
        return ", ".join(dict.fromkeys(text for text in texts if text))

    modules: list[ModuleRow] = []
    for meta in metas:
        modules += [module for module in meta.modules if module not in modules]
    limits = [
        meta.timestamps_until_ns + shift
        for meta, shift in zip(metas, shifts)
        if meta.timestamps_until_ns is not None
    ]
    one_interval = len({meta.interval_ns for meta in metas}) == 1
    duration_ns = metas[0].duration_ns if len(metas) == 1 else nanoseconds(end - start)
    tables: Tables = merged
    tables.meta = Meta.between(
        start,
        end,
        duration_ns=duration_ns,
        interval_ns=only("interval_ns", 0),
        mode=modes.pop() if modes else "",
        engine=only("engine", ""),
        # Assumed weights of one interval stay readable as such; of several they do not.
        weights=only("weights", "measured") if one_interval else "measured",
        dropped_count=sum(meta.dropped_count for meta in metas),
        python_version=joined("python_version"),
        platform=joined("platform"),
        notes=tuple(dict.fromkeys(note for meta in metas for note in meta.notes)),
        modules=tuple(modules),
        timestamps_until_ns=min(limits, default=None),
        processes=tuple(process for meta in metas for process in meta.processes),
    )
    return tables


@dataclass(frozen=True)
class StackDiff:
    """What changed for one stack of functions, or for one function.

    Parameters
    ----------
    functions : tuple of str
        Innermost first, like `Sample.frames`; a single one in `ProfileDiff.functions`.
    filenames : tuple of str
        File of each function.
    before_ns, after_ns : int
        Self time of the stack or function.
    before_share, after_share : float
        Of each profile's total, 0 to 1.
    """

    functions: tuple[str, ...]
    filenames: tuple[str, ...]
    before_ns: int
    after_ns: int
    before_share: float
    after_share: float

    @property
    def delta_ns(self) -> int:
        """Time gained (positive) or saved (negative)."""
        return self.after_ns - self.before_ns

    @property
    def delta_share(self) -> float:
        """Change of the share of the total."""
        return self.after_share - self.before_share


@dataclass(frozen=True)
class Difference:
    """What changed from one profile to another; see `ProfileDiff` for its lists."""

    before: Tables
    after: Tables
    stacks: list[StackDiff]
    functions: list[StackDiff]
    before_ns: int
    after_ns: int

    def side_by_side(self) -> Tables:
        """Return both profiles as one; its meta says which threads are of which.

        Threads are named ``before: ...`` and ``after: ...`` too, for what shows no more than
        names.
        """
        sides = []
        start = self.before.meta.start
        for label, t in (("before", self.before), ("after", self.after)):
            threads = [{**thread, "name": f"{label}: {thread['name']}"} for thread in t.threads]
            # Laid over each other, whenever they were taken.
            end = start + timedelta(microseconds=t.meta.duration_ns // 1000)
            meta = t.meta.but(start_time=start.isoformat(), end_time=end.isoformat())
            sides.append(t.same_stacks(threads=threads, meta=meta))
        merged = merge(sides)
        # The names keep the two apart, so `merge` puts the threads of "before" first.
        first = len(set(Builder().add_threads(sides[0])))
        rows = {"before": [*range(first)], "after": [*range(first, len(merged.threads))]}
        return merged.same_stacks(meta=merged.meta.but(difference=rows))

    def folded(self) -> Difference:
        """Return the difference as people are shown it; see `folding`."""
        both = self.side_by_side()
        shown = folded(both)
        if shown is both:
            return self
        sides = shown.meta.difference or {}

        def side(name: str) -> Tables:
            threads = set(sides[name])
            rows = [row for row, of in enumerate(shown.sample_thread) if of in threads]
            return take_rows(shown, rows)

        return difference(side("before"), side("after"))


def difference(before: Tables, after: Tables) -> Difference:
    """See `spprof.diff`.

    Raises
    ------
    ValueError
        One is of CPU time, the other of wall time.
    """
    modes = [side.meta.mode for side in (before, after)]
    if all(modes) and modes[0] != modes[1]:
        names = [measure(mode) for mode in modes]
        raise ValueError(
            f"{names[0]} before and {names[1]} after cannot be compared: profile both in one mode"
        )
    totals = sum(before.sample_weight), sum(after.sample_weight)
    return Difference(
        before,
        after,
        # Lines move when code is edited, so functions are compared by name and file alone.
        _compared(_stack_times(before), _stack_times(after), totals),
        _compared(_function_times(before), _function_times(after), totals),
        *totals,
    )


def _compared(
    before: dict[tuple[tuple[str, str], ...], int],
    after: dict[tuple[tuple[str, str], ...], int],
    totals: tuple[int, int],
) -> list[StackDiff]:
    whole = [total or 1 for total in totals]
    found = []
    for key in {**before, **after}:
        old, new = before.get(key, 0), after.get(key, 0)
        names, places = tuple(name for name, _ in key), tuple(file for _, file in key)
        found.append(StackDiff(names, places, old, new, old / whole[0], new / whole[1]))
    found.sort(key=lambda d: (-abs(d.delta_share), d.functions))
    return found


def _paths(tables: Tables) -> list[tuple[tuple[str, str], ...]]:
    """For each stack its (name, file) pairs, innermost first."""
    strings = tables.strings
    funcs = [
        (strings[name], strings[file]) for name, file in zip(tables.func_name, tables.func_file)
    ]
    paths: list[tuple[tuple[str, str], ...]] = []
    for parent, frame in zip(tables.stack_parent, tables.stack_frame):
        paths.append((funcs[tables.frame_func[frame]], *(paths[parent] if parent >= 0 else ())))
    return paths


def _stack_times(tables: Tables) -> dict[tuple[tuple[str, str], ...], int]:
    times: dict[tuple[tuple[str, str], ...], int] = {}
    _, weights = sum_by_stack(tables)
    for path, weight in zip(_paths(tables), weights):
        if weight:
            times[path] = times.get(path, 0) + weight
    return times


def _function_times(tables: Tables) -> dict[tuple[tuple[str, str], ...], int]:
    times: dict[tuple[tuple[str, str], ...], int] = {}
    for entry in top(tables, None, "self", lines=False):
        key = ((entry.function_name, entry.filename),)
        times[key] = times.get(key, 0) + entry.self_ns
    return times
