"""What runs in a worker: a session for somebody elsewhere.

Called by whatever engine the workers have, so arguments and results are plain. Must not know which.
"""

from __future__ import annotations

import os
import socket
import sys
import time
import zlib

from .._session import children_cpu, engine, offspring, session
from .._session.options import Options
from .._version import __version__
from ..formats import container

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from .._profile.model import Profile

# The tokens of sessions that this process itself has asked workers for.
asked_here: set[str] = set()
_joined: Joined | None = None


class Joined:
    """This process as a part of a session elsewhere; owns its own session."""

    def __init__(self, token: str, options: dict[str, Any]) -> None:
        self.profile: Profile | None = None
        self.token = token
        self.refusal = ""
        self.start_ns = self.cpu_ns = 0
        try:
            session.begin(Options(**options), stacklevel=3, owner=self)
        except (RuntimeError, OSError) as error:
            self.refusal = str(error)
        else:
            self.start_ns = session_start_ns()
            self.cpu_ns = time.process_time_ns()


def session_start_ns() -> int:
    """When this process's session began, on its monotonic clock."""
    return time.monotonic_ns() - int(engine.stats()["duration_ns"])


def about() -> dict[str, Any]:
    """Who this process is, and by which clock it goes."""
    return {
        "spprof": __version__,
        "python": sys.version.partition(" ")[0],
        "pid": os.getpid(),
        "ppid": os.getppid(),
        "host": socket.gethostname(),
        "clock": clock_id(),
        "command": offspring.command_line(
            children_cpu.arguments(os.getpid()) or getattr(sys, "orig_argv", sys.argv)
        ),
    }


def clock_id() -> str:
    """The same in processes that have one monotonic clock; "" where that is not known."""
    try:
        with open("/proc/sys/kernel/random/boot_id", encoding="ascii") as file:
            boot = file.read().strip()
        return f"{boot} {os.readlink('/proc/self/ns/time')}"
    except OSError:
        return ""


def clock() -> int:
    """This process's monotonic clock in ns."""
    return time.monotonic_ns()


def begin(token: str, options: dict[str, Any]) -> str:
    """Begin a session for `token`, unless there is one: several workers may share a process.

    Returns
    -------
    str
        Why not; "" where there is one now.
    """
    global _joined
    if token in asked_here:
        return ""
    if _joined is not None and _joined.token != token:
        session.end(_joined)  # of one that was not ended: who asked is gone
        _joined = None
    if _joined is None:
        _joined = Joined(token, options)
    return _joined.refusal


def end(token: str) -> dict[str, Any] | None:
    """End the session for `token`; None where this process has none of its own for it.

    Returns
    -------
    dict
        What `about` says and ``refusal``, or ``start_ns``, ``cpu_ns`` and ``profile``: a compressed
        container.
    """
    global _joined
    joined = _joined
    if joined is None or joined.token != token:
        return None
    _joined = None
    told = about()
    if not joined.refusal:
        session.end(joined)
        if joined.profile is None:
            joined.refusal = "its session was ended by somebody else"
    if joined.refusal or joined.profile is None:
        return {**told, "refusal": joined.refusal}
    packed = zlib.compress(container.encode(joined.profile._tables), 1)
    return {
        **told,
        "refusal": "",
        "start_ns": joined.start_ns,
        "cpu_ns": time.process_time_ns() - joined.cpu_ns,
        "profile": packed,
    }


def _after_fork_in_child() -> None:
    global _joined
    _joined = None
    asked_here.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork_in_child)
