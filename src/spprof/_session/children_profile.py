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
    _name_forks(parts)
    start_ns = raw["meta"]["start_monotonic_ns"]
    recorded = [(part["process"], *_recorded(part, start_ns)) for part in parts]
    statuses = dict(offspring.ended)
    made = dict(offspring.made)
    for about, _, _ in recorded:
        statuses.update(about["reaped"])
        made.update(about["made"])
    rows = _process_rows(own, recorded, made, statuses, start_ns)
    notes = [*trouble, *_notes_of_parts(recorded, rows)]
    if before is not None:
        now = children_cpu.usage()
        missing = now.since(before) - _known_cpu_ns(recorded)
        strangers = _strangers(before, now, made, {about["pid"] for about, _, _ in recorded})
        note = missing_note(missing, strangers, result.own_ns(raw))
        notes += [] if note is None else [note]
    tables = merged(own, [(tables, shift) for _, tables, shift in recorded if tables is not None])
    meta = tables.meta.with_notes(*notes).but(processes=tuple(rows))
    return result.profile_over(tables.same_stacks(meta=meta))


def _own_command() -> str:
    return offspring.command_line(getattr(sys, "orig_argv", sys.argv))


def _name_forks(parts: list[dict[str, Any]]) -> None:
    """A process that was forked runs what its parent does."""
    commands = {os.getpid(): _own_command()}
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


def _process_rows(
    own: Tables,
    recorded: list[tuple[dict[str, Any], Tables | None, int]],
    made: dict[int, tuple[str, int]],
    statuses: dict[int, tuple[int, int]],
    start_ns: int,
) -> list[ProcessRow]:
    pid = os.getpid()
    rows: list[ProcessRow] = [
        {
            "pid": pid,
            "ppid": os.getppid(),
            "command": _own_command(),
            "name": "",
            "start_ns": 0,
            "end_ns": None,
            "ended": "",
            "cpu_ns": None,
            "profiler_ns": 0,
            "profile_ns": sum(own.sample_weight),
        }
    ]
    last = {about["pid"]: about["start_ns"] for about, _, _ in recorded}
    for about, tables, _ in sorted(recorded, key=lambda part: int(part[0]["start_ns"])):
        is_last = last[about["pid"]] == about["start_ns"]
        ended = how_it_ended(about, statuses.get(about["pid"]) if is_last else None)
        rows.append(
            {
                "pid": about["pid"],
                "ppid": about["ppid"],
                "command": about["command"],
                "name": about["name"],
                "start_ns": about["start_ns"] - start_ns,
                "end_ns": None if ended == RUNNING else about["end_ns"] - start_ns,
                "ended": ended,
                "cpu_ns": about["cpu_ns"],
                "profiler_ns": about["profiler_ns"],
                "profile_ns": 0 if tables is None else sum(tables.sample_weight),
            }
        )
    for stranger, (command, began_ns) in sorted(made.items(), key=itemgetter(1)):
        if stranger not in last:
            status, cpu_ns = statuses.get(stranger, (None, -1))
            rows.append(
                {
                    "pid": stranger,
                    "ppid": pid,
                    "command": command,
                    "name": "",
                    "start_ns": began_ns - start_ns,
                    "end_ns": None,
                    "ended": _ended_outside(stranger, status),
                    "cpu_ns": cpu_ns if cpu_ns >= 0 else None,
                    "profiler_ns": 0,
                    "profile_ns": 0,
                }
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


def _known_cpu_ns(recorded: list[tuple[dict[str, Any], Tables | None, int]]) -> int:
    """CPU time of the processes that told of it, each counted once."""
    latest = {about["pid"]: about["cpu_ns"] for about, _, _ in recorded}
    return sum(latest.values())


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
    named = list(dict.fromkeys(command[:_LONGEST] for command in strangers.values() if command))
    if not strangers:
        why = "what their starts and ends took, and what was lost where they were killed"
        return children_cpu.note(cpu_ns, 0, own_ns, why)
    why = "those that are no Python, or run with -I, -E or -S, cannot be reached"
    more = "" if len(named) <= _COMMANDS else f", and {len(named) - _COMMANDS} more"
    what = f" ({', '.join(named[:_COMMANDS])}{more})" if named else ""
    return children_cpu.note(cpu_ns, len(strangers), own_ns, f"{why}{what}")


def _notes_of_parts(
    recorded: list[tuple[dict[str, Any], Tables | None, int]], rows: list[ProcessRow]
) -> list[str]:
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
