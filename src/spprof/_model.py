"""The profile as its users see it: Frame, Sample, Profile and what they can be asked.

Must not know how samples are taken, how a file format looks inside, nor IPython.
"""

from __future__ import annotations

import os
import platform as platform_module
import sys
from array import array
from bisect import bisect_right
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from itertools import accumulate
from typing import TYPE_CHECKING, Any, Callable, Union, overload

from . import _columns as columns
from ._columns import Builder, Tables

if TYPE_CHECKING:
    import pandas

    from ._compare import ProfileDiff
    from ._queries import CallNode, FunctionStats, Pattern

__all__ = [
    "AggregatedProfile",
    "AggregatedStack",
    "Frame",
    "NativeFrame",
    "Profile",
    "ProfilerStats",
    "Sample",
    "StackTrace",
    "ThreadSummary",
    "diff",
    "merge",
]

PathLike = Union[str, "os.PathLike[str]"]


@dataclass(frozen=True)
class Frame:
    """One function call in a stack.

    Parameters
    ----------
    function_name : str
        Qualified name (``Class.method``) where the interpreter knows it.
    filename : str
        Source file of a Python function, module path of a native one.
    lineno : int
        The line being executed, not the function's first; 0 where unknown.
    is_native : bool
        True for machine code (C, C++, Rust, ...).
    """

    function_name: str
    filename: str
    lineno: int
    is_native: bool = False

    def __str__(self) -> str:
        where = f"{self.filename}:{self.lineno}" if self.lineno else self.filename
        return f"{self.function_name} ({where})"


@dataclass(frozen=True)
class NativeFrame:
    """A frame of the C stack, as `capture_native_stack` returns it.

    Parameters
    ----------
    ip : int
        Instruction pointer.
    symbol : str
        Demangled name, or "" where it is not resolved.
    filename : str
        Path of the module (executable or shared library).
    offset : int
        Bytes from the start of the symbol.
    resolved : bool
        Whether a symbol was found.
    """

    ip: int
    symbol: str
    filename: str
    offset: int
    resolved: bool


@dataclass(frozen=True)
class Sample:
    """One look at one thread.

    Parameters
    ----------
    timestamp_ns : int or None
        Nanoseconds on a monotonic clock; for profiles taken by spprof since the start of the
        profile. None where the memory limit ended the keeping of timestamps.
    thread_id : int
        Native id of the thread.
    thread_name : str
        Its name when it was sampled.
    frames : sequence of Frame
        ``frames[0]`` is the innermost call. Lists are turned into tuples.
    weight_ns : int, optional
        Time that this sample stands for. None: one sampling interval.
    state : {"running", "waiting"}
        Waiting samples occur in ``mode="wall"`` only.
    holds_gil : bool, optional
        Whether the thread held the GIL; None where that is unknown.
    """

    timestamp_ns: int | None
    thread_id: int
    thread_name: str
    frames: Sequence[Frame]
    weight_ns: int | None = None
    state: str = "running"
    holds_gil: bool | None = None

    def __post_init__(self) -> None:
        if not isinstance(self.frames, tuple):
            object.__setattr__(self, "frames", tuple(self.frames))


@dataclass(frozen=True)
class StackTrace:
    """The frames of one stack, innermost first; behaves as a sequence of Frame.

    Parameters
    ----------
    frames : sequence of Frame
        ``frames[0]`` is the innermost call. Lists are turned into tuples.
    thread_id : int
    thread_name : str
    """

    frames: Sequence[Frame]
    thread_id: int = 0
    thread_name: str = ""

    def __post_init__(self) -> None:
        if not isinstance(self.frames, tuple):
            object.__setattr__(self, "frames", tuple(self.frames))

    @property
    def depth(self) -> int:
        """Number of frames."""
        return len(self.frames)

    def __len__(self) -> int:
        return len(self.frames)

    def __iter__(self) -> Iterator[Frame]:
        return iter(self.frames)

    def __getitem__(self, index: int) -> Frame:
        return self.frames[index]

    def __str__(self) -> str:
        return "\n".join(f"  at {frame}" for frame in self.frames)


@dataclass(frozen=True)
class AggregatedStack:
    """A distinct stack of one thread and how often it was seen.

    Parameters
    ----------
    frames : sequence of Frame
        ``frames[0]`` is the innermost call. Lists are turned into tuples.
    thread_id : int
    thread_name : str
    count : int
        Samples that saw exactly this stack.
    weight_ns : int, optional
        Time these samples stand for. None: `count` sampling intervals.
    """

    frames: Sequence[Frame]
    thread_id: int
    thread_name: str
    count: int
    weight_ns: int | None = None

    def __post_init__(self) -> None:
        if not isinstance(self.frames, tuple):
            object.__setattr__(self, "frames", tuple(self.frames))

    @property
    def trace(self) -> StackTrace:
        """The frames with their thread, without the counts."""
        return StackTrace(self.frames, self.thread_id, self.thread_name)


@dataclass(frozen=True)
class ProfilerStats:
    """What a running session has done so far.

    Parameters
    ----------
    collected_samples, dropped_samples : int
        Samples kept, and samples lost because a ring was full.
    duration_ms : float
        Time since `start`, pauses not counted.
    overhead_estimate_pct : float
        Time spent in the signal handler as a share of the sampled threads' time, in percent;
        measured by the handler itself.
    handler_mean_ns, handler_worst_ns : int or float
        Time one run of the handler takes.
    threads : int
        Threads being sampled.
    memory_bytes : int
        Memory of rings, stacks and columns together.
    failed_samples : int
        Samples given up because a frame could not be read.
    mismatched_samples : int
        Samples in which native and Python frames could not be matched one to one.
    """

    collected_samples: int
    dropped_samples: int
    duration_ms: float
    overhead_estimate_pct: float
    handler_mean_ns: float = 0.0
    handler_worst_ns: float = 0.0
    threads: int = 0
    memory_bytes: int = 0
    failed_samples: int = 0
    mismatched_samples: int = 0


@dataclass(frozen=True)
class ThreadSummary:
    """One thread of a profile.

    Parameters
    ----------
    thread_id : int
    name : str
    samples : int
    weight_ns : int
        Time its samples stand for.
    gil_share : float or None
        Share (0 to 1) of its time during which it held the GIL; None where that is unknown.
    pid : int
        Process; 0 where unknown.
    host : str
        "" for the machine that took the profile.
    """

    thread_id: int
    name: str
    samples: int
    weight_ns: int
    gil_share: float | None = None
    pid: int = 0
    host: str = ""


_STATES = {"running": 0, "waiting": columns.WAITING}
_GIL = {None: 0, False: columns.GIL_NOT_HELD, True: columns.GIL_HELD}
_GIL_OF_STATE = {0: None, columns.GIL_NOT_HELD: False, columns.GIL_HELD: True}


def _frames_of_tables(tables: Tables) -> list[Frame]:
    names = tables.strings
    return [
        Frame(
            names[tables.func_name[func]],
            names[tables.func_file[func]],
            line,
            bool(tables.func_flags[func] & columns.NATIVE),
        )
        for func, line in zip(tables.frame_func, tables.frame_line)
    ]


class _StackFrames:
    """Frames of each stack as tuples, made when first asked for and then kept."""

    def __init__(self, tables: Tables) -> None:
        self._tables = tables
        self._frames: list[Frame] | None = None
        self._stacks: dict[int, tuple[Frame, ...]] = {}

    def __getitem__(self, stack: int) -> tuple[Frame, ...]:
        found = self._stacks.get(stack)
        if found is None:
            if self._frames is None:
                self._frames = _frames_of_tables(self._tables)
            collected = []
            row = stack
            while row >= 0:
                collected.append(self._frames[self._tables.stack_frame[row]])
                row = self._tables.stack_parent[row]
            if len(collected) == 1 and collected[0] == Frame(columns.NO_FRAMES, "", 0):
                collected = []
            found = self._stacks[stack] = tuple(collected)
        return found


class SampleSequence(Sequence[Sample]):
    """The samples of a profile, each made when asked for.

    A stored run of n equal samples appears as n samples with timestamps evenly spread over the
    run and weights whose sum is exactly the run's. Slices are lazy too. Compares equal to any
    sequence with equal samples.
    """

    def __init__(self, profile: Profile, indices: range | None = None) -> None:
        self._profile = profile
        self._indices = range(profile.sample_count) if indices is None else indices

    def __len__(self) -> int:
        return len(self._indices)

    @overload
    def __getitem__(self, index: int) -> Sample: ...
    @overload
    def __getitem__(self, index: slice) -> SampleSequence: ...
    def __getitem__(self, index: int | slice) -> Sample | SampleSequence:
        if isinstance(index, slice):
            return SampleSequence(self._profile, self._indices[index])
        try:
            position = self._indices[index]
        except IndexError:
            raise IndexError(f"sample {index} of {len(self)}") from None
        row, offset = self._profile._row_of_sample(position)
        return self._profile._sample(row, offset)

    def __iter__(self) -> Iterator[Sample]:
        indices = self._indices
        if indices.step != 1 or not indices:
            for index in range(len(indices)):
                yield self[index]
            return
        profile = self._profile
        counts = profile._tables.sample_count
        row, offset = profile._row_of_sample(indices.start)
        left = len(indices)
        while left:
            yield profile._sample(row, offset)
            left -= 1
            offset += 1
            if offset == counts[row]:
                row, offset = row + 1, 0

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Sequence) or isinstance(other, (str, bytes)):
            return NotImplemented
        return len(self) == len(other) and all(a == b for a, b in zip(self, other))

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        return f"<{len(self)} samples>"


class _Described:
    """What Profile and AggregatedProfile share: circumstances, sums, outputs; all over columns."""

    _tables: Tables

    def _for_output(self) -> Profile:
        raise NotImplementedError

    @property
    def start_time(self) -> datetime:
        """When the profile began."""
        return parse_time(self._tables.meta["start_time"])

    @property
    def end_time(self) -> datetime:
        """When the profile ended."""
        return parse_time(self._tables.meta["end_time"])

    @property
    def interval_ms(self) -> float:
        """The sampling interval asked for, in milliseconds; 0 where it is unknown."""
        return float(self._tables.meta["interval_ns"] / 1e6)

    @property
    def mode(self) -> str:
        """``"cpu"`` or ``"wall"``: what weights measure; "" where it is unknown."""
        return str(self._tables.meta.get("mode", ""))

    @property
    def engine(self) -> str:
        """``"timer"`` or ``"ticker"``: how samples were taken; "" when not by spprof."""
        return str(self._tables.meta.get("engine", ""))

    @property
    def notes(self) -> tuple[str, ...]:
        """What a reader should know: fallbacks taken, limits reached."""
        return tuple(self._tables.meta.get("notes", ()))

    @property
    def dropped_count(self) -> int:
        """Samples lost because a ring was full."""
        return int(self._tables.meta.get("dropped_count", 0))

    @property
    def python_version(self) -> str:
        """Version of the interpreter that was profiled."""
        return str(self._tables.meta.get("python_version", ""))

    @property
    def platform(self) -> str:
        """Operating system and machine that was profiled."""
        return str(self._tables.meta.get("platform", ""))

    @property
    def total_duration_ms(self) -> float:
        """Time from start to end in milliseconds, pauses not counted."""
        return float(self._tables.meta["duration_ns"] / 1e6)

    @property
    def total_weight_ns(self) -> int:
        """Time that all samples together stand for, in nanoseconds, summed over threads."""
        return sum(self._tables.sample_weight)

    @property
    def threads(self) -> tuple[ThreadSummary, ...]:
        """One summary a thread, in the order in which threads were first sampled."""
        t = self._tables
        n = len(t.threads)
        samples, weights = [0] * n, [0] * n
        by_gil = [[0] * (columns.GIL_MASK + 1) for _ in range(n)]
        rows = zip(t.sample_thread, t.sample_count, t.sample_weight, t.sample_state)
        for thread, count, weight, state in rows:
            samples[thread] += count
            weights[thread] += weight
            by_gil[thread][state & columns.GIL_MASK] += weight
        summaries = []
        for index, entry in enumerate(t.threads):
            held = by_gil[index][columns.GIL_HELD]
            known = held + by_gil[index][columns.GIL_NOT_HELD]
            summaries.append(
                ThreadSummary(
                    entry["tid"],
                    entry["name"],
                    samples[index],
                    weights[index],
                    held / known if known else None,
                    entry["pid"],
                    entry["host"],
                )
            )
        return tuple(summaries)

    def top(
        self, n: int | None = 10, by: str = "self", *, lines: bool = False
    ) -> list[FunctionStats]:
        """Return the functions (or lines) in which most time was spent.

        Parameters
        ----------
        n : int or None
            At most so many; None for all.
        by : {"self", "total"}
            Time in the function itself, or with what it calls. A recursive function counts once.
        lines : bool
            One entry for each executed line instead of each function.

        Raises
        ------
        ValueError
            `by` is something else.
        """
        from . import _queries

        return _queries.top(self._tables, n, by, lines=lines)

    def tree(self, *, lines: bool = False) -> CallNode:
        """Return the call tree of all threads; the root stands for the whole profile.

        Parameters
        ----------
        lines : bool
            One node for each executed line instead of each function.
        """
        from . import _queries

        return _queries.tree(self._tables, lines=lines)

    def to_speedscope(self, name: str | None = None, *, lines: bool = False) -> dict[str, Any]:
        """Return the profile as a Speedscope document.

        One sampled profile a thread, root first, weights in nanoseconds.

        Parameters
        ----------
        name : str, optional
            Title shown by Speedscope.
        lines : bool
            False: one frame a function, at its first line where that is known. True: one frame
            for each executed line.

        Returns
        -------
        dict
            To be written with `json.dump`.
        """
        from .formats import speedscope

        return speedscope.to_dict(self._for_output(), name=name, lines=lines)

    def to_collapsed(self, *, lines: bool = False) -> str:
        """Return the profile as collapsed ("folded") stacks, one ``a;b;c 12`` a line.

        The number counts samples. Frames read ``function (file:line)``, native ones
        ``function (module)``; `formats.collapsed` says how odd names are escaped.

        Parameters
        ----------
        lines : bool
            False: the line is the function's first where that is known. True: it is the
            executed line.
        """
        from .formats import collapsed

        return collapsed.to_text(self._for_output(), lines=lines)

    def save(self, path: PathLike, format: str | None = None, **options: Any) -> None:
        """Write the profile to a file, whole or not at all.

        Parameters
        ----------
        path : path-like
            An existing file is replaced once the new one is complete.
        format : str, optional
            A name from `spprof.formats.FORMATS`; without it the file's extension decides, and
            "speedscope" where that says nothing.
        **options
            What the format's `dump` takes.

        Raises
        ------
        ValueError
            The format does not exist.
        FileNotFoundError, IsADirectoryError, PermissionError
            The path cannot be written; the message says what to do.
        """
        from . import formats

        formats.save(self._for_output(), path, format, **options)


def _now() -> datetime:
    return datetime.now(timezone.utc).astimezone()


def parse_time(text: str) -> datetime:
    """Parse ISO 8601, with the ``Z`` that Python before 3.11 does not know.

    Raises
    ------
    ValueError
    """
    return datetime.fromisoformat(text[:-1] + "+00:00" if text.endswith("Z") else text)


class Profile(_Described):
    """Samples of all threads over a span of time.

    Parameters
    ----------
    start_time, end_time : datetime
    interval_ms : float
        The sampling interval asked for; 0 where it is unknown.
    samples : iterable of Sample
        Samples without a weight stand for one interval each.
    dropped_count : int
        Samples lost because they came faster than they could be stored.
    python_version, platform : str
        Of the profiled process; of this one without them.
    mode : {"cpu", "wall", ""}
        What weights measure.
    engine : {"timer", "ticker", ""}
        How the samples were taken; "" when not by spprof.
    notes : sequence of str
        What a reader should know: fallbacks, limits reached.

    Raises
    ------
    ValueError
        `end_time` before `start_time`, a negative interval, timestamp or weight, or an unknown
        state.

    Notes
    -----
    Behind a profile stand columns (see docs/ARCHITECTURE.md); `samples` is a lazy view of them.
    Profiles compare equal when their samples and circumstances do, pickle, and cannot be changed.
    """

    def __init__(
        self,
        start_time: datetime,
        end_time: datetime,
        interval_ms: float,
        samples: Iterable[Sample] = (),
        dropped_count: int = 0,
        python_version: str | None = None,
        platform: str | None = None,
        *,
        mode: str = "cpu",
        engine: str = "",
        notes: Sequence[str] = (),
    ) -> None:
        meta = _meta(
            start_time,
            end_time,
            interval_ms,
            dropped_count,
            python_version,
            platform,
            mode=mode,
            engine=engine,
            notes=notes,
        )
        tables = _tables_from_samples(samples, meta["interval_ns"])
        tables.meta.update(meta)
        self._adopt(tables)

    def _adopt(self, tables: Tables) -> None:
        self._tables = tables
        self._stack_frames = _StackFrames(tables)
        self._sample_count = sum(tables.sample_count)
        self._ends: array[int] | None = None
        self._weights_assumed = tables.meta.get("weights") == "samples"

    @classmethod
    def _of(cls, tables: Tables) -> Profile:
        profile = cls.__new__(cls)
        profile._adopt(tables)
        return profile

    @classmethod
    def _from_tables(cls, tables: dict[str, Any]) -> Profile:
        """Build a profile over what `_native.stop()` returns, without copying its columns."""
        return cls._of(
            Tables.from_bytes(
                tables["columns"], tables["strings"], tables["threads"], tables["meta"]
            )
        )

    def _row_of_sample(self, position: int) -> tuple[int, int]:
        if self._sample_count == self._tables.rows:
            return position, 0
        if self._ends is None:
            self._ends = array("Q", accumulate(self._tables.sample_count))
        row = bisect_right(self._ends, position)
        return row, position - (self._ends[row - 1] if row else 0)

    def _sample(self, row: int, offset: int) -> Sample:
        t = self._tables
        count, weight, state = t.sample_count[row], t.sample_weight[row], t.sample_state[row]
        time: int | None = t.sample_time[row]
        if time is not None and time < 0:
            time = None
        elif time is not None and offset:
            time += (t.sample_last[row] - time) * offset // (count - 1)
        thread = t.threads[t.sample_thread[row]]
        return Sample(
            time,
            thread["tid"],
            thread["name"],
            self._stack_frames[t.sample_stack[row]],
            None
            if self._weights_assumed
            else weight * (offset + 1) // count - weight * offset // count,
            "waiting" if state & columns.WAITING else "running",
            _GIL_OF_STATE.get(state & columns.GIL_MASK),
        )

    def _for_output(self) -> Profile:
        return self

    # Content

    @property
    def samples(self) -> Sequence[Sample]:
        """All samples, lazily; see `SampleSequence`."""
        return SampleSequence(self)

    @property
    def sample_count(self) -> int:
        """Number of samples, those inside of runs included."""
        return self._sample_count

    @property
    def effective_rate_hz(self) -> float:
        """Samples per second that were really taken.

        Where weights are measured, per second of measured weight: in ``mode="cpu"`` that is per
        second of CPU time of a busy thread, so that idle threads and several busy ones do not
        distort it. Elsewhere per second of the profile's duration. 0 for an empty profile.
        """
        if self._weights_assumed:
            seconds = self._tables.meta["duration_ns"] / 1e9
        else:
            seconds = self.total_weight_ns / 1e9
        return self._sample_count / seconds if seconds > 0 else 0.0

    def aggregate(self) -> AggregatedProfile:
        """Return counts and weights per thread and distinct stack, without timestamps."""
        return AggregatedProfile._of_profile(self)

    # Questions

    def filter(
        self,
        *,
        thread: int | Pattern | None = None,
        function: Pattern | None = None,
        module: Pattern | None = None,
        start_ms: float | None = None,
        end_ms: float | None = None,
        state: str | None = None,
        predicate: Callable[[Sample], bool] | None = None,
    ) -> Profile:
        """Return a profile of the samples that meet every condition given.

        Parameters
        ----------
        thread : int, str or compiled regular expression, optional
            Thread id, or name; ``*`` and ``?`` in a string are wildcards.
        function : str or compiled regular expression, optional
            Some frame's function has this (qualified) name; wildcards as above.
        module : str or compiled regular expression, optional
            Some frame belongs to this module: a dotted name (``numpy.linalg``), a file name, or
            a path with wildcards. A regular expression is searched for in the path.
        start_ms, end_ms : float, optional
            Half-open range of time since the start of the profile. Samples whose timestamp was
            not kept are not in any range.
        state : {"running", "waiting"}, optional
        predicate : callable, optional
            Called with each remaining Sample; slow, but takes any condition.

        Raises
        ------
        ValueError
            An unknown state.
        """
        from . import _queries

        tables = _queries.select(
            self._tables,
            thread=thread,
            function=function,
            module=module,
            start_ns=None if start_ms is None else round(start_ms * 1e6),
            end_ns=None if end_ms is None else round(end_ms * 1e6),
            state=state,
        )
        selected = Profile._of(tables)
        if predicate is None:
            return selected
        kept = _queries.keep_samples(tables, [bool(predicate(s)) for s in selected.samples])
        return Profile._of(kept)

    def focus(self, function: Pattern) -> Profile:
        """Return a profile of only the calls of `function`, as if it were the program.

        Samples without it are left out; its callers are cut off, so that its outermost call
        becomes the root.

        Parameters
        ----------
        function : str or compiled regular expression
            As for `filter`.
        """
        from . import _queries

        return Profile._of(_queries.focus(self._tables, function))

    def ignore(self, function: Pattern) -> Profile:
        """Return a profile without the samples that have `function` anywhere in their stack.

        Parameters
        ----------
        function : str or compiled regular expression
            As for `filter`.
        """
        from . import _queries

        return Profile._of(_queries.select(self._tables, function=function, invert=True))

    def to_dataframe(self) -> pandas.DataFrame:
        """Return one row a run of equal samples, as a pandas DataFrame.

        Columns: ``time_ns`` and ``last_ns`` (first and last timestamp; <NA> where not kept),
        ``thread_id``, ``thread_name``, ``pid``, ``host``, ``samples``, ``weight_ns``, ``state``,
        ``holds_gil``, and of the innermost frame ``function``, ``filename``, ``lineno``,
        ``is_native``; ``stack`` joins the function names, root first, with ``;``.

        Raises
        ------
        ImportError
            pandas is not installed.
        """
        from . import _queries

        return _queries.to_dataframe(self._tables)

    def merge(self, *others: Profile) -> Profile:
        """Return this profile and others as one; see `spprof.merge`."""
        return merge(self, *others)

    def diff(self, after: Profile) -> ProfileDiff:
        """Return what changed from this profile to `after`; see `spprof.diff`."""
        return diff(self, after)

    # Python's own questions

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Profile):
            return NotImplemented
        from . import _compare

        return _compare.equal(self._tables, other._tables)

    __hash__ = None  # type: ignore[assignment]

    def __reduce__(self) -> tuple[Any, ...]:
        from .formats import container

        return _unpickle, (container.encode(self),)

    def __repr__(self) -> str:
        return (
            f"<Profile: {self.sample_count} samples, {len(self._tables.threads)} threads, "
            f"{self.total_duration_ms / 1e3:.2f} s>"
        )

    def __str__(self) -> str:
        from . import _queries

        return _queries.summary(self)


def _unpickle(data: bytes) -> Profile:
    from .formats import container

    return container.decode(data)


class AggregatedProfile(_Described):
    """Samples counted per thread and distinct stack.

    Parameters
    ----------
    start_time, end_time, interval_ms, dropped_count, python_version, platform, mode, engine, notes
        As for `Profile`.
    stacks : iterable of AggregatedStack
    """

    def __init__(
        self,
        start_time: datetime,
        end_time: datetime,
        interval_ms: float,
        stacks: Iterable[AggregatedStack] = (),
        dropped_count: int = 0,
        python_version: str | None = None,
        platform: str | None = None,
        *,
        mode: str = "cpu",
        engine: str = "",
        notes: Sequence[str] = (),
    ) -> None:
        meta = _meta(
            start_time,
            end_time,
            interval_ms,
            dropped_count,
            python_version,
            platform,
            mode=mode,
            engine=engine,
            notes=notes,
        )
        builder = Builder()
        measured = False
        intern = _StackInterner(builder)
        for stack in stacks:
            weight = stack.weight_ns
            if stack.count < 1:
                raise ValueError(f"a stack's count must be at least 1, not {stack.count}")
            measured = measured or weight is not None
            builder.row(
                builder.thread(stack.thread_id, stack.thread_name),
                intern(stack.frames),
                count=stack.count,
                weight=stack.count * meta["interval_ns"] if weight is None else weight,
            )
        weights = "measured" if measured else "samples"
        builder.tables.meta.update(meta, weights=weights)
        self._adopt(Profile._of(builder.tables))

    def _adopt(self, profile: Profile) -> None:
        self._tables = columns.aggregate(profile._tables)
        self._profile = Profile._of(self._tables)
        self._stacks: tuple[AggregatedStack, ...] | None = None

    @classmethod
    def _of_profile(cls, profile: Profile) -> AggregatedProfile:
        aggregated = cls.__new__(cls)
        aggregated._adopt(profile)
        return aggregated

    def _for_output(self) -> Profile:
        return self._profile

    @property
    def stacks(self) -> tuple[AggregatedStack, ...]:
        """Every distinct stack of every thread, by thread."""
        if self._stacks is None:
            t = self._tables
            keys = _frames_of_tables(t)
            ids = columns.canonical_stacks(t, keys)
            sums: dict[tuple[int, int], list[int]] = {}
            rows = zip(t.sample_thread, t.sample_stack, t.sample_count, t.sample_weight)
            for thread, stack, count, weight in rows:
                entry = sums.setdefault((thread, ids[stack]), [stack, 0, 0])
                entry[1] += count
                entry[2] += weight
            frames = self._profile._stack_frames
            self._stacks = tuple(
                AggregatedStack(
                    frames[stack], t.threads[thread]["tid"], t.threads[thread]["name"], count, ns
                )
                for (thread, _), (stack, count, ns) in sums.items()
            )
        return self._stacks

    @property
    def total_samples(self) -> int:
        """Samples over all stacks."""
        return self._profile.sample_count

    @property
    def unique_stack_count(self) -> int:
        """Number of distinct (thread, stack) pairs."""
        return len(self.stacks)

    @property
    def compression_ratio(self) -> float:
        """Samples per distinct stack; 1 for an empty profile."""
        return self.total_samples / self.unique_stack_count if self.stacks else 1.0

    @property
    def memory_reduction_pct(self) -> float:
        """Share of sample records that aggregation saves, in percent."""
        return (1 - 1 / self.compression_ratio) * 100

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, AggregatedProfile):
            return NotImplemented
        return self._profile == other._profile

    __hash__ = None  # type: ignore[assignment]

    def __reduce__(self) -> tuple[Any, ...]:
        return AggregatedProfile._of_profile, (self._profile,)

    def __repr__(self) -> str:
        return (
            f"<AggregatedProfile: {self.total_samples} samples in {self.unique_stack_count} stacks>"
        )

    def __str__(self) -> str:
        return str(self._profile)


class _StackInterner:
    """Turns tuples of Frame into stack ids, remembering tuples and frames already seen."""

    def __init__(self, builder: Builder) -> None:
        self._builder = builder
        self._frames: dict[Frame, int] = {}
        self._stacks: dict[tuple[Frame, ...], int] = {}

    def _frame(self, frame: Frame) -> int:
        known = self._frames.get(frame)
        if known is None:
            if frame.lineno < 0:
                raise ValueError(f"a line number cannot be negative: {frame!r}")
            func = self._builder.func(
                frame.function_name,
                frame.filename,
                flags=columns.NATIVE if frame.is_native else 0,
            )
            known = self._frames[frame] = self._builder.frame(func, frame.lineno)
        return known

    def __call__(self, sequence: Sequence[Frame]) -> int:
        frames = tuple(sequence)
        stack = self._stacks.get(frames)
        if stack is None:
            ids = [self._frame(frame) for frame in reversed(frames)]
            stack = self._stacks[frames] = self._builder.stack_of(ids)
        return stack


def _tables_from_samples(samples: Iterable[Sample], interval_ns: int) -> Tables:
    builder = Builder()
    intern = _StackInterner(builder)
    measured = False
    for sample in samples:
        time, weight = sample.timestamp_ns, sample.weight_ns
        if time is not None and time < 0:
            raise ValueError(f"a timestamp cannot be negative: {time}")
        if weight is not None and weight < 0:
            raise ValueError(f"a weight cannot be negative: {weight}")
        if sample.state not in _STATES:
            raise ValueError(f'state must be "running" or "waiting", not {sample.state!r}')
        measured = measured or weight is not None
        builder.row(
            builder.thread(sample.thread_id, sample.thread_name),
            intern(sample.frames),
            time=-1 if time is None else time,
            weight=interval_ns if weight is None else weight,
            state=_STATES[sample.state] | _GIL[sample.holds_gil],
        )
    builder.tables.meta["weights"] = "measured" if measured else "samples"
    return builder.tables


def _meta(
    start_time: datetime,
    end_time: datetime,
    interval_ms: float,
    dropped_count: int,
    python_version: str | None,
    platform: str | None,
    *,
    mode: str,
    engine: str,
    notes: Sequence[str],
) -> dict[str, Any]:
    duration = end_time - start_time
    if duration < timedelta(0):
        raise ValueError(f"end_time {end_time} is before start_time {start_time}")
    if not interval_ms >= 0:
        raise ValueError(f"interval_ms must not be negative, got {interval_ms!r}")
    return {
        "version": columns.LAYOUT_VERSION,
        "start_time": start_time.isoformat(),
        "end_time": end_time.isoformat(),
        "duration_ns": duration // timedelta(microseconds=1) * 1000,
        "interval_ns": round(interval_ms * 1e6),
        "mode": mode,
        "engine": engine,
        "dropped_count": dropped_count,
        "python_version": (
            python_version if python_version is not None else platform_module.python_version()
        ),
        "platform": platform if platform is not None else sys.platform,
        "notes": list(notes),
        "modules": [],
        "timestamps_until_ns": None,
    }


def merge(*profiles: Profile) -> Profile:
    """Return several profiles as one: threads side by side, on a common time axis.

    Threads stay apart by process and host, so that profiles of worker processes or of other
    machines can be merged; threads with the same id, name, process and host are taken as one.

    Parameters
    ----------
    *profiles : Profile
        At least one. All must measure the same kind of time.

    Raises
    ------
    ValueError
        No profile given, or CPU time would be added to wall time.
    """
    from . import _compare

    return Profile._of(_compare.merge([profile._tables for profile in profiles]))


def diff(before: Profile, after: Profile) -> ProfileDiff:
    """Return what changed from one profile to another, per stack and per function.

    Parameters
    ----------
    before, after : Profile

    Returns
    -------
    ProfileDiff
        Absolute and as shares of each profile's total, so that runs of different length compare.
    """
    from . import _compare

    return _compare.ProfileDiff(before, after)
