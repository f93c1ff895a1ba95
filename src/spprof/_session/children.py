"""The other processes of a session: how they get into it, and how their parts come together.

Must not know what a part holds but whose it is, nor how a profile is made of them.
"""

from __future__ import annotations

import os
import sys
import time

from . import children_cpu, engine, offspring, state
from .children_folder import Folder, is_alive
from .children_member import Member
from .children_told import Told

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from .options import Options

# `stop` waits so long for what other processes have: one that holds the GIL writes nothing.
WAIT_S = 1.0
_LOOK_S = 0.005

_forks = 0


def check() -> None:
    """Raise RuntimeError where children cannot be had."""
    if not hasattr(os, "fork"):
        raise RuntimeError(f"processes is not available on {sys.platform}: it needs fork")


def open_folder(options: Options, native: bool) -> Folder:
    """The place where processes meet that this one is about to make; raises OSError."""
    return Folder.create(asked_of(options, native))


def asked_of(options: Options, native: bool) -> dict[str, Any]:
    """What is asked of processes that take part in a session with these options."""
    return {
        "options": {
            "interval_ns": options.interval_ns,
            "mode": options.mode,
            "memory_limit_bytes": options.memory_limit_bytes,
            "native": native,
            "aggregate": options.aggregate,
        }
    }


def begin_here(folder: str) -> None:
    """Make this process, just started, part of a session; without a word where that is over."""
    command = getattr(sys, "orig_argv", None) or children_cpu.arguments(os.getpid()) or sys.argv
    _begin(Folder(folder), offspring.command_line(command))


def _begin(folder: Folder, command: str) -> bool:
    try:
        Member(folder, command).begin()
    except (OSError, ValueError, KeyError, EOFError, RuntimeError):
        # It is not this process's session: its owner says whose time is missing.
        return False
    return True


def gather(folder: Folder) -> list[dict[str, Any]]:
    """End the session in all processes, and return the parts as the folder has them then.

    Raises
    ------
    OSError
        The folder cannot be read.
    """
    try:
        folder.end()
        until = time.monotonic() + WAIT_S
        parts = folder.parts()
        while any(map(_is_awaited, parts)) and time.monotonic() < until:
            time.sleep(_LOOK_S)
            parts = folder.parts()
        return parts
    finally:
        folder.remove()


def _is_awaited(part: dict[str, Any]) -> bool:
    process = part["process"]
    return not process["final"] and is_alive(*process["identity"])


def _before_fork() -> None:
    global _forks
    _forks += 1
    if state.member is not None:
        state.member.end_thread()


def _after_fork_in_parent() -> None:
    global _forks
    _forks -= 1
    if state.member is not None and _forks == 0:
        state.member.begin_thread()


def _after_fork_in_child() -> None:
    global _forks
    _forks = 0
    told: Told | None = state.told
    state.member = state.told = state.folder = None
    if told is None or offspring.executes or engine.is_active():
        return
    if not _begin(told.folder, ""):
        told.take_back()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(
        before=_before_fork,
        after_in_parent=_after_fork_in_parent,
        after_in_child=_after_fork_in_child,
    )
