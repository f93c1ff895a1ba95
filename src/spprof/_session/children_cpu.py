"""CPU time of this process's children, as the system tells it.

Must not know sessions, nor what is done about children that are not in a profile.
"""

from __future__ import annotations

import os
import sys

try:
    import resource
except ImportError:  # Windows
    resource = None  # type: ignore[assignment]

# What is less is not worth a word: an absolute time, and a share of the profile's own.
TELLING_NS = 50_000_000
TELLING_SHARE = 0.01


class Usage:
    """CPU time of children at one moment.

    Parameters
    ----------
    reaped_ns : int
        Of those that ended and were waited for, with their own.
    living : dict of int to int
        Of each process below this one that can be seen, with the ones it waited for, by pid.
    """

    def __init__(self, reaped_ns: int = 0, living: dict[int, int] | None = None) -> None:
        self.reaped_ns = reaped_ns
        self.living = {} if living is None else living

    def since(self, before: Usage) -> int:
        """CPU time in ns used since then: a child that was waited for goes on to be counted."""
        total = self.reaped_ns + sum(self.living.values())
        return max(0, total - before.reaped_ns - sum(before.living.values()))

    def without(self, pids: frozenset[int]) -> Usage:
        """The same without some that live."""
        living = {pid: ns for pid, ns in self.living.items() if pid not in pids}
        return Usage(self.reaped_ns, living)

    def busy_since(self, before: Usage) -> set[int]:
        """Of the living, those that used CPU time since then."""
        return {pid for pid, ns in self.living.items() if ns > before.living.get(pid, 0)}


def usage() -> Usage:
    """CPU time of the children of this process now."""
    return Usage(reaped_ns(), {pid: _own_and_reaped_ns(pid) for pid in descendants(os.getpid())})


def note(cpu_ns: int, count: int, profile_ns: int, option: str) -> str | None:
    """What to tell of children that are not in a profile; None where that is too little.

    Parameters
    ----------
    cpu_ns : int
        What they used.
    count : int
        How many they were; 0 where that is not known.
    profile_ns : int
        What the profile's own process used.
    option : str
        How children are asked for.
    """
    if cpu_ns <= max(TELLING_NS, TELLING_SHARE * profile_ns):
        return None
    who = {0: "child processes", 1: "1 child process"}.get(count, f"{count} child processes")
    return f"{who} used {cpu_ns / 1e9:.1f} s of CPU time that is not in this profile: {option}"


def descendants(root: int) -> list[int]:
    """Pids of the processes below one, callers first; as far as Linux lists them."""
    found: list[int] = []
    pending = [root]
    while pending:
        below = _children(pending.pop())
        found += below
        pending += below
    return found


def status(pid: int) -> tuple[str, int, int] | None:
    """State letter, parent and start (in clock ticks since boot) of a process; None: there is none.

    Only Linux tells it. Pids are used again: a process is the same while its start is.
    """
    fields = _stat(pid)
    return None if fields is None else (fields[0], int(fields[1]), int(fields[19]))


def arguments(pid: int) -> list[bytes]:
    """The command line of a process; empty where Linux does not tell it."""
    try:
        with open(f"/proc/{pid}/cmdline", "rb") as file:
            return file.read().rstrip(b"\0").split(b"\0")
    except OSError:
        return []


def reaped_ns() -> int:
    """CPU time of the children that this process waited for, with those they waited for."""
    if resource is None:
        return 0
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return round((used.ru_utime + used.ru_stime) * 1e9)


def _has_none() -> bool:
    """Whether this process is known to have no child: one call, not a read for each thread.

    What it asks for waits for nobody and leaves whoever ended to be waited for.
    """
    if sys.platform != "linux":
        return False
    every_kind = 0x4000_0000  # __WALL: also those that do not tell their parent when they end
    try:
        os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT | every_kind)
    except ChildProcessError:
        return True
    except OSError:  # refused (seccomp)
        return False
    return False


def _children(pid: int) -> list[int]:
    if pid == os.getpid() and _has_none():
        return []
    try:
        threads = os.listdir(f"/proc/{pid}/task")
    except OSError:  # it ended, or there is no /proc
        return []
    found: list[int] = []
    for thread in threads:
        try:
            with open(f"/proc/{pid}/task/{thread}/children", "rb", buffering=0) as file:
                found += map(int, file.read().split())
        except OSError:
            continue
    return found


def _own_and_reaped_ns(pid: int) -> int:
    fields = _stat(pid)
    if fields is None:
        return 0
    return sum(map(int, fields[11:15])) * 1_000_000_000 // os.sysconf("SC_CLK_TCK")


def _stat(pid: int) -> list[str] | None:
    """Fields of /proc/PID/stat from the state on; what is before may hold any text."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            return file.read().rpartition(b")")[2].decode().split()
    except OSError:
        return None
