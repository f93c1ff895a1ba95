"""Who waits for whom: from observed tasks, as plain values, to stacks that lead down to each.

Pure: must not know asyncio, loops or clocks.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Hashable, Iterator, Mapping, Sequence
    from typing import TypeVar

    Key = TypeVar("Key", bound=Hashable)
    # Name, file, first line of the definition, line that is awaited at.
    AwaitFrame = tuple[str, str, int, int]

ROOT = -1
_MOST = 50_000  # different ways down of a session; further ones are one
_NO_ROOM: AwaitFrame = ("[memory limit]", "", 0, 0)


def tree_of(awaiters: Mapping[Key, Sequence[Key]]) -> dict[Key, Key | None]:
    """Choose for each task the one that it is shown below, so that they make a forest.

    Parameters
    ----------
    awaiters : mapping
        For each suspended task those that wait for it. Who is no key of it is left out: it does not
        wait. Order matters: a task that several wait for is shown once, below the first.

    Returns
    -------
    dict
        The parent of each task; None for a root. Of tasks that wait for each other in a circle one
        is a root.
    """
    parents: dict[Key, Key | None] = {
        task: next((by for by in waiting if by in awaiters and by != task), None)
        for task, waiting in awaiters.items()
    }
    settled: set[Key] = set()
    for start in parents:
        way: dict[Key, None] = {}
        task: Key | None = start
        while task is not None and task not in settled:
            if task in way:
                parents[task] = None
                break
            way[task] = None
            task = parents[task]
        settled.update(way)
    return parents


def leaves(parents: Mapping[Key, Key | None]) -> set[Key]:
    """The tasks that none is shown below: the time of the others is that of these."""
    return set(parents) - set(parents.values())


def root_first(task: Key, parents: Mapping[Key, Key | None]) -> list[Key]:
    """The way from the root down to a task."""
    way = []
    at: Key | None = task
    while at is not None:
        way.append(at)
        at = parents[at]
    return way[::-1]


class Stacks:
    """Interned stacks of frames: the same numbers for the same way down."""

    def __init__(self) -> None:
        self.parents: list[int] = []
        self.frames: list[AwaitFrame] = []
        self._rows: dict[tuple[int, AwaitFrame], int] = {}
        self._chains: dict[tuple[int, tuple[AwaitFrame, ...]], int] = {}

    def below(self, stack: int, chain: tuple[AwaitFrame, ...]) -> int:
        """Return the stack that leads from `stack` (`ROOT`: none) through `chain`, root first."""
        found = self._chains.get((stack, chain))
        if found is None:
            if len(self._chains) >= _MOST:
                stack, chain = ROOT, (_NO_ROOM,)
            found = stack
            for frame in chain:
                row = self._rows.get((found, frame))
                if row is None:
                    row = self._rows[found, frame] = len(self.frames)
                    self.parents.append(found)
                    self.frames.append(frame)
                found = row
            self._chains[stack, chain] = found
        return found

    def __iter__(self) -> Iterator[tuple[int, AwaitFrame]]:
        """Parent and frame of each stack; a parent comes before what is below it."""
        return iter(zip(self.parents, self.frames))
