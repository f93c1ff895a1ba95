"""Source text by the file names that a profile has, cells of notebooks included.

A cell's name, such as ``In [3]``, is one of many of that name: its text is kept for the profiles
that ran it, told by when they began. Must not know what a cell is.
"""

from __future__ import annotations

import linecache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .tables import Meta

_KEPT_BYTES = 8_000_000
_kept: dict[tuple[str, str], str] = {}


def keep(meta: Meta, name: str, text: str) -> None:
    """Remember the text of what this profile calls `name`; the oldest texts are forgotten."""
    _kept.pop((meta.start_time, name), None)
    _kept[meta.start_time, name] = text
    room = _KEPT_BYTES - sum(map(len, _kept.values()))
    while room < 0 and len(_kept) > 1:
        room += len(_kept.pop(next(iter(_kept))))


def text_of(meta: Meta, name: str) -> str:
    """The source of a file or cell of this profile; "" where there is none."""
    kept = _kept.get((meta.start_time, name))
    # Knows modules in archives too, and what was compiled in this process.
    return kept if kept is not None else "".join(linecache.getlines(name))
