"""Regions of tasks: those that suspended ones wait in, and one for each that has a name.

A name that the program gave a task is a region `task` of the task's context: what the task runs
from then on is in it, in pools' jobs and tasks that it begins, too. Must not know when tasks are
looked at, nor import asyncio.
"""

from __future__ import annotations

import contextvars
import weakref
from gc import get_referents

from . import engine
from .regions import region

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_MOST = 10_000  # tasks at a time; those beyond them go without
# Tasks that are in regions of their names, also those that an earlier session left there.
_entered: weakref.WeakKeyDictionary[Any, region] = weakref.WeakKeyDictionary()


def given_name(task: Any) -> str | None:
    """The name of a task, if somebody chose it.

    None of the ones that asyncio makes up (`Task-7`), and none that only says which function the
    task runs, as anyio's do: the stack tells that.
    """
    get_name = getattr(task, "get_name", None)
    name = get_name() if get_name is not None else None
    if type(name) is not str or not name:
        return None
    head, _, number = name.rpartition("-")
    if head == "Task" and number.isdecimal():
        return None
    coroutine = task.get_coro()
    function = getattr(coroutine, "__qualname__", "")
    says_function = name == getattr(coroutine, "__name__", "") or (
        function != "" and name.endswith(function)
    )
    return None if says_function else name


def context_of(task: Any) -> contextvars.Context | None:
    get_context = getattr(task, "get_context", None)  # from 3.12 on
    if get_context is not None:
        context = get_context()
        return context if type(context) is contextvars.Context else None
    if type(task).__module__ != "_asyncio":
        return None
    # Tasks written in C tell the garbage collector alone; those of callbacks come after their own.
    return next((one for one in get_referents(task) if type(one) is contextvars.Context), None)


def enter_name(task: Any) -> None:
    """A task is suspended: from its next step on it is in the region of its name, if any."""
    if task in _entered or len(_entered) >= _MOST:
        return
    name = given_name(task)
    context = None if name is None else context_of(task)
    if context is None:
        return
    entered = region("task", name=name)
    try:
        context.run(entered.__enter__)
    except RuntimeError:  # somebody is in that context: tasks may share one
        return
    _entered[task] = entered


def leave_names() -> None:
    """Take the tasks that are still there out of these regions, but for those that run now.

    These stay there; the next session finds them so.
    """
    for task, entered in list(_entered.items()):
        context = context_of(task)
        if context is not None:
            try:
                context.run(entered.__exit__, None, None, None)
            except RuntimeError:
                continue
        del _entered[task]


class TaskLabels:
    """Labels of the regions that tasks were met waiting in, each set once.

    Parameters
    ----------
    memory_bytes : int
        What they may take, about; whoever is met in further ones goes without.

    Attributes
    ----------
    sets : list of tuple of (str, str)
        Names and values, outermost first.
    were_left_out : bool
        Whether there were more than that.
    """

    _BYTES = 200  # of a set and of each of its labels, besides their text

    def __init__(self, memory_bytes: int) -> None:
        self.sets: list[tuple[tuple[str, str], ...]] = []
        self.were_left_out = False
        self._bytes_left = memory_bytes
        self._places: dict[tuple[tuple[str, str], ...], int] = {}

    def of(self, task: Any) -> int:
        """The place of a suspended task's labels among `sets`, -1 where it is in no region."""
        context = context_of(task) if engine.regions_entered() else None
        labels = engine.labels_in(context) if context is not None else ()
        if not labels:
            return -1
        place = self._places.get(labels)
        if place is None:
            size = self._BYTES + sum(self._BYTES + len(key) + len(value) for key, value in labels)
            if size > self._bytes_left:
                self.were_left_out = True
                return -1
            self._bytes_left -= size
            place = self._places[labels] = len(self.sets)
            self.sets.append(labels)
        return place
