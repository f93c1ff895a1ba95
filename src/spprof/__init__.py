"""Sampling profiler for CPython that runs inside the profiled process.

``with spprof.Profiler() as p: ...`` then ``print(p.profile)``, or ``%load_ext spprof`` and
``%%spprof`` in a notebook. Only names live here; nothing heavy is imported.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ._model import (
    AggregatedProfile,
    AggregatedStack,
    Frame,
    NativeFrame,
    Profile,
    ProfilerStats,
    Sample,
    StackTrace,
    ThreadSummary,
    diff,
    merge,
)
from ._session import (
    Profiler,
    ThreadProfiler,
    capture_native_stack,
    is_active,
    native_unwinding_available,
    native_unwinding_enabled,
    pause,
    profile,
    register_thread,
    resume,
    set_native_unwinding,
    start,
    stats,
    stop,
    unregister_thread,
)
from ._version import __version__
from .formats import load

if TYPE_CHECKING:
    from IPython.core.interactiveshell import InteractiveShell

__all__ = [
    "AggregatedProfile",
    "AggregatedStack",
    "Frame",
    "NativeFrame",
    "Profile",
    "Profiler",
    "ProfilerStats",
    "Sample",
    "StackTrace",
    "ThreadProfiler",
    "ThreadSummary",
    "__version__",
    "capture_native_stack",
    "diff",
    "display",
    "is_active",
    "load",
    "merge",
    "native_unwinding_available",
    "native_unwinding_enabled",
    "pause",
    "profile",
    "register_thread",
    "resume",
    "set_native_unwinding",
    "start",
    "stats",
    "stop",
    "unregister_thread",
]


def display(profile: Profile, **options: Any) -> Any:
    """Show a profile in a notebook; see `spprof.jupyter.display`."""
    from .jupyter import display

    return display(profile, **options)


def load_ipython_extension(shell: InteractiveShell) -> None:
    """``%load_ext spprof``."""
    from .jupyter import load_ipython_extension

    load_ipython_extension(shell)


def unload_ipython_extension(shell: InteractiveShell) -> None:
    """``%unload_ext spprof``."""
    from .jupyter import unload_ipython_extension

    unload_ipython_extension(shell)
