"""Profiles in words: each part by itself, joined by whoever shows it.

Must not know any file format, nor the terminal.
"""

from __future__ import annotations

from . import processes
from .causes import waits
from .compare import Difference, StackDiff
from .findings import findings, line
from .folding import folded
from .garbage import collection_ns
from .gil_holders import waits_for_whom
from .names import short
from .outline import function_lines
from .queries import rate_hz, sample_count, threads, top
from .significance import LEVEL
from .tables import NATIVE, Tables, measure
from .words import format_ns, short_place, shown

# From this share of all time on it is said who held the GIL meanwhile, in so many lines.
_GIL_WAITS, _HOLDERS = 0.01, 5
# CPU time outside of the profile is worth a line from this share of it on.
_TELLING_SHARE = 0.01


def headline(tables: Tables) -> str:
    """How much was sampled, how, and what it stands for: one line."""
    meta = tables.meta
    how = f"{rate_hz(tables):.0f} Hz"
    if meta.interval_ns:
        how = f"every {meta.interval_ns / 1e6:g} ms, {how}"
    return (
        f"{sample_count(tables)} samples ({how}) over {meta.duration_ns / 1e9:.2f} s: "
        f"{format_ns(sum(tables.sample_weight))} of {measure(meta.mode)}"
    )


def finding_line(tables: Tables) -> str:
    """What a profile shows besides how much was measured: one line, or nothing."""
    return line(findings(tables)[1:])


def thread_lines(tables: Tables, n: int) -> list[str]:
    """The `n` busiest threads, a line each; none where there is only one thread."""
    sampled = [thread for thread in threads(tables) if thread.sample_count]
    if len(sampled) < 2:
        return []
    whole = sum(thread.weight_ns for thread in sampled) or 1
    lines = []
    for thread in sorted(sampled, key=lambda thread: -thread.weight_ns)[:n]:
        gil = "" if thread.gil_share is None else f", held the GIL {thread.gil_share:.0%} of it"
        share = thread.weight_ns / whole
        lines.append(f"{share:7.1%}  {shown(thread.thread_name)} ({thread.thread_id}){gil}")
    if len(sampled) > n:
        lines.append(f"         and {len(sampled) - n} more")
    return lines


def what_else_lines(tables: Tables) -> list[str]:
    """What threads waited for, and the share of garbage collection; nothing where there is none."""
    lines = []
    whole = sum(tables.sample_weight) or 1
    causes = waits(tables)
    if causes:
        shares = [f"{cause} {ns / whole:.1%}" for cause, ns in causes.items()]
        lines.append(f"waiting: {', '.join(shares)}")
        if causes.get("gil", 0) >= _GIL_WAITS * whole:
            lines.append("waiting for the GIL, which was held by:")
            lines += map(str, waits_for_whom(folded(tables))[:_HOLDERS])
    collecting = collection_ns(tables)
    if collecting:
        lines.append(f"garbage collection: {collecting / whole:.1%}")
    return lines


def process_lines(tables: Tables, n: int) -> list[str]:
    """The `n` processes with most time, a line each: how they ended, and what is in the profile.

    What a process made is below it, further in.
    """
    rows = tables.meta.processes
    whole = sum(process["profile_ns"] for process in rows) or 1
    lines = []
    for process in processes.tree(rows, n):
        name = shown(process.name, 60)
        where = f" on {shown(process.host, 60)}" if process.host else ""
        said = [process.ended] if process.ended else []
        cpu_ns = process.sampled_ns
        if cpu_ns and tables.meta.mode == "cpu":
            here = min(process.profile_ns / cpu_ns, 1)
            said.append(f"{here:.0%} of its {format_ns(cpu_ns)} of CPU time here")
        elif cpu_ns:
            said.append(f"{format_ns(cpu_ns)} of CPU time")
        line = f"{process.profile_ns / whole:7.1%}  {'  ' * process.depth}{name} ({process.pid})"
        lines.append(f"{line}{where}: {', '.join(said)}")
    if len(rows) > n:
        lines.append(f"         and {len(rows) - n} more")
    outside_ns = sum(process["before_ns"] + process["after_ns"] for process in rows)
    if outside_ns > _TELLING_SHARE * whole:
        lines.append(
            f"         {format_ns(outside_ns)} of CPU time were used before and after processes "
            "were sampled: the start of an interpreter, and its end"
        )
    return [line.removesuffix(": ") for line in lines]


def notes(tables: Tables) -> list[str]:
    """What a reader should know, lost samples first unless a note speaks of them."""
    dropped = tables.meta.dropped_count
    said = any("dropped" in note for note in tables.meta.notes)
    lost = [f"{dropped} samples were dropped"] if dropped and not said else []
    return [*lost, *map(shown, tables.meta.notes)]


def summary(tables: Tables, n: int = 10, *, all_frames: bool = False) -> str:
    """A profile in a few lines: circumstances, top functions, threads, notes."""
    lines = [headline(tables)]
    said = finding_line(tables)
    if said:
        lines.append(said)
    if tables.rows:
        shown_as = tables if all_frames else folded(tables)
        lines += function_lines(top(shown_as, n, "self", lines=False))
    lines += what_else_lines(tables)
    of_processes = process_lines(tables, n)
    if of_processes:
        lines += ["processes:", *of_processes]
    of_threads = thread_lines(tables, n)
    if of_threads:
        lines += ["threads:", *of_threads]
    lines += [f"note: {note}" for note in notes(tables)]
    return "\n".join(lines)


def difference(found: Difference, n: int = 20) -> str:
    """The functions whose share changed most, with the totals of both profiles."""
    return "\n".join(line for line, _ in difference_lines(found, n))


def difference_lines(found: Difference, n: int = 20) -> list[tuple[str, str]]:
    """The same line by line: each with what it is, "head", "more", "less", "noise" or ""."""
    tests = found.tests
    beyond = "beyond noise" if tests.whole_changed else "within noise"
    lines = [
        (
            f"{format_ns(found.before_ns)} before, {format_ns(found.after_ns)} after "
            f"({ratio(found)}): {beyond}",
            "head",
        ),
        (f"{'before':>7} {'after':>7} {'change':>8}  {'time':>11}  function (self time)", ""),
    ]
    shown_as = found.folded()
    native = native_functions(shown_as)
    entries = [entry for entry in shown_as.functions if entry.before_ns or entry.after_ns]
    changed = [entry for entry in entries if entry.changed][:n]
    for entry in changed:
        grew = entry.delta_share if entry.share_changed else entry.delta_ns
        kind = "more" if grew > 0 else "less"
        lines.append((_difference_line(entry, native), kind))
    rest = [entry for entry in entries if not entry.changed][: n - len(changed)]
    if rest:
        lines.append(("within noise:", "noise"))
        lines += [(_difference_line(entry, native), "noise") for entry in rest]
    lines.append((f"({meaning(found)})", "noise"))
    return lines


def _difference_line(entry: StackDiff, native: set[tuple[str, str]]) -> str:
    """Shares and changes of a function; a change within noise stands in brackets."""
    name, place = entry.functions[0], short_place(entry.filenames[0], 0)
    share = f"{entry.delta_share * 100:+.1f}%"
    time = ("+" if entry.delta_ns >= 0 else "-") + format_ns(abs(entry.delta_ns))
    share = f"{share} " if entry.share_changed else f"({share})"
    time = f"{time} " if entry.time_changed else f"({time})"
    return (
        f"{entry.before_share:7.1%} {entry.after_share:7.1%} {share:>9} {time:>12}  "
        + shown(short(name, (name, entry.filenames[0]) in native))
        + (f"  {place}" if place else "")
    )


def meaning(found: Difference) -> str:
    """What noise is, and how often a word about a change is wrong."""
    tests = found.tests
    how = (
        "between runs as they differ here"
        if tests.several
        else f"between runs whose times differ by {tests.noise:.0%}"
    )
    runs = (run for side in found.runs for run in side)
    unordered = any(min(run.sample_time, default=0) < 0 for run in runs)
    more = "; the order of samples is not known, so noise may be larger" if unordered else ""
    return (
        f"in brackets: within noise, {how}; of equal programs, {LEVEL:.0%} of comparisons "
        f"show any change beyond it{more}"
    )


def native_functions(found: Difference) -> set[tuple[str, str]]:
    """Name and file of the functions of both sides that are machine code."""
    return {
        (tables.strings[name], tables.strings[file])
        for tables in (found.before, found.after)
        for name, file, flags in zip(tables.func_name, tables.func_file, tables.func_flags)
        if flags & NATIVE
    }


def ratio(found: Difference) -> str:
    """How many times the time before the time after is: ``1.32x``."""
    return f"{found.after_ns / found.before_ns:.2f}x" if found.before_ns else "from nothing"
