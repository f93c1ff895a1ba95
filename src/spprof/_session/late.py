"""Imports that are left until they are needed, which may be in the middle of a session.

They are no part of the profile, and no fork comes in the middle of one: a child would wait for
ever for the thread that was at it. Must not know what is imported.
"""

from __future__ import annotations

import os
import sys
import threading

from . import engine

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_lock = threading.RLock()
_loaded: dict[str, Any] = {}


def module(name: str) -> Any:
    """Return a module of this package, such as ``_profile.values``."""
    found = _loaded.get(name)
    if found is not None:
        return found
    full_name = f"{__name__.partition('.')[0]}.{name}"
    with _lock:
        was_running = engine.is_active() and engine.pause()
        try:
            __import__(full_name)
        finally:
            if was_running:
                engine.resume()
        found = _loaded[name] = sys.modules[full_name]
    return found


# What a profile may be asked, and saved as.
_EVERYTHING = (
    *(f"_profile.{name}" for name in ("compare", "model", "own_code", "queries", "rows")),
    *(f"_profile.{name}" for name in ("samples", "text")),
    *(f"formats.{name}" for name in ("collapsed", "container", "gecko", "html", "pprof")),
    *(f"formats.{name}" for name in ("registry", "speedscope", "svg")),
)


def before(original: Any) -> Any:
    """Stand in for `os.chroot` and its like: import while the files can still be read."""

    def load(*args: Any) -> Any:
        for name in _EVERYTHING:
            module(name)
        return args

    return engine.reporting_caller(original, load, None)


def _new_lock() -> None:
    global _lock
    _lock = threading.RLock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(
        before=lambda: _lock.acquire(),
        after_in_parent=lambda: _lock.release(),
        after_in_child=_new_lock,
    )
