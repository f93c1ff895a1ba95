"""Running a program under the profiler as if Python ran it: `spprof run`.

Must not know command line options, nor how formats look inside.
"""

from __future__ import annotations

import atexit
import contextlib
import importlib.machinery
import importlib.util
import io
import os
import pkgutil
import signal
import sys
import threading
import types
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Callable, cast

from .._profile.model import Profile
from .._profile.rows import keep_below
from .._profile.tables import NATIVE


class CannotRun(Exception):
    """There is no such program; the message is for the user."""


@dataclass
class Program:
    """What Python is asked to run.

    Parameters
    ----------
    code : code object
    argv : list of str
        ``sys.argv`` of the program.
    path : str
        What Python puts first on ``sys.path`` for it.
    module : module
        Its ``__main__``, not yet executed.
    """

    code: types.CodeType
    argv: list[str]
    path: str
    module: types.ModuleType


def script(path: str, arguments: Sequence[str]) -> Program:
    """Prepare ``python path arguments``: a file, or a directory or archive with ``__main__.py``."""
    # The absolute path, links not followed, is what Python puts into tracebacks and __file__.
    absolute = str(Path.cwd() / path)
    importer = pkgutil.get_importer(absolute)
    if importer is not None:
        found = importer.find_spec("__main__")
        if found is None:
            raise CannotRun(f"can't find '__main__' module in {path!r}")
        return Program(_code_of(found), [path, *arguments], absolute, _main_of(found))
    try:
        with io.open_code(absolute) as file:
            source = file.read()
    except OSError as error:
        raise CannotRun(f"can't open file {path!r}: {error.strerror}") from None
    code = compile(source, absolute, "exec", dont_inherit=True)
    loader = importlib.machinery.SourceFileLoader("__main__", absolute)
    made = _main(__file__=absolute, __cached__=None, __loader__=loader, __spec__=None)
    # Imports are looked for where the script really is, links followed.
    return Program(code, [path, *arguments], str(Path(path).resolve().parent), made)


def module(name: str, arguments: Sequence[str]) -> Program:
    """Prepare ``python -m name arguments``."""
    here = str(Path.cwd())
    added = here not in sys.path
    if added:
        sys.path.insert(0, here)
    try:
        try:
            found = importlib.util.find_spec(name)
            if found is not None and found.submodule_search_locations is not None:
                found = importlib.util.find_spec(name + ".__main__")
                if found is None:
                    raise CannotRun(
                        f"No module named {name}.__main__; {name!r} is a package and cannot be "
                        "directly executed"
                    )
        except (ImportError, AttributeError, TypeError, ValueError) as error:
            raise CannotRun(f"Error while finding module {name!r}: {error}") from None
        if found is None:
            raise CannotRun(f"No module named {name}")
        code = _code_of(found)
    finally:
        if added:
            sys.path.remove(here)
    return Program(code, [str(found.origin), *arguments], here, _main_of(found))


def command(source: str, arguments: Sequence[str]) -> Program:
    """Prepare ``python -c source arguments``."""
    code = compile(source, "<string>", "exec", dont_inherit=True)
    return Program(code, ["-c", *arguments], "", _main(__spec__=None))


def _code_of(found: Any) -> types.CodeType:
    get_code = getattr(found.loader, "get_code", None)
    code = get_code(found.name) if get_code is not None else None
    if code is None:
        raise CannotRun(f"No code object available for {found.name}")
    return cast(types.CodeType, code)


def _main_of(found: Any) -> types.ModuleType:
    return _main(
        __file__=found.origin,
        __cached__=found.cached,
        __loader__=found.loader,
        __package__=found.parent,
        __spec__=found,
    )


def _main(**attributes: Any) -> types.ModuleType:
    made = types.ModuleType("__main__")
    # Which of these a program has depends on the version of Python; the one that runs shows it.
    for name in ("__cached__", "__package__"):
        if name in attributes and not hasattr(sys.modules["__main__"], name):
            del attributes[name]
    made.__dict__.update({"__builtins__": sys.modules["builtins"], **attributes})
    return made


# The interpreter clears the dictionary of a module that nobody holds any more.
_kept: list[Any] = []


def run(
    program: Program, start: Callable[[], None], finish: Callable[[Profile | None], None]
) -> int:
    """Run a program under the profiler, then return its exit status.

    Parameters
    ----------
    program : Program
    start : callable
        Starts the session.
    finish : callable
        Called once, when the program and its threads have ended in whatever way: with the profile
        of the program alone, or None when the program stopped the session itself.

    Returns
    -------
    int
        For `sys.exit`.

    Raises
    ------
    SystemExit
        The program's own.
    KeyboardInterrupt
        Reported already; Python ends itself by SIGINT when it is raised out of its main code.
    """
    _kept.append(sys.modules["__main__"])
    sys.modules["__main__"] = program.module
    sys.argv[:] = program.argv
    # With -P, and before 3.11 with -I, Python puts nothing there that could be replaced.
    if not getattr(sys.flags, "safe_path", sys.flags.isolated):
        sys.path[0] = program.path

    ending = _Ending(finish)
    start()
    # Before the program: its own exit functions run first then, and are in the profile.
    atexit.register(ending.finish)
    ending.catch_termination()
    try:
        _execute(program.code, program.module.__dict__)
    except SystemExit:
        raise
    except BaseException as error:
        error = error.with_traceback(_below_runner(error.__traceback__))
        sys.excepthook(type(error), error, error.__traceback__)
        if isinstance(error, KeyboardInterrupt):
            sys.excepthook = _already_reported
            raise
        return 1
    return 0


def _already_reported(*error: Any) -> None:
    return None


def _execute(code: types.CodeType, namespace: dict[str, Any]) -> None:
    # Everything from here outwards is cut off from stacks and tracebacks.
    exec(code, namespace)


def _below_runner(tb: types.TracebackType | None) -> types.TracebackType | None:
    while tb is not None:
        if tb.tb_frame.f_code is _execute.__code__:
            return tb.tb_next
        tb = tb.tb_next
    return None


class _Ending:
    """Stops the session once, at the interpreter's exit or on a signal that ends the process."""

    def __init__(self, finish: Callable[[Profile | None], None]) -> None:
        self._finish = finish
        self._pid = os.getpid()
        self._done = False
        self._caught: list[int] = []
        self._masks = threading.local()  # of the thread that forks

    def catch_termination(self) -> None:
        """Save before SIGTERM or SIGHUP end the process, unless the program handles them."""
        for name in ("SIGTERM", "SIGHUP"):
            number = getattr(signal, name, None)
            if number is not None and signal.getsignal(number) is signal.SIG_DFL:
                signal.signal(number, self._terminated)
                self._caught.append(number)
        if hasattr(os, "register_at_fork") and self._caught:
            os.register_at_fork(
                before=self._hold_signals,
                after_in_parent=self._release_signals,
                after_in_child=self._give_signals_back,
            )

    # A child has nothing to save, and would write out what its parent had not flushed yet. Its
    # signals wait until they have their default action again: one that comes right after the fork
    # would be taken for the parent's by the interpreter, and forgotten.

    def _hold_signals(self) -> None:
        self._masks.previous = signal.pthread_sigmask(signal.SIG_BLOCK, self._caught)

    def _release_signals(self) -> None:
        signal.pthread_sigmask(signal.SIG_SETMASK, self._masks.previous)

    def _give_signals_back(self) -> None:
        for number in self._caught:
            if signal.getsignal(number) == self._terminated:
                signal.signal(number, signal.SIG_DFL)
        self._release_signals()

    def _terminated(self, number: int, frame: types.FrameType | None) -> None:
        try:
            self.finish()
            for stream in (sys.stdout, sys.stderr):
                with contextlib.suppress(OSError, ValueError, AttributeError):
                    stream.flush()  # may be closed by the program, or its reader gone
        finally:
            signal.signal(number, signal.SIG_DFL)
            os.kill(os.getpid(), number)

    def finish(self) -> None:
        # A forked child has no session, and the profile is its parent's to save.
        if self._done or os.getpid() != self._pid:
            return
        self._done = True
        from .._session import session

        profile = session.stop() if session.is_active() else None
        self._finish(None if profile is None else program_only(profile))


def program_only(profile: Profile) -> Profile:
    """Return a profile without the frames that ran the program, and without what they did."""
    t = profile._tables
    here = os.path.dirname(_execute.__code__.co_filename)
    start = os.path.join(os.path.dirname(here), "__main__.py")
    ours = [
        t.strings[file] == start or os.path.dirname(t.strings[file]) == here for file in t.func_file
    ]
    calls_program = [
        own and t.strings[name] == _execute.__name__ for own, name in zip(ours, t.func_name)
    ]
    outside, entering, within = 0, 1, 2
    phases: list[int] = []  # of each stack: before _execute, right below it, in the program
    runner: list[bool] = []  # of each stack: does it pass through what starts programs
    for parent, frame in zip(t.stack_parent, t.stack_frame):
        func = t.frame_func[frame]
        phase = phases[parent] if parent >= 0 else outside
        if phase == outside and calls_program[func]:
            phase = entering
        elif phase == entering and not ours[func] and not t.func_flags[func] & NATIVE:
            phase = within
        phases.append(phase)
        runner.append(ours[func] or (parent >= 0 and runner[parent]))
    keep = [phase == within or not own for phase, own in zip(phases, runner)]
    # Whatever called the runner, up to the interpreter's own start, goes with it.
    above = bytearray(runner)
    for stack in range(len(above) - 1, -1, -1):
        parent = t.stack_parent[stack]
        if above[stack] and parent >= 0:
            above[parent] = 1
    keep = [k and (phase == within or not a) for k, phase, a in zip(keep, phases, above)]
    return Profile._of(keep_below(t, keep))
