"""Programs of known work for the benchmarks, and the arithmetic of comparing noisy runs.

Must not know what is measured with them.
"""

from __future__ import annotations

import gc
import math
import os
import statistics
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Callable


def spin(rounds: int) -> int:
    """Pure-Python work whose amount depends on `rounds` only."""
    total = 0
    for i in range(rounds):
        total += i * i & 0xFF
    return total


def at_depth(depth: int, work: Callable[[], object]) -> object:
    """Do `work` with `depth` Python calls between the caller and it."""
    return work() if depth <= 1 else at_depth(depth - 1, work)


@contextmanager
def sleepers(count: int) -> Iterator[list[threading.Thread]]:
    """`count` threads that sleep until the block ends."""
    wake = threading.Event()
    ready = threading.Barrier(count + 1)

    def sleep() -> None:
        ready.wait()
        wake.wait()

    threads = [threading.Thread(target=sleep, name=f"sleeper-{i}") for i in range(count)]
    for thread in threads:
        thread.start()
    ready.wait()
    try:
        yield threads
    finally:
        wake.set()
        for thread in threads:
            thread.join()


@dataclass(frozen=True)
class Run:
    """What one run of a program took, all threads of the process together."""

    cpu: float
    wall: float


@contextmanager
def undisturbed() -> Iterator[None]:
    """Keep the calling thread on the last processor, and the garbage collector out of the way.

    Processors are not equally fast or busy.
    """
    allowed = os.sched_getaffinity(0) if hasattr(os, "sched_setaffinity") else set()
    gc.collect()
    gc.disable()
    try:
        if allowed:
            os.sched_setaffinity(0, {max(allowed)})
        yield
    finally:
        gc.enable()
        if allowed:
            os.sched_setaffinity(0, allowed)


def timed(program: Callable[[], object]) -> Run:
    """Run a program and say what it took."""
    cpu, wall = time.process_time(), time.perf_counter()
    program()
    return Run(time.process_time() - cpu, time.perf_counter() - wall)


@dataclass(frozen=True)
class Estimate:
    """A median with its standard error."""

    value: float
    error: float


def median_of(values: Sequence[float]) -> Estimate:
    """Median, with the error that the middle half of the values suggests."""
    quarters = statistics.quantiles(values, n=4)
    spread = (quarters[2] - quarters[0]) / 1.349
    return Estimate(quarters[1], 1.253 * spread / math.sqrt(len(values)))


def ratio(of: Sequence[float], to: Sequence[float]) -> Estimate:
    """Median of the ratios of runs of the same round."""
    return median_of([a / b for a, b in zip(of, to)])


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A Markdown table."""
    widths = [max(len(row[i]) for row in [head, *rows]) for i in range(len(head))]
    line = "| {} |".format

    def render(cells: Sequence[str]) -> str:
        return line(" | ".join(cell.ljust(width) for cell, width in zip(cells, widths)))

    return "\n".join([render(head), render(["-" * width for width in widths]), *map(render, rows)])
