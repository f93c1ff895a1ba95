"""Which thread held the GIL while another one waited for it.

Read from the times of a profile's samples; pure, and must not know how they are taken.
"""

from __future__ import annotations

from bisect import bisect_left
from dataclasses import dataclass
from typing import TYPE_CHECKING

from .names import short
from .tables import CAUSE_SHIFT, CAUSES, GIL_HELD, GIL_MASK, NATIVE, WAITING
from .values import Frame
from .words import format_ns, short_place, shown

if TYPE_CHECKING:
    from collections.abc import Iterator

    from .tables import FuncIndex, StackIndex, Tables, ThreadIndex

_GIL = CAUSES.index("gil")


@dataclass(frozen=True)
class GilWait:
    """Time that one thread waited for the GIL while another one held it in one function.

    Parameters
    ----------
    waiter, holder : str
        Names of the threads; the holder is "" where no other thread was seen with the GIL then.
    waiter_id, holder_id : int
        Their native ids; 0 where there is no holder.
    function : str
        Where the holder was, innermost; "" where there is none.
    ns : int
        For how long.
    stack : tuple of Frame
        The holder's stack, innermost call first: of several with this function the one that the
        most time was waited for.
    """

    waiter: str
    holder: str
    waiter_id: int
    holder_id: int
    function: str
    ns: int
    stack: tuple[Frame, ...] = ()

    def __str__(self) -> str:
        if not self.stack:
            held = "nobody seen with it"
        else:
            frame = self.stack[0]
            place = short_place(frame.filename, frame.lineno)
            named = shown(short(self.function, frame.is_native))
            held = f"{shown(self.holder)} in {named}" + (f"  {place}" if place else "")
        return f"{format_ns(self.ns):>9}  {shown(self.waiter)} for {held}"


class GilWaitList(list[GilWait]):
    """What `Profile.waits_for_whom` returns: a list whose text is a table."""

    def __str__(self) -> str:
        return "\n".join([f"{'waited':>9}  for the GIL", *map(str, self)])

    def _repr_pretty_(self, printer: object, cycle: bool) -> None:
        """IPython's text form of an output."""
        printer.text(str(self))  # type: ignore[attr-defined]


class _Held:
    """When one thread was seen with the GIL, and where: spans in order of their end."""

    def __init__(self) -> None:
        self._spans: list[tuple[int, int, StackIndex]] = []  # end, begin, stack
        self._longest = 0

    def add(self, begin: int, end: int, stack: StackIndex) -> None:
        self._spans.append((end, begin, stack))
        self._longest = max(self._longest, end - begin)

    def sort(self) -> None:
        self._spans.sort()

    def overlaps(self, begin: int, end: int) -> Iterator[tuple[StackIndex, int]]:
        """Stacks held at between two times, and for how long of that."""
        for place in range(bisect_left(self._spans, (begin,)), len(self._spans)):
            until, since, stack = self._spans[place]
            if until - self._longest >= end:
                return
            common = min(until, end) - max(since, begin)
            if common > 0:
                yield stack, common


def _span(time: int, last: int, weight: int) -> tuple[int, int]:
    """When a row's time was spent, as far as it tells: weights are what passed up to a sample."""
    end = max(time, last)
    return min(time, end - max(weight, 1)), end


def waits_for_whom(tables: Tables) -> GilWaitList:
    """See `Profile.waits_for_whom`.

    The time of a row of a thread that waits is shared among those of its process that were seen
    with the GIL in it, by how long.
    """
    waiting: list[tuple[ThreadIndex, int, int, int]] = []
    held: dict[tuple[str, int], dict[ThreadIndex, _Held]] = {}
    processes = [(thread["host"], thread["pid"]) for thread in tables.threads]
    for thread, stack, time, last, weight, state in zip(
        tables.sample_thread,
        tables.sample_stack,
        tables.sample_time,
        tables.sample_last,
        tables.sample_weight,
        tables.sample_state,
    ):
        begin, end = (0, 0) if time < 0 else _span(time, last, weight)
        if state & WAITING and state >> CAUSE_SHIFT == _GIL:
            waiting.append((thread, begin, end, weight))
        elif state & GIL_MASK == GIL_HELD and time >= 0:
            of_thread = held.setdefault(processes[thread], {}).setdefault(thread, _Held())
            of_thread.add(begin, end, stack)
    for threads in held.values():
        for spans in threads.values():
            spans.sort()
    found: dict[tuple[ThreadIndex, ThreadIndex | None, StackIndex | None], float] = {}
    for waiter, begin, end, weight in waiting:
        parts = [
            (holder, stack, common)
            for holder, spans in held.get(processes[waiter], {}).items()
            if holder != waiter
            for stack, common in spans.overlaps(begin, end)
        ]
        whole = sum(common for _, _, common in parts)
        for holder, stack, common in parts:
            key = (waiter, holder, stack)
            found[key] = found.get(key, 0) + weight * common / whole
        if not parts:
            found[waiter, None, None] = found.get((waiter, None, None), 0) + weight
    return _by_function(tables, found)


def _by_function(
    tables: Tables, found: dict[tuple[ThreadIndex, ThreadIndex | None, StackIndex | None], float]
) -> GilWaitList:
    """A row for each function that a holder was in; most time first."""
    sums: dict[tuple[ThreadIndex, ThreadIndex | None, FuncIndex | None], float] = {}
    most: dict[object, tuple[float, StackIndex]] = {}
    for (waiter, holder, stack), ns in found.items():
        func = None if stack is None else tables.frame_func[tables.stack_frame[stack]]
        key = (waiter, holder, func)
        sums[key] = sums.get(key, 0) + ns
        if stack is not None:
            most[key] = max(most.get(key, (-1.0, stack)), (ns, stack))
    result = GilWaitList()
    for key, ns in sorted(sums.items(), key=lambda item: -item[1]):
        waiter, holder, func = key
        by = tables.threads[waiter]
        of = None if holder is None else tables.threads[holder]
        result.append(
            GilWait(
                by["name"],
                of["name"] if of else "",
                by["tid"],
                of["tid"] if of else 0,
                "" if func is None else tables.strings[tables.func_name[func]],
                round(ns),
                tuple(_frames(tables, most[key][1])) if key in most else (),
            )
        )
    return result


def _frames(tables: Tables, stack: StackIndex) -> Iterator[Frame]:
    while stack >= 0:
        frame = tables.stack_frame[stack]
        func = tables.frame_func[frame]
        yield Frame(
            tables.strings[tables.func_name[func]],
            tables.strings[tables.func_file[func]],
            tables.frame_line[frame],
            bool(tables.func_flags[func] & NATIVE),
        )
        stack = tables.stack_parent[stack]
