"""Who waits for whom: from observed tasks, as plain values, to stacks that lead down to each.

Pure: must not know asyncio, loops or clocks.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from typing import Any

    Key = Any  # whatever tasks are known by
    # Name, file, first line of the definition, line that is awaited at.
    AwaitFrame = tuple[str, str, int, int]

ROOT = -1
_MOST = 50_000  # different ways down of a session; further ones are one
_NO_ROOM: AwaitFrame = ("[memory limit]", "", 0, 0)


class Forest:
    """Suspended tasks, each below one that waits for it, or a root.

    A task that several wait for is below the first of them. Of tasks that wait for each other in a
    circle one is a root.
    """

    def __init__(self) -> None:
        self.parents: dict[Key, Key | None] = {}
        self._children: dict[Key, set[Key]] = {}

    def add(self, task: Key) -> None:
        """Take in a task, as a root."""
        self.parents[task] = None

    def remove(self, task: Key) -> set[Key]:
        """Forget a task; those below it, which are roots now, are returned."""
        self._part(task)
        del self.parents[task]
        orphans = self._children.pop(task, set())
        for orphan in orphans:
            self.parents[orphan] = None
        return orphans

    def hang(self, task: Key, awaiters: Iterable[Key]) -> None:
        """Put a task below the first of those that wait for it, of which some may not be here."""
        self._part(task)
        for by in awaiters:
            if by in self.parents and task not in self.up_from(by):
                self.parents[task] = by
                self._children.setdefault(by, set()).add(task)
                return

    def children(self, task: Key) -> set[Key]:
        """The tasks right below one. Where there are none, its time is nobody else's."""
        return self._children.get(task, set())

    def up_from(self, task: Key) -> Iterator[Key]:
        """A task, and those above it."""
        at: Key | None = task
        while at is not None:
            yield at
            at = self.parents[at]

    def _part(self, task: Key) -> None:
        parent, self.parents[task] = self.parents[task], None
        if parent is not None:
            self._children[parent].discard(task)
            if not self._children[parent]:
                del self._children[parent]


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
