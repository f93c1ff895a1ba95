"""Profiles in words: each part by itself, joined by whoever shows it.

Must not know any file format, nor the terminal.
"""

from __future__ import annotations

from .causes import collection_ns, waits
from .compare import Difference
from .folding import folded
from .names import process_name, short
from .outline import function_lines
from .queries import rate_hz, sample_count, threads, top
from .tables import NATIVE, Tables, measure
from .words import format_ns, short_place, shown


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
    collecting = collection_ns(tables)
    if collecting:
        lines.append(f"garbage collection: {collecting / whole:.1%}")
    return lines


def process_lines(tables: Tables, n: int) -> list[str]:
    """The `n` processes with most time, a line each: how they ended, and what is in the profile."""
    processes = tables.meta.processes
    whole = sum(process["profile_ns"] for process in processes) or 1
    lines = []
    for process in sorted(processes, key=lambda process: -process["profile_ns"])[:n]:
        name = shown(process_name(process["name"], process["command"]), 60)
        said = [process["ended"]] if process["ended"] else []
        cpu_ns, own_ns = process["cpu_ns"], process["profile_ns"]
        cpu_ns = cpu_ns and max(1, cpu_ns - process["profiler_ns"])
        if cpu_ns and tables.meta.mode == "cpu":
            part = f"{min(own_ns / cpu_ns, 1):.0%} of its {format_ns(cpu_ns)} of CPU time here"
            said.append(part)
        elif cpu_ns:
            said.append(f"{format_ns(cpu_ns)} of CPU time")
        lines.append(f"{own_ns / whole:7.1%}  {name} ({process['pid']}): {', '.join(said)}")
    if len(processes) > n:
        lines.append(f"         and {len(processes) - n} more")
    return [line.removesuffix(": ") for line in lines]


def notes(tables: Tables) -> list[str]:
    """What a reader should know, lost samples first unless a note speaks of them."""
    dropped = tables.meta.dropped_count
    said = any("dropped" in note for note in tables.meta.notes)
    lost = [f"{dropped} samples were dropped"] if dropped and not said else []
    return [*lost, *map(shown, tables.meta.notes)]


def summary(tables: Tables, n: int = 10) -> str:
    """A profile in a few lines: circumstances, top functions, threads, notes."""
    lines = [headline(tables)]
    if tables.rows:
        lines += function_lines(top(folded(tables), n, "self", lines=False))
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
    lines = [
        f"{format_ns(found.before_ns)} before, {format_ns(found.after_ns)} after ({ratio(found)})",
        f"{'before':>7} {'after':>7} {'change':>8}  function (self time)",
    ]
    shown_as = found.folded()
    native = _native_functions(shown_as.before) | _native_functions(shown_as.after)
    for entry in shown_as.functions[:n]:
        if entry.before_ns == entry.after_ns == 0:
            continue
        name, place = entry.functions[0], short_place(entry.filenames[0], 0)
        lines.append(
            f"{entry.before_share:7.1%} {entry.after_share:7.1%} "
            f"{entry.delta_share * 100:+7.1f}%  "
            + shown(short(name, (name, entry.filenames[0]) in native))
            + (f"  {place}" if place else "")
        )
    return "\n".join(lines)


def _native_functions(tables: Tables) -> set[tuple[str, str]]:
    """Name and file of the functions that are machine code."""
    strings = tables.strings
    columns = zip(tables.func_name, tables.func_file, tables.func_flags)
    return {(strings[name], strings[file]) for name, file, flags in columns if flags & NATIVE}


def ratio(found: Difference) -> str:
    """How many times the time before the time after is: ``1.32x``."""
    return f"{found.after_ns / found.before_ns:.2f}x" if found.before_ns else "from nothing"
