"""Memory a sample, and the time of stop(), of a real session with many samples and stacks.

    python tests/bench/stop.py [--samples 1000000] [--chains 2000]

Samples at 0.1 ms until there are enough: a million takes some two minutes. A chain of calls is met
at two or three places of its innermost function, so 2000 make some 5000 distinct stacks.
"""

from __future__ import annotations

import argparse
import random
import time
from typing import Callable

import spprof


def chains(number: int) -> list[Callable[[], int]]:
    """So many calls of a few levels each, no two of which share one."""
    source = ["def leaf(): return sum(range(1500))\n"]
    count = 1
    level = ["leaf"]
    for depth in range(4):
        width = round(number ** ((depth + 1) / 4))
        names = [f"level_{depth}_{i}" for i in range(width)]
        for i, name in enumerate(names):
            source.append(f"def {name}(): return {level[i % len(level)]}()\n")
        count += width
        level = names
    space: dict[str, Callable[[], int]] = {}
    exec(compile("".join(source), "chains.py", "exec"), space)
    return [space[name] for name in level]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--samples", type=int, default=1_000_000)
    parser.add_argument("--chains", type=int, default=2000)
    options = parser.parse_args()
    calls = chains(options.chains)
    spprof.start(0.1, memory_limit_mb=1000)
    empty = spprof.stats()
    assert empty is not None
    begin = time.perf_counter()
    while True:
        random.shuffle(calls)
        for call in calls:
            call()
        stats = spprof.stats()
        assert stats is not None
        if stats.collected_samples >= options.samples:
            break
    sampled = time.perf_counter()
    profile = spprof.stop()
    stopped = time.perf_counter()
    rows = profile._tables.rows
    print(f"samples               {profile.sample_count:,}")
    print(f"rows                  {rows:,} (neighbouring equal samples share one)")
    print(f"distinct stacks       {len(set(profile._tables.sample_stack)):,}")
    print(f"time to sample        {sampled - begin:.1f} s")
    print(f"memory                {stats.memory_bytes / 1e6:.1f} MB")
    print(f"memory a row          {stats.memory_bytes / rows:.1f} bytes")
    print(f"time of stop()        {stopped - sampled:.3f} s")
    print(f"dropped, failed       {profile.dropped_count}, {stats.failed_samples}")


if __name__ == "__main__":
    main()
