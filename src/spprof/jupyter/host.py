"""What runs this notebook: the shell, and what its front end can show.

Must not know profiles. Imports neither IPython nor anywidget: it asks whether they are there.
"""

from __future__ import annotations

import importlib.util
import sys
from typing import Any

# The views that the front end has; the first is shown unless another is asked for.
VIEWS = ("icicle", "flame", "tree", "timeline", "table", "sandwich", "source", "speedscope")
THEMES = ("auto", "light", "dark")


def shell() -> Any:
    """The running IPython shell, or None."""
    core = sys.modules.get("IPython.core.getipython")
    return core.get_ipython() if core is not None else None


def in_notebook() -> bool:
    """Tell whether a kernel with a rich front end runs this."""
    return getattr(shell(), "kernel", None) is not None


def in_marimo() -> bool:
    """Tell whether a marimo notebook runs this."""
    marimo = sys.modules.get("marimo")
    return marimo is not None and bool(marimo.running_in_notebook())


def has_widgets() -> bool:
    """Tell whether anywidget is installed."""
    return importlib.util.find_spec("anywidget") is not None
