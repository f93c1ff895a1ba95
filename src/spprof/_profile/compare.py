"""Several profiles at once: equality, merge, difference. All over tables.

Must not know any file format.
"""

from __future__ import annotations

from array import array
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from itertools import accumulate
from operator import sub
from typing import Any

from .confidence import design_effects, effective_count
from .folding import folded
from .labels import label_sets
from .queries import sequences
from .rows import canonical_stacks, sum_by_stack, take_rows
from .significance import LEVEL, RUN_NOISE, Comparison, Run
from .tables import WAITING, Builder, Meta, ModuleRow, Tables, measure, nanoseconds


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
    for t, shift in zip(several, shifts):
        builder.add_rows(t, shift)

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
    tables = builder.tables
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
        Self time of the stack or function; of several runs the mean.
    before_share, after_share : float
        Of each side's total, 0 to 1.
    interval : (float, float) or None
        Where the change of the share lies in 19 of 20 cases, as far as samples tell; None for
        stacks, which are not tested.
    share_p, time_p : float or None
        Probability of such a change of the share, or of the time, were there none; adjusted for
        all that is asked of the two sides together. None for stacks.
    """

    functions: tuple[str, ...]
    filenames: tuple[str, ...]
    before_ns: int
    after_ns: int
    before_share: float
    after_share: float
    interval: tuple[float, float] | None = None
    share_p: float | None = None
    time_p: float | None = None

    @property
    def delta_ns(self) -> int:
        """Time gained (positive) or saved (negative)."""
        return self.after_ns - self.before_ns

    @property
    def delta_share(self) -> float:
        """Change of the share of the total."""
        return self.after_share - self.before_share

    @property
    def share_changed(self) -> bool:
        """Whether the share changed by more than noise; False for stacks."""
        return self.share_p is not None and self.share_p < LEVEL

    @property
    def time_changed(self) -> bool:
        """Whether the time changed by more than noise; False for stacks."""
        return self.time_p is not None and self.time_p < LEVEL

    @property
    def changed(self) -> bool:
        """Whether either did. Of two equal programs, hardly ever anything: see `spprof.diff`."""
        return self.share_changed or self.time_changed


# A function by name and file: lines move when code is edited.
Function = tuple[str, str]


@dataclass(frozen=True)
class Difference:
    """What changed from one profile to another; see `ProfileDiff` for its lists.

    `before` and `after` are what is shown of each side: the profile, or the mean of its runs.
    """

    before: Tables
    after: Tables
    runs: tuple[list[Tables], list[Tables]]
    stacks: list[StackDiff]
    functions: list[StackDiff]
    before_ns: int
    after_ns: int
    tests: Comparison[Function]

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
        # All together: what an import is called depends on what was met in it.
        together, owners = _together([run for side in self.runs for run in side])
        shown = folded(together)
        if shown is together:
            return self
        rows: list[list[int]] = [[] for _ in range(max(owners) + 1)]
        for row, thread in enumerate(shown.sample_thread):
            rows[owners[thread]].append(row)
        number = len(self.runs[0])
        runs = [take_rows(shown, of_run) for of_run in rows]
        return difference(runs[:number], runs[number:], noise=self.tests.noise)


def _together(runs: Sequence[Tables]) -> tuple[Tables, list[int]]:
    """Several runs as one profile, and for each of its threads whose it is."""
    named = [
        run.same_stacks(
            threads=[{**thread, "name": f"{number} {thread['name']}"} for thread in run.threads]
        )
        for number, run in enumerate(runs)
    ]
    merged = merge(named)
    return merged, [int(thread["name"].split(" ", 1)[0]) for thread in merged.threads]


def difference(
    before: Tables | Sequence[Tables],
    after: Tables | Sequence[Tables],
    *,
    noise: float | None = None,
) -> Difference:
    """See `spprof.diff`.

    Raises
    ------
    ValueError
        One is of CPU time, the other of wall time; a side without a profile; a noise that is
        none.
    """
    runs = tuple([side] if isinstance(side, Tables) else [*side] for side in (before, after))
    for side, name in zip(runs, ("before", "after")):
        if not side:
            raise ValueError(f"there is no profile {name}: a difference needs one on each side")
    modes = {run.meta.mode for side in runs for run in side if run.meta.mode}
    if len(modes) > 1:
        names = [measure(_mode_of(side)) for side in runs]
        if names[0] == names[1]:
            raise ValueError("CPU time and wall time cannot be compared: profile all in one mode")
        raise ValueError(
            f"{names[0]} before and {names[1]} after cannot be compared: profile both in one mode"
        )
    sides = [_mean_run(side) for side in runs]
    totals = sum(sides[0].sample_weight), sum(sides[1].sample_weight)
    if noise is None:
        noise = max(_run_noise(run) for side in runs for run in side)
    tests = Comparison([_run(run) for run in runs[0]], [_run(run) for run in runs[1]], noise)
    verdicts = tests.verdicts()
    functions = [
        replace(
            entry,
            interval=verdict.interval,
            share_p=verdict.share_p,
            time_p=verdict.time_p,
        )
        for entry in _compared(_function_times(sides[0]), _function_times(sides[1]), totals)
        for verdict in [verdicts[entry.functions[0], entry.filenames[0]]]
    ]
    return Difference(
        sides[0],
        sides[1],
        (runs[0], runs[1]),
        # Lines move when code is edited, so functions are compared by name and file alone.
        _compared(_stack_times(sides[0]), _stack_times(sides[1]), totals),
        functions,
        *totals,
        tests,
    )


def _mode_of(runs: Sequence[Tables]) -> str:
    return next((run.meta.mode for run in runs if run.meta.mode), "")


def _mean_run(runs: Sequence[Tables]) -> Tables:
    """One profile that stands for several runs: all their samples, at the mean of their times."""
    if len(runs) == 1:
        return runs[0]
    merged = merge(runs)
    # Rounded so that sums stay exact.
    sums = [total // len(runs) for total in accumulate(merged.sample_weight)]
    weights = array("q", map(sub, sums, [0, *sums]))
    note = f"the mean of {len(runs)} runs"
    return merged.same_stacks(sample_weight=weights, meta=merged.meta.with_notes(note))


def _run_noise(tables: Tables) -> float:
    """By how much the time of such a run is taken to differ from another's: of one, a guess.

    Who has a processor alone runs at one speed. Who was off it for a part of the time waited for
    something, or for others who used its caches meanwhile: half of that part is taken.
    """
    busiest: dict[int, int] = {}
    for thread, weight, state in zip(
        tables.sample_thread, tables.sample_weight, tables.sample_state
    ):
        if not state & WAITING:
            busiest[thread] = busiest.get(thread, 0) + weight
    if not busiest or tables.meta.weights == "samples" or tables.meta.duration_ns <= 0:
        return RUN_NOISE
    off = 1 - max(busiest.values()) / tables.meta.duration_ns
    return max(RUN_NOISE, off / 2)


def _run(tables: Tables) -> Run[Function]:
    """What the tests need to know of a profile."""
    keys: dict[Function, int] = {}
    of_func = [
        keys.setdefault((tables.strings[name], tables.strings[file]), len(keys))
        for name, file in zip(tables.func_name, tables.func_file)
    ]
    leaf = [of_func[tables.frame_func[frame]] for frame in tables.stack_frame]
    effects = design_effects(sequences(tables, leaf), lambda key: (key,))
    named = list(keys)
    times = {key: time for (key,), time in _function_times(tables).items()}
    return Run(
        sum(tables.sample_weight),
        effective_count(tables.sample_count, tables.sample_weight),
        times,
        {named[key]: effect for key, effect in effects.items()},
    )


def _compared(
    before: dict[tuple[Function, ...], int],
    after: dict[tuple[Function, ...], int],
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


def _paths(tables: Tables) -> list[tuple[Function, ...]]:
    """For each stack its (name, file) pairs, innermost first."""
    strings = tables.strings
    funcs = [
        (strings[name], strings[file]) for name, file in zip(tables.func_name, tables.func_file)
    ]
    paths: list[tuple[Function, ...]] = []
    for parent, frame in zip(tables.stack_parent, tables.stack_frame):
        paths.append((funcs[tables.frame_func[frame]], *(paths[parent] if parent >= 0 else ())))
    return paths


def _stack_times(tables: Tables) -> dict[tuple[Function, ...], int]:
    times: dict[tuple[Function, ...], int] = {}
    _, weights = sum_by_stack(tables)
    for path, weight in zip(_paths(tables), weights):
        if weight:
            times[path] = times.get(path, 0) + weight
    return times


def _function_times(tables: Tables) -> dict[tuple[Function, ...], int]:
    """Self time of every function that was met, also as a caller."""
    samples, weights = sum_by_stack(tables)
    by_func: dict[int, int] = {}
    for row in range(len(samples) - 1, -1, -1):
        if samples[row]:
            func = tables.frame_func[tables.stack_frame[row]]
            by_func[func] = by_func.get(func, 0) + weights[row]
            parent = tables.stack_parent[row]
            if parent >= 0 and not samples[parent]:
                samples[parent] = 1  # met, though never innermost
    times: dict[tuple[Function, ...], int] = {}
    for row, weight in by_func.items():
        name, file = tables.func_name[row], tables.func_file[row]
        key = ((tables.strings[name], tables.strings[file]),)
        times[key] = times.get(key, 0) + weight
    return times
