"""What a profile shows, in words: each finding with its numbers and the threshold it passed.

Pure over tables: structure first, text last. Must not know any file format, nor what shows a
finding.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from .causes import CHILD, rows_waiting_for
from .confidence import design_effects, effective_count, is_wide, wilson
from .folding import folded
from .garbage import in_collection
from .names import short
from .queries import rate_hz, sample_count, top
from .rows import representative
from .tables import GIL_HELD, GIL_MASK, NATIVE, WAITING, Tables
from .words import format_ns, short_place, shown

# From which share on each is a finding. Of a function's own time: what a reader looks at first.
DOMINATES = 0.2
IMPORTS = 0.1
COLLECTING = 0.05
# Of the profile's duration, where at least two threads have this share of the time each.
GIL, GIL_THREADS = 0.8, 0.1
# Of the time of the thread that ran most.
WAITS = 0.3
CHILDREN = 0.2
# Fewer effective samples than these tell shares by more than 10 hundredths only.
FEW = 100


@dataclass(frozen=True)
class Finding:
    """One thing that a profile shows.

    Parameters
    ----------
    kind : str
        ``"measured"`` (always the first), ``"few"``, ``"dominates"``, ``"imports"``,
        ``"garbage"``, ``"gil"``, ``"waits"`` or ``"children"``.
    text : str
        For people, safe to print.
    share : float or None
        0 to 1, of what the text says.
    interval : (float, float) or None
        Where the share lies in 19 of 20 cases, as far as samples tell.
    evidence : dict
        The numbers behind it; ``threshold`` is what the share had to reach. Times in ns.
    """

    kind: str
    text: str
    share: float | None = None
    interval: tuple[float, float] | None = None
    evidence: dict[str, Any] = field(default_factory=dict)

    def as_dict(self) -> dict[str, Any]:
        """As JSON has it."""
        return {
            "kind": self.kind,
            "text": self.text,
            "share": self.share,
            "interval": None if self.interval is None else [*self.interval],
            "evidence": self.evidence,
        }


def findings(tables: Tables) -> list[Finding]:
    """What a profile shows, what was measured first.

    Of a difference nothing: it is two profiles.
    """
    if tables.meta.difference is not None:
        return []
    found = [_measured(tables)]
    if tables.rows:
        shown_as = folded(tables)
        ways: Iterable[Callable[[], Finding | None]] = (
            lambda: _few(tables),
            lambda: _dominates(shown_as),
            lambda: _imports(shown_as, len(tables.func_name)),
            lambda: _garbage(tables),
            lambda: _gil(shown_as),
            lambda: _children(tables) or _waits(shown_as),
        )
        for way in ways:
            finding = way()
            if finding is not None:
                found.append(finding)
    return found


# Stacks of a profile that is looked at whole, and rows of a larger one that stand for all.
_LOOKED_AT = 100_000
_STANDING_FOR_ALL = 15_000


def texts_of(tables: Tables) -> list[str]:
    """What a profile shows, in words, in about a second at most.

    Of a very large call tree some rows are looked at, which stand for the others; how much was
    measured is said of all of it.
    """
    if len(tables.stack_frame) <= _LOOKED_AT:
        return [finding.text for finding in findings(tables)]
    found = findings(representative(tables, _STANDING_FOR_ALL))
    return [_measured(tables).text, *(finding.text for finding in found[1:])]


def line(found: Sequence[Finding]) -> str:
    """Several of them in one line."""
    return "; ".join(finding.text for finding in found)


def _measured(tables: Tables) -> Finding:
    """How much was measured, of which time, by how many samples."""
    meta = tables.meta
    weight, count, rate = sum(tables.sample_weight), sample_count(tables), rate_hz(tables)
    threads = len({*tables.sample_thread})
    running = sum(
        weight
        for weight, state in zip(tables.sample_weight, tables.sample_state)
        if not state & WAITING
    )
    clock = f"{format_ns(meta.duration_ns)} on the clock"
    over = f" of {threads} threads" if threads > 1 else ""
    if meta.mode == "wall":
        time = f"{clock}, {format_ns(running)} running{over}"
    elif meta.mode == "cpu":
        time = f"{format_ns(weight)} CPU time{over} in {clock}"
    else:
        time = f"{format_ns(weight)}{over} in {clock}"
    samples = f"{count} sample{'' if count == 1 else 's'}" + (f" ({rate:.0f} Hz)" if count else "")
    return Finding(
        "measured",
        f"{time}, {samples}",
        evidence={
            "mode": meta.mode,
            "weight_ns": weight,
            "running_ns": running,
            "duration_ns": meta.duration_ns,
            "samples": count,
            "rate_hz": rate,
            "threads": threads,
        },
    )


def _few(tables: Tables) -> Finding | None:
    effective = effective_count(tables.sample_count, tables.sample_weight)
    if effective >= FEW:
        return None
    low, high = wilson(0.5, effective)
    reach = (high - low) / 2
    return Finding(
        "few",
        f"few samples: shares may be {reach * 100:.0f} points off",
        evidence={"effective_samples": effective, "threshold": FEW, "reach": reach},
    )


def _dominates(tables: Tables) -> Finding | None:
    first = top(tables, 1, "self", lines=False)
    if not first or first[0].self_share < DOMINATES:
        return None
    (entry,) = first
    named = function_text(entry.function_name, entry.is_native)
    place = short_place(entry.filename, entry.lineno)
    return Finding(
        "dominates",
        f"{percent(entry.self_share, entry.self_interval)} in {named}"
        + (f", {place}" if place else ""),
        entry.self_share,
        entry.self_interval,
        {
            "function": entry.function_name,
            "file": entry.filename,
            "line": entry.lineno,
            "self_ns": entry.self_ns,
            "total_ns": entry.total_ns,
            "samples": entry.self_samples,
            "threshold": DOMINATES,
        },
    )


def _imports(shown_as: Tables, functions: int) -> Finding | None:
    """Functions that stand for imports come after all others."""
    inside: list[int] = []  # for each stack the outermost import above it, or -1
    for parent, frame in zip(shown_as.stack_parent, shown_as.stack_frame):
        above = inside[parent] if parent >= 0 else -1
        func = shown_as.frame_func[frame]
        inside.append(above if above >= 0 else func if func >= functions else -1)
    most = _largest(
        (inside[stack], weight)
        for stack, weight in zip(shown_as.sample_stack, shown_as.sample_weight)
        if inside[stack] >= 0
    )
    if most is None:
        return None
    marks = [inside[stack] >= 0 for stack in shown_as.sample_stack]
    name = shown_as.strings[shown_as.func_name[most[0]]]
    return _of_rows(
        shown_as,
        marks,
        IMPORTS,
        "imports",
        lambda share: f"{share} in import, most in `{shown(name)}`",
        {"most": name, "most_ns": most[1]},
    )


def _garbage(tables: Tables) -> Finding | None:
    within = in_collection(tables)
    return _of_rows(
        tables,
        [bool(within[stack]) for stack in tables.sample_stack],
        COLLECTING,
        "garbage",
        lambda share: f"{share} in garbage collection",
        {},
    )


def _gil(tables: Tables) -> Finding | None:
    """Where several threads ran: how much of the time one held the GIL, and in which function."""
    duration = tables.meta.duration_ns
    of_thread: dict[int, int] = {}
    held_by: dict[int, int] = {}
    for thread, stack, weight, state in zip(
        tables.sample_thread, tables.sample_stack, tables.sample_weight, tables.sample_state
    ):
        if state & GIL_MASK == GIL_HELD:
            func = tables.frame_func[tables.stack_frame[stack]]
            held_by[func] = held_by.get(func, 0) + weight
            of_thread[thread] = of_thread.get(thread, 0) + weight
    held = sum(held_by.values())
    contenders = sum(weight >= GIL_THREADS * held for weight in of_thread.values())
    most = _largest(held_by.items())
    if most is None or duration <= 0 or contenders < 2 or held < GIL * duration:
        return None
    name = tables.strings[tables.func_name[most[0]]]
    native = bool(tables.func_flags[most[0]] & NATIVE)
    share = min(1.0, held / duration)
    return Finding(
        "gil",
        f"GIL held {share:.0%} of the time, {most[1] / held:.0%} of that by "
        f"{function_text(name, native)}; {contenders} threads shared it",
        share,
        None,
        {
            "held_ns": held,
            "duration_ns": duration,
            "function": name,
            "file": tables.strings[tables.func_file[most[0]]],
            "by_function_ns": most[1],
            "threads": contenders,
            "threshold": GIL,
        },
    )


def _children(tables: Tables) -> Finding | None:
    thread = _busiest(tables)
    marks = [
        waits and of == thread
        for waits, of in zip(rows_waiting_for(tables, CHILD), tables.sample_thread)
    ]
    absent = "" if tables.meta.processes else ", which are not in this profile"
    return _of_rows(
        tables,
        marks,
        CHILDREN,
        "children",
        lambda share: f"{share} waiting for other processes{absent}",
        {"thread": tables.threads[thread]["name"]},
        [of == thread for of in tables.sample_thread],
    )


def _waits(tables: Tables) -> Finding | None:
    thread = _busiest(tables)
    marks = [
        bool(state & WAITING) and of == thread
        for state, of in zip(tables.sample_state, tables.sample_thread)
    ]
    most = _largest(
        (tables.frame_func[tables.stack_frame[stack]], weight)
        for stack, weight, marked in zip(tables.sample_stack, tables.sample_weight, marks)
        if marked
    )
    if most is None:
        return None
    name = tables.strings[tables.func_name[most[0]]]
    named = function_text(name, bool(tables.func_flags[most[0]] & NATIVE))
    whose = tables.threads[thread]["name"]
    return _of_rows(
        tables,
        marks,
        WAITS,
        "waits",
        lambda share: f"{shown(whose)} waited {share} of its time, most in {named}",
        {"thread": whose, "function": name, "by_function_ns": most[1]},
        [of == thread for of in tables.sample_thread],
    )


def _busiest(tables: Tables) -> int:
    """The thread that ran most; of none that ran, the first."""
    ran = dict.fromkeys(tables.sample_thread, 0)
    for thread, weight, state in zip(
        tables.sample_thread, tables.sample_weight, tables.sample_state
    ):
        if not state & WAITING:
            ran[thread] += weight
    return max(ran, key=lambda thread: ran[thread])


def _largest(parts: Iterable[tuple[int, int]]) -> tuple[int, int] | None:
    sums: dict[int, int] = {}
    for what, weight in parts:
        sums[what] = sums.get(what, 0) + weight
    return max(sums.items(), key=lambda item: item[1]) if sums else None


def _of_rows(
    tables: Tables,
    marks: Sequence[bool],
    threshold: float,
    kind: str,
    text: Callable[[str], str],
    evidence: dict[str, Any],
    among: Sequence[bool] | None = None,
) -> Finding | None:
    """The finding that marked rows have a share of at least `threshold` among these, or of all."""
    counted = [True] * tables.rows if among is None else among
    rows = [row for row, count in enumerate(counted) if count]
    whole = sum(tables.sample_weight[row] for row in rows)
    part = sum(tables.sample_weight[row] for row in rows if marks[row])
    if not whole or part / whole < threshold:
        return None
    of_thread: dict[int, tuple[list[int], list[int]]] = {}
    for row in rows:
        if tables.sample_time[row] >= 0:
            met, counts = of_thread.setdefault(tables.sample_thread[row], ([], []))
            met.append(int(marks[row]))
            counts.append(tables.sample_count[row])
    effects = design_effects(of_thread.values(), lambda mark: (mark,))
    effective = effective_count(
        (tables.sample_count[row] for row in rows), (tables.sample_weight[row] for row in rows)
    )
    share = part / whole
    interval = wilson(share, effective / effects.get(1, 1.0))
    numbers = {
        "ns": part,
        "of_ns": whole,
        "samples": sum(tables.sample_count[row] for row in rows if marks[row]),
        "threshold": threshold,
    }
    return Finding(kind, text(percent(share, interval)), share, interval, {**numbers, **evidence})


def percent(share: float, interval: tuple[float, float]) -> str:
    """A share for people, with its interval where that is wide: ``61% (48-72%)``."""
    if not is_wide(share, interval):
        return f"{share:.0%}"
    return f"{share:.0%} ({interval[0] * 100:.0f}-{interval[1] * 100:.0f}%)"


def function_text(name: str, native: bool) -> str:
    """A function in a sentence: ``parse()``, ``<module>``."""
    called = shown(short(name, native))
    # What stands for an import is none.
    is_call = not called.endswith((">", ")", "]")) and " " not in called and called != "import"
    return f"{called}()" if is_call else called
