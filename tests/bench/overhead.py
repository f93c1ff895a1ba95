"""What profiling costs a program of fixed work: nothing, an empty signal handler, spprof.

    python tests/bench/overhead.py [--seconds-a-row 60] [--rows REGEX]

Prints a Markdown table. "floor" is spprof's own engine at the same rate with a handler that returns
at once: what the signals alone cost. Base, floor and spprof take turns in a random order; a ratio
is the median over rounds, +- its standard error. Process CPU has the profiler's own threads in it.
"""

from __future__ import annotations

import argparse
import os
import platform
import re
from functools import partial
from typing import Callable

import workloads
from workloads import Run

import spprof
from spprof import _native


def calibrated(depth: int, seconds: float) -> Callable[[], object]:
    """A program that takes about so long on this machine, and always does the same."""
    rounds = 20_000
    program = partial(workloads.at_depth, depth, partial(workloads.spin, rounds))
    took = min(workloads.timed(program).cpu for _ in range(5))
    repeats = max(1, round(seconds / took))

    def work() -> None:
        for _ in range(repeats):
            workloads.spin(rounds)

    return partial(workloads.at_depth, depth, work)


class Profiled:
    """Runs a program under spprof, or under its signals only, and remembers what spprof said."""

    def __init__(
        self, program: Callable[[], object], interval_ms: float, mode: str, nothing: bool
    ) -> None:
        self.program, self.interval_ms, self.mode = program, interval_ms, mode
        self.nothing = nothing
        self.handler_ns: list[float] = []

    def __call__(self) -> Run:
        _native.set_handler_does_nothing(self.nothing)
        spprof.start(self.interval_ms, mode=self.mode)
        try:
            run = workloads.timed(self.program)
            stats = spprof.stats()
        finally:
            spprof.stop()
            _native.set_handler_does_nothing(False)
        if not self.nothing and stats is not None:
            self.handler_ns.append(stats.handler_mean_ns)
        return run


def measure(
    interval_ms: float, depth: int, threads: int, mode: str, seconds: float, length: float
) -> list[str]:
    program = calibrated(depth, length)
    profiled = Profiled(program, interval_ms, mode, nothing=False)

    def base() -> Run:
        # What starting and stopping leaves behind (caches, the scheduler's opinion) is for all.
        spprof.start()
        spprof.stop()
        return workloads.timed(program)

    variants: dict[str, Callable[[], Run]] = {
        "base": base,
        "floor": Profiled(program, interval_ms, mode, nothing=True),
        "spprof": profiled,
    }
    with workloads.sleepers(threads - 1):
        runs = workloads.interleaved(variants, rounds=2000, budget_seconds=seconds)
    cpu = {name: [run.cpu for run in of] for name, of in runs.items()}
    wall = {name: [run.wall for run in of] for name, of in runs.items()}
    floor, ours = (workloads.ratio(cpu[name], cpu["base"]) for name in ("floor", "spprof"))
    in_wall = workloads.ratio(wall["spprof"], wall["base"])
    floor_in_wall = workloads.ratio(wall["floor"], wall["base"])

    def text(estimate: workloads.Estimate) -> str:
        return f"{estimate.value:.4f} +- {estimate.error:.4f}"

    extra = floor.value - 1
    return [
        f"{interval_ms:g} ms",
        mode,
        str(depth),
        str(threads),
        text(floor),
        text(ours),
        f"{(ours.value - 1) / extra:.2f}" if extra > 2 * floor.error else "-",
        text(floor_in_wall),
        text(in_wall),
        f"{workloads.median_of(profiled.handler_ns).value / 1000:.2f}",
        str(len(cpu["base"])),
    ]


ROWS = [
    *((interval, depth, 1, "cpu") for interval in (100, 10, 1) for depth in (5, 20, 50, 500)),
    *((interval, 5, threads, "cpu") for interval in (10, 1) for threads in (8, 64)),
    (10, 5, 1, "wall"),
    (10, 5, 64, "wall"),
]

HEAD = [
    "interval",
    "mode",
    "depth",
    "threads",
    "floor / base, CPU",
    "spprof / base, CPU",
    "cost / floor's",
    "floor / base, wall",
    "spprof / base, wall",
    "handler mean, µs",
    "rounds",
]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--seconds-a-row", type=float, default=60)
    parser.add_argument("--run-seconds", type=float, default=0.5, help="length of one run")
    parser.add_argument(
        "--rows", default="", help="regular expression on 'interval mode depth threads'"
    )
    options = parser.parse_args()
    print(
        f"CPython {platform.python_version()}, {os.cpu_count()} CPUs, "
        f"kernel tick {_native.kernel_tick_ns() / 1e6:g} ms, "
        f"load {os.getloadavg()[0]:.1f} at the beginning\n"
    )
    rows = []
    for interval, depth, threads, mode in ROWS:
        if re.search(options.rows, f"{interval} {mode} {depth} {threads}"):
            rows.append(
                measure(interval, depth, threads, mode, options.seconds_a_row, options.run_seconds)
            )
            print(" ".join(rows[-1]), flush=True)
    print()
    print(workloads.table(HEAD, rows))
    print(f"\nload {os.getloadavg()[0]:.1f} at the end")


if __name__ == "__main__":
    main()
