"""Having another process of this machine run a few lines of Python, or a sentence why not.

Python 3.14 can (`sys.remote_exec`): the main thread there runs them where it next may be
interrupted. Must not know what the lines do.
"""

from __future__ import annotations

import os
import re
import sys
import time

from . import children_folder

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

_FIRST = (3, 14)
_LOOK_S = 0.01
_NOTHING = os.path.join(os.path.dirname(os.path.abspath(__file__)), "remote_nothing.py")
_LIBRARY = re.compile(rb"/(?:lib)?python(?:3\.(\d+)[a-z]*)(?:\.so[.\d]*)?$", re.MULTILINE)


class Unreachable(RuntimeError):
    """The process cannot be asked; the message says why, and what helps."""


def check(pid: int) -> None:
    """Verify, without touching it, that a process can be asked.

    Raises
    ------
    Unreachable
        It cannot.
    """
    if not hasattr(sys, "remote_exec"):
        raise Unreachable(
            "another process can be asked from Python 3.14 on, and this is "
            f"{_version(sys.version_info[:2])}: run spprof with the Python that runs there"
        )
    if pid == os.getpid():
        raise Unreachable(f"process {pid} is this one")
    try:
        os.kill(pid, 0)
    except (ProcessLookupError, OverflowError):
        raise Unreachable(f"there is no process {pid}") from None
    except PermissionError:
        raise Unreachable(f"process {pid} belongs to another user") from None
    status = _status(pid)
    if status.get("State", "").startswith(("Z", "X")):
        raise Unreachable(f"process {pid} has ended")
    uid = status.get("Uid", "").split()
    if uid and int(uid[1]) != os.geteuid():
        raise Unreachable(
            f"process {pid} belongs to user {uid[1]}, and this is user {os.geteuid()}: "
            f"sudo -u '#{uid[1]}' runs spprof as that user"
        )
    there = python_of(pid)
    if there is not None and there != sys.version_info[:2]:
        if there < _FIRST:
            raise Unreachable(
                f"process {pid} runs Python {_version(there)}: that can be asked from 3.14 on. "
                "`spprof run` starts a program under the profiler"
            )
        raise Unreachable(
            f"process {pid} runs Python {_version(there)}, and this is "
            f"{_version(sys.version_info[:2])}: run spprof with the Python that runs there"
        )


def run(pid: int, script: str) -> None:
    """Have the main thread of a process run a file as soon as it runs Python code.

    Raises
    ------
    Unreachable
        The process cannot be asked.
    """
    check(pid)
    ask: Any = sys.remote_exec  # type: ignore[attr-defined,unused-ignore]
    try:
        ask(pid, script)
    except PermissionError:
        raise Unreachable(
            f"this user may not write to the memory of process {pid}: as root it works, or with "
            "kernel.yama.ptrace_scope=0"
        ) from None
    except ProcessLookupError:
        raise Unreachable(f"there is no process {pid}") from None
    except (OSError, RuntimeError) as error:
        raise Unreachable(
            f"process {pid} cannot be asked (is it a Python, without "
            f"PYTHON_DISABLE_REMOTE_DEBUG?): {error}"
        ) from None


def wait(
    pid: int, has_answered: Callable[[], bool], patience_s: float, late: Callable[[], None]
) -> None:
    """Wait until a process has answered what it was asked; where that fails, it is taken back.

    Parameters
    ----------
    pid : int
    has_answered : callable
        May raise, which ends the wait, too.
    patience_s : float
    late : callable
        Called once, when the process has not answered for so long; may raise.

    Raises
    ------
    Unreachable
        The process has ended.
    """
    until = time.monotonic() + patience_s
    is_late = False
    try:
        while not has_answered():
            if not children_folder.is_alive(*children_folder.identity(pid)):
                raise Unreachable(f"process {pid} has ended")
            if not is_late and time.monotonic() > until:
                is_late = True
                late()
            time.sleep(_LOOK_S)
    except BaseException:
        take_back(pid)
        raise


def take_back(pid: int) -> None:
    """Have the process run nothing instead of what it has not begun to run."""
    try:
        run(pid, _NOTHING)
    except Unreachable:
        return  # it has ended, or is about to


def python_of(pid: int) -> tuple[int, int] | None:
    """Which Python a process runs, by its executable or a library; None where neither tells."""
    try:
        with open(f"/proc/{pid}/maps", "rb") as file:
            found = _LIBRARY.search(file.read())
    except OSError:
        return None
    return None if found is None else (3, int(found[1]))


def _status(pid: int) -> dict[str, str]:
    try:
        with open(f"/proc/{pid}/status", encoding="utf-8", errors="replace") as file:
            pairs = (line.partition(":") for line in file)
            return {name: value.strip() for name, _, value in pairs}
    except OSError:
        return {}


def _version(version: tuple[int, ...]) -> str:
    return ".".join(map(str, version))
