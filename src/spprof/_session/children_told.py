"""How the processes that this one makes come to know that they belong to a session.

Python is told where the session's folder is by its environment, without `os.environ` showing it,
and starts the profiler from the `sitecustomize` in `startup`. Must not know what a session is.
"""

from __future__ import annotations

import os
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

    from .children_folder import Folder

FOLDER = "SPPROF_PROCESSES"
_PACKAGE, _BEFORE, _PATH = "SPPROF_RUN_PACKAGE", "SPPROF_RUN_PYTHONPATH", "PYTHONPATH"
_ALL = (FOLDER, _PACKAGE, _BEFORE, _PATH)

_package = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
_startup = os.path.join(_package, "_cli", "startup")


def environment(folder: str, path: str | None) -> dict[str, str]:
    """What is to be in the environment of a child whose PYTHONPATH would be `path`."""
    told = {FOLDER: folder, _PACKAGE: os.path.dirname(_package)}
    if path is not None:
        told[_BEFORE] = path
    told[_PATH] = os.pathsep.join([_startup, *([path] if path else [])])
    return told


class Told:
    """The environment as children get it, for the session in a folder; `take_back` ends it."""

    def __init__(self, folder: Folder) -> None:
        self.folder = folder
        self._path: str | None = None
        self._tell()

    def _tell(self) -> None:
        self._path = os.environ.get(_PATH)
        for name, value in environment(self.folder.path, self._path).items():
            os.putenv(name, value)

    def take_back(self) -> None:
        """Have children get what `os.environ` says."""
        for name in _ALL:
            value = os.environ.get(name)
            if value is None:
                os.unsetenv(name)
            else:
                os.putenv(name, value)

    def in_list(self, given: Any) -> Any:
        """Add it to an environment as `_posixsubprocess.fork_exec` takes it; None is our own."""
        if given is None:
            self._again()
            return None
        kept = [entry for entry in given if os.fsdecode(entry).partition("=")[0] not in _ALL]
        path = next(
            (os.fsdecode(entry)[len(_PATH) + 1 :] for entry in given if _names(entry, _PATH)), None
        )
        told = environment(self.folder.path, path)
        return [*kept, *(os.fsencode(f"{name}={value}") for name, value in told.items())]

    def in_mapping(self, given: Mapping[Any, Any] | None) -> dict[Any, Any] | None:
        """Add it to an environment as `os.execve` and `os.posix_spawn` take it; None is our own."""
        if given is None:
            self._again()
            return None
        named = {os.fsdecode(name): value for name, value in given.items()}
        path = named.get(_PATH)
        told = environment(self.folder.path, None if path is None else os.fsdecode(path))
        kept = {name: value for name, value in named.items() if name not in _ALL}
        return {**kept, **told}

    def _again(self) -> None:
        # The program may have set its own path meanwhile.
        if os.environ.get(_PATH) != self._path:
            self._tell()


def _names(entry: Any, name: str) -> bool:
    return os.fsdecode(entry).startswith(name + "=")


def can_be_told() -> bool:
    """Whether children of this interpreter find the `sitecustomize`: not where it runs alone."""
    return not (sys.flags.ignore_environment or sys.flags.no_site)
