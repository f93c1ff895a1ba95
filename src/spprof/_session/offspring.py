"""Which processes this one made since the session began.

Must not know what is done about them, nor when the stand-ins are put in place.
"""

from __future__ import annotations

import os
import sys
import time

from . import engine

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


class Made:
    """A process that this one made: its command ("" where it goes on as this one), and when."""

    def __init__(self, command: str, start_ns: int) -> None:
        self.command, self.start_ns = command, start_ns


# By pid. Of one that is used again the latest.
made: dict[int, Made] = {}

_FORKS = ("fork", "forkpty")
_SPAWNS = ("posix_spawn", "posix_spawnp")


def forget() -> None:
    """At the start of a session, and in a forked child."""
    made.clear()


def stand_ins() -> list[tuple[Any, str, Any]]:
    """Module, name and stand-in of each function that makes a process."""
    found = []
    for module in (os, sys.modules[os.name]):
        for names, after in ((_FORKS, _forked), (_SPAWNS, _spawned)):
            for name in names:
                original = getattr(module, name, None)
                if original is not None:
                    found.append((module, name, engine.reporting_caller(original, None, after)))
    for module, name in _executors():
        original = getattr(module, name)
        found.append((module, name, engine.reporting_caller(original, None, _executed)))
    return found


def _executors() -> list[tuple[Any, str]]:
    try:
        import _posixsubprocess
    except ImportError:  # Windows
        return []
    places: list[tuple[Any, str]] = [(_posixsubprocess, "fork_exec")]
    if hasattr(sys.modules.get("subprocess"), "_fork_exec"):  # from 3.11 on
        places.append((sys.modules["subprocess"], "_fork_exec"))
    return places


def put_back(originals: dict[Any, Any]) -> None:
    """Have modules that were imported in the session use what was there before it.

    Parameters
    ----------
    originals : dict
        What each stand-in stood in for.
    """
    module = sys.modules.get("subprocess")
    name = "_fork_exec"
    if getattr(module, name, None) in originals:
        setattr(module, name, originals[getattr(module, name)])


def _forked(result: Any, *_: Any) -> None:
    pid = result[0] if isinstance(result, tuple) else result
    if pid:
        _note(pid, "")


def _spawned(pid: int, path: Any, arguments: Any, *_: Any) -> None:
    _note(pid, command_line(arguments))


def _executed(pid: int, arguments: Any, *_: Any) -> None:
    _note(pid, command_line(arguments))


def _note(pid: int, command: str) -> None:
    made[pid] = Made(command, time.monotonic_ns())


def command_line(arguments: Any) -> str:
    """Arguments of a process as one line."""
    return " ".join(os.fsdecode(argument) for argument in arguments)
