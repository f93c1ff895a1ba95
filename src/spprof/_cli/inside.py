"""Inside of the process of a program under `spprof run`: begins before it, saves after it.

Python itself runs the program; this only stands by. Must not know how a program is run, nor how
formats look inside.
"""

from __future__ import annotations

import _signal
import atexit
import json
import os
import sys
import threading
from importlib.machinery import PathFinder
from pathlib import Path

# All that saving takes is imported before the program has its say: it may put a module of the same
# name in the way, or change the root directory.
from .._profile import model, queries, samples, text, words  # noqa: F401
from .._profile.rows import keep_below
from .._profile.tables import NATIVE, Meta, Tables
from .._session import leaving, session
from .._session.options import Options
from ..formats import registry
from .terminal import progress

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from types import FrameType
    from typing import Any

    from .._profile.model import Profile

_HERE = os.path.dirname(__file__)
_OURS = {__file__, os.path.join(_HERE, "startup", "sitecustomize.py")}


def begin(request: str, path: list[str], known: set[str]) -> None:
    """Start the session; everything after it is the program's.

    Parameters
    ----------
    request : str
        What `run` asks for.
    path : list of str
        Entries of the user's PYTHONPATH.
    known : set of str
        Modules that were imported before any of ours.
    """
    asked = json.loads(request)
    try:
        saving = _Saving(asked["output"], asked["format"], asked["quiet"])
        saving.rehearse()
        aside = _set_aside([*path, *asked["program_path"]], known)
        ending = _Ending(saving, aside, asked["kind"] == "-m")
        ending.hide_handlers()
        options = Options(**asked["options"])
        options.processes_spelling = "--processes"
        session.begin(options, stacklevel=1)
        # Before the program: its own exit functions run first then, and are in the profile.
        atexit.register(ending.finish)
        ending.catch_termination()
    except Exception as error:  # noqa: BLE001 - `site` would go on without a word
        print(f"spprof: error: {words.shown(str(error), 1000)}", file=sys.stderr, flush=True)
        os._exit(1)


def _set_aside(path: list[str], known: set[str]) -> dict[str, Any]:
    """Take out of sys.modules what the program has modules of its own for; returns it."""
    ours = {name.partition(".")[0] for name in sys.modules} - {
        name.partition(".")[0] for name in known
    }
    ours.discard(__name__.partition(".")[0])
    hidden = {name for name in ours if _is_there(name, path)}
    found = [name for name in sys.modules if name.partition(".")[0] in hidden]
    return {name: sys.modules.pop(name) for name in found}


def _is_there(name: str, path: list[str]) -> bool:
    spec = PathFinder.find_spec(name, path)
    # A folder without an __init__ comes after every module of that name.
    return spec is not None and spec.loader is not None and spec.origin is not None


class _Saving:
    """Saves the profile and says so."""

    def __init__(self, output: str, format: str | None, quiet: bool) -> None:
        self._output = Path(output)
        self._format = registry.for_path(output) if format is None else registry.find(format)
        self._quiet = quiet
        # The program may close or replace the streams of the process.
        self._terminal = sys.stderr

    def rehearse(self) -> None:
        """Do all of it once, so that nothing has to be imported or read later."""
        nothing = Tables([], [], Meta())
        self._format.dumps(nothing)
        registry.find("spprof").dumps(nothing)
        text.summary(nothing)

    def __call__(self, profile: Profile | None) -> None:
        if profile is None:
            self._say("the program stopped the profiler itself; nothing was saved")
            return
        output = self._saved(profile)
        if output is not None and not self._quiet:
            self._say(f"{profile}\n\nsaved: {output}\nview:  spprof view {_short(output)}")

    def _saved(self, profile: Profile) -> Path | None:
        try:
            with progress(f"saving {self._output.name}", self._terminal):
                registry.save(profile._tables, self._output, self._format.name)
        except Exception as error:  # noqa: BLE001 - whatever it is, the profile must not be lost
            self._say(f"the profile was not saved as asked: {error}")
            return self._kept(profile)
        return self._output

    def _kept(self, profile: Profile) -> Path | None:
        kept = registry.keep(profile._tables, self._output)
        if kept is None:
            return None
        self._say(f"it is kept in {kept}: spprof convert makes any other file of it")
        return Path(kept)

    def _say(self, message: str) -> None:
        try:
            print(f"spprof: {message}", file=self._terminal, flush=True)
        except (ValueError, OSError):
            # The program closed the stream; its descriptor may still be open.
            try:
                os.write(2, f"spprof: {message}\n".encode("utf-8", "replace"))
            except OSError:
                return


def _short(path: Path) -> str:
    try:
        return str(path.relative_to(Path.cwd()))
    except (ValueError, OSError):
        return str(path)


class _Ending:
    """Stops the session once, at the interpreter's exit or on a signal that ends the process."""

    def __init__(
        self, save: Callable[[Profile | None], None], aside: dict[str, Any], is_module: bool
    ) -> None:
        self._save = save
        self._is_module = is_module
        self._aside = aside
        self._pid = os.getpid()
        self._done = False
        self._caught: list[int] = []
        self._masks = threading.local()  # of the thread that forks
        self._set_signal = _signal.signal

    def hide_handlers(self) -> None:
        """Have the program see the default action where our handlers are."""
        get_signal, set_signal = _signal.getsignal, _signal.signal

        def getsignal(signalnum: int) -> Any:
            found = get_signal(signalnum)
            return _signal.SIG_DFL if found == self._terminated else found

        def signal(signalnum: int, handler: Any) -> Any:
            if signalnum in self._caught and handler == _signal.SIG_DFL:
                handler = self._terminated if os.getpid() == self._pid else handler
            found = set_signal(signalnum, handler)
            return _signal.SIG_DFL if found == self._terminated else found

        for ours, builtin in ((getsignal, get_signal), (signal, set_signal)):
            ours.__doc__ = builtin.__doc__
        _signal.getsignal, _signal.signal = getsignal, signal

    def catch_termination(self) -> None:
        """Save before SIGTERM, SIGHUP or Ctrl-Break end the process, unless it handles them."""
        for name in ("SIGTERM", "SIGHUP", "SIGBREAK"):
            number = getattr(_signal, name, None)
            if number is not None and _signal.getsignal(number) == _signal.SIG_DFL:
                self._set_signal(number, self._terminated)
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
        self._masks.previous = _signal.pthread_sigmask(_signal.SIG_BLOCK, self._caught)

    def _release_signals(self) -> None:
        _signal.pthread_sigmask(_signal.SIG_SETMASK, self._masks.previous)

    def _give_signals_back(self) -> None:
        for number in self._caught:
            if _signal.getsignal(number) == _signal.SIG_DFL:
                self._set_signal(number, _signal.SIG_DFL)
        self._release_signals()

    def _terminated(self, number: int, frame: FrameType | None) -> None:
        try:
            self.finish()
            for stream in (sys.stdout, sys.stderr):
                try:
                    stream.flush()
                except (OSError, ValueError, AttributeError):
                    continue  # closed by the program, or its reader gone
        finally:
            self._set_signal(number, _signal.SIG_DFL)
            os.kill(os.getpid(), number)

    def finish(self) -> None:
        """Stop and save, once."""
        # A forked child has no session, and the profile is its parent's to save.
        if self._done or os.getpid() != self._pid:
            return
        self._done = True
        profile = session.stop() if session.is_active() else None
        theirs = {name: sys.modules[name] for name in self._aside if name in sys.modules}
        sys.modules.update(self._aside)
        try:
            if profile is None:
                self._save(None)
                return
            of_program = program_only(profile)
            if of_program.sample_count or _began(self._is_module):
                self._save(of_program)
        finally:
            for name in self._aside:
                del sys.modules[name]
            sys.modules.update(theirs)
            leaving.leave_interrupted()


def _began(is_module: bool) -> bool:
    """Whether there was a program at all: it may not compile, or not be found."""
    if is_module:
        return getattr(sys.modules["__main__"], "__spec__", None) is not None
    error = getattr(sys, "last_value", None)
    return not isinstance(error, SyntaxError) or getattr(sys, "last_traceback", None) is not None


_LIBRARY = os.path.dirname(os.__file__)

# What stands before a program that Python finds as a module: the code of the library is frozen in
# the interpreter or in a file, as the version has it.
_RUNS_MODULES = {"<frozen runpy>", os.path.join(_LIBRARY, "runpy.py")}
_FINDS_MODULES = {
    "<frozen importlib>",
    "<frozen importlib._bootstrap>",
    "<frozen importlib._bootstrap_external>",
    "<frozen importlib.util>",
    "<frozen zipimport>",
    os.path.join(_LIBRARY, "importlib", "__init__.py"),
    os.path.join(_LIBRARY, "importlib", "util.py"),
    os.path.join(_LIBRARY, "pkgutil.py"),
}
_STARTS = {"<frozen site>", os.path.join(_LIBRARY, "site.py")}


def program_only(profile: Profile) -> Profile:
    """Return a profile without what ran the program, and without what the profiler did."""
    t = profile._tables
    files = [t.strings[file] for file in t.func_file]
    roots: list[int] = []  # of each stack
    for row, parent in enumerate(t.stack_parent):
        roots.append(roots[parent] if parent >= 0 else row)
    main = os.getpid()
    main_roots = {
        roots[stack]
        for thread, stack in zip(t.sample_thread, t.sample_stack)
        if t.threads[thread]["tid"] == main
    }
    outside, before, finding, within = range(4)
    phases: list[int] = []
    for row, (parent, frame) in enumerate(zip(t.stack_parent, t.stack_frame)):
        func = t.frame_func[frame]
        file, phase = files[func], phases[parent] if parent >= 0 else before
        if phase == outside or file in _OURS or (phase == before and file in _STARTS):
            phase = outside
        elif roots[row] not in main_roots:
            phase = within
        elif phase in (before, finding) and not t.func_flags[func] & NATIVE:
            if file in _RUNS_MODULES or (phase == finding and file in _FINDS_MODULES):
                phase = finding
            else:
                phase = within
        phases.append(phase)
    return type(profile)._of(keep_below(t, [phase == within for phase in phases]))
