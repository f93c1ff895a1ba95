"""Several profiles at once: equality, merge, difference.

Must not know any file format.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Union

from . import _columns as columns
from . import _queries
from ._columns import Builder, Tables

if TYPE_CHECKING:
    from ._model import Profile

PathLike = Union[str, "os.PathLike[str]"]


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
    seen: dict[tuple[int, Any], int] = {}
    ids_a = columns.canonical_stacks(a, _full_frame_keys(a), seen)
    ids_b = columns.canonical_stacks(b, _full_frame_keys(b), seen)
    if any(ids_a[x] != ids_b[y] for x, y in zip(a.sample_stack, b.sample_stack)):
        return False
    return all(a.threads[x] == b.threads[y] for x, y in set(zip(a.sample_thread, b.sample_thread)))


def merge(several: Sequence[Tables]) -> Tables:
    """See `spprof.merge`."""
    from ._model import parse_time

    if not several:
        raise ValueError("merge needs at least one profile")
    modes = {t.meta["mode"] for t in several if t.meta["mode"]}
    if len(modes) > 1:
        raise ValueError("CPU time and wall time do not add up: merge profiles of one mode only")
    starts = [parse_time(t.meta["start_time"]) for t in several]
    ends = [parse_time(t.meta["end_time"]) for t in several]
    if len({start.tzinfo is None for start in starts}) > 1:
        # A naive time is local time; comparing it with an aware one needs that said.
        starts = [start.astimezone() for start in starts]
        ends = [end.astimezone() for end in ends]
    start, end = min(starts), max(ends)

    builder = Builder()
    merged: Any = builder.tables
    for t, began in zip(several, starts):
        shift = (began - start) // timedelta(microseconds=1) * 1000
        stacks, threads = builder.add_stacks(t), builder.add_threads(t)
        merged.sample_stack.extend([stacks[stack] for stack in t.sample_stack])
        merged.sample_thread.extend([threads[thread] for thread in t.sample_thread])
        merged.sample_time.extend([time if time < 0 else time + shift for time in t.sample_time])
        merged.sample_last.extend([time if time < 0 else time + shift for time in t.sample_last])
        merged.sample_count.extend(t.sample_count)
        merged.sample_weight.extend(t.sample_weight)
        merged.sample_state.extend(t.sample_state)

    def only(name: str, otherwise: Any) -> Any:
        values = {t.meta[name] for t in several}
        return values.pop() if len(values) == 1 else otherwise

    def joined(name: str) -> str:
        return ", ".join(dict.fromkeys(t.meta[name] for t in several if t.meta[name]))

    intervals = {t.meta["interval_ns"] for t in several}
    modules: list[Any] = []
    for t in several:
        modules += [module for module in t.meta["modules"] if module not in modules]
    limits = [
        t.meta["timestamps_until_ns"] + (began - start) // timedelta(microseconds=1) * 1000
        for t, began in zip(several, starts)
        if t.meta.get("timestamps_until_ns") is not None
    ]
    merged.meta = {
        "version": columns.LAYOUT_VERSION,
        "start_time": start.isoformat(),
        "end_time": end.isoformat(),
        "duration_ns": (
            several[0].meta["duration_ns"]
            if len(several) == 1
            else (end - start) // timedelta(microseconds=1) * 1000
        ),
        "interval_ns": only("interval_ns", 0),
        "mode": modes.pop() if modes else "",
        "engine": only("engine", ""),
        # Assumed weights of one interval stay readable as such; of several they do not.
        "weights": only("weights", "measured") if len(intervals) == 1 else "measured",
        "dropped_count": sum(t.meta["dropped_count"] for t in several),
        "python_version": joined("python_version"),
        "platform": joined("platform"),
        "notes": list(dict.fromkeys(note for t in several for note in t.meta["notes"])),
        "modules": modules,
        "timestamps_until_ns": min(limits, default=None),
    }
    tables: Tables = merged
    return tables


@dataclass(frozen=True)
class StackDiff:
    """What changed for one stack of functions, or for one function.

    Parameters
    ----------
    functions : tuple of str
        Innermost first, like `Sample.frames`; a single one in `ProfileDiff.functions`.
    places : tuple of str
        File of each function.
    before_ns, after_ns : int
        Self time of the stack or function.
    before_share, after_share : float
        Of each profile's total, 0 to 1.
    """

    functions: tuple[str, ...]
    places: tuple[str, ...]
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


class ProfileDiff:
    """What changed from one profile to another.

    Parameters
    ----------
    before, after : Profile

    Attributes
    ----------
    stacks : list of StackDiff
        Every distinct stack of functions, threads together, largest change of share first.
    functions : list of StackDiff
        The same per function, by its self time.
    """

    def __init__(self, before: Profile, after: Profile) -> None:
        self.before = before
        self.after = after
        self._totals = (before.total_weight_ns, after.total_weight_ns)
        # Lines move when code is edited, so functions are compared by name and file alone.
        self.stacks = self._compare(_stack_times(before._tables), _stack_times(after._tables))
        self.functions = self._compare(
            _function_times(before._tables), _function_times(after._tables)
        )

    def _compare(
        self,
        before: dict[tuple[tuple[str, str], ...], int],
        after: dict[tuple[tuple[str, str], ...], int],
    ) -> list[StackDiff]:
        whole = [total or 1 for total in self._totals]
        found = []
        for key in {**before, **after}:
            old, new = before.get(key, 0), after.get(key, 0)
            names, places = tuple(name for name, _ in key), tuple(file for _, file in key)
            found.append(StackDiff(names, places, old, new, old / whole[0], new / whole[1]))
        found.sort(key=lambda d: (-abs(d.delta_share), d.functions))
        return found

    def growing(self, n: int | None = 10) -> list[StackDiff]:
        """Return the functions whose share grew most."""
        return [d for d in self.functions if d.delta_share > 0][:n]

    def shrinking(self, n: int | None = 10) -> list[StackDiff]:
        """Return the functions whose share shrank most."""
        return [d for d in self.functions if d.delta_share < 0][:n]

    def save(self, path: PathLike, format: str | None = None, **options: Any) -> None:
        """Write the difference to a file, whole or not at all.

        Parameters
        ----------
        path : path-like
        format : {"svg", "collapsed", "html", "spprof"}, optional
            Without it the extension decides. ``collapsed`` is the two-column input that
            flamegraph.pl takes for a differential flame graph; ``svg`` is that graph, red where
            more of the time is spent and blue where less; ``html`` and ``spprof`` hold both
            profiles, told apart as threads.

        Raises
        ------
        ValueError
            Another format.
        """
        from . import formats

        formats.save_diff(self, path, format, **options)

    def _for_output(self) -> Profile:
        # What `spprof.display` shows: the front end knows both sides by their threads' names.
        return self.as_profile()

    def as_profile(self) -> Profile:
        """Return both profiles as one, their threads named ``before: ...`` and ``after: ...``."""
        from ._model import Profile

        sides = []
        start = self.before.start_time
        for label, profile in (("before", self.before), ("after", self.after)):
            t = profile._tables
            threads = [{**thread, "name": f"{label}: {thread['name']}"} for thread in t.threads]
            # Laid over each other, whenever they were taken.
            end = start + timedelta(microseconds=t.meta["duration_ns"] // 1000)
            times = {"start_time": start.isoformat(), "end_time": end.isoformat()}
            meta = {**t.meta, **times}
            sides.append(t.same_stacks(threads=threads, meta=meta))
        return Profile._of(merge(sides))

    def __str__(self) -> str:
        fmt = _queries.format_ns
        lines = [
            f"{fmt(self._totals[0])} before, {fmt(self._totals[1])} after "
            f"({_ratio(self._totals[0], self._totals[1])})",
            f"{'before':>7} {'after':>7} {'change':>8}  function (self time)",
        ]
        for entry in self.functions[:20]:
            if entry.before_ns == entry.after_ns == 0:
                continue
            place = _queries.short_place(entry.places[0], 0)
            lines.append(
                f"{entry.before_share:7.1%} {entry.after_share:7.1%} "
                f"{entry.delta_share * 100:+7.1f}%  {entry.functions[0]}"
                + (f"  {place}" if place else "")
            )
        return "\n".join(lines)

    def __repr__(self) -> str:
        return f"<ProfileDiff: {_ratio(self._totals[0], self._totals[1])} the time>"


def _ratio(before: int, after: int) -> str:
    return f"{after / before:.2f}x" if before else "from nothing"


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
    _, weights = columns.sum_by_stack(tables)
    for path, weight in zip(_paths(tables), weights):
        if weight:
            times[path] = times.get(path, 0) + weight
    return times


def _function_times(tables: Tables) -> dict[tuple[tuple[str, str], ...], int]:
    times: dict[tuple[tuple[str, str], ...], int] = {}
    for entry in _queries.top(tables, None, "self", lines=False):
        key = ((entry.function_name, entry.filename),)
        times[key] = times.get(key, 0) + entry.self_ns
    return times
