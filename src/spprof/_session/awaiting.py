"""What a suspended task of asyncio waits at, and for whom: read from public attributes.

Reads only: must not change a task, keep one alive, nor know what becomes of what it finds.
Imported where asyncio is; must not import it.
"""

from __future__ import annotations

from gc import get_referents
from types import AsyncGeneratorType, CoroutineType, GeneratorType

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

    from .await_trees import AwaitFrame

# Attributes that lead from an awaitable to what it awaits: code, frame, next.
_KINDS = (
    ("cr_code", "cr_frame", "cr_await"),
    ("gi_code", "gi_frame", "gi_yieldfrom"),
    ("ag_code", "ag_frame", "ag_await"),
)
# Those of the interpreter; compilers of Python have coroutines of their own.
_KIND_OF_TYPE: dict[type, tuple[str, str, str] | None] = {
    CoroutineType: _KINDS[0],
    GeneratorType: _KINDS[1],
    AsyncGeneratorType: _KINDS[2],
}
# Those that tell nobody what they drive, but the garbage collector.
_OPAQUE = {
    "async_generator_asend",
    "async_generator_athrow",
    "anext_awaitable",
    "coroutine_wrapper",
}
_DEEPEST = 200  # frames of a task; what awaits further down is left out
_FARTHEST = 20  # futures between a task and one that waits for it

_METHODS = {"method", "builtin_function_or_method", "TaskWakeupMethWrapper"}
_PACKAGES = {"asyncio", "anyio"}
_PLAIN = {int, bool, str, list, set, tuple, dict, type(None)}

# Functions that wait for several tasks, or for one through a future of their own.
_WAITING_FOR_TASKS = {"_wait", "wait_for", "_wait_for", "__aexit__", "_wait_for_one"}


def chain_of(coroutine: Any) -> tuple[AwaitFrame, ...]:
    """The frames from a task's coroutine down to its innermost await."""
    frames = []
    at = coroutine
    for _ in range(_DEEPEST):
        kind = _kind_of(at)
        if kind is None:
            at = _driven_by(at)
            if at is None:
                break
            continue
        code, frame = getattr(at, kind[0]), getattr(at, kind[1])
        if frame is None:  # it has ended, or runs
            break
        name = getattr(code, "co_qualname", None) or code.co_name
        frames.append((name, code.co_filename, code.co_firstlineno, frame.f_lineno or 0))
        at = getattr(at, kind[2])
    return tuple(frames)


def _kind_of(awaitable: Any) -> tuple[str, str, str] | None:
    # Asked of the type: an object of the program's own may run code when it is asked.
    cls = type(awaitable)
    if cls in _KIND_OF_TYPE:
        return _KIND_OF_TYPE[cls]
    if cls.__module__ == "_asyncio":  # the innermost await, as a rule
        return None
    return next((kind for kind in _KINDS if hasattr(cls, kind[0])), None)


def _driven_by(awaitable: Any) -> Any:
    """What an awaitable of the interpreter's own drives; None where it drives none."""
    if type(awaitable).__name__ not in _OPAQUE:
        return None
    return next((one for one in get_referents(awaitable) if _kind_of(one) or _is_opaque(one)), None)


def _is_opaque(awaitable: Any) -> bool:
    return type(awaitable).__name__ in _OPAQUE


def may_wait_for_tasks(waiter: Any, chain: tuple[AwaitFrame, ...]) -> bool:
    """Whether a task with this chain, suspended at this future, may wait for other tasks."""
    if _is_task(waiter) or type(waiter).__name__ == "_GatheringFuture":
        return True
    callbacks = getattr(waiter, "_callbacks", None)
    if callbacks is not None and len(callbacks) > 1:
        return True
    return any(frame[0].rpartition(".")[2] in _WAITING_FOR_TASKS for frame in chain[-2:])


def awaiters_of(future: Any, known: dict[int, list[Any]], depth: int = 0) -> list[Any]:
    """The tasks that are suspended until `future`, a task as a rule, is done, first come first.

    Directly, or through futures that its callbacks set: those of gather, shield, wait, wait_for,
    as_completed, TaskGroup and of whoever does likewise.

    Parameters
    ----------
    future
        A future of asyncio's or a task.
    known : dict
        What was found out, by the futures' ids: for as long as nothing runs.
    depth : int
        Futures on the way from the task that was asked for.
    """
    if id(future) in known:
        return known[id(future)]
    found: list[Any] = []
    callbacks = getattr(future, "_callbacks", None)
    if not callbacks or depth > _FARTHEST:
        return found
    known[id(future)] = found  # already now, for futures in a circle
    for entry in callbacks:
        callback = entry[0] if isinstance(entry, tuple) else entry
        for thing in _held_by(callback):
            if not _is_future(thing):
                continue
            if getattr(thing, "_fut_waiter", None) is future:
                found.append(thing)
            elif not _is_task(thing):  # one that is held began to wait; this does not lead to it
                found += awaiters_of(thing, known, depth + 1)
    return found


def _is_future(thing: Any) -> bool:
    return getattr(type(thing), "_asyncio_future_blocking", None) is not None


def _is_task(thing: Any) -> bool:
    return hasattr(type(thing), "get_coro")


def _held_by(callback: Any) -> Iterator[Any]:
    """What a callback will act upon: the object it is a method of, arguments, variables."""
    kind = type(callback).__name__
    held: list[Any] = []
    if kind in _METHODS:
        held = [callback.__self__]
    elif kind == "partial":
        held = list(callback.args)
    elif kind == "function":
        for cell in callback.__closure__ or ():
            try:
                held.append(cell.cell_contents)
            except ValueError:  # it is empty
                continue
    for thing in held:
        if type(thing) in _PLAIN:
            continue
        yield thing
        if not _is_future(thing) and type(thing).__module__.partition(".")[0] in _PACKAGES:
            # A group of tasks: what the task that leaves it waits at.
            yield getattr(thing, "_on_completed_fut", None)
            # as_completed: a queue of results, from 3.13 on held by an iterator.
            for queue in (thing, getattr(thing, "_done", None)):
                yield from getattr(queue, "_getters", None) or ()
