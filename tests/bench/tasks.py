"""What looking at suspended tasks costs an event loop, against the same session without it.

    python tests/bench/tasks.py [--rounds 9] [--interval 10] [--uvloop]

"waiting": so many tasks wait for good below one gather, while another one works and sleeps for a
moment in turns, or works and never lets the loop rest. "serving": 5,000 requests a second, each a
task of its own that waits for some milliseconds. Fixed work; CPU time of the process, and on the
clock, with `tasks=True` against `tasks=False`, in turns; the ratio is the median over rounds,
+- its standard error. The first second of a session, in which tasks are read that are new to it,
is not in the ratio. "longest" is the longest that a look kept the loop from its work.
"""

from __future__ import annotations

import argparse
import asyncio
import random
import statistics
import time
from collections.abc import Awaitable
from typing import Callable

import spprof
from spprof._session import waits

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


class Longest:
    """The longest look at tasks."""

    def __init__(self) -> None:
        self.seconds = 0.0
        look = waits.Accounts.look

        def timed(*args: object, **options: object) -> None:
            begin = time.perf_counter()
            look(*args, **options)  # type: ignore[arg-type]
            self.seconds = max(self.seconds, time.perf_counter() - begin)

        waits.Accounts.look = timed  # type: ignore[assignment]


async def block(work: Work, interval_ms: float, tasks: bool) -> tuple[float, float]:
    """CPU seconds and seconds on the clock of the work in a session."""
    spprof.start(interval_ms, mode="wall", tasks=tasks)
    await work(1)
    cpu, clock = time.process_time(), time.perf_counter()
    await work(3)
    took = time.process_time() - cpu, time.perf_counter() - clock
    spprof.stop()
    return took


async def row(name: str, waiting: int, work: Work, rounds: int, interval_ms: float) -> None:
    """Measure one workload beside so many waiting tasks, and print a row."""

    async def wait() -> None:
        await asyncio.get_running_loop().create_future()

    async def wait_for_all() -> None:
        await asyncio.gather(*(wait() for _ in range(waiting)))

    waiter = asyncio.create_task(wait_for_all())
    await asyncio.sleep(0.1)
    await work(1)
    longest = Longest()
    ratios: list[tuple[float, float]] = []
    for _ in range(rounds):
        took = {}
        for tasks in random.sample([False, True], 2):
            took[tasks] = await block(work, interval_ms, tasks)
        ratios.append((took[True][0] / took[False][0], took[True][1] / took[False][1]))
    cells = []
    for ratio in zip(*ratios):
        error = 1.25 * statistics.stdev(ratio) / len(ratio) ** 0.5
        cells.append(f"{statistics.median(ratio):.3f} +- {error:.3f}")
    print(f"| {name} | {' | '.join(cells)} | {longest.seconds * 1e3:.1f} ms |", flush=True)
    waiter.cancel()
    await asyncio.gather(waiter, return_exceptions=True)


async def measure(rounds: int, interval_ms: float) -> None:
    """Print the table."""
    print(f"every {interval_ms:g} ms\n\n| | CPU time | clock | longest |\n|---|---|---|---|")
    for waiting in (10, 1000, 10_000):
        await row(f"{waiting} waiting, sleepy", waiting, sleepy, rounds, interval_ms)
        await row(f"{waiting} waiting, busy", waiting, busy, rounds, interval_ms)
    await row("serving 5,000 a second", 0, serve, rounds, interval_ms)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--interval", type=float, default=10)
    parser.add_argument("--uvloop", action="store_true", help="on uvloop's loop")
    options = parser.parse_args()
    if options.uvloop:
        import uvloop

        asyncio.set_event_loop_policy(uvloop.EventLoopPolicy())
    asyncio.run(measure(options.rounds, options.interval))


if __name__ == "__main__":
    main()
