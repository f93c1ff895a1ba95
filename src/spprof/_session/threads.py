"""Stand-ins for what a thread of `threading` does last, so that its last time is credited.

Must not know when they are put in place.
"""

from __future__ import annotations

import sys
import threading

from . import engine

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any


def _born_before() -> dict[int, threading.Thread]:
    """Threads born before the session: nobody tells what they used since their last sample."""
    return {
        thread.ident: thread
        for thread in threading.enumerate()
        if thread.ident is not None and thread is not threading.main_thread()
    }


def _thread_deleter(
    original: Callable[[threading.Thread], None],
) -> Callable[[threading.Thread], None]:
    """Stand in for the last thing that a thread of `threading` does, from 3.11 on."""
    born_before = _born_before()

    def delete(thread: threading.Thread) -> None:
        original(thread)
        if thread.ident is not None and born_before.get(thread.ident) is thread:
            del born_before[thread.ident]
            engine.settle_thread(thread.name)

    return delete


class _WatchedLock:
    """Stand in for the lock that a thread of `threading` takes as its last thing, until 3.10."""

    def __init__(self, lock: Any) -> None:
        self._lock = lock
        self.acquire, self.release = lock.acquire, lock.release
        self._born_before = _born_before()

    def __enter__(self) -> bool:
        return bool(self._lock.__enter__())

    def __exit__(self, *error: Any) -> None:
        self._lock.__exit__(*error)
        thread = self._born_before.get(threading.get_ident())
        if thread is not None and thread.ident not in threading._active:  # type: ignore[attr-defined]
            del self._born_before[threading.get_ident()]
            engine.settle_thread(thread.name)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._lock, name)


# What of `threading` a thread uses last: until 3.10 nothing but a lock.
AT_THE_END_OF_A_THREAD: tuple[tuple[Any, str], Callable[[Any], Any]] = (
    ((threading.Thread, "_delete"), _thread_deleter)
    if sys.version_info >= (3, 11)
    else ((threading, "_active_limbo_lock"), _WatchedLock)
)
