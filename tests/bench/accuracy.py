"""How true are the stacks? Short alternating calls whose shares of CPU time are known.

    python tests/bench/accuracy.py [--samples 50000] [--interval-ms 0.2]

The program runs short blocks in a random order. A block is an outer function that calls an inner
one, which calls a third, a hundred times in 100 microseconds; the CPU time of each block is
measured inside, with the thread's own clock, while it is being profiled: that is the truth.
"impossible" counts samples with an inner function under the wrong outer one; "failed" those that
the handler gave up. The distance is the total variation distance between the sampled and the true
shares; "noise" is what drawing as many samples from the true shares gives on average.
"""

from __future__ import annotations

import argparse
import random
import statistics
import time
from collections import Counter
from collections.abc import Iterator
from typing import Any, Callable

import workloads

import spprof


def leaf(n: int) -> int:
    total = 0
    for i in range(n):
        total += i
    return total


def a_inner() -> int:
    return leaf(4)


def a_outer() -> int:
    return sum([a_inner() for _ in range(100)])


def b_inner() -> int:
    return leaf(9)


def b_outer() -> int:
    total = 0
    for _ in range(100):
        total += b_inner()
    return total


class C:
    def c_inner(self) -> int:
        return leaf(6)


one = C()


def c_outer() -> int:
    total = 0
    for _ in range(50):
        total += one.c_inner() + one.c_inner()
    return total


def d_inner() -> Iterator[int]:
    for n in range(100):
        yield leaf(n & 3)


def d_outer() -> int:
    return sum(d_inner())


def e_inner(n: int) -> int:
    return leaf(n)


def e_outer() -> int:
    return sum(map(e_inner, [0, 3, 6, 9] * 20))


CHAINS: dict[str, Callable[[], int]] = {
    "a_outer": a_outer,
    "b_outer": b_outer,
    "c_outer": c_outer,
    "d_outer": d_outer,
    "e_outer": e_outer,
}
INNER = {
    "a_outer": [["a_inner"], ["<listcomp>", "a_inner"]],
    "b_outer": [["b_inner"]],
    "c_outer": [["c_inner"]],
    "d_outer": [["d_inner"]],
    "e_outer": [["e_inner"]],
}
POSSIBLE = {
    (outer, *[*path, "leaf"][:length])
    for outer, paths in INNER.items()
    for path in paths
    for length in range(len(path) + 2)
}


def nothing() -> int:
    return 0


def drive(order: list[Callable[[], int]], used: Counter[str]) -> None:
    clock = time.thread_time_ns
    for call in order:
        begin = clock()
        call()
        used[call.__name__] += clock() - begin


def distance(a: dict[str, float], b: dict[str, float]) -> float:
    return sum(abs(a.get(key, 0) - b.get(key, 0)) for key in a.keys() | b.keys()) / 2


def noise(truth: dict[str, float], samples: int) -> workloads.Estimate:
    """Distance of as many draws from the truth itself: what a perfect sampler would show."""
    names, shares = list(truth), list(truth.values())
    rng = random.Random(3)
    got = []
    for _ in range(100):
        counts = Counter(rng.choices(names, shares, k=samples))
        got.append(distance({name: n / samples for name, n in counts.items()}, truth))
    return workloads.Estimate(statistics.mean(got), statistics.stdev(got))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--samples", type=int, default=50_000)
    parser.add_argument("--interval-ms", type=float, default=0.2)
    options = parser.parse_args()
    # Blocks of nothing tell what measuring a block adds to it, under the same circumstances.
    blocks = [*CHAINS.values(), nothing]
    order = random.Random(7).choices(blocks, weights=[5, 3, 4, 2, 1, 3], k=4000)
    calls = Counter(call.__name__ for call in order)

    used: Counter[str] = Counter()
    chains: Counter[tuple[str, ...]] = Counter()
    rounds = failed = dropped = 0
    while sum(chains.values()) < options.samples:
        spprof.start(options.interval_ms)
        begun: Any = spprof.stats()
        stats = begun
        while stats.collected_samples - begun.collected_samples < options.samples / 5:
            drive(order, used)
            rounds += 1
            stats = spprof.stats()
        failed += stats.failed_samples
        profile = spprof.stop()
        dropped += profile.dropped_count
        for stack in profile.aggregate().stacks:
            names = [f.function_name.rpartition(".")[2] for f in reversed(stack.frames)]
            if "drive" in names:
                chains[tuple(names[names.index("drive") + 1 :])] += stack.count

    clock_ns = used["nothing"] / (rounds * calls["nothing"])
    weights = {name: used[name] - rounds * calls[name] * clock_ns for name in CHAINS}
    truth = {name: weight / sum(weights.values()) for name, weight in weights.items()}
    inside = {chain: n for chain, n in chains.items() if chain and chain[0] != "nothing"}
    total = sum(inside.values())
    seen: Counter[str] = Counter()
    for chain, count in inside.items():
        seen[chain[0]] += count
    shares = {name: count / total for name, count in seen.items()}
    impossible = sum(count for chain, count in inside.items() if chain not in POSSIBLE)
    expected = noise(truth, total)

    print(
        workloads.table(
            ["chain", "true share", "sampled share"],
            [[n, f"{truth[n]:.4f}", f"{shares.get(n, 0):.4f}"] for n in CHAINS],
        )
    )
    print()
    print(
        f"samples      {sum(chains.values()):,} at {options.interval_ms:g} ms, "
        f"{total:,} of them in a chain"
    )
    print(f"dropped      {dropped}")
    print(f"failed       {failed}")
    print(f"impossible   {impossible}")
    print(f"distance     {distance(shares, truth):.4f}")
    print(f"noise        {expected.value:.4f} +- {expected.error:.4f}")


if __name__ == "__main__":
    main()
