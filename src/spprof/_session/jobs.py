"""Jobs that the program gives to pools of threads while a session runs.

A job runs in the regions that it was begun in, and it is known which function a future stands for.
Must not know who asks, nor import `concurrent.futures`.
"""

from __future__ import annotations

import sys

from . import engine
from .imported import Awaited

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, MutableMapping
    from typing import Any

    from .await_trees import AwaitFrame

    class JobHook:
        """What cpp/interpreter/jobs.cpp makes."""

        original: Any

        def __init__(self, original: Any, begun: Callable[[Any, Any], None] | None, /) -> None: ...

else:
    JobHook = engine.job_hook_type()

_MODULE = "concurrent.futures.thread"

_hook: JobHook | None = None
_awaited: Awaited | None = None
_functions: MutableMapping[Any, AwaitFrame] = {}  # by the futures that stand for them


def begin(*, noting: bool) -> None:
    """Follow regions from now on; `noting` also which function a future stands for."""
    global _awaited, _functions
    end()
    if noting:
        from weakref import WeakKeyDictionary

        _functions = WeakKeyDictionary()
    begun = _note if noting else None
    _install(begun)
    if _hook is None:
        _awaited = Awaited([_MODULE], lambda: _install(begun))
        _awaited.begin()


def end() -> None:
    """Leave pools alone."""
    global _hook, _awaited, _functions
    if _awaited is not None:
        _awaited.end()
        _awaited = None
    if _hook is not None:
        pool = sys.modules[_MODULE].ThreadPoolExecutor
        # Whoever replaced ours keeps theirs.
        if vars(pool).get("submit") is _hook:
            pool.submit = _hook.original
        _hook = None
    _functions = {}


def _install(begun: Callable[[Any, Any], None] | None) -> None:
    global _hook
    pool: Any = getattr(sys.modules.get(_MODULE), "ThreadPoolExecutor", None)
    if pool is not None and _hook is None:
        _hook = JobHook(vars(pool)["submit"], begun)
        pool.submit = _hook


def _note(future: Any, function: Any) -> None:
    """A future stands for a function that a pool runs, or will run."""
    _functions[future] = _frame_of(function)


def _frame_of(function: Any) -> AwaitFrame:
    """Where a function is defined; of what only calls another (`asyncio.to_thread`), the other."""
    for _ in range(10):
        kind = type(function).__name__
        if kind == "partial":
            inner = function.func
            is_run = type(getattr(inner, "__self__", None)).__name__ == "Context"
            function = function.args[0] if is_run and function.args else inner
        elif kind == "method":
            function = function.__func__
        else:
            break
    code = getattr(function, "__code__", None)
    if code is None:
        of = (
            function if isinstance(function, type) or kind.startswith("builtin") else type(function)
        )
        return (getattr(of, "__qualname__", kind), "", 0, 0)
    name = getattr(code, "co_qualname", None) or function.__qualname__
    return (name, code.co_filename, code.co_firstlineno, code.co_firstlineno)


def frames_below(waiter: Any) -> tuple[AwaitFrame, ...]:
    """What a task waits for that is suspended at this future: a pool's job, or nothing of ours."""
    if not _functions:
        return ()
    for entry in getattr(waiter, "_callbacks", None) or ():
        callback = entry[0] if isinstance(entry, tuple) else entry
        # What `asyncio.wrap_future` sets: a closure over the other future.
        if type(callback).__name__ != "function":
            continue
        for cell in callback.__closure__ or ():
            try:
                source = cell.cell_contents
            except ValueError:  # it is empty
                continue
            if type(source).__module__ == "concurrent.futures._base" and source in _functions:
                # Here, because a child that only sends what it has need not know of profiles.
                from .._profile.causes import WORKER

                return ((WORKER, "", 0, 0), _functions[source])
    return ()
