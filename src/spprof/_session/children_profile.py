"""One profile of the parts that several processes have: samples, circumstances, how each ended.

Must not know how parts come to be, nor how a session is run. `start` imports this, so that `stop`
need not.
"""

from __future__ import annotations

import os
import signal
import sys
from operator import itemgetter

from .._profile.names import process_name
from .._profile.processes import process_row
from .._profile.tables import Builder, Tables
from . import children, children_cpu, children_folder, offspring, result

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from .._profile.model import Profile
    from .._profile.tables import ProcessRow
    from .children_cpu import Usage
    from .children_folder import Folder

# In a list of commands, so many, each cut after so many characters.
_COMMANDS, _LONGEST = 3, 60


def profile_of(own: Tables, raw: dict[str, Any], folder: Folder, before: Usage | None) -> Profile:
    """End the session in all processes; returns the profile of this one and of all of them.

    Parameters
    ----------
    own : Tables
        What this process recorded.
    raw : dict
        The same as the native session returned it.
    """
    trouble: list[str] = []
    parts: list[dict[str, Any]] = []
    try:
        parts = children.gather(folder)
    except (OSError, ValueError, EOFError) as error:
        trouble.append(f"what other processes recorded could not be read: {error}")
    command = offspring.command_line(getattr(sys, "orig_argv", sys.argv))
    _name_forks(parts, {os.getpid(): command})
    start_ns = raw["meta"]["start_monotonic_ns"]
    recorded = [(part["process"], *_recorded(part, start_ns)) for part in parts]
    statuses, made = _heard(recorded, offspring.ended, offspring.made)
    profile_ns = sum(own.sample_weight)
    rows = [process_row(os.getpid(), os.getppid(), command, profile_ns=profile_ns)]
    rows += _process_rows(os.getpid(), recorded, made, statuses, start_ns)
    notes = [*trouble, *_notes_of_parts(recorded)]
    if before is not None:
        now = children_cpu.usage()
        members = {about["pid"] for about, _, _ in recorded}
        known = sum(row["cpu_ns"] or 0 for row in rows if row["pid"] in members)
        strangers = _strangers(before, now, made, members)
        note = missing_note(now.since(before) - known, strangers, result.own_ns(raw))
        notes += [] if note is None else [note]
    return _assembled(own, recorded, rows, notes)


def profile_of_parts(
    pid: int, parts: list[dict[str, Any]], *, is_over: bool = True
) -> Profile | None:
    """The profile of another process and of those that it made; None where it has none yet.

    Parameters
    ----------
    pid : int
        The process that was asked first.
    parts : list of dict
        As `Folder.parts` returns them.
    is_over : bool
        Whether all have been asked to end: then it is told who did not answer.
    """
    by_start = sorted(parts, key=lambda part: int(part["process"]["start_ns"]))
    asked = [part for part in by_start if part["process"]["pid"] == pid]
    if not asked or asked[0]["raw"] is None:
        return None
    about, raw = asked[0]["process"], asked[0]["raw"]
    others = [part for part in parts if part is not asked[0]]
    _name_forks(others, {pid: about["command"]})
    start_ns = raw["meta"]["start_monotonic_ns"]
    own = result.tables_of(raw)
    own.meta = own.meta.but(python_version=about["python_version"])
    recorded = [(part["process"], *_recorded(part, start_ns)) for part in others]
    everyone = [(about, own, 0), *recorded]
    statuses, made = _heard(everyone, {}, {})
    # What it did before anybody asked is none of the profile's.
    row = _member_row(about, own, start_ns, _ended_by_itself(about), None, about["before_ns"])
    rows = [row, *_process_rows(pid, recorded, made, statuses, start_ns)]
    notes = _notes_of_parts([(about, None, 0), *recorded]) if is_over else []
    return _assembled(own, recorded, rows, notes)


def _assembled(
    own: Tables,
    recorded: list[tuple[dict[str, Any], Tables | None, int]],
    rows: list[ProcessRow],
    notes: list[str],
) -> Profile:
    tables = merged(own, [(tables, shift) for _, tables, shift in recorded if tables is not None])
    meta = tables.meta.with_notes(*notes).but(processes=tuple(rows))
    return result.profile_over(tables.same_stacks(meta=meta))


def _heard(
    recorded: list[tuple[dict[str, Any], Tables | None, int]],
    statuses: dict[int, tuple[int, int]],
    made: dict[int, tuple[str, int]],
) -> tuple[dict[int, tuple[int, int]], dict[int, tuple[str, int]]]:
    """What all processes together know of ends, and of who was made."""
    for about, _, _ in recorded:
        statuses = {**statuses, **about["reaped"]}
        made = {**made, **about["made"]}
    return statuses, made


def _name_forks(parts: list[dict[str, Any]], commands: dict[int, str]) -> None:
    """A process that was forked runs what its parent does."""
    for about in sorted((part["process"] for part in parts), key=itemgetter("start_ns")):
        about["command"] = about["command"] or commands.get(about["ppid"], "")
        commands[about["pid"]] = about["command"]


def _recorded(part: dict[str, Any], start_ns: int) -> tuple[Tables | None, int]:
    """A part's tables, and what its times are behind the profile's."""
    raw = part["raw"]
    if raw is None:
        return None, 0
    about = part["process"]
    name = process_name(about["name"], about["command"])
    for thread in raw["threads"]:
        thread["name"] = _lane(name, thread["name"], is_main=thread["tid"] == about["pid"])
    tables = result.tables_of(raw)
    tables.meta = tables.meta.but(python_version=about["python_version"])
    return tables, raw["meta"]["start_monotonic_ns"] - start_ns


def _lane(process: str, thread: str, *, is_main: bool) -> str:
    """What a thread of another process is called: wherever names are shown, its process is."""
    return process if is_main else f"{process}: {thread or 'thread'}"


def merged(own: Tables, others: list[tuple[Tables, int]]) -> Tables:
    """Samples of several processes in one set of tables.

    Takes time and memory in proportion to what there is.

    Parameters
    ----------
    own : Tables
        Whose circumstances these are.
    others : list of (Tables, int)
        With each what is to be added to its times, in ns.
    """
    if not others:
        return own
    builder = Builder()
    for tables, shift in [(own, 0), *others]:
        builder.add_rows(tables, shift)
    metas = [own.meta, *(tables.meta for tables, _ in others)]
    modules = {module["path"]: module for meta in reversed(metas) for module in meta.modules}
    limits = [
        meta.timestamps_until_ns + shift
        for meta, shift in zip(metas, [0, *(shift for _, shift in others)])
        if meta.timestamps_until_ns is not None
    ]
    versions = dict.fromkeys(meta.python_version for meta in metas)
    builder.tables.meta = own.meta.but(
        dropped_count=sum(meta.dropped_count for meta in metas),
        python_version=", ".join(versions),
        modules=tuple(modules.values()),
        timestamps_until_ns=min(limits, default=None),
    )
    return builder.tables


def _member_row(
    about: dict[str, Any],
    tables: Tables | None,
    start_ns: int,
    ended: str,
    whole_ns: int | None,
    earlier_ns: int = 0,
) -> ProcessRow:
    """What is known of a process that has a part.

    Parameters
    ----------
    whole_ns : int, optional
        CPU time of it and of those it waited for, from who waited for it.
    earlier_ns : int
        CPU time of the program that this process ran before, in a row of its own.
    """
    after_ns = 0 if whole_ns is None else whole_ns - about["cpu_ns"] - about["reaped_ns"]
    return process_row(
        about["pid"],
        about["ppid"],
        about["command"],
        name=about["name"],
        start_ns=about["start_ns"] - start_ns,
        end_ns=None if ended == RUNNING else about["end_ns"] - start_ns,
        ended=ended,
        cpu_ns=about["cpu_ns"] + max(0, after_ns) - earlier_ns,
        before_ns=about["before_ns"] - earlier_ns,
        after_ns=max(0, after_ns),
        profiler_ns=about["profiler_ns"],
        profile_ns=0 if tables is None else sum(tables.sample_weight),
    )


def _process_rows(
    pid: int,
    recorded: list[tuple[dict[str, Any], Tables | None, int]],
    made: dict[int, tuple[str, int]],
    statuses: dict[int, tuple[int, int]],
    start_ns: int,
) -> list[ProcessRow]:
    """Those that have a part, in the order of their starts, and then those that have none."""
    rows: list[ProcessRow] = []
    earlier: dict[Any, int] = {}
    last = {about["pid"]: about["start_ns"] for about, _, _ in recorded}
    for about, tables, _ in sorted(recorded, key=lambda part: int(part[0]["start_ns"])):
        is_last = last[about["pid"]] == about["start_ns"]
        status = statuses.get(about["pid"]) if is_last else None
        ended = how_it_ended(about, status)
        whole_ns = None if status is None else status[1]
        earlier_ns = earlier.get(about["identity"], 0)
        rows.append(_member_row(about, tables, start_ns, ended, whole_ns, earlier_ns))
        earlier[about["identity"]] = about["cpu_ns"]
    for stranger, (command, began_ns) in sorted(made.items(), key=itemgetter(1)):
        if stranger not in last:
            word, cpu_ns = statuses.get(stranger, (None, -1))
            # What waited for others, as a shell does, has their time in its own.
            waited_for = [row["cpu_ns"] or 0 for row in rows if row["ppid"] == stranger]
            cpu_ns = max(0, cpu_ns - sum(waited_for)) if cpu_ns >= 0 else -1
            rows.append(
                process_row(
                    stranger,
                    pid,
                    command,
                    start_ns=began_ns - start_ns,
                    ended=_ended_outside(stranger, word),
                    cpu_ns=cpu_ns if cpu_ns >= 0 else None,
                )
            )
    return rows


RUNNING, UNKNOWN = "still running", "unknown"


def how_it_ended(about: dict[str, Any], status: tuple[int, int] | None) -> str:
    """How a process ended, by who waited for it, or by itself, or by what is left of it.

    Parameters
    ----------
    about : dict
        What it said of itself.
    status : tuple of int, optional
        What was heard of it by who waited for it.
    """
    if about["ended"] == "exec":
        return "became another program"
    if status is not None:
        return words_for(status[0])
    return _ended_by_itself(about)


def _ended_by_itself(about: dict[str, Any]) -> str:
    if about["ended"].startswith("exit "):
        return f"exit status {about['ended'][5:]}"
    if children_folder.is_alive(*about["identity"]):
        return RUNNING
    found = _ended_outside(about["pid"], None)
    if found != UNKNOWN:
        return found
    return "exit" if about["ended"] == "exit" else "killed"


def words_for(status: int) -> str:
    """What `os.waitpid` says in words."""
    code = os.waitstatus_to_exitcode(status)
    if code >= 0:
        return f"exit status {code}"
    try:
        return f"killed by {signal.Signals(-code).name}"
    except ValueError:
        return f"killed by signal {-code}"


def _ended_outside(pid: int, status: int | None) -> str:
    """How a process ended that said nothing; one of ours may still wait to be waited for."""
    if status is not None:
        return words_for(status)
    try:
        found = os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT)
    except (OSError, AttributeError):
        return UNKNOWN
    if found is None:
        return RUNNING
    if found.si_code == os.CLD_EXITED:
        return f"exit status {found.si_status}"
    return words_for(found.si_status)


def _strangers(
    before: Usage, now: Usage, made: dict[int, tuple[str, int]], members: set[int]
) -> dict[int, str]:
    """Commands of processes that are not in the profile, by pid."""
    found = {pid: command for pid, (command, _) in made.items() if pid not in members}
    for pid in now.busy_since(before):
        if pid not in members and pid not in found:
            was_there = "there before: " if pid in before.living else ""
            found[pid] = was_there + offspring.command_line(children_cpu.arguments(pid))
    return found


def missing_note(cpu_ns: int, strangers: dict[int, str], own_ns: int) -> str | None:
    """What to say of children that could not be reached; None where they used little."""
    named = list(dict.fromkeys(_shortened(command) for command in strangers.values() if command))
    if not strangers:
        why = "what their starts and ends took, and what was lost where they were killed"
        return children_cpu.note(cpu_ns, 0, own_ns, why)
    why = (
        "those that were there before the session, are no Python, or run with -I, -E or -S, cannot "
        "be reached"
    )
    more = "" if len(named) <= _COMMANDS else f", and {len(named) - _COMMANDS} more"
    what = f" ({', '.join(named[:_COMMANDS])}{more})" if named else ""
    return children_cpu.note(cpu_ns, len(strangers), own_ns, f"{why}{what}")


def _shortened(command: str) -> str:
    """A command line without the folders of what it names, cut where it is long."""
    words = command.split(" ")
    return " ".join(word.rpartition("/")[2] or word for word in words)[:_LONGEST]


def _notes_of_parts(recorded: list[tuple[dict[str, Any], Tables | None, int]]) -> list[str]:
    killed: list[int] = []
    silent: list[int] = []
    said: dict[str, list[int]] = {}
    for about, tables, _ in recorded:
        if not about["final"]:
            is_running = children_folder.is_alive(*about["identity"])
            (silent if is_running else killed).append(about["pid"])
        for note in () if tables is None else tables.meta.notes:
            said.setdefault(note, []).append(about["pid"])
    notes = [f"{note} ({_processes(pids)})" for note, pids in said.items()]
    if killed:
        lost_s = max(about["lost_s"] for about, _, _ in recorded if about["pid"] in killed)
        notes.append(
            f"{_processes(killed)} ended without a word (killed, or crashed): up to the last "
            f"{lost_s:.2g} s of each may be missing"
        )
    if silent:
        notes.append(
            f"{_processes(silent)} did not answer within {children.WAIT_S:g} s: what is here of "
            "them is up to when they wrote last"
        )
    return notes


def _processes(pids: list[int]) -> str:
    pids = list(dict.fromkeys(pids))
    if len(pids) == 1:
        return f"process {pids[0]}"
    if len(pids) <= _COMMANDS:
        return f"processes {', '.join(map(str, pids))}"
    return f"{len(pids)} processes"
