"""`spprof.region`: parts of a program by names of its own.

Must not know sessions nor profiles: a region is entered and left whether or not a session runs.
"""

from __future__ import annotations

from . import engine

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from types import TracebackType
    from typing import Any, TypeVar, Union

    from typing_extensions import Self

    Function = TypeVar("Function", bound=Callable[..., Any])
    Value = Union[str, int, float, bool, None]

    class region:
        """What cpp/interpreter/regions.cpp makes."""

        name: str
        labels: dict[str, str]

        def __init__(self, name: str, /, **labels: Value) -> None: ...
        def __enter__(self) -> Self: ...
        def __exit__(
            self,
            kind: type[BaseException] | None,
            error: BaseException | None,
            traceback: TracebackType | None,
            /,
        ) -> None: ...
        def __call__(self, function: Function) -> Function: ...

else:
    region = engine.region_type()


def _call(self: region, function: Function) -> Function:
    """Decorate a function, a coroutine function or a generator: each call is in the region.

    Raises
    ------
    TypeError
        `function` is no function.
    """
    from .region_calls import in_region

    return in_region(self, function)


def _repr(self: region) -> str:
    labels = "".join(f", {key}={value!r}" for key, value in self.labels.items())
    return f"region({self.name!r}{labels})"


# What need not be fast is written here.
_type: Any = region
_type.__call__, _type.__repr__, _type.__module__ = _call, _repr, "spprof"
_type.__doc__ = """A part of the program under a name of its own: a context manager or a decorator.

Samples that are taken inside carry the name and the labels: `Profile.regions` sums their time,
``Profile.filter(region=...)`` selects them. Regions nest. They belong to the context
(`contextvars`): a task keeps its regions while others run, and whatever begins inside in a copy of
the context (tasks, `asyncio.to_thread`, callbacks of a loop) is inside, too. Without a session a
region costs less than a microsecond.

Parameters
----------
name : str
**labels : str, int, float, bool or None
    Further labels, kept as text.

Raises
------
TypeError
    The name is no str, or a label is something else.

Notes
-----
A decorated generator is in the region while it runs, not while it is suspended. A ``with`` in a
generator's own body stays in force for whoever iterates it, as a change to any context variable.

Examples
--------
>>> with spprof.region("load", dataset="a"):
...     pass
>>> @spprof.region("train")
... async def train(): ...
"""
