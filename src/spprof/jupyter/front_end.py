"""Script and style of the graphs, as outputs and widgets carry them: deflated, with a version.

Must not know what they show, nor ipywidgets.
"""

from __future__ import annotations

import hashlib
import zlib
from functools import lru_cache

from ..formats._front_end import asset

_SCRIPT, _STYLE = "widget.js", "widget.css"


@lru_cache(maxsize=1)
def packed() -> tuple[bytes, bytes]:
    """Script and style, deflated.

    Raises
    ------
    FileNotFoundError
        This spprof was built without its front end.
    """
    return zlib.compress(asset(_SCRIPT), 9), zlib.compress(asset(_STYLE), 9)


@lru_cache(maxsize=1)
def version() -> str:
    """Tells front ends of different versions on one page apart; raises as `packed` does."""
    return hashlib.sha256(asset(_SCRIPT) + asset(_STYLE)).hexdigest()[:12]
