"""spprof beside other profilers: the same programs, the same rate, in turns.

    python tests/bench/peers/run.py            five rounds
    python tests/bench/peers/run.py --quick    two short ones, to see that all of it works
    python tests/bench/peers/run.py --only NAME ...
    python tests/bench/peers/run.py --readme   also puts what it prints into README.md

Makes an environment of its own below --cache (by default in the user's cache folder) and installs
the others there. Python 3.15's own profiler, and Austin, which wants a newer libc than many have,
run in the Debian root that `tests/matrix/run 3.15` makes, beside runs of the same Python without
a profiler. What cannot be had or does not run is said and left out.

In each round every tool profiles the program once, in a new random order; a ratio is to the run
without a profiler of the same round and Python, and the table shows medians with the smallest and
largest; where the machine is busy with other things, the ratio of the best runs of all rounds says
more. Prints Markdown.

    slowdown      time that the program's own work took, as it measured it itself: best / best
    by round      the same by round
    total CPU     of all processes of the command, the profiler's own and interpreter start included
    of due        samples of those that the program's CPU time asks for at the interval
    failed        samples that the tool says it could not take, of those that it tried
    impossible    samples whose stack is none that the program can have; "-": it keeps no stacks
    off by        how far the share of one half of the work is from what it is without a profiler,
                  in percentage points, over all rounds; a sampler's is 100 divided by the root of
                  its number of samples by chance (two standard errors)
    bursts        time found in bursts of a third of a millisecond, of the CPU time that they took
    asleep        time found in sleeping threads, of the time that they slept: 0% where only CPU
                  time is asked for, as it is here, 100% for what measures the clock
    mixed         samples of Python called by C called by Python that have all three in order
    around        seconds of the command that are not the program's work: start, end, writing
    memory        of the largest process of the command
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
from contextlib import contextmanager
from dataclasses import dataclass, field
from importlib.machinery import SourceFileLoader
from importlib.util import module_from_spec, spec_from_loader
from pathlib import Path
from types import ModuleType

from tools import PACKAGES, TOOLS, Sample, Tool

import spprof

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[2]
BURSTS = ("burst",)
SLEEPS = ("pause", "sleeper")

# Every stack of the program is the beginning of one of these.
CHAINS = [["main", "a_outer", "a_inner", "leaf"], ["main", "b_outer", "b_inner", "leaf"]]
KNOWN = {name for chain in CHAINS for name in chain}

# Where the table is in README.md.
BEGIN, END = "<!-- peers -->", "<!-- /peers -->"

# Runs a command from a process that is smaller than any Python program: Linux counts the memory of
# whoever started a process as the process's own.
LAUNCHER = """
import os, sys, time
report, *command = sys.argv[1:]
begin = time.perf_counter()
child = os.posix_spawnp(command[0], command, os.environ)
_, status, usage = os.wait4(child, 0)
wall = time.perf_counter() - begin
with open(report, "w") as file:
    print(wall, usage.ru_utime + usage.ru_stime, usage.ru_maxrss * 1024, file=file)
sys.exit(os.waitstatus_to_exitcode(status) != 0)
"""


class Unusable(Exception):
    """A tool that does not run here, with its own words."""


def matrix() -> ModuleType:
    """`tests/matrix/run`, which knows how Debian roots are made and entered."""
    loader = SourceFileLoader("matrix_run", str(ROOT / "tests" / "matrix" / "run"))
    spec = spec_from_loader("matrix_run", loader)
    assert spec is not None
    module = module_from_spec(spec)
    sys.modules["matrix_run"] = module
    loader.exec_module(module)
    return module


@dataclass(frozen=True)
class Python:
    """An interpreter with its tools, and where their files are."""

    python: str
    bin: str
    version: str
    # What runs a command there; folders are made below `folders`, which the command sees as /tmp.
    enter: tuple[str, ...] = ()
    folders: str | None = None
    environment: tuple[tuple[str, str], ...] = ()

    def seen(self, folder: Path) -> str:
        return str(folder) if self.folders is None else f"/tmp/{folder.name}"

    def output_of(self, *command: str) -> str:
        done = subprocess.run([*self.enter, *command], capture_output=True, text=True, check=False)
        if done.returncode != 0:
            raise Unusable((done.stderr.strip().splitlines() or ["it does not run"])[-1])
        return done.stdout.strip()


@dataclass
class Run:
    wall: float
    cpu: float
    total_cpu: float
    around: float
    memory: int
    samples: int = 0
    impossible: int = 0
    failed: int | None = None
    in_a: float = 0
    in_either: float = 0


@dataclass
class Rows:
    """What was measured of one tool."""

    runs: list[Run] = field(default_factory=list)
    bursts: list[float] = field(default_factory=list)
    asleep: list[float] = field(default_factory=list)
    mixed: list[int] = field(default_factory=lambda: [0, 0])
    picture: list[float] = field(default_factory=list)


@dataclass(frozen=True)
class Bench:
    pythons: dict[str, Python]
    interval_ms: float

    @contextmanager
    def folder(self, tool: Tool) -> Iterator[Path]:
        path = Path(tempfile.mkdtemp(prefix="peers-", dir=self.pythons[tool.python].folders))
        try:
            yield path
        finally:
            shutil.rmtree(path)

    def filled(self, words: tuple[str, ...], tool: Tool, folder: str) -> list[str]:
        python = self.pythons[tool.python]
        values = {
            "ms": f"{self.interval_ms:g}",
            "s": f"{self.interval_ms / 1000:g}",
            "us": f"{self.interval_ms * 1000:g}",
            "hz": f"{1000 / self.interval_ms:g}",
            "out": f"{folder}/out",
            "bin": python.bin,
            "python": python.python,
            "here": self.pythons["here"].bin,
        }
        return [word.format(**values) for word in words]

    def run(
        self, tool: Tool, words: tuple[str, ...], program: str, turns: int, folder: Path
    ) -> tuple[float, float, int, str]:
        """Wall time, CPU time and bytes of memory of a command with its children; what it said."""
        python = self.pythons[tool.python]
        shutil.copy(HERE / program, folder)
        seen = python.seen(folder)
        command = self.filled(words, tool, seen)
        command += [f"{seen}/{program}", f"{seen}/report.json", str(turns)]
        launcher = [python.python, "-I", "-S", "-c", LAUNCHER, f"{seen}/took", *command]
        done = subprocess.run(
            [*python.enter, *launcher],
            cwd=folder,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            env={**os.environ, **dict(python.environment)},
            check=False,
        )
        if done.returncode != 0 or not (folder / "report.json").exists():
            said = [line for line in done.stdout.strip().splitlines() if line.strip()]
            raise Unusable(said[-1] if said else f"status {done.returncode}")
        wall, cpu, memory = (folder / "took").read_text().split()
        return float(wall), float(cpu), int(memory), done.stdout

    def samples(self, tool: Tool, folder: Path) -> list[Sample]:
        if tool.read is None:
            return []
        return list(tool.read(self.file(tool, folder), self.interval_ms / 1000))

    def file(self, tool: Tool, folder: Path) -> Path:
        (made,) = folder.glob("out.*")
        if not tool.convert:
            return made
        subprocess.run(
            self.filled(tool.convert, tool, str(folder)), check=True, stdout=subprocess.DEVNULL
        )
        return Path(self.filled(tool.convert, tool, str(folder))[-1])

    def steady(self, tool: Tool, turns: int) -> Run:
        with self.folder(tool) as folder:
            wall, total_cpu, memory, said = self.run(
                tool, tool.command, "program.py", turns, folder
            )
            took = json.loads((folder / "report.json").read_text())
            run = Run(took["wall"], took["cpu"], total_cpu, wall - took["wall"], memory)
            run.in_a, run.in_either = took["in_a"], took["in_a"] + took["in_b"]
            if tool.read is None:
                return run
            run.in_a = run.in_either = 0
            for sample in self.samples(tool, folder):
                chain = known_chain(sample.names)
                run.samples += sample.count
                if "a_outer" in chain or "b_outer" in chain:
                    run.in_either += sample.seconds
                    run.in_a += sample.seconds * ("a_outer" in chain)
                if not any(chain == possible[: len(chain)] for possible in CHAINS):
                    run.impossible += sample.count
            if tool.failures is not None:
                (made,) = (path for path in folder.glob("out.*") if path.suffix != ".text")
                run.failed = tool.failures(said, made, run.samples)
            return run

    def bursts(self, tool: Tool, turns: int) -> tuple[float, float]:
        """Time found in bursts and in sleepers, of the time that they took."""
        with self.folder(tool) as folder:
            self.run(tool, tool.command, "bursts.py", turns, folder)
            took = json.loads((folder / "report.json").read_text())
            bursts = asleep = 0.0
            for sample in self.samples(tool, folder):
                names = {name.rpartition(".")[2] for name in sample.names}
                bursts += sample.seconds * any(name in names for name in BURSTS)
                asleep += sample.seconds * any(name in names for name in SLEEPS)
            return bursts / took["bursts"], asleep / took["asleep"]

    def mixed(self, tool: Tool, turns: int) -> tuple[int, int]:
        """How many stacks with `compare` have `qsort` between it and `main`, and how many not."""
        right = wrong = 0
        with self.folder(tool) as folder:
            self.run(tool, tool.command, "mixed.py", turns, folder)
            for sample in self.samples(tool, folder):
                if "compare" not in sample.names:
                    continue
                inner = sample.names.index("compare")
                outer = max(
                    (i for i, name in enumerate(sample.names[:inner]) if name == "main"), default=-1
                )
                between = sample.names[outer + 1 : inner]
                if outer >= 0 and any("qsort" in name or "msort" in name for name in between):
                    right += sample.count
                else:
                    wrong += sample.count
        return right, wrong

    def picture(self, tool: Tool) -> float:
        with self.folder(tool) as folder:
            return self.run(tool, tool.picture, "program.py", 1, folder)[0]


def known_chain(names: list[str]) -> list[str]:
    """The program's own functions of a stack; a profiler in Python may have a `main`, too."""
    chain = [name for name in (n.rpartition(".")[2] for n in names) if name in KNOWN]
    outermost = max((i for i, name in enumerate(chain) if name == "main"), default=0)
    return chain[outermost:]


# --- the interpreters -----------------------------------------------------------------------------


def here(cache: Path, left_out: dict[str, str]) -> Python:
    """This Python, in an environment with the others in it."""
    environment = cache / f"peers-{platform.python_version()}"
    python = environment / "bin" / "python"
    if not python.exists():
        print(f"installing {', '.join(PACKAGES)} into {environment}", file=sys.stderr)
        subprocess.run([sys.executable, "-m", "venv", str(environment)], check=True)
    pip = [str(python), "-m", "pip"]
    there = subprocess.run([*pip, "freeze"], capture_output=True, text=True, check=True).stdout
    for package in PACKAGES:
        if f"{package}==" in there.lower().replace("_", "-"):
            continue
        done = subprocess.run([*pip, "install", "-q", package], capture_output=True, text=True)
        if done.returncode != 0:
            left_out[package] = (done.stderr.strip().splitlines() or ["pip failed"])[-1]
    source = str(Path(spprof.__file__).parent.parent)
    version = platform.python_version()
    return Python(str(python), str(python.parent), version, environment=(("PYTHONPATH", source),))


def elsewhere(tools: Path) -> dict[str, Python]:
    """Python 3.14 and 3.15 of Debian sid, with the binaries of the tools of here."""
    places = matrix()
    root = places.DebianRoot("sid", places.CACHE / "roots" / "sid")
    if not (root.path / "spprof-complete").exists():
        raise Unusable("there is no root with it: tests/matrix/run 3.15 makes one")
    folders = root.path / "tmp"
    for name in ("austin",):
        if (tools / name).exists():
            shutil.copy(tools / name, folders)
    enter, found = tuple(root.command([])), {}
    environment = tuple(places.environment().items())
    for version in ("3.14", "3.15"):
        # With the spprof that the matrix built, where it has.
        built = sorted((root.path / "spprof").glob(f"venv-cpython-{version.replace('.', '')}-*"))
        python = f"python{version}"
        if built:
            python = root.inside(built[-1] / "bin" / "python")
        one = Python(python, "/tmp", "", enter, str(folders), environment)
        full = one.output_of(python, "-c", "import platform; print(platform.python_version())")
        found[version] = Python(python, "/tmp", full, enter, str(folders), environment)
    return found


def versions(python: Python) -> dict[str, str]:
    code = (
        "import importlib.metadata as m, json, sys\nfound = {}\nfor n in sys.argv[1:]:\n"
        "    try: found[n] = m.version(n)\n    except m.PackageNotFoundError: pass\n"
        "print(json.dumps(found))"
    )
    found: dict[str, str] = json.loads(python.output_of(python.python, "-c", code, *PACKAGES))
    return found


# --- the table ------------------------------------------------------------------------------------


def spread(values: list[float], form: str = ".2f") -> str:
    middle = statistics.median(values)
    return f"{middle:{form}} ({min(values):{form}}-{max(values):{form}})"


HEAD = (
    *("tool", "slowdown", "by round", "total CPU", "of due", "failed", "impossible", "off by"),
    *("bursts", "asleep", "mixed", "around, s", "memory", "picture, s"),
)


def label(tool: Tool) -> str:
    return tool.name + ("" if tool.python == "here" else f" on Python {tool.python}")


def figures(tool: Tool, rows: Rows, base: Rows, interval_ms: float) -> dict[str, float]:
    """What can be compared, by column."""
    runs = rows.runs
    samples = sum(run.samples for run in runs)
    found = {
        "slowdown": min(run.wall for run in runs) / min(run.wall for run in base.runs),
        "total CPU": statistics.median(
            r.total_cpu / of.total_cpu for r, of in zip(runs, base.runs)
        ),
        "around, s": statistics.median(run.around for run in runs),
        "memory": statistics.median(run.memory for run in runs) / 2**20,
    }
    if samples:
        found["of due"] = samples / sum(run.cpu * 1000 / interval_ms for run in runs)
        found["impossible"] = sum(run.impossible for run in runs) / samples
    if samples and tool.failures is not None:
        failed = sum(run.failed or 0 for run in runs)
        found["failed"] = failed / (samples + failed)
    in_either = sum(run.in_either for run in runs)
    if tool.read is not None and in_either:
        truth = sum(run.in_a for run in base.runs) / sum(run.in_either for run in base.runs)
        found["off by"] = abs(sum(run.in_a for run in runs) / in_either - truth) * 100
        found["by chance"] = 100 / samples**0.5 if samples else 0.0
    if rows.bursts:
        found["bursts"] = statistics.median(rows.bursts)
        found["asleep"] = statistics.median(rows.asleep)
    if sum(rows.mixed):
        found["mixed"] = rows.mixed[0] / sum(rows.mixed)
    if rows.picture:
        found["picture, s"] = min(rows.picture)
    return found


FORMS = {
    "slowdown": ".2f",
    "of due": ".0%",
    "failed": ".2%",
    "impossible": ".2%",
    "off by": ".1f",
    "bursts": ".0%",
    "asleep": ".0%",
    "mixed": ".0%",
    "memory": ".0f",
    "picture, s": ".2f",
    "total CPU": ".2f",
    "around, s": ".2f",
}
# What all of these should be; of the others less is better.
WHOLE = ("of due", "bursts", "mixed")


def shown(column: str, value: float) -> str:
    return f"{value:{FORMS[column]}}" + (" MiB" if column == "memory" else "")


def row(tool: Tool, rows: Rows, base: Rows, interval_ms: float) -> list[str]:
    found = figures(tool, rows, base, interval_ms)
    cells = {column: shown(column, found[column]) for column in FORMS if column in found}
    cells["tool"] = label(tool) + (f" ({tool.note})" if tool.note else "")
    cells["by round"] = spread([run.wall / of.wall for run, of in zip(rows.runs, base.runs)])
    cells["total CPU"] = spread([r.total_cpu / of.total_cpu for r, of in zip(rows.runs, base.runs)])
    cells["around, s"] = spread([run.around for run in rows.runs])
    return [cells.get(column, "-") for column in HEAD]


def ahead(found: dict[str, dict[str, float]], ours: str, others: list[str]) -> list[str]:
    """Columns in which another tool is nearer to what should be, with the best one's figure."""
    lines = []
    for column, value in found[ours].items():
        if column not in FORMS:
            continue
        distance = {
            name: abs(found[name][column] - (column in WHOLE))
            for name in (ours, *others)
            if column in found[name]
        }
        if column == "off by":
            # Within two standard errors of a share all are where they should be.
            distance = {n: max(0.0, far - found[n]["by chance"]) for n, far in distance.items()}
        best = min(distance, key=distance.__getitem__)
        # Nobody is ahead by what is not shown.
        if best != ours and shown(column, found[best][column]) != shown(column, value):
            lines.append(
                f"{column} ({best}: {shown(column, found[best][column])}, {ours}: "
                f"{shown(column, value)})"
            )
    return lines


def calibrated(bench: Bench, tool: Tool, seconds: float) -> int:
    """Turns of the program that take so long without a profiler."""
    turns = 2000
    return max(1, round(turns * seconds / bench.steady(tool, turns).wall))


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--interval-ms", type=float, default=1)
    parser.add_argument("--seconds", type=float, default=1, help="of the program, unprofiled")
    parser.add_argument("--quick", action="store_true", help="two rounds of 0.2 s")
    parser.add_argument("--only", nargs="*", help="names of tools; all without it")
    parser.add_argument("--readme", action="store_true", help="put the table into README.md")
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "spprof-bench"
    parser.add_argument("--cache", type=Path, default=cache)
    options = parser.parse_args()
    if options.quick:
        options.rounds, options.seconds = 2, 0.2
    return options


def main() -> None:
    options = arguments()
    left_out: dict[str, str] = {}
    pythons = {"here": here(options.cache, left_out)}
    found = versions(pythons["here"])
    try:
        pythons.update(elsewhere(Path(pythons["here"].bin)))
    except Unusable as error:
        left_out["Python 3.15's profiling.sampling, Austin"] = str(error)
    bench = Bench(pythons, options.interval_ms)
    tools = [
        tool
        for tool in TOOLS
        if tool.python in pythons
        and (not options.only or tool.name in ("none", *options.only))
        # A Python is only of interest with a tool on it.
        and (
            not options.only
            or any(t.name in options.only and t.python == tool.python for t in TOOLS)
        )
    ]
    measured: dict[Tool, Rows] = {tool: Rows() for tool in tools}

    def drop(tool: Tool, error: Unusable) -> None:
        version = "" if tool.python == "here" else f" on Python {tool.python}"
        left_out[tool.name + version] = str(error)
        del measured[tool]

    bases = {tool.python: tool for tool in tools if tool.name == "none"}
    turns = {python: calibrated(bench, base, options.seconds) for python, base in bases.items()}
    begin = time.monotonic()
    for number in range(options.rounds):
        for tool in random.sample(list(measured), len(measured)):
            rows = measured[tool]
            try:
                rows.runs.append(bench.steady(tool, turns[tool.python]))
                if tool.read is not None:
                    of_bursts, of_sleep = bench.bursts(tool, round(options.seconds * 500))
                    rows.bursts.append(of_bursts)
                    # What has no stacks of a moment is not asked who slept.
                    rows.asleep += [of_sleep]
                if tool.native and number < 2:
                    right, wrong = bench.mixed(tool, round(options.seconds * 500))
                    rows.mixed = [rows.mixed[0] + right, rows.mixed[1] + wrong]
                if tool.picture:
                    rows.picture.append(bench.picture(tool))
            except Unusable as error:
                drop(tool, error)
    lines = [
        f"CPython {', '.join(python.version for python in pythons.values())}, "
        f"{platform.system()} {platform.machine()}, {os.cpu_count()} processors, "
        f"load {os.getloadavg()[0]:.1f}, {options.interval_ms:g} ms, {options.rounds} rounds of "
        f"{options.seconds:g} s in {time.monotonic() - begin:.0f} s; median (smallest-largest). "
        f"spprof {spprof.__version__}, "
        + ", ".join(f"{name} {version}" for name, version in found.items())
        + ".",
        "",
        "| " + " | ".join(HEAD) + " |",
        "|" + " --- |" * len(HEAD),
    ]
    compared = {}
    for tool, rows in measured.items():
        base = measured[bases[tool.python]]
        lines.append("| " + " | ".join(row(tool, rows, base, bench.interval_ms)) + " |")
        compared[label(tool)] = figures(tool, rows, base, bench.interval_ms)
    lines.append("")
    for python in bases:
        there = [tool for tool in measured if tool.python == python]
        ours = next((label(tool) for tool in there if tool.name == "spprof"), None)
        others = [label(tool) for tool in there if tool.read and "spprof" not in tool.name]
        if ours and others:
            behind = ahead(compared, ours, others) or ["nowhere"]
            lines.append(
                f"Where another one that finds functions is ahead of {ours}: {'; '.join(behind)}."
            )
    lines += [f"\nLEFT OUT: {name}: {why}" for name, why in left_out.items()]
    print("\n".join(lines))
    if options.readme:
        readme = ROOT / "README.md"
        before, start, rest = readme.read_text(encoding="utf-8").partition(BEGIN)
        _, end, after = rest.partition(END)
        if not start or not end:
            sys.exit(f"README.md has no {BEGIN} and {END} to put the table between")
        inside = "\n" + "\n".join(lines) + "\n"
        readme.write_text(before + start + inside + end + after, encoding="utf-8")


if __name__ == "__main__":
    main()
