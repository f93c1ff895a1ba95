"""`@spprof.profile`: each call of a function under the profiler.

Must not know how a session is started, but that `Profiler` does it. Imported when it is used.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar, cast

from . import session, state
from .options import Options, accepting
from .profiler import Profiler

Function = TypeVar("Function", bound=Callable[..., Any])

if TYPE_CHECKING:
    from typing import ParamSpec, Protocol, overload

    P = ParamSpec("P")

    class ProfileDecorator(Protocol[P]):
        """Called with a function, or with options to get what takes the function."""

        @overload
        def __call__(self, function: Function, /) -> Function: ...
        @overload
        def __call__(self, *args: P.args, **kwargs: P.kwargs) -> Callable[[Function], Function]: ...


def _decorator_with(options: Callable[P, Options]) -> ProfileDecorator[P]:
    @accepting(options)
    def profile(given: Options) -> Any:
        """Decorate a function (also ``async def``) so that each call is profiled.

        Use as ``@spprof.profile`` or ``@spprof.profile(interval_ms=1, output_path="f.json")``. The
        latest profile is kept as the function's attribute ``last_profile``. Calls made while a
        session is running already (recursion, another thread) become part of that session. Options
        are those of `start`.

        Raises
        ------
        TypeError
            For generator functions: profile the code that iterates them instead.
        """
        if callable(given.interval_ms):  # the function itself: no options
            return _decorated(given.interval_ms, Options())
        return functools.partial(_decorated, options=given)

    return cast("ProfileDecorator[P]", profile)


profile = _decorator_with(Options)


def _decorated(function: Any, options: Options) -> Any:
    if inspect.isgeneratorfunction(function) or inspect.isasyncgenfunction(function):
        raise TypeError(
            f"{function.__qualname__} is a generator function, whose call only makes the "
            "generator: profile the code that iterates it"
        )

    def begin() -> Profiler | None:
        profiler = Profiler(**vars(options))
        with state.lock:
            return None if session.is_taken() else profiler.__enter__()

    def end(profiler: Profiler | None) -> None:
        if profiler is not None:
            try:
                profiler.__exit__(None, None, None)
            finally:
                wrapper.last_profile = profiler.profile

    wrapper: Any
    if inspect.iscoroutinefunction(function):

        @functools.wraps(function)
        async def profiled_coroutine(*args: Any, **kwargs: Any) -> Any:
            profiler = begin()
            try:
                return await function(*args, **kwargs)
            finally:
                end(profiler)

        wrapper = profiled_coroutine
    else:

        @functools.wraps(function)
        def profiled(*args: Any, **kwargs: Any) -> Any:
            profiler = begin()
            try:
                return function(*args, **kwargs)
            finally:
                end(profiler)

        wrapper = profiled
    wrapper.last_profile = None
    return wrapper
