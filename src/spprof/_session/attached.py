"""What a process runs that `spprof attach` asked: it becomes part of the asker's session.

Must not know how it was asked, nor by whom.
"""

from __future__ import annotations

import os

from .._version import __version__
from . import children_cpu, engine, offspring
from .children_folder import Folder
from .children_member import Member


def begin(folder: str, version: str) -> None:
    """Begin to record; another version of this package may be here already.

    Raises
    ------
    RuntimeError
        A session is running here, or the versions differ.
    OSError
        The folder cannot be used.
    """
    if __version__ != version:
        raise RuntimeError(
            f"spprof {__version__} is imported there, and {version} asks: run the same version"
        )
    if engine.is_active():
        raise RuntimeError("a session is running there already")
    command = offspring.command_line(children_cpu.arguments(os.getpid()))
    Member(Folder(folder), command).begin()
