"""spprof in notebooks: the magics and the widget, the only importers of IPython and anywidget.

Importing this package imports neither.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from .output import display

if TYPE_CHECKING:
    from IPython.core.interactiveshell import InteractiveShell

__all__ = ["display", "load_ipython_extension", "unload_ipython_extension"]


def load_ipython_extension(shell: InteractiveShell) -> None:
    """Register ``%spprof`` and ``%%spprof`` (called by ``%load_ext spprof``)."""
    from . import magics

    magics.load_ipython_extension(shell)


def unload_ipython_extension(shell: InteractiveShell) -> None:
    """Take the magics away again (called by ``%unload_ext spprof``)."""
    from . import magics

    magics.unload_ipython_extension(shell)
