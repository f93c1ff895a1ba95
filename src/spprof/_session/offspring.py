"""Which processes this one makes while a session runs, and how they end.

Must not know what is done about them, nor when the stand-ins are put in place.
"""

from __future__ import annotations

import _signal
import os
import sys
import time

from . import children_cpu, engine, state

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

# Of processes that were made since the session began, by pid: the command ("" where it goes on as
# this one) and when. Of a pid that is used again the latest.
made: dict[int, tuple[str, int]] = {}
# Of those that were waited for: the status as `os.waitpid` has it, and CPU time in ns of the
# process and of those that it waited for itself.
ended: dict[int, tuple[int, int]] = {}
# CPU time in ns of all that were waited for when somebody began to wait, or had done so.
_reaped_ns = 0
# Whether the latest of them was made to run another program at once, which runs no hook of ours.
executes = False

# What ends a process at once, unless it has a handler.
_DEADLY = {
    getattr(_signal, name)
    for name in ("SIGTERM", "SIGKILL", "SIGHUP", "SIGQUIT", "SIGABRT", "SIGSEGV")
    if hasattr(_signal, name)
}

# Where the environment stands among the arguments.
_ENVIRONMENT_OF_FORK_EXEC, _ENVIRONMENT_OF_SPAWN = 5, 2


def forget() -> None:
    """At the start of a session, and in a forked child."""
    made.clear()
    ended.clear()


def stand_ins(processes: bool) -> list[tuple[Any, str, Any]]:
    """Module, name and stand-in of each function that makes a process.

    Parameters
    ----------
    processes : bool
        Whether children are to belong to the session: then they are told, and what waits for
        their end tells how it was.
    """
    places: list[tuple[Any, str, Any, Any]] = []
    of_the_system = (os, sys.modules[os.name])
    for module in of_the_system:
        places += [(module, name, _to_fork, _forked) for name in ("fork", "forkpty")]
        places += [(module, name, _to_spawn, _spawned) for name in ("posix_spawn", "posix_spawnp")]
    try:
        import _posixsubprocess
    except ImportError:  # Windows
        pass
    else:
        places.append((_posixsubprocess, "fork_exec", _to_execute, _executed))
    places += [(*place, _to_execute, _executed) for place in _copies("_fork_exec", "")]
    if processes:
        for module in of_the_system:
            places += [(module, name, _to_wait, _waited) for name in ("wait", "waitpid")]
            places += [(module, name, _to_wait, _waited) for name in ("wait3", "wait4")]
            places += [(module, "kill", _to_kill, None), (module, "abort", _to_abort, None)]
            places += [(module, "_exit", _to_exit, None)]
        places += [(*place, _to_wait, _waited) for place in _copies("", "waitpid")]
    return [
        (module, name, engine.reporting_caller(getattr(module, name), before, after))
        for module, name, before, after in places
        # gevent puts None there.
        if callable(getattr(module, name, None))
    ]


def _copies(of_module: str, for_the_end: str) -> list[tuple[Any, str]]:
    """Where `subprocess` keeps functions, from 3.11 on."""
    module = sys.modules.get("subprocess")
    kept = getattr(module, "_del_safe", None)
    places = [(module, of_module), (kept, for_the_end)]
    return [(place, name) for place, name in places if name and hasattr(place, name)]


def put_back(originals: dict[Any, Any]) -> None:
    """Have `subprocess`, where it was imported in the session, use what was there before it.

    Parameters
    ----------
    originals : dict
        What each stand-in stood in for.
    """
    for place, name in _copies("_fork_exec", "waitpid"):
        if getattr(place, name) in originals:
            setattr(place, name, originals[getattr(place, name)])


def _to_fork(*args: Any) -> Any:
    global executes
    executes = False
    return args


def _to_execute(*args: Any) -> Any:
    global executes
    executes = True
    return _told(args, _ENVIRONMENT_OF_FORK_EXEC, lambda told, given: told.in_list(given))


def _to_spawn(*args: Any) -> Any:
    return _told(args, _ENVIRONMENT_OF_SPAWN, lambda told, given: told.in_mapping(given))


def _told(args: Any, at: int, add: Callable[[Any, Any], Any]) -> Any:
    if state.told is None or len(args) <= at:
        return args
    return (*args[:at], add(state.told, args[at]), *args[at + 1 :])


def becoming(original: Any) -> Any:
    """Stand in for `os.execv` and `os.execve`: whatever the process has so far is kept."""
    return engine.reporting_caller(original, _to_become, None)


def _abandon() -> None:
    """The session's own process is about to end, and nobody is left to have its profile."""
    if state.folder is not None and state.told is not None:
        state.told.take_back()
        state.folder.remove()
        state.told = state.folder = None


def _to_exit(*args: Any) -> Any:
    if state.member is not None:
        state.member.finish(f"exit {args[0]}" if args else "exit")
    else:
        _abandon()
    return args


def _to_become(*args: Any) -> Any:
    if state.member is not None:
        state.member.write_as_ended("exec")
    else:
        _abandon()
    return _told(args, _ENVIRONMENT_OF_SPAWN, lambda told, given: told.in_mapping(given))


def _to_kill(*args: Any) -> Any:
    pid, number = args if len(args) == 2 else (0, 0)
    if number in _DEADLY and isinstance(pid, int):
        if state.member is not None and pid == os.getpid():
            state.member.write()
        elif state.told is not None and pid > 0:
            state.told.folder.ask_for_part(pid)
    return args


def _to_abort(*args: Any) -> Any:
    if state.member is not None:
        state.member.write()
    return args


def _forked(result: Any, *_: Any) -> None:
    pid = result[0] if isinstance(result, tuple) else result
    if pid:
        _note(pid, "")


def _spawned(pid: int, path: Any, arguments: Any, *_: Any) -> None:
    _note(pid, command_line(arguments))


def _executed(pid: int, arguments: Any, *_: Any) -> None:
    _note(pid, command_line(arguments))


def _note(pid: int, command: str) -> None:
    made[pid] = command, time.monotonic_ns()
    ended.pop(pid, None)


def _to_wait(*args: Any) -> Any:
    global _reaped_ns
    _reaped_ns = children_cpu.reaped_ns()
    return args


def _waited(result: Any, *_: Any) -> None:
    """Note who ended, and what that added to the CPU time of children.

    `os.waitpid` tells no CPU time. Where two threads wait at the same time the sum is right.
    """
    global _reaped_ns
    pid, status = result[:2]
    if pid:
        before, _reaped_ns = _reaped_ns, children_cpu.reaped_ns()
        ended[pid] = status, max(0, _reaped_ns - before)


def command_line(arguments: Any) -> str:
    """Arguments of a process as one line."""
    return " ".join(os.fsdecode(argument) for argument in arguments)
