"""What ran in this notebook and what it cost: a line a run of a cell, and its profile for a while.

Must not know IPython, nor how a profile is taken or shown.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, NamedTuple

from .._profile.names import short
from .._profile.rows import aggregate
from .._profile.tables import measure
from .._profile.words import format_ns, shown

if TYPE_CHECKING:
    from .._profile.model import Profile

# What profiles may take together, and how many lines are kept without them.
KEPT_BYTES = 64 << 20
KEPT_RUNS = 10_000

# Objects of strings and dicts take about this much besides their characters.
_OBJECT_BYTES = 80


class Top(NamedTuple):
    """The function in which a run spent most time of its own; `share` is of all that was measured.

    `measured` says what that was: "CPU time", "wall time".
    """

    function: str
    share: float
    measured: str


class Run:
    """One run of a cell.

    Parameters
    ----------
    text : str
        The cell as it was written.
    number : int or None
        What the notebook counts it by; None where it is not counted.
    wall_ns, cpu_ns : int
        On the clock, and of the processors: of all threads of the process.
    failure : str
        Name of the exception that ended it; empty where none did.
    profile : Profile or None
        As it was taken; None where there is none.
    localise : callable
        Makes of it what is shown. Called once, when somebody first looks.
    """

    def __init__(
        self,
        text: str,
        number: int | None,
        *,
        wall_ns: int,
        cpu_ns: int,
        failure: str = "",
        profile: Profile | None = None,
        localise: Callable[[Profile], Profile] | None = None,
    ) -> None:
        self.text, self.number = text, number
        self.wall_ns, self.cpu_ns, self.failure = wall_ns, cpu_ns, failure
        self.thinned = False
        self._profile, self._localise = profile, localise
        self._bytes: int | None = None  # of the profile; None: to be counted
        self._samples: int | None = None
        self._top: Top | None = None

    @property
    def profile(self) -> Profile | None:
        """What is shown of it; None where none was taken, or it is kept no longer."""
        if self._profile is not None and self._localise is not None:
            self._profile = self._localise(self._profile)
            self._localise = self._bytes = None
        return self._profile

    @property
    def has_profile(self) -> bool:
        """Whether `profile` is there, without looking into it."""
        return self._profile is not None

    @property
    def samples(self) -> int | None:
        """Samples of its profile; None where none was taken."""
        self._summarise()
        return self._samples

    @property
    def top(self) -> Top | None:
        """Its most expensive function; None without samples."""
        self._summarise()
        return self._top

    @property
    def kept_bytes(self) -> int:
        """Memory of its profile, without looking into it."""
        if self._bytes is None:
            self._bytes = 0 if self._profile is None else bytes_of(self._profile)
        return self._bytes

    @property
    def title(self) -> str:
        """``In [3]``, or ``In [ ]`` of a cell that is not counted."""
        return f"In [{' ' if self.number is None else self.number}]"

    @property
    def first_line(self) -> str:
        """The first line that says something: no comment, no magic, if there is another."""
        lines = [line.strip() for line in self.text.splitlines() if line.strip()]
        telling = (line for line in lines if not line.startswith(("#", "%%")))
        return next(telling, lines[0] if lines else "")

    def thin(self) -> None:
        """Give up when samples were taken; how many there are of each stack stays."""
        profile = self.profile
        self._summarise()
        if profile is not None:
            self._profile = type(profile)._of(aggregate(profile._tables))
            self._bytes = None
        self.thinned = True

    def drop(self) -> None:
        """Give up the profile; the line stays."""
        self._summarise()
        self._profile = self._localise = self._bytes = None

    def _summarise(self) -> None:
        if self._samples is not None or self.profile is None:
            return
        profile = self.profile
        self._samples = profile.sample_count
        for entry in profile.top(1, by="self"):
            name = shown(short(entry.function_name, entry.is_native))
            self._top = Top(name, entry.self_share, measure(profile.mode))


def bytes_of(profile: Profile) -> int:
    """Memory that a profile takes, about."""
    t = profile._tables
    columns = (memoryview(t.column(name)) for name in t.column_types)
    strings = sum(map(len, t.strings)) + _OBJECT_BYTES * (len(t.strings) + len(t.threads))
    return sum(column.nbytes for column in columns) + strings


class History:
    """The runs of a notebook's cells, oldest first.

    Profiles together take at most `kept_bytes`, the latest one excepted: over that the oldest are
    thinned to counts, then, where all are, the oldest dropped. Lines stay, the latest `kept_runs`
    of them.
    """

    def __init__(self, kept_bytes: int = KEPT_BYTES, kept_runs: int = KEPT_RUNS) -> None:
        self._kept_bytes, self._kept_runs = kept_bytes, kept_runs
        self._runs: list[Run] = []
        # What profiles take at most: to count anew at each cell would cost more than profiling it.
        self._at_most = 0

    def __iter__(self) -> Iterator[Run]:
        return iter(list(self._runs))

    def __len__(self) -> int:
        return len(self._runs)

    @property
    def kept_bytes(self) -> int:
        """Memory that profiles take now."""
        return sum(run.kept_bytes for run in self._runs)

    def add(self, run: Run) -> None:
        """Add a run, and make room for it."""
        self._runs.append(run)
        del self._runs[: -self._kept_runs]
        self._at_most += run.kept_bytes
        if self._at_most > self._kept_bytes:
            self._make_room()
            self._at_most = self.kept_bytes

    def last(self) -> Run | None:
        """The latest run that has a profile; where none has, the latest."""
        found = (run for run in reversed(self._runs) if run.has_profile)
        return next(found, self._runs[-1] if self._runs else None)

    def cell(self, number: int) -> Run | None:
        """The run of the cell that the notebook counts by `number`."""
        return next((run for run in reversed(self._runs) if run.number == number), None)

    def before(self, run: Run) -> Run | None:
        """The run before this one of a cell of the same text."""
        at = self._runs.index(run)
        text = run.text.strip()
        return next((r for r in reversed(self._runs[:at]) if r.text.strip() == text), None)

    def change(self, run: Run) -> float | None:
        """Change of the time on the clock against the run before: 0.1 is a tenth more."""
        before = self.before(run)
        return None if before is None or not before.wall_ns else run.wall_ns / before.wall_ns - 1

    def _make_room(self) -> None:
        older = self._runs[:-1]
        excess = self.kept_bytes - self._kept_bytes
        for run in older:
            if excess > 0 and not run.thinned:
                excess -= run.kept_bytes
                run.thin()
                excess += run.kept_bytes
        for run in older:
            if excess > 0:
                excess -= run.kept_bytes
                run.drop()


def change_in_words(change: float | None) -> str:
    """``+12 %``, ``x3.1``; empty where there is nothing to compare with."""
    if change is None:
        return ""
    return f"{change * 100:+.0f} %" if change < 1 else f"x{change + 1:.1f}"


def history_lines(history: History) -> list[str]:
    """A heading, and a line for each run."""
    lines = [f"{'cell':>8} {'wall':>9} {'CPU':>9} {'change':>7} {'samples':>8}  top function"]
    for run in history:
        top = f"{run.top.function} ({run.top.share:.0%})" if run.top is not None else ""
        failure = f"[{run.failure}]" if run.failure else ""
        samples = "" if run.samples is None else run.samples
        lines.append(
            f"{run.title:>8} {format_ns(run.wall_ns):>9} {format_ns(run.cpu_ns):>9} "
            f"{change_in_words(history.change(run)):>7} {samples:>8}  "
            + "  ".join(filter(None, (top, failure)))
        )
    return lines
