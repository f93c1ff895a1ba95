"""What the native session recorded, as a Profile: circumstances, notes, source lines.

Must not know how a session is run. `start` imports this, so that `stop` need not.
"""

from __future__ import annotations

import os
import sys
from datetime import datetime, timezone

from .._profile import causes, rows, sources
from .._profile.model import Profile
from .._profile.tables import NO_LABEL, ROOT, WAITING, Builder, Meta, StackIndex, Tables

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

    from .._profile.tables import ThreadRow
    from .tasks import Found

# How the threads are called that stand for tasks, before the name of the one that ran their loops.
TASKS_OF = "asyncio tasks of "

# What looks at tasks, and takes note of jobs.
_LOOKS = {os.path.join(os.path.dirname(__file__), name) for name in ("tasks.py", "jobs.py")}


def profile_of(raw: dict[str, Any]) -> Profile:
    """Turn what the native session returns into a profile, without copying its columns."""
    return profile_over(tables_of(raw))


def profile_over(tables: Tables) -> Profile:
    """A profile of what was recorded here and now."""
    sources.recorded_here(tables.meta)
    # Debug information is large: who never looks at the profile need not wait for it.
    return Profile._of(tables, _with_source_lines if tables.meta.modules else None)


def tables_of(
    raw: dict[str, Any], waited: Sequence[Found] = (), failure: Exception | None = None
) -> Tables:
    """The tables of what a native session returned.

    Parameters
    ----------
    raw : dict
    waited : sequence of Found
        What tasks of asyncio waited for. With any, columns are copied after all.
    failure : Exception, optional
        Why that is not all of it.
    """
    threads: list[ThreadRow] = raw["threads"]
    for thread in threads:
        thread["name"] = thread["name"] or f"Thread {thread['tid']}"
    meta = _meta_of(raw["meta"], raw["stats"]["calls_cut_short"])
    if failure is not None:
        note = f"tasks of asyncio could not be looked at any more: {failure!r}"
        meta = meta.with_notes(note)
    if any(found.rows.were_summed for found in waited):
        meta = meta.with_notes("waits of tasks were too many to keep all their times")
    if any(found.labels.were_left_out for found in waited):
        meta = meta.with_notes("regions were too many to keep all that tasks waited in")
    tables = Tables.from_bytes(raw["columns"], raw["strings"], threads, meta)
    return causes.refined(_with_tasks(tables, waited) if waited else tables)


def own_ns(raw: dict[str, Any]) -> int:
    """What a session measured of its process as a whole: CPU time, or elapsed time."""
    figures = raw["stats"]
    return int(figures["duration_ns" if raw["meta"]["mode"] == "wall" else "process_cpu_ns"])


def _with_tasks(tables: Tables, waited: Sequence[Found]) -> Tables:
    """Add what tasks waited for: for each thread that ran their loops one of its own."""
    builder = Builder()
    mapped = _without_looks(tables, builder)
    builder.add_threads(tables)
    known = range(tables.rows)
    tables = rows.restack(tables, builder, known, [mapped[row] for row in tables.sample_stack])
    stacks: list[StackIndex] = []
    for parent, (name, file, first_line, line) in waited[0].stacks:
        frame = builder.frame(builder.func(name, file, first_line), line)
        stacks.append(builder.stack(stacks[parent] if parent >= 0 else ROOT, frame))
    builder.tables = tables
    labels = [NO_LABEL] * len(waited[0].labels.sets)
    for place, names in enumerate(waited[0].labels.sets):
        for key, value in names:
            labels[place] = builder.label(labels[place], key, value)
    for found in waited:
        thread = builder.thread(found.tid, TASKS_OF + found.thread, os.getpid())
        for stack, label, begin, last, weight in found.rows:
            builder.row(
                thread,
                stacks[stack],
                weight=weight,
                time=begin,
                last=last,
                count=max(1, round(weight / (tables.meta.interval_ns or 1))),
                state=WAITING,
                label=labels[label] if label >= 0 else NO_LABEL,
            )
    return tables


def _without_looks(tables: Tables, builder: Builder) -> list[StackIndex]:
    """Intern stacks without what looks at tasks, whose time is that of the loop's round."""
    ours = {row for row, text in enumerate(tables.strings) if text in _LOOKS}
    wanted = bytearray(len(tables.stack_frame))
    for row, (parent, frame) in enumerate(zip(tables.stack_parent, tables.stack_frame)):
        above = parent < 0 or wanted[parent]
        wanted[row] = above and tables.func_file[tables.frame_func[frame]] not in ours
    mapped = builder.add_stacks(tables, wanted)
    for row, parent in enumerate(tables.stack_parent):
        if not wanted[row] and parent >= 0:
            mapped[row] = mapped[parent]
    return mapped


def _with_source_lines(tables: Tables) -> Tables:
    try:
        from . import symbols

        return symbols.with_source_lines(tables)
    except Exception as error:  # noqa: BLE001 - a strange file costs its lines, not the profile
        import warnings

        warnings.warn(
            f"spprof: native frames have no source lines: {error!r}", RuntimeWarning, stacklevel=4
        )
        return tables


def _time(realtime_ns: int) -> str:
    return datetime.fromtimestamp(realtime_ns / 1e9, timezone.utc).astimezone().isoformat()


def _platform_name() -> str:
    """As `platform.platform`, which starts another program to ask for the processor's name."""
    try:
        own = os.uname()
        libc = (os.confstr("CS_GNU_LIBC_VERSION") or "").replace(" ", "")
        names = [own.sysname, own.release, own.machine]
    except (AttributeError, ValueError, OSError):  # not POSIX, or another C library
        import platform

        libc = "".join(platform.libc_ver())
        names = [platform.system(), platform.release(), platform.machine()]
    return "-".join([*names, *(["with", libc] if libc else [])])


def _meta_of(native: dict[str, Any], calls_cut_short: int) -> Meta:
    """Circumstances as docs/ARCHITECTURE.md has them."""
    notes: list[str] = list(native["notes"])
    until = native["timestamps_until_ns"]
    if until >= 0:
        notes.append(
            f"the memory limit was reached after {until / 1e9:.1f} s: from there on counts and "
            "weights were kept, but no timestamps"
        )
    if native["stacks_were_cut"]:
        notes.append(
            "the memory limit left no room for new stacks: what is missing of them is counted "
            "under [memory limit]"
        )
    # A little is always lost; only what changes the picture is said.
    telling = max(5e6, native["duration_ns"] * 0.01)
    out_of_reach: list[tuple[str, int]] = native["out_of_reach"]
    for name, cpu_ns in out_of_reach:
        if cpu_ns <= telling:
            continue
        notes.append(
            f"thread {name!r} has SIGPROF blocked: {cpu_ns / 1e9:.3f} s of its CPU time were not "
            "sampled; signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGPROF}) in it lets "
            "spprof see it"
        )
    hardly_met: list[tuple[str, int, int]] = native["hardly_met"]
    for name, samples, due in hardly_met:
        notes.append(
            f"thread {name!r} was met running {samples} times instead of {due}: it runs in bursts "
            "too short for this system, or the processors were busy; weights are right, with "
            "larger errors; see docs/TROUBLESHOOTING.md"
        )
    if calls_cut_short:
        notes.append(
            f"{calls_cut_short} blocking system calls of the program were ended early (EINTR) by a "
            "sample; see docs/TROUBLESHOOTING.md"
        )
    unsampled = native["unsampled_ns"] - sum(cpu_ns for _, cpu_ns in out_of_reach)
    if unsampled > telling:
        notes.append(
            f"{unsampled / 1e9:.3f} s of CPU time were used by threads too short to be sampled, "
            "and are not in the profile; a shorter interval shows them"
        )
    if native["dropped_count"]:
        notes.append(f"{native['dropped_count']} samples were dropped: a buffer was full")
    return Meta(
        start_time=_time(native["start_realtime_ns"]),
        end_time=_time(native["end_realtime_ns"]),
        duration_ns=native["duration_ns"],
        interval_ns=native["interval_ns"],
        mode=native["mode"],
        engine=native["engine"],
        dropped_count=native["dropped_count"],
        python_version=sys.version.partition(" ")[0],
        platform=_platform_name(),
        notes=tuple(notes),
        modules=tuple(native["modules"]),
        timestamps_until_ns=until if until >= 0 else None,
    )
