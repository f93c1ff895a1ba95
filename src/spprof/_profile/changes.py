"""What a difference is asked for: its lists, and what its tests say.

Imported with the profile itself, so what answers is imported when it is asked. Must not know any
file format, nor what shows a difference.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from .compare import Difference, StackDiff


class Changes:
    """The questions to a `ProfileDiff`."""

    _found: Difference

    @property
    def noise(self) -> float:
        """By how much the times of whole runs were taken to differ; of several runs unused."""
        return self._found.tests.noise

    @property
    def changed(self) -> bool:
        """Whether the time of the whole changed by more than noise."""
        return self._found.tests.whole_changed

    def slower(self, limit: float, by: str = "time") -> list[tuple[StackDiff | None, float]]:
        """Return what takes longer than allowed, beyond noise, most first.

        Of two equal programs anything is returned in at most 5 % of comparisons.

        Parameters
        ----------
        limit : float
            0.05 for 5 %: of the time of a run before, or by share of the whole.
        by : {"time", "share"}
            By time, the whole run (None in what is returned) or a function whose share grew as
            well. By share, functions only, however long the runs took.

        Returns
        -------
        list of (StackDiff or None, float)
            And by how much it grew.

        Raises
        ------
        ValueError
            A negative limit, or another `by`.
        """
        found = self._found.folded()
        entries = {(d.functions[0], d.filenames[0]): d for d in found.functions}
        return [
            (None if each.key is None else entries[each.key], each.growth)
            for each in found.tests.slower(limit, by)
        ]

    @property
    def stacks(self) -> list[StackDiff]:
        """Every distinct stack of functions, threads together, largest change of share first."""
        return self._found.stacks

    @property
    def functions(self) -> list[StackDiff]:
        """The same per function, by its self time."""
        return self._found.functions

    def growing(self, n: int | None = 10) -> list[StackDiff]:
        """Return the functions whose share grew most."""
        from .queries import first_rows

        return first_rows(n, [d for d in self.functions if d.delta_share > 0])

    def shrinking(self, n: int | None = 10) -> list[StackDiff]:
        """Return the functions whose share shrank most."""
        from .queries import first_rows

        return first_rows(n, [d for d in self.functions if d.delta_share < 0])
