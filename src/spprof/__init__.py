"""Sampling profiler for CPython that runs inside the profiled process.

``with spprof.Profiler() as p: ...`` then ``print(p.profile)``, or ``%load_ext spprof`` and
``%%spprof`` in a notebook. Only names live here; what takes time to import is imported when it is
first asked for.
"""

from __future__ import annotations

from ._profile import shown as _shown
from ._session import late as _late
from ._session import leaving as _leaving  # noqa: F401 - forks and the interpreter's exit
from ._session.profiler import Profiler, ThreadProfiler
from ._session.session import (
    capture_native_stack,
    is_active,
    native_unwinding_available,
    native_unwinding_enabled,
    pause,
    register_thread,
    resume,
    set_native_unwinding,
    snapshot,
    start,
    stats,
    stop,
    unregister_thread,
)
from ._version import __version__

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, NoReturn

    from IPython.core.interactiveshell import InteractiveShell

    from . import formats as formats
    from ._cluster.cluster import Cluster as cluster
    from ._profile.compare import StackDiff
    from ._profile.model import (
        AggregatedProfile,
        Profile,
        ProfileDiff,
        diff,
        load,
        merge,
    )
    from ._profile.queries import CallNode, FunctionStats
    from ._profile.values import (
        AggregatedStack,
        Frame,
        NativeFrame,
        ProfilerStats,
        Sample,
        StackTrace,
        ThreadSummary,
    )
    from ._session.decorator import profile
    from ._session.regions import region
    from .formats._errors import FormatError

__all__ = [
    "AggregatedProfile",
    "AggregatedStack",
    "CallNode",
    "FormatError",
    "Frame",
    "FunctionStats",
    "NativeFrame",
    "Profile",
    "ProfileDiff",
    "Profiler",
    "ProfilerStats",
    "Sample",
    "StackDiff",
    "StackTrace",
    "ThreadProfiler",
    "ThreadSummary",
    "__version__",
    "capture_native_stack",
    "cluster",
    "diff",
    "display",
    "is_active",
    "load",
    "merge",
    "native_unwinding_available",
    "native_unwinding_enabled",
    "pause",
    "profile",
    "region",
    "register_thread",
    "resume",
    "set_native_unwinding",
    "snapshot",
    "start",
    "stats",
    "stop",
    "unregister_thread",
]

# Where each name that is imported on demand lives; None: a submodule.
_ON_DEMAND = {
    "AggregatedProfile": "_profile.model",
    "AggregatedStack": "_profile.values",
    "CallNode": "_profile.queries",
    "FormatError": "formats._errors",
    "Frame": "_profile.values",
    "FunctionStats": "_profile.queries",
    "NativeFrame": "_profile.values",
    "Profile": "_profile.model",
    "ProfileDiff": "_profile.model",
    "ProfilerStats": "_profile.values",
    "Sample": "_profile.values",
    "StackDiff": "_profile.compare",
    "StackTrace": "_profile.values",
    "ThreadSummary": "_profile.values",
    "cluster": "_cluster.cluster",
    "diff": "_profile.model",
    "formats": None,
    "load": "_profile.model",
    "merge": "_profile.model",
    "profile": "_session.decorator",
    "region": "_session.regions",
}

# What is called otherwise where it lives.
_CALLED = {"cluster": "Cluster"}


def __getattr__(name: str) -> Any:
    try:
        place = _ON_DEMAND[name]
    except KeyError:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}") from None
    module = _late.module(place or name)
    value = module if place is None else getattr(module, _CALLED.get(name, name))
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *_ON_DEMAND})


def display(
    profile: Profile | AggregatedProfile | ProfileDiff,
    *,
    view: str | None = None,
    search: str | None = None,
    theme: str | None = None,
    **unknown: NoReturn,
) -> Any:
    """Show a profile where it can be seen best.

    In a notebook: the interactive flame graph, and a static picture of it for wherever no widget
    runs (a shared or exported notebook). In a terminal: a summary as text. Of a profile that was
    taken in this notebook, what is shown begins at its cells: the frames that run a cell, and the
    kernel's own threads, are left out. As the last expression of a cell a profile shows itself.

    Parameters
    ----------
    profile : Profile, AggregatedProfile or ProfileDiff
    view : str, optional
        "icicle", "flame", "tree", "timeline", "table", "sandwich", "source" or "speedscope".
        The view to open with; the first without it.
    search : str, optional
        What is searched for at first: text in any case, or a regular expression between slashes.
    theme : {"auto", "light", "dark"}, optional
        "auto" is as the notebook has it.

    Returns
    -------
    FlameGraphWidget or None
        The widget, whose traits follow what its user does (``selected``, ``search``, ``view``);
        None where no widget can run.

    Raises
    ------
    TypeError
        There is no such option.
    ValueError
        There is no such view or theme.
    """
    from .jupyter import display

    return display(profile, view=view, search=search, theme=theme, **unknown)


def _browse(profile: Profile | AggregatedProfile | ProfileDiff, **options: Any) -> None:
    from ._cli.viewer import show

    show(profile._for_output(), **options)


_shown.display, _shown.browse = display, _browse


def load_ipython_extension(shell: InteractiveShell) -> None:
    """``%load_ext spprof``."""
    from .jupyter import load_ipython_extension

    load_ipython_extension(shell)


def unload_ipython_extension(shell: InteractiveShell) -> None:
    """``%unload_ext spprof``."""
    from .jupyter import unload_ipython_extension

    unload_ipython_extension(shell)
