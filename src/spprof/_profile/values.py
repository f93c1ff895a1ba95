"""What users of a profile meet: Frame, Sample, StackTrace and their like.

Must not know the tables they are made from, nor any file format.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Union

PathLike = Union[str, "os.PathLike[str]"]
Pattern = Union[str, "re.Pattern[str]"]


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
    waits_for : str, optional
        Why it waits, one of the causes that `Profile.waits` tells; None where
        that is unknown, or it runs.
    """

    timestamp_ns: int | None
    thread_id: int
    thread_name: str
    frames: Sequence[Frame]
    weight_ns: int | None = None
    state: str = "running"
    holds_gil: bool | None = None
    waits_for: str | None = None

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
        Time that the handler (measured by itself, in CPU time) and the profiler's own threads
        used, as a share of the CPU time of the process since the start, in percent.
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
    thread_name : str
    sample_count : int
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
    thread_name: str
    sample_count: int
    weight_ns: int
    gil_share: float | None = None
    pid: int = 0
    host: str = ""

    @property
    def name(self) -> str:
        """Another word for `thread_name`."""
        return self.thread_name

    @property
    def samples(self) -> int:
        """Another word for `sample_count`."""
        return self.sample_count
