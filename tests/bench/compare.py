"""Two builds of spprof in one run: the same benchmarks by turns, their figures side by side.

    python tests/bench/compare.py OLD NEW [--rounds 3] [--only handler,overhead,accuracy,stop]

OLD and NEW are folders that hold the package `spprof` with its module built, as `src` of two
checkouts. Each round runs a benchmark with both, in turns that change: what else the machine does
meets them alike. A figure is the median over rounds; where the builds differ it is written `old ->
new`, with `[least .. most]` of each. Must not know what the benchmarks print: lines that are alike
but for their numbers are compared.
"""

from __future__ import annotations

import argparse
import os
import re
import statistics
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent

# So that a round of each takes about two minutes on a quiet machine.
BENCHMARKS = {
    "handler": ["handler.py"],
    "overhead": [
        "overhead.py",
        "--seconds-a-row=10",
        "--rows=^(1|10) cpu (python|native) 20 1$|^1 wall python 20 (1|64)$",
    ],
    "accuracy": ["accuracy.py", "--samples=20000"],
    "stop": ["stop.py", "--samples=100000"],
}
NUMBER = re.compile(r"(?<![\w.])-?\d[\d,]*(?:\.\d+)?")


def output_of(command: list[str], package: Path) -> list[str]:
    """Lines that a benchmark prints with the package in a folder; its stderr shows."""
    done = subprocess.run(
        [sys.executable, str(HERE / command[0]), *command[1:]],
        env={**os.environ, "PYTHONPATH": os.fspath(package)},
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    # Tables are aligned: their blanks and rules change with the widths of numbers.
    lines = (re.sub(r"-{3,}", "---", " ".join(line.split())) for line in done.stdout.splitlines())
    return [line for line in lines if line]


def figures(lines: list[str]) -> list[float]:
    """The figures of one place, one a round."""
    return [float(text.replace(",", "")) for text in lines]


def beside(old: list[str], new: list[str]) -> str:
    """One figure of both builds, of all rounds."""
    if len({*old, *new}) == 1:
        return old[0]
    parts = []
    for texts in (old, new):
        values = figures(texts)
        middle = statistics.median(values)
        parts.append(f"{middle:g} [{min(values):g} .. {max(values):g}]")
    return " -> ".join(parts)


def compared(old: list[list[str]], new: list[list[str]]) -> list[str]:
    """Lines of all rounds of both builds as one, in the order of the newest."""
    result = []
    for place, line in enumerate(new[-1]):
        shape = NUMBER.sub("#", line)
        rounds = [[r[place] for r in runs if place < len(r)] for runs in (old, new)]
        alike = [[each for each in r if NUMBER.sub("#", each) == shape] for r in rounds]
        if not all(alike):
            result.append(line)  # nothing to compare it with
            continue
        columns = [list(zip(*(NUMBER.findall(each) for each in r))) for r in alike]
        texts = iter([beside(list(a), list(b)) for a, b in zip(*columns)])
        result.append(NUMBER.sub(lambda _, texts=texts: next(texts), line))  # type: ignore[misc]
    return result


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("old", type=Path)
    parser.add_argument("new", type=Path)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--only", default=",".join(BENCHMARKS), help="default: %(default)s")
    options = parser.parse_args()
    packages = {"old": options.old.resolve(), "new": options.new.resolve()}
    for folder in packages.values():
        if not any((folder / "spprof").glob("_native*")):
            parser.error(f"{folder} holds no built spprof: build it there first")
    for name in options.only.split(","):
        if name not in BENCHMARKS:
            parser.error(f"no benchmark {name!r}: {', '.join(BENCHMARKS)}")
    print(f"load {os.getloadavg()[0]:.1f} at the beginning")
    for name in options.only.split(","):
        found: dict[str, list[list[str]]] = {"old": [], "new": []}
        for number in range(options.rounds):
            for which in ("old", "new") if number % 2 == 0 else ("new", "old"):
                found[which].append(output_of(BENCHMARKS[name], packages[which]))
        print(f"\n## {name}\n")
        print("\n".join(compared(found["old"], found["new"])), flush=True)
    print(f"\nload {os.getloadavg()[0]:.1f} at the end")


if __name__ == "__main__":
    main()
