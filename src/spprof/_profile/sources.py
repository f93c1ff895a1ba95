"""Source text by the file names that a profile has, cells of notebooks included.

A cell's name, such as ``In [3]``, is one of many of that name: its text is kept for the profiles
that ran it, told by when they began. A file's text counts only where it is what ran: no text is
better than a wrong one. Must not know what a cell is.

A profile that came from elsewhere may name any file of this machine, a device or a pipe as well:
of such a one only source files are read, and only where somebody asked for them.
"""

from __future__ import annotations

import os
import stat
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from .tables import Meta

LARGEST_BYTES = 4_000_000
_SOURCE_FILES = (".py", ".pyw", ".pyi", ".pyx", ".ipy")

# When the profiles began that were recorded by this process.
_own: set[str] = set()

_KEPT_BYTES = 8_000_000
_kept: dict[tuple[str, str], str] = {}


def keep(meta: Meta, name: str, text: str) -> None:
    """Remember the text of what this profile calls `name`; the oldest texts are forgotten."""
    _kept.pop((meta.start_time, name), None)
    _kept[meta.start_time, name] = text
    room = _KEPT_BYTES - sum(map(len, _kept.values()))
    while room < 0 and len(_kept) > 1:
        room += len(_kept.pop(next(iter(_kept))))


def recorded_here(meta: Meta) -> None:
    """Remember that this process recorded a profile: what it names is its own code."""
    _own.add(meta.start_time)


def text_of(meta: Meta, name: str, *, asked: bool) -> str:
    """The source of a file or cell of this profile; "" where none is to be had, or another ran.

    Parameters
    ----------
    meta : Meta
    name : str
    asked : bool
        Whether somebody asked for the sources, even if the profile came from elsewhere.
    """
    kept = _kept.get((meta.start_time, name))
    if kept is not None:
        return kept
    own = meta.start_time in _own
    if not own and not (asked and name.endswith(_SOURCE_FILES)):
        return ""
    import linecache

    try:
        status = os.stat(name)
    except (OSError, ValueError):
        # Knows modules in archives too, and what was compiled in this process.
        return "".join(linecache.getlines(name)) if own else ""
    if not stat.S_ISREG(status.st_mode) or status.st_size > LARGEST_BYTES:
        return ""
    if status.st_mtime > meta.end.timestamp():  # edited since
        return ""
    linecache.checkcache(name)
    text = "".join(linecache.getlines(name))
    return "" if own and _was_edited_since_import(name, text) else text


def _was_edited_since_import(path: str, text: str) -> bool:
    """Whether a module of this process has functions that its file does not have any more."""
    from types import CodeType

    # Imported from there: what a host ran of a file in its own way cannot be compared.
    specs = ((m, getattr(m, "__spec__", None)) for m in [*sys.modules.values()])
    modules = (m for m, spec in specs if getattr(spec, "origin", None) == path)
    module = next(modules, None)
    if module is None:
        return False
    members = list(vars(module).values())
    for each in members[:]:
        if isinstance(each, type) and each.__module__ == module.__name__:
            members += vars(each).values()
    codes = (getattr(each, "__code__", None) for each in members)
    live = {code for code in codes if isinstance(code, CodeType) and code.co_filename == path}
    try:
        pending = [compile(text, path, "exec", dont_inherit=True)]
    except (SyntaxError, ValueError):
        return bool(live)
    while pending and live:
        code = pending.pop()
        live.discard(code)
        pending += [each for each in code.co_consts if isinstance(each, CodeType)]
    return bool(live)
