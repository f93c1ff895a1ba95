"""What profiling costs a program of fixed work: nothing, an empty signal handler, spprof.

    python tests/bench/overhead.py [--seconds-a-row 60] [--rows REGEX]
    python tests/bench/overhead.py --asleep

Prints a Markdown table. Short blocks of the same work take turns within a session, in a random
order: "base" while it is paused, "floor" with a handler that returns at once (what the signals
alone cost), "spprof" as it is. A ratio is the median over rounds, +- its standard error. CPU time
is that of the process, the profiler's own threads included. With --asleep: what a session of a
process costs that does nothing at all, as a share of one processor.
"""

from __future__ import annotations

import argparse
import os
import platform
import random
import re
import time
from collections.abc import Iterable
from functools import partial
from typing import Callable, cast

import workloads
from workloads import Run

import spprof
from spprof import _native

SIGNALS_A_BLOCK = 5  # at least: a median would not see what is rare
SESSION_SECONDS = 3
# A block begins with a session that knows nobody: what that costs should not be seen.
READING_A_SLEEPER = 0.005
UNTIL_SLEEPERS_ARE_KNOWN = 0.5  # and more: the ticker watches a thread for 100 ms before it sleeps


class Options(argparse.Namespace):
    seconds_a_row: float
    block_seconds: float
    rows: str
    asleep: bool


ENGINES = ("base", "floor", "spprof")


def calibrated(seconds: float) -> Callable[[], object]:
    """A program that takes about so long on this machine, and always does the same."""
    rounds = 20_000
    took = min(workloads.timed(partial(workloads.spin, rounds)).cpu for _ in range(20))
    return partial(workloads.spin, max(1, round(rounds * seconds / took)))


class Session:
    """One session in which blocks of the program take turns: paused, empty handler, sampling."""

    def __init__(self, interval_ms: float, mode: str, native: bool) -> None:
        self.arguments = {"interval_ms": interval_ms, "mode": mode, "native": native}
        self.handler_ns: list[float] = []

    def blocks(self, block: Callable[[], object], rounds: int) -> list[dict[str, Run]]:
        """Each engine once a round, in a new random order each, so that drift hits all alike."""
        results = []
        spprof.start(**self.arguments)
        try:
            with workloads.undisturbed():
                for _ in range(rounds):
                    results.append({name: self.block(name, block) for name in shuffled(ENGINES)})
            stats = spprof.stats()
        finally:
            _native.set_handler_does_nothing(False)
            spprof.stop()
        assert stats is not None
        # Calls of the empty handler are not in it.
        self.handler_ns.append(stats.handler_mean_ns)
        return results

    def block(self, name: str, block: Callable[[], object]) -> Run:
        if name == "base":
            spprof.pause()
        else:
            _native.set_handler_does_nothing(name == "floor")
            spprof.resume()
        return workloads.timed(block)


def shuffled(names: Iterable[str]) -> list[str]:
    order = list(names)
    random.shuffle(order)
    return order


def measure(
    interval_ms: float, depth: int, threads: int, mode: str, native: bool, options: Options
) -> list[str]:
    length = max(options.block_seconds, SIGNALS_A_BLOCK * interval_ms / 1000)
    if threads > 1 and interval_ms * 1e6 < _native.kernel_tick_ns():
        length = max(length, UNTIL_SLEEPERS_ARE_KNOWN, threads * READING_A_SLEEPER)
    block = calibrated(length)
    session = Session(interval_ms, mode, native)
    rounds: list[dict[str, Run]] = []
    per_session = max(1, round(SESSION_SECONDS / (len(ENGINES) * length)))
    end = time.monotonic() + options.seconds_a_row
    with workloads.sleepers(threads - 1):
        while time.monotonic() < end:
            # A new session now and then: what memory it happens to get is another matter of luck.
            work = partial(session.blocks, block, per_session)
            rounds += cast("list[dict[str, Run]]", workloads.at_depth(depth, work))

    def cost(name: str, clock: str) -> workloads.Estimate:
        return workloads.ratio(
            [getattr(each[name], clock) for each in rounds],
            [getattr(each["base"], clock) for each in rounds],
        )

    def text(estimate: workloads.Estimate) -> str:
        return f"{estimate.value:.4f} +- {estimate.error:.4f}"

    over_floor = workloads.ratio(
        [each["spprof"].cpu for each in rounds], [each["floor"].cpu for each in rounds]
    )
    return [
        f"{interval_ms:g} ms",
        mode,
        "yes" if native else "no",
        str(depth),
        str(threads),
        text(cost("floor", "cpu")),
        text(cost("spprof", "cpu")),
        text(over_floor),
        text(cost("floor", "wall")),
        text(cost("spprof", "wall")),
        f"{workloads.median_of(session.handler_ns).value / 1000:.2f}",
        str(len(rounds)),
    ]


# Interval in ms, mode, native frames, depth, threads (all but one asleep).
ROWS: list[tuple[float, str, bool, int, int]] = [
    *((10, "cpu", False, depth, 1) for depth in (5, 20, 50, 500)),
    *((1, "cpu", False, depth, 1) for depth in (5, 20, 50, 500)),
    *((interval, "cpu", True, depth, 1) for interval in (10, 1) for depth in (5, 20)),
    (100, "cpu", False, 20, 1),
    *((interval, "cpu", False, 20, 64) for interval in (10, 1)),
    *((10, "wall", False, 20, threads) for threads in (1, 64)),
    *((1, "wall", False, 20, threads) for threads in (1, 64, 1000)),
]

HEAD = [
    "interval",
    "mode",
    "native",
    "depth",
    "threads",
    "floor / base, CPU",
    "spprof / base, CPU",
    "spprof / floor, CPU",
    "floor / base, wall",
    "spprof / base, wall",
    "handler, µs",
    "rounds",
]


def asleep(interval_ms: float, mode: str, threads: int) -> list[str]:
    """CPU time that a session uses while all threads sleep, once it knows that they do."""
    with workloads.sleepers(threads - 1):
        spprof.start(interval_ms, mode=mode)
        time.sleep(UNTIL_SLEEPERS_ARE_KNOWN + threads * READING_A_SLEEPER)
        shares = []
        for _ in range(5):
            begin, used = time.monotonic(), time.process_time()
            time.sleep(0.5)
            shares.append((time.process_time() - used) / (time.monotonic() - begin))
        spprof.stop()
    middle = workloads.median_of(shares)
    share = f"{100 * middle.value:.2f} +- {100 * middle.error:.2f}"
    return [f"{interval_ms:g} ms", mode, str(threads), share]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--seconds-a-row", type=float, default=60)
    parser.add_argument("--block-seconds", type=float, default=0.01)
    parser.add_argument(
        "--rows", default="", help="regular expression on 'interval mode native depth threads'"
    )
    parser.add_argument("--asleep", action="store_true", help="of threads that all sleep")
    options = parser.parse_args(namespace=Options())
    print(
        f"CPython {platform.python_version()}, {os.cpu_count()} CPUs, "
        f"kernel tick {_native.kernel_tick_ns() / 1e6:g} ms, "
        f"load {os.getloadavg()[0]:.1f} at the beginning\n"
    )
    if options.asleep:
        table = [
            asleep(interval, mode, threads)
            for mode, interval in (("cpu", 1.0), ("wall", 10.0), ("wall", 1.0))
            for threads in (1, 64, 1000)
        ]
        print(workloads.table(["interval", "mode", "threads", "% of one processor"], table))
        return
    rows = []
    for interval, mode, native, depth, threads in ROWS:
        name = f"{interval} {mode} {'native' if native else 'python'} {depth} {threads}"
        if re.search(options.rows, name):
            rows.append(measure(interval, depth, threads, mode, native, options))
            print(" ".join(rows[-1]), flush=True)
    print()
    print(workloads.table(HEAD, rows))
    print(f"\nload {os.getloadavg()[0]:.1f} at the end")


if __name__ == "__main__":
    main()
