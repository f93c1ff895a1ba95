"""Questions to a profile about the labels of its samples.

A part of Profile and AggregatedProfile. Must not know how they are answered; imported with them, so
it imports nothing.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from .gil_holders import GilWaitList
    from .labels import RegionList
    from .tables import Tables


class Labelled:
    """What has samples that may carry labels."""

    _tables: Tables

    def waits(self) -> dict[str, int]:
        """Return how long threads waited for what, in ns, longest first.

        Only ``mode="wall"`` sees waiting.

        Returns
        -------
        dict
            By cause: ``"gil"``, ``"lock"`` (also of queues, events and futures), ``"sleep"``,
            ``"socket"`` (or one of several descriptors), ``"file"`` (or a pipe or terminal),
            ``"process"`` (a child's end), ``"thread"`` (another thread's end), ``"unknown"``.
        """
        from . import causes

        return causes.waits(self._tables)

    def waits_for_whom(self) -> GilWaitList:
        """Return which thread held the GIL, and where, while others waited for it.

        Only ``mode="wall"`` sees waiting, and only where the times of samples were kept it is known
        what another thread did at that time. Of threads that take turns within an interval each has
        its part: shares are as good as the samples are many.

        Returns
        -------
        list of GilWait
            By waiting thread, holder, and the holder's innermost function, most time first; its
            text is a table. Their `ns` together are ``waits()["gil"]``, but for rounding.
        """
        from . import gil_holders

        return gil_holders.waits_for_whom(self._tables)

    def regions(self, by: str = "path") -> RegionList:
        """Return the time of each region of the program; see `spprof.region`.

        Parameters
        ----------
        by : {"path", "name"}
            A row for each region with its values in each region around it; or one for each name.

        Returns
        -------
        list of RegionStats
            Each region before those inside of it, most time first.

        Raises
        ------
        ValueError
            Another `by`.
        """
        from . import labels

        return labels.regions(self._tables, by)
