"""What a session replaces in the interpreter while it runs, and puts back after it.

Must not know what the replacements do: `threads` and `signals` make them.
"""

from __future__ import annotations

import _signal
import _thread
import faulthandler
import gc
import os
import sys
import threading

from . import engine, jobs, late, offspring, signals, threads

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_replaced: list[tuple[Any, str, Any, Any]] = []
_collections: Any = None


def install(processes: bool = False) -> None:
    """Have threads start and end, signals be set, and root and user change through us.

    With `processes`, whatever makes other processes tells them of the session.
    """
    remove()  # what a KeyboardInterrupt may have left at the end of the session before
    if hasattr(_signal, "SIGPROF"):  # not on Windows, where we use no signal either
        replace(_signal, "signal", signals.signal_setter(_signal.signal))
        if hasattr(_signal, "pthread_sigmask"):
            replace(_signal, "pthread_sigmask", signals.mask_setter(_signal.pthread_sigmask))
        for name in ("register", "unregister"):
            if hasattr(faulthandler, name):
                replace(faulthandler, name, signals.signal_setter(getattr(faulthandler, name)))
    at_end, deleter = threads.AT_THE_END_OF_A_THREAD
    replace(*at_end, deleter(getattr(*at_end)))
    for module in (os, sys.modules[os.name]):
        for name in ("execv", "execve"):
            if hasattr(module, name):
                starter = signals.program_starter(getattr(module, name))
                replace(module, name, offspring.becoming(starter) if processes else starter)
    for module in (os, sys.modules[os.name]):
        for name in ("chroot", "setuid", "seteuid", "setreuid", "setresuid"):
            if hasattr(module, name):
                replace(module, name, late.before(getattr(module, name)))
    global _collections
    _collections = engine.collection_callback()
    gc.callbacks.append(_collections)
    starters: dict[int, Any] = {}
    for module in (_thread, threading):
        for name in (
            "start_new_thread",
            "start_new",
            "start_joinable_thread",
            "_start_new_thread",
            "_start_joinable_thread",
        ):
            original = getattr(module, name, None)
            if original is None:
                continue
            if id(original) not in starters:
                starters[id(original)] = engine.thread_starter(original)
            replace(module, name, starters[id(original)])
    for module, name, stand_in in offspring.stand_ins(processes):
        replace(module, name, stand_in)


def remove() -> None:
    """Put back what was there before."""
    # By identity: what else is in the list may compare as it likes.
    gc.callbacks[:] = [each for each in gc.callbacks if each is not _collections]
    jobs.end()
    offspring.put_back({ours: original for _, _, original, ours in _replaced})
    while _replaced:
        module, name, original, ours = _replaced[-1]
        # Whoever replaced ours keeps theirs; ours passes on to the original.
        if getattr(module, name, None) is ours:
            setattr(module, name, original)
        # Last, so that whoever is interrupted before (KeyboardInterrupt) can begin again.
        _replaced.pop()


def replace(module: Any, name: str, ours: Any) -> None:
    """Put something in the place of a module's own, until `remove`."""
    _replaced.append((module, name, getattr(module, name), ours))
    setattr(module, name, ours)
