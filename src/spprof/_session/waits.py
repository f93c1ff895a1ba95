"""How long each task of a loop has waited, and where: accounts of looks at suspended tasks.

Works on numbers and on what it is told of tasks; must not know clocks, nor how loops are hooked.
"""

from __future__ import annotations

import weakref
from array import array

from .await_trees import ROOT, Forest, Stacks
from .awaiting import awaiters_of, chain_of, may_wait_for_tasks
from .jobs import frames_below

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from typing import Any

    from .await_trees import AwaitFrame

# Tasks whose frames are read at one look; what is left of them is counted, and read at the next.
READ_AT_ONCE = 250
_NOT_READ: AwaitFrame = ("[tasks not read yet]", "", 0, 0)


class Rows:
    """What was waited, where and when; without times where there are more than `most`."""

    _FIELDS = 5
    BYTES = 8 * _FIELDS  # of each

    def __init__(self, most: int) -> None:
        self._most, self._columns = most, array("q")
        self._sums: dict[tuple[int, int], int] = {}

    def add(self, stack: int, label: int, begin: int, last: int, waited: int) -> None:
        """Append a wait: times on the profile's axis and what it weighs, in ns."""
        if len(self._columns) < self._FIELDS * self._most:
            self._columns.extend((stack, label, begin, last, waited))
        else:
            where = stack, label
            self._sums[where] = self._sums.get(where, 0) + waited

    def __bool__(self) -> bool:
        return bool(self._columns) or bool(self._sums)

    @property
    def were_summed(self) -> bool:
        """Whether there were too many of them to keep all times."""
        return bool(self._sums)

    def __iter__(self) -> Iterator[tuple[int, int, int, int, int]]:
        """Stack, label, first and last time, ns waited, as they began.

        Without a label that is -1, and so are times that were not kept.
        """
        values = iter(self._columns)
        rows: Any = zip(*[values] * self._FIELDS)
        yield from sorted(rows, key=lambda row: row[2])
        for (stack, label), waited in self._sums.items():
            yield stack, label, -1, -1, waited


class Moment:
    """When a look is taken, in ns.

    Attributes
    ----------
    now : int
        Without the time in which the session was paused.
    idle : int
        How much of it the loop had nothing to do.
    time : int
        On the profile's axis.
    """

    __slots__ = ("idle", "now", "time")

    def __init__(self, now: int, idle: int, time: int) -> None:
        self.now, self.idle, self.time = now, idle, time


class _Wait:
    """A task that stands still, since it was first met so."""

    __slots__ = (
        "begin",
        "chain",
        "credit",
        "label",
        "owed",
        "since",
        "stack",
        "task",
        "waiter",
        "way",
    )

    task: weakref.ref[Any]
    waiter: weakref.ref[Any]
    chain: tuple[AwaitFrame, ...]
    way: int  # the stack from the root of its tree down to its innermost await
    stack: int | None  # where its time goes; None: to the tasks below it
    label: int  # of the regions that it waits in; -1: none
    begin: int  # on the profile's axis
    since: int
    credit: int  # ns that it waited before `since`
    owed: int  # idle time of the loop that was not yet given to what the task waits at


class Accounts:
    """What the tasks of one loop waited.

    A task that did not move between two looks waited all that time. One that did is given the time
    in which the loop was idle, for then nothing of it ran: of the time in which the loop worked
    nobody knows how much was this task's work. Which of its waits gets that time is a matter of
    chance, if looks come at moments that have nothing to do with the program.

    Parameters
    ----------
    stacks, rows
        What is found goes there.
    at : Moment
        When accounts begin.
    met : callable, optional
        Told of each task that has moved, and of new ones; returns the label of their waits.
    """

    def __init__(
        self, stacks: Stacks, rows: Rows, at: Moment, met: Callable[[Any], int] = lambda _: -1
    ) -> None:
        self._stacks, self._rows, self._told = stacks, rows, met
        self._waits: dict[int, _Wait] = {}  # by the task's id
        self._forest = Forest()
        self._last = at

    def look(self, tasks: Iterable[Any], at: Moment, *, fair: bool) -> None:
        """Take in how the tasks stand now.

        Parameters
        ----------
        tasks : iterable
            All of the loop's that are not done.
        at : Moment
        fair : bool
            Whether the moment was chosen by the loop's idle time alone. If not, the idle time of
            those that moved is given to what they wait at when they are met next.
        """
        before = self._waits
        seen: dict[int, _Wait] = {}
        fresh: list[tuple[Any, Any, int]] = []
        idle = at.idle - self._last.idle
        unread = 0
        for task in tasks:
            waiter = getattr(task, "_fut_waiter", None)
            if waiter is None:
                continue
            wait = before.get(id(task))
            if wait is not None and wait.waiter() is waiter and wait.task() is task:
                seen[id(task)] = wait
                if fair and wait.owed:
                    wait.credit, wait.owed = wait.credit + wait.owed, 0
            elif len(fresh) < READ_AT_ONCE:
                owed = wait.owed if wait is not None and wait.task() is task else 0
                fresh.append((task, waiter, owed + idle))
            else:
                unread += 1
        # Whose place among the others has to be found anew, and whose stack.
        lost: set[Any] = set()
        stale: set[Any] = set()
        if len(seen) < len(before):  # some have ended or moved
            for key, wait in before.items():
                if key not in seen:
                    self._pay(wait)
                    stale.add(self._forest.parents[key])
                    lost |= self._forest.remove(key)
        self._waits = seen
        for task, waiter, owed in fresh:
            label = self._told(task)
            wait = self._met(task, waiter, owed if fair else 0, 0 if fair else owed, at)
            if wait is not None:
                key = id(task)
                wait.label = label
                seen[key] = wait
                self._forest.add(key)
                lost.add(key)
        lost &= seen.keys()
        if any(may_wait_for_tasks(seen[key].waiter(), seen[key].chain) for key in lost):
            lost.update(key for key, parent in self._forest.parents.items() if parent is None)
        self._arrange(lost, stale & seen.keys(), at)
        if unread and fair:
            stack = self._stacks.below(ROOT, (_NOT_READ,))
            self._rows.add(stack, -1, self._last.time, at.time, unread * idle)
        self._last = at

    def end(self) -> None:
        """Pay out what the tasks waited until the last look."""
        for wait in self._waits.values():
            self._pay(wait)
        self._waits = {}

    def _met(self, task: Any, waiter: Any, credit: int, owed: int, at: Moment) -> _Wait | None:
        get_coro = getattr(task, "get_coro", None)
        chain = chain_of(get_coro()) if get_coro is not None else ()
        if not chain:
            return None
        chain += frames_below(waiter)
        wait = _Wait()
        try:
            wait.task, wait.waiter = weakref.ref(task), weakref.ref(waiter)
        except TypeError:  # a future of the program's own
            return None
        wait.chain, wait.way, wait.stack = chain, ROOT, None
        # When it began is not known: in the idle time before this look, as a rule.
        wait.begin, wait.since = max(at.time - credit, self._last.time), at.now
        wait.credit, wait.owed = credit, owed
        return wait

    def _arrange(self, lost: set[int], stale: set[int], at: Moment) -> None:
        """Find the places of some tasks among the others, and what changes by that."""
        forest = self._forest
        known: dict[int, list[Any]] = {}
        for key in lost:
            forest.hang(key, map(id, awaiters_of(self._waits[key].task(), known)))
        again = [*lost]
        while again:
            key = again.pop()
            wait, parent = self._waits[key], forest.parents[key]
            if parent is not None:
                stale.add(parent)
            way = self._stacks.below(
                ROOT if parent is None else self._waits[parent].way, wait.chain
            )
            stale.add(key)
            if way != wait.way:
                wait.way = way
                again.extend(forest.children(key))
        for key in stale:
            wait = self._waits[key]
            stack = None if forest.children(key) else wait.way
            if stack != wait.stack:
                if wait.since < at.now:
                    # From the last look on it waits in its new place.
                    self._pay(wait)
                    wait.begin, wait.since, wait.credit = self._last.time, self._last.now, 0
                wait.stack = stack

    def _pay(self, wait: _Wait) -> None:
        """Write down what it waited until the last look."""
        waited = wait.credit + max(0, self._last.now - wait.since)
        if wait.stack is not None and waited > 0:
            last = max(self._last.time, wait.begin)
            self._rows.add(wait.stack, wait.label, wait.begin, last, waited)
