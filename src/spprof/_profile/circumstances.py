"""When and how a profile was taken, as its users ask for it.

A part of Profile and AggregatedProfile, imported with them, so it imports nothing. Must not know
samples.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from datetime import datetime

    from .processes import ProcessStats
    from .tables import Tables


class Circumstances:
    """What is known of a profile as a whole."""

    _tables: Tables

    @property
    def start_time(self) -> datetime:
        """When the profile began."""
        return self._tables.meta.start

    @property
    def end_time(self) -> datetime:
        """When the profile ended."""
        return self._tables.meta.end

    @property
    def interval_ms(self) -> float:
        """The sampling interval asked for, in milliseconds; 0 where it is unknown."""
        return float(self._tables.meta.interval_ns / 1e6)

    @property
    def mode(self) -> str:
        """``"cpu"`` or ``"wall"``: what weights measure; "" where it is unknown."""
        return self._tables.meta.mode

    @property
    def engine(self) -> str:
        """``"timer"`` or ``"ticker"``: how samples were taken; "" when not by spprof."""
        return self._tables.meta.engine

    @property
    def notes(self) -> tuple[str, ...]:
        """What a reader should know: fallbacks taken, limits reached."""
        return self._tables.meta.notes

    def processes(self) -> list[ProcessStats]:
        """Return the processes that the profile tells of, each before those that it made.

        Empty for a profile of one process. ``filter(process=...)`` chooses some.

        Returns
        -------
        list of ProcessStats
        """
        from . import processes

        return processes.tree(self._tables.meta.processes)

    @property
    def dropped_count(self) -> int:
        """Samples lost because a ring was full."""
        return self._tables.meta.dropped_count

    @property
    def python_version(self) -> str:
        """Version of the interpreter that was profiled."""
        return self._tables.meta.python_version

    @property
    def platform(self) -> str:
        """Operating system and machine that was profiled."""
        return self._tables.meta.platform

    @property
    def total_duration_ms(self) -> float:
        """Time from start to end in milliseconds, pauses not counted."""
        return self._tables.meta.duration_ns / 1e6
