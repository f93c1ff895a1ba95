"""spprof beside other profilers: the same program, the same rate, in turns.

    python tests/bench/peers/run.py [--rounds 5] [--interval-ms 1] [--seconds 1] [--only NAME ...]

Makes an environment of its own below --cache (by default in the user's cache folder) and installs
the others there; what cannot be had or does not run is said and left out. In each round every tool
profiles the program once, in a new random order; a ratio is to the run without a profiler of the
same round, and the table shows medians with the smallest and largest; where the machine is busy
with other things, the ratio of the best runs of all rounds says more. Prints Markdown.

    slowdown      time that the program's own work took, as it measured it itself: best / best
    by round      the same by round
    total CPU     of all processes of the command, the profiler's own and interpreter start included
    of due        samples of those that the program's CPU time asks for at the interval
    impossible    samples whose stack is none that the program can have; "-": it keeps no stacks
    around        seconds of the command that are not the program's work: start, end, writing
    memory        of the largest process of the command; not less than this script's own
    picture       seconds from the command to the picture or page of a program that does nothing
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import random
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Callable

import spprof

HERE = Path(__file__).parent
PROGRAM = HERE / "program.py"
PACKAGES = ("py-spy", "pyinstrument", "scalene", "yappi", "memray", "austin-dist")
# Names of the functions from the outermost inwards, and how many samples.
Stacks = Iterator[tuple[list[str], int]]


@dataclass(frozen=True)
class Tool:
    """How to run one profiler; {ms}, {s}, {us}, {hz}, {out} and {bin} are filled in."""

    name: str
    command: tuple[str, ...]
    stacks: Callable[[Path], Stacks] | None = None
    picture: tuple[str, ...] = ()
    note: str = ""


def from_spprof(path: Path) -> Stacks:
    for sample in spprof.load(path).samples:
        yield [frame.function_name for frame in reversed(sample.frames)], 1


def from_collapsed(path: Path) -> Stacks:
    for line in path.read_text().splitlines():
        stack, _, count = line.rpartition(" ")
        if count.isdigit():
            yield [frame.partition(" (")[0] for frame in stack.split(";")], int(count)


def from_pyinstrument(path: Path) -> Stacks:
    """A session is a list of stacks with their times; each was one sample."""
    for frames, _ in json.loads(path.read_text())["frame_records"]:
        yield [frame.partition("\0")[0] for frame in frames], 1


def from_austin(path: Path) -> Stacks:
    for line in path.read_text().splitlines():
        stack, _, number = line.rpartition(" ")
        if number.isdigit():
            yield [frame.split(":")[-2] for frame in stack.split(";") if frame.count(":") > 1], 1


# Every stack of the program is the beginning of one of these.
CHAINS = [["main", "a_outer", "a_inner", "leaf"], ["main", "b_outer", "b_inner", "leaf"]]
KNOWN = {name for chain in CHAINS for name in chain}

PYTHON = "{bin}/python"
TOOLS = (
    Tool("none", (PYTHON,)),
    Tool(
        "spprof",
        (PYTHON, "-m", "spprof", "run", "-q", "-i", "{ms}", "-o", "{out}.spprof"),
        from_spprof,
        (PYTHON, "-m", "spprof", "run", "-q", "-i", "{ms}", "-o", "{out}.html"),
    ),
    Tool(
        "spprof --native",
        (PYTHON, "-m", "spprof", "run", "-q", "--native", "-i", "{ms}", "-o", "{out}.spprof"),
        from_spprof,
    ),
    Tool(
        "py-spy",
        ("{bin}/py-spy", "record", "-r", "{hz}", "-f", "raw", "-o", "{out}.raw", "--", PYTHON),
        from_collapsed,
        ("{bin}/py-spy", "record", "-r", "{hz}", "-o", "{out}.svg", "--", PYTHON),
    ),
    Tool(
        "py-spy --nonblocking",
        (
            *("{bin}/py-spy", "record", "--nonblocking", "-r", "{hz}", "-f", "raw"),
            *("-o", "{out}.raw", "--", PYTHON),
        ),
        from_collapsed,
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
        note="times of lines, no stacks",
    ),
    Tool(
        "austin",
        ("{bin}/austin", "-i", "{us}us", "-o", "{out}.austin", PYTHON),
        from_austin,
    ),
    Tool(
        "yappi",
        ("{bin}/yappi", "-c", "cpu", "-o", "{out}.yappi", "-f", "pstat"),
        note="traces every call",
    ),
    Tool(
        "cProfile",
        (PYTHON, "-m", "cProfile", "-o", "{out}.pstats"),
        note="traces every call",
    ),
    Tool(
        "memray",
        (PYTHON, "-m", "memray", "run", "-q", "-f", "-o", "{out}.memray"),
        note="allocations, not time",
    ),
)


@dataclass
class Run:
    wall: float
    cpu: float
    total_cpu: float
    around: float
    memory: int
    samples: int | None = None
    impossible: int | None = None


@dataclass
class Bench:
    environment: Path
    interval_ms: float
    rounds: int
    left_out: dict[str, str] = field(default_factory=dict)

    def fill(self, words: tuple[str, ...], out: Path) -> list[str]:
        values = {
            "ms": f"{self.interval_ms:g}",
            "s": f"{self.interval_ms / 1000:g}",
            "us": f"{self.interval_ms * 1000:g}",
            "hz": f"{1000 / self.interval_ms:g}",
            "out": str(out),
            "bin": str(self.environment / "bin"),
        }
        return [word.format(**values) for word in words]

    def measure(self, tool: Tool, folder: Path, rounds: int) -> Run:
        out, report = folder / "out", folder / "report.json"
        program = [str(PROGRAM), str(report), str(rounds)]
        wall, total_cpu, memory = timed(self.fill(tool.command, out) + program, folder)
        took = json.loads(report.read_text())
        run = Run(took["wall"], took["cpu"], total_cpu, wall - took["wall"], memory)
        if tool.stacks is not None:
            (made,) = folder.glob("out.*")
            run.samples = run.impossible = 0
            for names, count in tool.stacks(made):
                chain = [name for name in (n.rpartition(".")[2] for n in names) if name in KNOWN]
                # A profiler in Python may have a `main` of its own above the program's.
                outermost = max((i for i, name in enumerate(chain) if name == "main"), default=0)
                chain = chain[outermost:]
                run.samples += count
                if not any(chain == possible[: len(chain)] for possible in CHAINS):
                    run.impossible += count
        return run

    def seconds_to_picture(self, tool: Tool, folder: Path) -> float:
        program = [str(PROGRAM), str(folder / "report.json"), "1"]
        wall, _, _ = timed(self.fill(tool.picture, folder / "out") + program, folder)
        return wall


class Unusable(Exception):
    """A tool that does not run here, with its own words."""


def timed(command: list[str], folder: Path) -> tuple[float, float, int]:
    """Wall time, CPU time and bytes of memory of a command with all that it waits for."""
    source = str(Path(spprof.__file__).parent.parent)
    with (folder / "output").open("w+") as output:
        begin = time.perf_counter()
        try:
            started = subprocess.Popen(
                command,
                cwd=folder,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                env={**os.environ, "PYTHONPATH": source},
            )
        except OSError as error:
            raise Unusable(str(error)) from error
        _, status, usage = os.wait4(started.pid, 0)
        wall = time.perf_counter() - begin
        started.returncode = os.waitstatus_to_exitcode(status)
        output.seek(0)
        if started.returncode != 0 or not (folder / "report.json").exists():
            said = output.read().strip().splitlines() or [f"status {started.returncode}"]
            raise Unusable(said[-1])
    return wall, usage.ru_utime + usage.ru_stime, usage.ru_maxrss * 1024


def prepare(cache: Path) -> tuple[Path, dict[str, str]]:
    """The environment with the others in it, and what could not be installed."""
    environment = cache / f"peers-{platform.python_version()}"
    pip = [str(environment / "bin" / "python"), "-m", "pip"]
    if not (environment / "bin" / "python").exists():
        print(f"installing {', '.join(PACKAGES)} into {environment}", file=sys.stderr)
        subprocess.run([sys.executable, "-m", "venv", str(environment)], check=True)
    there = subprocess.run([*pip, "freeze"], capture_output=True, text=True, check=True).stdout
    missing: dict[str, str] = {}
    for package in PACKAGES:
        if f"{package}==" in there.lower().replace("_", "-"):
            continue
        done = subprocess.run([*pip, "install", "-q", package], capture_output=True, text=True)
        if done.returncode != 0:
            missing[package] = (done.stderr.strip().splitlines() or ["pip failed"])[-1]
    return environment, missing


def versions(environment: Path) -> dict[str, str]:
    code = (
        "import importlib.metadata as m, json, sys\nfound = {}\nfor n in sys.argv[1:]:\n"
        "    try: found[n] = m.version(n)\n    except m.PackageNotFoundError: pass\n"
        "print(json.dumps(found))"
    )
    command = [str(environment / "bin" / "python"), "-c", code, *PACKAGES]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    found: dict[str, str] = json.loads(done.stdout)
    return found


def spread(values: list[float], form: str = ".2f") -> str:
    middle = statistics.median(values)
    return f"{middle:{form}} ({min(values):{form}}-{max(values):{form}})"


def row(
    tool: Tool, runs: list[Run], base: list[Run], interval_ms: float, picture: str
) -> list[str]:
    cells = [
        tool.name + (f" ({tool.note})" if tool.note else ""),
        f"{min(run.wall for run in runs) / min(run.wall for run in base):.2f}",
        spread([run.wall / of.wall for run, of in zip(runs, base)]),
        spread([run.total_cpu / of.total_cpu for run, of in zip(runs, base)]),
    ]
    if tool.stacks is None:
        cells += ["-", "-"]
    else:
        samples = sum(run.samples or 0 for run in runs)
        due = sum(run.cpu * 1000 / interval_ms for run in runs)
        wrong = sum(run.impossible or 0 for run in runs)
        cells += [f"{samples / due:.0%}", f"{wrong / samples:.2%}" if samples else "no sample"]
    cells.append(spread([run.around for run in runs]))
    cells.append(f"{statistics.median(run.memory for run in runs) / 2**20:.0f} MiB")
    cells.append(picture)
    return cells


HEAD = (
    *("tool", "slowdown", "by round", "total CPU", "of due", "impossible", "around, s", "memory"),
    "picture, s",
)


def calibrated(bench: Bench, seconds: float, folder: Path) -> int:
    """Rounds of the program that take so long without a profiler."""
    rounds = 2000
    took = bench.measure(TOOLS[0], folder, rounds).wall
    return max(1, round(rounds * seconds / took))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--interval-ms", type=float, default=1)
    parser.add_argument("--seconds", type=float, default=1, help="of the program, unprofiled")
    parser.add_argument("--only", nargs="*", help="names of tools; all without it")
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "spprof-bench"
    parser.add_argument("--cache", type=Path, default=cache)
    options = parser.parse_args()
    environment, missing = prepare(options.cache)
    bench = Bench(environment, options.interval_ms, options.rounds, missing)
    tools = [t for t in TOOLS if not options.only or t.name in ("none", *options.only)]
    runs: dict[str, list[Run]] = {tool.name: [] for tool in tools}

    def each(tool: Tool, work: Callable[[Path], Any]) -> Any:
        folder = Path(tempfile.mkdtemp(prefix="peers-"))
        try:
            return work(folder)
        except Unusable as error:
            bench.left_out[tool.name] = str(error)
        finally:
            shutil.rmtree(folder)

    rounds = each(TOOLS[0], lambda folder: calibrated(bench, options.seconds, folder))
    for _ in range(options.rounds):
        for tool in random.sample(tools, len(tools)):
            if tool.name not in bench.left_out:
                run = each(tool, lambda folder, tool=tool: bench.measure(tool, folder, rounds))
                runs[tool.name] += [run] if run is not None else []
    rows = []
    for tool in tools:
        if tool.name in bench.left_out:
            continue
        took = None
        if tool.picture:
            took = each(tool, lambda folder, tool=tool: bench.seconds_to_picture(tool, folder))
        picture = "-" if took is None else f"{took:.2f}"
        rows.append(row(tool, runs[tool.name], runs["none"], options.interval_ms, picture))
    print(
        f"CPython {platform.python_version()}, {platform.system()} {platform.machine()}, "
        f"{os.cpu_count()} processors, load {os.getloadavg()[0]:.1f}, {options.interval_ms:g} ms, "
        f"{options.rounds} rounds of {options.seconds:g} s; median (smallest-largest). "
        f"spprof {spprof.__version__}, "
        + ", ".join(f"{name} {version}" for name, version in versions(environment).items())
        + ".\n"
    )
    print("| " + " | ".join(HEAD) + " |")
    print("|" + " --- |" * len(HEAD))
    for cells in rows:
        print("| " + " | ".join(cells) + " |")
    for name, why in bench.left_out.items():
        print(f"\nLEFT OUT: {name}: {why}")


if __name__ == "__main__":
    main()
