"""What looking at suspended tasks costs an event loop, against the same session without.

    python tests/bench/tasks.py [--pairs 40] [--interval 10] [--only serving] [--uvloop]

"waiting": so many tasks wait for good below one gather, while another one works and sleeps for a
moment in turns, or works and never lets the loop rest. "serving": 5,000 requests a second, each a
task of its own that waits for some milliseconds. Fixed work in blocks of a tenth of a second, in
one session, in turns with looks and without (as in a pause): CPU time of the process, and on the
clock. The ratio of the least that a block took, which other programs disturb least, and the median
of the pairs' ratios, +- its standard error. The beginning of a session, in which tasks are read
that are new to it, is not in the ratio. "looks" is the part of the CPU time that looks took, of
which many tasks have few: the median of pairs may see none. "longest" is the longest that one kept
the loop from its work. Last, what a round of a loop costs that has nothing to do.
"""

from __future__ import annotations

import argparse
import asyncio
import random
import statistics
import time
from collections.abc import Awaitable
from typing import Any, Callable

import spprof
from spprof._session import tasks

BLOCK_S = 0.1

Work = Callable[[float], Awaitable[None]]


def spin(rounds: int) -> None:
    """Work without waiting."""
    for _ in range(rounds):
        pass


async def sleepy(seconds: float) -> None:
    """Half of the time work, half of it sleep."""
    for _ in range(round(seconds / 0.002)):
        spin(25_000)
        await asyncio.sleep(0.001)


async def busy(seconds: float) -> None:
    """Rounds of the loop without rest."""
    for _ in range(round(seconds / 0.001)):
        spin(25_000)
        await asyncio.sleep(0)


async def serve(seconds: float, a_second: int = 5000) -> None:
    """Requests that come five each millisecond."""

    async def query() -> None:
        await asyncio.sleep(0.002)

    async def request() -> None:
        await query()
        spin(500)
        await query()

    running: set[asyncio.Task[None]] = set()
    for _ in range(round(seconds * 1000)):
        for _ in range(a_second // 1000):
            task = asyncio.create_task(request())
            running.add(task)
            task.add_done_callback(running.discard)
        await asyncio.sleep(0.001)
    await asyncio.gather(*running)


class Looks:
    """CPU time that looks at tasks take, and the longest on the clock."""

    def __init__(self) -> None:
        self.cpu = self.longest = 0.0
        look = tasks._Watch._look

        def timed(*args: Any) -> None:
            cpu, clock = time.thread_time(), time.perf_counter()
            look(*args)
            self.cpu += time.thread_time() - cpu
            self.longest = max(self.longest, time.perf_counter() - clock)

        tasks._Watch._look = timed  # type: ignore[method-assign]


LOOKS = Looks()


async def block(work: Work, looking: bool) -> tuple[float, float, float]:
    """Seconds of the work: of the processor, on the clock, of looks at tasks."""
    (tasks.resume if looking else tasks.pause)()
    LOOKS.cpu = 0
    cpu, clock = time.process_time(), time.perf_counter()
    await work(BLOCK_S)
    return time.process_time() - cpu, time.perf_counter() - clock, LOOKS.cpu


async def row(name: str, waiting: int, work: Work, pairs: int, interval_ms: float) -> None:
    """Measure one workload beside so many waiting tasks, and print a row."""

    async def wait() -> None:
        await asyncio.get_running_loop().create_future()

    async def wait_for_all() -> None:
        await asyncio.gather(*(wait() for _ in range(waiting)))

    waiter = asyncio.create_task(wait_for_all())
    await asyncio.sleep(0.1)
    spprof.start(interval_ms, mode="wall")
    await work(0.7)
    LOOKS.longest = 0
    took: dict[bool, list[tuple[float, float, float]]] = {False: [], True: []}
    for _ in range(pairs):
        for looking in random.sample([False, True], 2):
            took[looking].append(await block(work, looking))
    spprof.stop()
    cells = []
    without, with_looks = ([*zip(*took[looking])] for looking in (False, True))
    for before, after in zip(without[:2], with_looks[:2]):
        ratios = [b / a for a, b in zip(before, after)]
        error = 1.25 * statistics.stdev(ratios) / len(ratios) ** 0.5
        cells.append(f"{min(after) / min(before):.3f}")
        cells.append(f"{statistics.median(ratios):.3f} +- {error:.3f}")
    cells.append(f"{sum(with_looks[2]) / sum(with_looks[0]):.2%}")
    print(f"| {name} | {' | '.join(cells)} | {LOOKS.longest * 1e3:.1f} ms |", flush=True)
    waiter.cancel()
    await asyncio.gather(waiter, return_exceptions=True)


async def round_of_a_loop(looking: bool, rounds: int = 20_000) -> float:
    """Microseconds of the processor for a round of the loop, in a session."""
    spprof.start(10, mode="wall", tasks=looking)
    begin = time.thread_time()
    for _ in range(rounds):
        await asyncio.sleep(0)
    took = time.thread_time() - begin
    spprof.stop()
    return took / rounds * 1e6


async def measure(pairs: int, interval_ms: float, only: str) -> None:
    """Print the table."""
    print(f"every {interval_ms:g} ms\n")
    print("| | CPU, least | CPU, median | clock, least | clock, median | looks | longest |")
    print("|---|---|---|---|---|---|---|")
    rows = [
        (f"{waiting} waiting, {kind}", waiting, work)
        for waiting in (10, 1000, 10_000)
        for kind, work in (("sleepy", sleepy), ("busy", busy))
    ]
    for name, waiting, work in [*rows, ("serving 5,000 a second", 0, serve)]:
        if only in name:
            await row(name, waiting, work, pairs, interval_ms)
    best = [min([await round_of_a_loop(looking) for _ in range(9)]) for looking in (False, True)]
    print(f"\na round of the loop: {best[0]:.2f} us without, {best[1]:.2f} us with")


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--pairs", type=int, default=40)
    parser.add_argument("--only", default="", help="rows with this in their name")
    parser.add_argument("--interval", type=float, default=10)
    parser.add_argument("--uvloop", action="store_true", help="on uvloop's loop")
    options = parser.parse_args()
    if options.uvloop:
        import uvloop

        asyncio.set_event_loop_policy(uvloop.EventLoopPolicy())
    asyncio.run(measure(options.pairs, options.interval, options.only))


if __name__ == "__main__":
    main()
