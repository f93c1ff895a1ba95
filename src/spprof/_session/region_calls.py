"""Functions, coroutines and generators that run in a region. Imported when a first one is made.

Must not know how a region is entered.
"""

from __future__ import annotations

import functools
import inspect
from typing import TYPE_CHECKING, Any, TypeVar, cast

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable, Generator

    from .regions import region as Region

    Function = TypeVar("Function", bound=Callable[..., Any])


def in_region(region: Region, function: Function) -> Function:
    """Return what does the same as `function`, in the region; see `spprof.region`."""
    if inspect.isclass(function) or not callable(function):
        raise TypeError(f"a region decorates functions and methods, not {function!r}")
    called: Any
    if inspect.isasyncgenfunction(function):

        @functools.wraps(function)
        async def called_async_generator(*args: Any, **kwargs: Any) -> Any:
            steps = _AsyncSteps(region, function(*args, **kwargs))
            try:
                item = await steps.asend(None)
                while True:
                    try:
                        sent = yield item
                    except GeneratorExit:
                        await steps.aclose()
                        raise
                    except BaseException as error:  # noqa: BLE001 - the generator's, not ours
                        item = await steps.athrow(error)
                    else:
                        item = await steps.asend(sent)
            except StopAsyncIteration:
                return

        called = called_async_generator
    elif inspect.iscoroutinefunction(function):

        @functools.wraps(function)
        async def called_coroutine(*args: Any, **kwargs: Any) -> Any:
            with region:
                return await function(*args, **kwargs)

        called = called_coroutine
    elif inspect.isgeneratorfunction(function):

        @functools.wraps(function)
        def called_generator(*args: Any, **kwargs: Any) -> Any:
            return (yield from _Steps(region, function(*args, **kwargs)))

        called = called_generator
    else:

        @functools.wraps(function)
        def called_function(*args: Any, **kwargs: Any) -> Any:
            with region:
                return function(*args, **kwargs)

        called = called_function
    return cast("Function", called)


class _Steps:
    """A generator of which each step is in the region, and none of what is between them.

    `yield from` asks it as it would ask the generator.
    """

    __slots__ = ("_generator", "_region")

    def __init__(self, region: Region, generator: Generator[Any, Any, Any]) -> None:
        self._region, self._generator = region, generator

    def __iter__(self) -> _Steps:
        return self

    def __next__(self) -> Any:
        with self._region:
            return next(self._generator)

    def send(self, value: Any) -> Any:
        with self._region:
            return self._generator.send(value)

    def throw(self, *error: Any) -> Any:
        with self._region:
            return self._generator.throw(*error)

    def close(self) -> None:
        with self._region:
            self._generator.close()


class _AsyncSteps:
    """The same of an asynchronous generator: while it awaits, its task is in the region."""

    __slots__ = ("_generator", "_region")

    def __init__(self, region: Region, generator: AsyncGenerator[Any, Any]) -> None:
        self._region, self._generator = region, generator

    async def asend(self, value: Any) -> Any:
        with self._region:
            return await self._generator.asend(value)

    async def athrow(self, error: BaseException) -> Any:
        with self._region:
            return await self._generator.athrow(error)

    async def aclose(self) -> None:
        with self._region:
            await self._generator.aclose()
