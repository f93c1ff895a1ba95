"""Starts the profiler in a program that Python is about to run for `spprof run`, or as a child.

`run`, and a session that has its child processes, put this folder first on the program's path, so
that Python's own `site` imports this before anything of the program. It leaves no trace of itself,
and then what it stands before: a `sitecustomize` of the user's own. Must not know how the profiler
is started.
"""

from __future__ import annotations

import _frozen_importlib_external
import os
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


class _Finder:
    """Finds the package that `run` belongs to, wherever the program would find another."""

    def __init__(self, folder: str) -> None:
        self._folder = folder

    def find_spec(self, name: str, path: Any = None, target: Any = None) -> Any:
        if name != "spprof":
            return None
        return _frozen_importlib_external.PathFinder.find_spec(name, [self._folder])


def _start() -> None:
    here = os.path.dirname(__file__)
    request = os.environ.pop("SPPROF_RUN", None)
    processes = os.environ.pop("SPPROF_PROCESSES", None)
    package = os.environ.pop("SPPROF_RUN_PACKAGE", "")
    before = os.environ.pop("SPPROF_RUN_PYTHONPATH", None)
    if request is None and processes is None:
        return
    if before is None:
        os.environ.pop("PYTHONPATH", None)
    else:
        os.environ["PYTHONPATH"] = before
    sys.path[:] = [entry for entry in sys.path if os.path.abspath(entry) != here]
    own = (before or "").split(os.pathsep) if before else []
    others = {os.path.abspath(entry) for entry in own}
    path, known = list(sys.path), set(sys.modules)
    # What the user put there may be called as something that the profiler imports.
    sys.path[:] = [entry for entry in path if os.path.abspath(entry) not in others]
    finder = _Finder(package)
    sys.meta_path.insert(0, finder)
    try:
        if request is not None:
            from spprof._cli import inside

            inside.begin(request, own, known)
        elif processes is not None:
            _join(processes)
    finally:
        sys.meta_path.remove(finder)
        sys.path[:] = path
        sys.path_importer_cache.pop(here, None)


def _join(processes: str) -> None:
    """Become part of another process's session; another Python may not have what that takes."""
    try:
        from spprof._session import children
    except ImportError:
        for name in [name for name in sys.modules if name.partition(".")[0] == "spprof"]:
            del sys.modules[name]
        return
    children.begin_here(processes)


def _hand_on() -> None:
    """Import the user's own, as `site` would have done."""
    ours = sys.modules.pop("sitecustomize", None)
    try:
        import sitecustomize  # noqa: F401
    except ImportError as error:
        if error.name != "sitecustomize":
            raise
    finally:
        if ours is not None:
            sys.modules.setdefault("sitecustomize", ours)


_start()
_hand_on()
