"""The processes of a profile: who made whom, and how much of each one's time is in it.

Must not know how it is written down, nor how samples of several processes came together.
"""

from __future__ import annotations

from .names import process_name

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from .tables import ProcessRow


class ProcessStats:
    """A process of a profile.

    Attributes
    ----------
    pid, ppid : int
        Its number, and that of the process that made it.
    host : str
        Which machine it ran on, "" for this one.
    name : str
        What `multiprocessing` called it, or the program that it ran.
    command : str
        Its command line.
    ended : str
        How it ended; "" for the one that was asked.
    start_ns, end_ns : int, int or None
        When it began and ended, from the start of the profile; None: not before the profile did.
    profile_ns : int
        What its samples stand for.
    cpu_ns : int or None
        Its CPU time, None where it is not known.
    before_ns, after_ns : int
        What of that it used before it was sampled (the start of its interpreter) and after its
        samples were written (its end, or what is missing where it was killed).
    profiler_ns : int
        What of it the profiler's own threads used.
    depth : int
        How many of the processes of the profile are above it.
    """

    __slots__ = (
        "after_ns",
        "before_ns",
        "command",
        "cpu_ns",
        "depth",
        "end_ns",
        "ended",
        "host",
        "name",
        "pid",
        "ppid",
        "profile_ns",
        "profiler_ns",
        "start_ns",
    )

    def __init__(self, row: ProcessRow, depth: int) -> None:
        self.pid, self.ppid, self.host = row["pid"], row["ppid"], row["host"]
        self.name = process_name(row["name"], row["command"])
        self.command, self.ended = row["command"], row["ended"]
        self.start_ns, self.end_ns = row["start_ns"], row["end_ns"]
        self.profile_ns, self.cpu_ns = row["profile_ns"], row["cpu_ns"]
        self.before_ns, self.after_ns = row["before_ns"], row["after_ns"]
        self.profiler_ns = row["profiler_ns"]
        self.depth = depth

    @property
    def sampled_ns(self) -> int | None:
        """CPU time that could be in the profile: since sampling began, without the profiler's."""
        if self.cpu_ns is None:
            return None
        return max(0, self.cpu_ns - self.profiler_ns - self.before_ns)

    @property
    def outside_ns(self) -> int:
        """CPU time of its start and end, which no sample can be of."""
        return self.before_ns + self.after_ns

    def __repr__(self) -> str:
        return f"ProcessStats(pid={self.pid}, name={self.name!r}, ended={self.ended!r})"


def process_row(
    pid: int,
    ppid: int,
    command: str,
    *,
    host: str = "",
    name: str = "",
    start_ns: int = 0,
    end_ns: int | None = None,
    ended: str = "",
    cpu_ns: int | None = None,
    before_ns: int = 0,
    after_ns: int = 0,
    profiler_ns: int = 0,
    profile_ns: int = 0,
) -> ProcessRow:
    """A row of a profile's processes; what is not given is not known, or nothing."""
    return {
        "pid": pid,
        "host": host,
        "ppid": ppid,
        "command": command,
        "name": name,
        "start_ns": start_ns,
        "end_ns": end_ns,
        "ended": ended,
        "cpu_ns": cpu_ns,
        "before_ns": before_ns,
        "after_ns": after_ns,
        "profiler_ns": profiler_ns,
        "profile_ns": profile_ns,
    }


def tree(rows: Sequence[ProcessRow], n: int | None = None) -> list[ProcessStats]:
    """The `n` processes with most time (None: all), each before those that it made.

    Siblings are in the order of their time. A process whose maker is not among them is below the
    nearest one above it that is, or a root.
    """
    chosen = sorted(range(len(rows)), key=lambda row: -rows[row]["profile_ns"])[:n]
    makers = _makers(rows)
    below: dict[int, list[int]] = {}
    for row in chosen:
        above = makers[row]
        while above >= 0 and above not in chosen:
            above = makers[above]
        below.setdefault(above, []).append(row)
    found: list[ProcessStats] = []
    pending = [(row, 0) for row in reversed(below.get(-1, []))]
    while pending:
        row, depth = pending.pop()
        found.append(ProcessStats(rows[row], depth))
        pending += [(child, depth + 1) for child in reversed(below.get(row, []))]
    return found


def _makers(rows: Sequence[ProcessRow]) -> list[int]:
    """For each process the row of the one that made it, -1 for none.

    Pids are used again: the maker is the latest of its pid that began before.
    """
    by_start = sorted(range(len(rows)), key=lambda row: rows[row]["start_ns"])
    latest: dict[tuple[str, int], int] = {}
    makers = [-1] * len(rows)
    for row in by_start:
        process = rows[row]
        same = latest.get((process["host"], process["pid"]))
        maker = latest.get((process["host"], process["ppid"]), -1)
        # What a process became by `exec` goes on where it was.
        makers[row] = makers[same] if same is not None and maker < 0 else maker
        latest[process["host"], process["pid"]] = row
    return makers
