"""What a look into a running session costs, by the samples and stacks that it holds.

    python tests/bench/snapshot.py

Prints, for recordings of several sizes, the milliseconds of `_native.snapshot` (the program stands
still meanwhile: it holds the interpreter) and of `spprof.snapshot`, each the median of 9.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable

import spprof
from spprof._session import engine


def burn(depth: int, cpu_seconds: float) -> None:
    """Use CPU time at the end of a stack of this depth."""
    if depth:
        burn(depth - 1, cpu_seconds)
        return
    end = time.thread_time() + cpu_seconds
    while time.thread_time() < end:
        pass


def median_ms(look: Callable[[], object]) -> float:
    """Time of one look, in milliseconds."""
    times = []
    for _ in range(9):
        began = time.perf_counter()
        look()
        times.append((time.perf_counter() - began) * 1e3)
    return statistics.median(times)


def main() -> None:
    """Print a line for each size."""
    print(f"{'interval':>8} {'seconds':>8} {'samples':>9} {'stacks':>7} {'native':>8} {'whole':>8}")
    for interval_ms, seconds in ((10, 1), (1, 1), (1, 4), (0.1, 1), (0.1, 6)):
        spprof.start(interval_ms)
        for depth in range(50):
            burn(depth, seconds / 50)
        native, whole = median_ms(engine.snapshot), median_ms(spprof.snapshot)
        profile = spprof.stop()
        stacks = len(profile._tables.stack_parent)
        print(
            f"{interval_ms:>5} ms {seconds:>6} s {profile.sample_count:>9} {stacks:>7} "
            f"{native:>5.2f} ms {whole:>5.2f} ms"
        )


if __name__ == "__main__":
    main()
