"""The profilers: how each is called, and how its file is read.

Must not know what is measured, nor of rounds.
"""

from __future__ import annotations

import json
import marshal
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Callable, NamedTuple

import spprof

PACKAGES = ("py-spy", "pyinstrument", "scalene", "yappi", "memray", "austin-dist", "austin-python")


class Sample(NamedTuple):
    """Names of functions from the outermost inwards, how many samples, and their seconds."""

    names: list[str]
    count: int
    seconds: float


# Seconds of an interval, and the file.
Read = Callable[[Path, float], Iterator[Sample]]
# What the tool said, its file, and how many samples it has: how many it says it could not take.
Failures = Callable[[str, Path, int], int]


@dataclass(frozen=True)
class Tool:
    """How to run one profiler.

    {ms}, {s}, {us}, {hz}: the interval; {out}: its file without the ending; {python} and {bin}: of
    the Python that it runs on; {here}: the folder of the tools on this one.
    """

    name: str
    command: tuple[str, ...]
    read: Read | None = None
    picture: tuple[str, ...] = ()
    note: str = ""
    # Which Python it and its program run on: this one, or one of a Debian root.
    python: str = "here"
    # Whether its stacks hold frames of C.
    native: bool = False
    failures: Failures | None = None
    # Makes what is read of what was written.
    convert: tuple[str, ...] = ()


def from_spprof(path: Path, interval: float) -> Iterator[Sample]:
    for sample in spprof.load(path).samples:
        names = [frame.function_name for frame in reversed(sample.frames)]
        yield Sample(names, 1, sample.weight_ns / 1e9)


def from_collapsed(path: Path, interval: float) -> Iterator[Sample]:
    """py-spy's `name (file:line)`, and `file:name:line` of Python 3.15."""
    for line in path.read_text().splitlines():
        stack, _, count = line.rpartition(" ")
        if count.isdigit():
            frames = stack.split(";")
            if " (" in frames[-1]:
                names = [frame.partition(" (")[0] for frame in frames]
            else:
                names = [frame.split(":")[-2] for frame in frames if frame.count(":") > 1]
            yield Sample(names, int(count), int(count) * interval)


def from_pyinstrument(path: Path, interval: float) -> Iterator[Sample]:
    """A session is a list of stacks with their times; each was one sample."""
    for frames, seconds in json.loads(path.read_text())["frame_records"]:
        yield Sample([frame.partition("\0")[0] for frame in frames], 1, seconds)


def from_austin(path: Path, interval: float) -> Iterator[Sample]:
    """Microseconds behind each stack, which was one sample."""
    for line in path.read_text().splitlines():
        stack, _, number = line.rpartition(" ")
        if number.isdigit() and not line.startswith("#"):
            names = [frame.split(":")[-2] for frame in stack.split(";") if frame.count(":") > 1]
            yield Sample(names, 1, int(number) / 1e6)


def from_pstats(path: Path, interval: float) -> Iterator[Sample]:
    """No stacks and no samples: what each function took with all that it called."""
    for (_, _, name), (*_, cumulative, _) in marshal.loads(path.read_bytes()).items():
        yield Sample([name], 0, cumulative)


def spprof_failures(said: str, path: Path, samples: int) -> int:
    return spprof.load(path).dropped_count


def counted(pattern: str) -> Failures:
    """The last number that it says so."""
    return lambda said, path, samples: int((re.findall(pattern, said) or [0])[-1])


def percentage(pattern: str) -> Failures:
    """The percentage of its attempts that it says so."""

    def failures(said: str, path: Path, samples: int) -> int:
        part = float((re.findall(pattern, said) or [0])[-1]) / 100
        return round(samples * part / (1 - part))

    return failures


PYTHON = "{python}"
SPPROF = (PYTHON, "-m", "spprof", "run", "-i", "{ms}")
PY_SPY = ("{bin}/py-spy", "record", "-r", "{hz}")
PY_SPY_FAILURES = counted(r"Errors: (\d+)")
SAMPLING = (PYTHON, "-m", "profiling.sampling", "run", "-a", "--mode", "cpu", "-r", "{hz}")
SAMPLING_FAILURES = percentage(r"Error rate: ([\d.]+)")

TOOLS = (
    Tool("none", (PYTHON,)),
    Tool(
        "spprof",
        (*SPPROF, "-o", "{out}.spprof"),
        from_spprof,
        (*SPPROF, "-q", "-o", "{out}.html"),
        failures=spprof_failures,
    ),
    Tool(
        "spprof --native",
        (*SPPROF, "--native", "-o", "{out}.spprof"),
        from_spprof,
        native=True,
        failures=spprof_failures,
    ),
    Tool(
        "py-spy",
        (*PY_SPY, "-f", "raw", "-o", "{out}.raw", "--", PYTHON),
        from_collapsed,
        (*PY_SPY, "-o", "{out}.svg", "--", PYTHON),
        failures=PY_SPY_FAILURES,
    ),
    Tool(
        "py-spy --nonblocking",
        (*PY_SPY, "--nonblocking", "-f", "raw", "-o", "{out}.raw", "--", PYTHON),
        from_collapsed,
        failures=PY_SPY_FAILURES,
    ),
    Tool(
        "py-spy --native",
        (*PY_SPY, "--native", "-f", "raw", "-o", "{out}.raw", "--", PYTHON),
        from_collapsed,
        native=True,
        failures=PY_SPY_FAILURES,
    ),
    Tool(
        "pyinstrument",
        ("{bin}/pyinstrument", "-i", "{s}", "-r", "session", "-o", "{out}.json"),
        from_pyinstrument,
        ("{bin}/pyinstrument", "-i", "{s}", "-r", "html", "-o", "{out}.html"),
        "main thread only",
    ),
    Tool(
        "scalene --cpu-only",
        (
            *(PYTHON, "-m", "scalene", "run", "--cpu-only", "-o", "{out}.json"),
            *("--cpu-sampling-rate", "{s}"),
        ),
        note="times of lines",
    ),
    Tool(
        "yappi",
        ("{bin}/yappi", "-c", "cpu", "-o", "{out}.yappi", "-f", "pstat"),
        from_pstats,
        note="traces every call",
    ),
    Tool(
        "cProfile",
        (PYTHON, "-m", "cProfile", "-o", "{out}.pstats"),
        from_pstats,
        note="traces every call",
    ),
    Tool(
        "memray",
        (PYTHON, "-m", "memray", "run", "-q", "-f", "-o", "{out}.memray"),
        note="allocations, not time",
    ),
    Tool("none", (PYTHON,), python="3.15"),
    Tool(
        "spprof",
        (*SPPROF, "-o", "{out}.spprof"),
        from_spprof,
        (*SPPROF, "-q", "-o", "{out}.collapsed"),
        python="3.15",
        failures=spprof_failures,
    ),
    Tool(
        "profiling.sampling",
        (*SAMPLING, "--collapsed", "-o", "{out}.raw"),
        from_collapsed,
        (*SAMPLING, "--flamegraph", "-o", "{out}.html"),
        python="3.15",
        failures=SAMPLING_FAILURES,
    ),
    Tool(
        "profiling.sampling --blocking",
        (*SAMPLING, "--blocking", "--collapsed", "-o", "{out}.raw"),
        from_collapsed,
        python="3.15",
        failures=SAMPLING_FAILURES,
    ),
    Tool("none", (PYTHON,), python="3.14"),
    Tool(
        "austin --cpu",
        ("{bin}/austin", "-c", "-i", "{us}us", "-o", "{out}.mojo", PYTHON),
        from_austin,
        python="3.14",
        failures=counted(r"(\d+)/\d+"),
        convert=("{here}/mojo2austin", "{out}.mojo", "{out}.text"),
    ),
)
