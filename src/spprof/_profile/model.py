"""The profile as its users hold it: Profile, AggregatedProfile, ProfileDiff.

The only file of this room that asks the formats, and only through their registry. Must not know
how samples are taken, nor what shows a profile. `stop` makes a profile, so what it is asked later
is imported later (tests/bench/import_cost.py).
"""

from __future__ import annotations

from .changes import Changes
from .circumstances import Circumstances
from .labelled import Labelled
from .shown import Shown
from .tables import Tables

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence
    from datetime import datetime
    from typing import Any, NoReturn

    import pandas

    from .queries import CallNode, FunctionList
    from .samples import SampleSequence
    from .values import AggregatedStack, PathLike, Pattern, Sample, ThreadSummary


class _Described(Shown, Circumstances, Labelled):
    """What Profile and AggregatedProfile share: circumstances, sums, outputs; all over columns."""

    _tables: Tables

    def _for_output(self) -> Profile:
        raise NotImplementedError

    @property
    def total_weight_ns(self) -> int:
        """Time that all samples together stand for, in nanoseconds, summed over threads."""
        return sum(self._tables.sample_weight)

    @property
    def threads(self) -> tuple[ThreadSummary, ...]:
        """One summary a thread, in the order in which threads were first sampled."""
        from . import queries

        return queries.threads(self._tables)

    def top(
        self,
        n: int | None = 10,
        by: str = "self",
        *,
        lines: bool = False,
        all_frames: bool = False,
        mine: bool = False,
    ) -> FunctionList:
        """Return the functions (or lines) in which most time was spent.

        A list of `FunctionStats`, which notebooks show as a table.

        Parameters
        ----------
        n : int or None
            At most so many; None for all.
        by : {"self", "total"}
            Time in the function itself, or with what it calls. A recursive function counts once.
        lines : bool
            One entry for each executed line instead of each function.
        all_frames : bool
            Also what is folded otherwise: calls between calls, and what an import does.
        mine : bool
            Without libraries: what they do belongs to the line that called them.

        Raises
        ------
        ValueError
            `by` is something else.
        """
        from . import queries

        return queries.FunctionList(queries.top(self._shown(all_frames, mine), n, by, lines=lines))

    def tree(
        self, *, lines: bool = False, all_frames: bool = False, mine: bool = False
    ) -> CallNode:
        """Return the call tree of all threads; the root stands for the whole profile.

        Notebooks show it, and each of its nodes, as a table whose rows open and close.

        Parameters
        ----------
        lines : bool
            One node for each executed line instead of each function.
        all_frames, mine : bool
            As for `top`.
        """
        from . import queries

        return queries.tree(self._shown(all_frames, mine), lines=lines)

    def _shown(self, all_frames: bool, mine: bool) -> Tables:
        from .folding import folded

        shown = self._tables if all_frames else folded(self._tables)
        if not mine:
            return shown
        from .own_code import only_own

        return only_own(shown)

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
        from ..formats import registry

        document: dict[str, Any] = registry.find("speedscope").content(
            self._tables, name=name, lines=lines
        )
        return document

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
        from ..formats import registry

        return str(registry.find("collapsed").content(self._tables, lines=lines))

    def save(
        self,
        path: PathLike,
        format: str | None = None,
        *,
        name: str | None = None,
        title: str | None = None,
        lines: bool | None = None,
        speedscope: bool | None = None,
        sources: bool | None = None,
        max_bytes: int | None = None,
        min_share: float | None = None,
        compress: bool | None = None,
        **unknown: NoReturn,
    ) -> None:
        """Write the profile to a file, whole or not at all.

        Parameters
        ----------
        path : path-like
            An existing file is replaced once the new one is complete.
        format : str, optional
            A name from `spprof.formats.FORMATS`; without it the file's ending decides, and
            "speedscope" where it has none.
        name, title : str, optional
            The heading: ``name`` in ``speedscope``, ``title`` in ``svg`` and ``html``.
        lines : bool, optional
            ``speedscope``, ``collapsed``: one frame an executed line instead of a function.
        speedscope, sources : bool, optional
            ``html``: whether the page carries the bundled Speedscope (some 270 kB; it does unless
            told otherwise) and the source code of its functions (only if asked for).
        max_bytes, min_share : int and float, optional
            ``svg``: the largest size, and the share (0 to 1) below which a box is left out.
        compress : bool, optional
            Text formats: gzip the file. Without it, as ``.gz`` behind the ending says.

        Raises
        ------
        ValueError
            The format does not exist, or no format has this ending.
        TypeError
            The format has no such option.
        FileNotFoundError, IsADirectoryError, PermissionError
            The path cannot be written; the message says what to do.
        """
        from ..formats import registry

        options = _given(
            name=name,
            title=title,
            lines=lines,
            speedscope=speedscope,
            sources=sources,
            max_bytes=max_bytes,
            min_share=min_share,
            compress=compress,
        )
        registry.save(self._tables, path, format, **options, **unknown)


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
        `end_time` before `start_time`, a negative or infinite interval, a negative timestamp or
        weight, or an unknown mode, engine or state.

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
        from .samples import meta_of, tables_of_samples

        meta = meta_of(
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
        self._adopt(tables_of_samples(samples, meta))

    def _adopt(self, tables: Tables, complete: Callable[[Tables], Tables] | None = None) -> None:
        self._given = tables
        self._complete = complete
        self._samples: SampleSequence | None = None

    @classmethod
    def _of(cls, tables: Tables, complete: Callable[[Tables], Tables] | None = None) -> Profile:
        """A profile over these tables; `complete` is what takes long, done when asked for."""
        profile = cls.__new__(cls)
        profile._adopt(tables, complete)
        return profile

    @property
    def _tables(self) -> Tables:  # type: ignore[override]
        complete = self._complete
        if complete is not None:
            self._given = complete(self._given)
            self._complete = None
        return self._given

    def _for_output(self) -> Profile:
        return self

    # Content

    @property
    def samples(self) -> Sequence[Sample]:
        """All samples, lazily; see `SampleSequence`."""
        if self._samples is None:
            from .samples import samples_of

            self._samples = samples_of(self._tables)
        return self._samples

    @property
    def sample_count(self) -> int:
        """Number of samples, those inside of runs included."""
        return sum(self._tables.sample_count)

    @property
    def effective_rate_hz(self) -> float:
        """Samples per second that were really taken.

        Where weights are measured, per second of measured weight: in ``mode="cpu"`` that is per
        second of CPU time of a busy thread, so that idle threads and several busy ones do not
        distort it. Elsewhere per second of the profile's duration. 0 for an empty profile.
        """
        from . import queries

        return queries.rate_hz(self._tables)

    def aggregate(self) -> AggregatedProfile:
        """Return counts and weights per thread and distinct stack, without timestamps."""
        return AggregatedProfile._of_profile(self)

    # Questions

    def filter(
        self,
        *,
        process: int | Pattern | None = None,
        thread: int | Pattern | None = None,
        function: Pattern | None = None,
        module: Pattern | None = None,
        start_ms: float | None = None,
        end_ms: float | None = None,
        state: str | None = None,
        waits_for: str | None = None,
        region: Pattern | None = None,
        labels: Mapping[str, Pattern] | None = None,
        predicate: Callable[[Sample], bool] | None = None,
    ) -> Profile:
        """Return a profile of the samples that meet every condition given.

        Parameters
        ----------
        process : int, str or compiled regular expression, optional
            Pid, or name as `processes` tells it; wildcards as below. All of one program have the
            same name, but those that `multiprocessing` numbers.
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
        waits_for : str, optional
            A cause of waiting, as `waits` tells them.
        region : str or compiled regular expression, optional
            Taken in a region of this name, or in one inside of it; wildcards as above.
        labels : dict, optional
            Taken in regions given these values: ``{"dataset": "a"}``; patterns as above.
        predicate : callable, optional
            Called with each remaining Sample; slow, but takes any condition.

        Raises
        ------
        ValueError
            An unknown state or cause.
        """
        from . import queries, rows

        tables = queries.select(
            self._tables,
            process=process,
            thread=thread,
            function=function,
            module=module,
            start_ns=None if start_ms is None else round(start_ms * 1e6),
            end_ns=None if end_ms is None else round(end_ms * 1e6),
            state=state,
            waits_for=waits_for,
            region=region,
            labels=labels,
        )
        if predicate is not None:
            kept = [bool(predicate(sample)) for sample in Profile._of(tables).samples]
            tables = rows.keep_samples(tables, kept)
        return Profile._of(tables)

    def focus(self, function: Pattern) -> Profile:
        """Return a profile of only the calls of `function`, as if it were the program.

        Samples without it are left out; its callers are cut off, so that its outermost call
        becomes the root.

        Parameters
        ----------
        function : str or compiled regular expression
            As for `filter`.
        """
        from . import queries

        return Profile._of(queries.focus(self._tables, function))

    def ignore(self, function: Pattern) -> Profile:
        """Return a profile without the samples that have `function` anywhere in their stack.

        Parameters
        ----------
        function : str or compiled regular expression
            As for `filter`.
        """
        from . import queries

        return Profile._of(queries.select(self._tables, function=function, invert=True))

    def to_dataframe(self) -> pandas.DataFrame:
        """Return one row a run of equal samples, as a pandas DataFrame.

        Columns: ``time_ns`` and ``last_ns`` (first and last timestamp; <NA> where not kept),
        ``thread_id``, ``thread_name``, ``pid``, ``host``, ``samples``, ``weight_ns``, ``state``,
        ``waits_for``, ``holds_gil``, and of the innermost frame ``function``, ``filename``,
        ``lineno``, ``is_native``; ``stack`` joins the function names, root first, with ``;``.

        Raises
        ------
        ImportError
            pandas is not installed.
        """
        from . import queries

        return queries.to_dataframe(self._tables)

    def merge(self, *others: Profile) -> Profile:
        """Return this profile and others as one; see `spprof.merge`."""
        return merge(self, *others)

    def diff(self, after: Profile | Sequence[Profile]) -> ProfileDiff:
        """Return what changed from this profile to `after`; see `spprof.diff`."""
        return diff(self, after)

    # Python's own questions

    def __eq__(self, other: object) -> bool:
        from . import compare

        if not isinstance(other, Profile):
            return NotImplemented
        return compare.equal(self._tables, other._tables)

    __hash__ = None  # type: ignore[assignment]

    def __reduce__(self) -> tuple[Any, ...]:
        from ..formats import registry

        return _unpickle, (registry.find("spprof").dumps(self._tables),)

    def __repr__(self) -> str:
        return (
            f"<Profile: {self.sample_count} samples, {len(self._tables.threads)} threads, "
            f"{self.total_duration_ms / 1e3:.2f} s>"
        )

    def __str__(self) -> str:
        from . import text

        return text.summary(self._tables)


def _unpickle(data: bytes) -> Profile:
    return loads(data, "spprof")


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
        from .samples import meta_of, tables_of_stacks

        meta = meta_of(
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
        self._adopt(Profile._of(tables_of_stacks(stacks, meta)))

    def _adopt(self, profile: Profile) -> None:
        from .rows import aggregate

        self._tables = aggregate(profile._tables)
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
            from .samples import stacks_of

            self._stacks = stacks_of(self._tables)
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


class ProfileDiff(Changes, Shown):
    """What changed from one profile to another, and what of it is more than noise.

    `before` and `after` are profiles, of several runs their mean; `runs` are the runs of each side.
    For its parameters see `spprof.diff`.
    """

    def __init__(
        self,
        before: Profile | Sequence[Profile],
        after: Profile | Sequence[Profile],
        *,
        noise: float | None = None,
    ) -> None:
        from . import compare

        runs = [[side] if isinstance(side, _Described) else list(side) for side in (before, after)]
        self.runs = runs[0], runs[1]
        tables = [[run._tables for run in side] for side in runs]
        self._found = compare.difference(tables[0], tables[1], noise=noise)
        self.before, self.after = (
            side[0] if len(side) == 1 else Profile._of(shown)
            for side, shown in zip(runs, (self._found.before, self._found.after))
        )

    def save(
        self,
        path: PathLike,
        format: str | None = None,
        *,
        title: str | None = None,
        speedscope: bool | None = None,
        sources: bool | None = None,
        max_bytes: int | None = None,
        min_share: float | None = None,
        compress: bool | None = None,
        **unknown: NoReturn,
    ) -> None:
        """Write the difference to a file, whole or not at all.

        Parameters
        ----------
        path : path-like
        format : {"svg", "collapsed", "html", "spprof"}, optional
            Without it the ending decides. ``collapsed`` is the two-column input that
            flamegraph.pl takes for a differential flame graph; ``svg`` is that graph, red where
            more of the time is spent and blue where less; ``html`` and ``spprof`` hold both
            profiles, told apart as threads.
        title, speedscope, sources, max_bytes, min_share, compress
            As for `Profile.save`.

        Raises
        ------
        ValueError
            Another format, or no format has this ending.
        TypeError
            The format has no such option.
        """
        from ..formats import registry

        options = _given(
            title=title,
            speedscope=speedscope,
            sources=sources,
            max_bytes=max_bytes,
            min_share=min_share,
            compress=compress,
        )
        registry.save_diff(self._found, path, format, **options, **unknown)

    def _for_output(self) -> Profile:
        # What `spprof.display` shows: the front end knows both sides by their threads' names.
        return self.as_profile()

    def as_profile(self) -> Profile:
        """Return both profiles as one, their threads named ``before: ...`` and ``after: ...``."""
        return Profile._of(self._found.side_by_side())

    def __str__(self) -> str:
        from . import text

        return text.difference(self._found)

    def __repr__(self) -> str:
        from . import text

        return f"<ProfileDiff: {text.ratio(self._found)} the time>"


def _given(**options: Any) -> dict[str, Any]:
    return {name: value for name, value in options.items() if value is not None}


def load(path: PathLike, format: str | None = None, *, interval_ms: float | None = None) -> Profile:
    """Read a profile from a file, gzipped or not.

    Parameters
    ----------
    path : path-like
    format : str, optional
        A readable format's name; without it the content decides.
    interval_ms : float, optional
        What one sample stands for in formats that only count them.

    Returns
    -------
    Profile

    Raises
    ------
    FormatError
        A `ValueError` that says where in the file and what is wrong.
    ValueError
        `format` does not exist or cannot be read back.
    OSError
        The file cannot be read.
    """
    from ..formats import registry

    return Profile._of(registry.load(path, format, interval_ms=interval_ms))


def loads(data: bytes, format: str | None = None, *, interval_ms: float | None = None) -> Profile:
    """Read a profile from the content of a file, gzipped or not; see `load`."""
    from ..formats import registry

    return Profile._of(registry.loads(data, format, interval_ms=interval_ms))


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
    from . import compare

    return Profile._of(compare.merge([profile._tables for profile in profiles]))


def diff(
    before: Profile | Sequence[Profile],
    after: Profile | Sequence[Profile],
    *,
    noise: float | None = None,
) -> ProfileDiff:
    """Return what changed from one profile to another, per stack and per function.

    Of each function it says whether its share and its time changed by more than noise. All that
    is said of two equal programs is wrong in at most 5 % of comparisons, however many functions
    they have (Holm's method).

    Parameters
    ----------
    before, after : Profile or sequence of Profile
        Several runs of a side tell how runs differ, and then nothing is assumed about that.
    noise : float, optional
        By how much the times of equal runs differ: their standard deviation over their mean.
        Single runs do not tell, so 0.02 is taken.

    Returns
    -------
    ProfileDiff
        Absolute and as shares of each profile's total, so that runs of different length compare.

    Raises
    ------
    ValueError
        One is of CPU time, the other of wall time; a side without a profile.
    """
    return ProfileDiff(before, after, noise=noise)
