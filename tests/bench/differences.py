"""False alarms and slowdowns found of `spprof diff`: on simulated profiles, and on real runs.

    python tests/bench/differences.py [--pairs 1000] [--samples 1000] [--real 20]

Simulated programs have functions of usual shares, called in an order that is drawn anew each run;
a call goes on for some samples, so that these are not independent. Runs differ in speed by a
standard deviation of `--noise`. Printed is, of so many pairs of equal programs, how many had

- any word about a change ("within noise" is none), as `print(spprof.diff(a, b))` says it;
- an alarm of `spprof diff --fail-above 5%`;

and how many of these alarms there were where one function got slower, so that the run takes 10 %
longer, by what the function took of the run before, and where all of them did.

`--real N` runs a real workload that many times in processes of their own and compares each run
with the next.
"""

from __future__ import annotations

import argparse
import random
import subprocess
import sys
import tempfile
from array import array
from pathlib import Path
from typing import Any

import spprof
from spprof._profile import compare
from spprof._profile.tables import Builder, Meta, Tables

INTERVAL_NS = 1_000_000
LIMIT = 0.05

# Shares of functions' own time, as profiles of programs have them: a few large ones, many small.
SHARES = (0.31, 0.2, 0.12, 0.09, 0.07, 0.05, 0.04, 0.03, 0.025, 0.02, 0.015, 0.01, 0.01, 0.01)


class Program:
    """A program that calls functions for some samples each.

    Parameters
    ----------
    samples : int
        Of a run of usual speed, about.
    lasts : float
        How many samples a call goes on for, on average; lengths are geometric.
    noise : float
        By how much the speed of runs differs.
    slower : dict
        By what the time of a function is multiplied.
    plan : float
        The part of the run, at its beginning, that one function of its own takes in every run.
    """

    def __init__(
        self,
        samples: int,
        lasts: float,
        noise: float,
        slower: dict[int, float] | None = None,
        plan: float = 0.2,
    ) -> None:
        self.samples, self.lasts, self.noise = samples, lasts, noise
        self.slower, self.plan = slower or {}, plan

    def run(self, rng: random.Random) -> Tables:
        """Profile one run of it."""
        speed = max(0.5, rng.gauss(1, self.noise))
        met: list[int] = []
        times: list[float] = []  # of each call, in intervals
        functions: list[int] = []

        def call(function: int, length: float) -> None:
            functions.append(function)
            times.append(length * self.slower.get(function, 1.0) * speed)

        call(len(SHARES), self.plan * self.samples)
        # The same work in every run: so much of each function, in calls of differing length.
        calls = []
        for function, share in enumerate(SHARES):
            left = share * (1 - self.plan) * self.samples
            while left > 0:
                length = min(left, rng.expovariate(1 / self.lasts))
                calls.append((function, length))
                left -= length
        rng.shuffle(calls)
        for function, length in calls:
            call(function, length)
        # A sampler looks at regular times; each look weighs the time since the one before.
        at, now = rng.random(), 0.0
        for function, length in zip(functions, times):
            now += length
            while at < now:
                met.append(function)
                at += 1
        return _profile(met)


def _profile(met: list[int]) -> Tables:
    b = Builder()
    main = b.stack(-1, b.frame(b.func("main", "app.py", 1), 1))
    stacks = [
        b.stack(main, b.frame(b.func(f"f{i}", "app.py", i + 2), i + 2))
        for i in range(len(SHARES) + 1)
    ]
    b.thread(1, "MainThread", 1)
    t: Any = b.tables
    n = len(met)
    t.sample_thread = array("I", [0] * n)
    t.sample_stack = array("I", [stacks[function] for function in met])
    t.sample_time = array("q", [i * INTERVAL_NS for i in range(n)])
    t.sample_last = array("q", t.sample_time)
    t.sample_count = array("I", [1] * n)
    t.sample_weight = array("q", [INTERVAL_NS] * n)
    t.sample_state = array("B", bytes(n))
    t.meta = Meta(duration_ns=n * INTERVAL_NS, interval_ns=INTERVAL_NS, mode="cpu")
    return b.tables


def compared(
    before: Program, after: Program, pairs: int, runs: int, seed: int
) -> tuple[float, float]:
    """Of so many comparisons, the shares with any word about a change, and with an alarm."""
    rng = random.Random(seed)
    words = alarms = 0
    for _ in range(pairs):
        found = compare.difference(
            [before.run(rng) for _ in range(runs)], [after.run(rng) for _ in range(runs)]
        )
        words += found.tests.whole_changed or any(each.changed for each in found.functions)
        alarms += bool(found.tests.slower(LIMIT))
    return words / pairs, alarms / pairs


def slowed(function: int, plan: float) -> dict[int, float]:
    """One function slower, so that the run takes 10 % longer."""
    share = plan if function == len(SHARES) else SHARES[function] * (1 - plan)
    return {function: 1 + 0.1 / share}


def simulated(options: argparse.Namespace) -> None:
    """Print the table of simulated programs."""
    everything = dict.fromkeys(range(len(SHARES) + 1), 1.1)
    print(
        f"{options.pairs} comparisons each, {options.samples} samples a run, "
        f"runs differ by {options.noise:.0%}\n"
        f"{'':36} {'any change said':>16} {'--fail-above 5%':>16}"
    )

    def line(what: str, before: Program, after: Program, pairs: int, runs: int) -> None:
        words, alarms = compared(before, after, pairs, runs, 1)
        print(f"{what:36} {words:16.1%} {alarms:16.1%}", flush=True)

    for lasts in (0.5, 3.0, 10.0):

        def program(slower: dict[int, float] | None = None, lasts: float = lasts) -> Program:
            return Program(options.samples, lasts, options.noise, slower)

        print(f"calls of {lasts:g} samples")
        line("  equal programs", program(), program(), options.pairs, 1)
        line("  equal, 5 runs a side", program(), program(), options.pairs // 5, 5)
        for function in (0, 2, 5):
            share = SHARES[function] * 0.8
            what = f"  10 % slower by one of {share:.0%}"
            line(what, program(), program(slowed(function, 0.2)), options.pairs // 2, 1)
        line("  10 % slower, all of it", program(), program(everything), options.pairs, 1)
        line("  the same, 5 runs a side", program(), program(everything), options.pairs // 10, 5)


WORKLOAD = """
import json, random, sys
import spprof
def parse(text): return json.loads(text)
def order(values): return sorted(values, key=lambda value: -value)
def total(values):
    result = 0
    for value in values: result += value * value
    return result
def work():
    rng = random.Random(1)
    text = json.dumps([rng.random() for _ in range(2000)])
    for _ in range(900): total(order(parse(text)))
with spprof.Profiler(interval_ms=1) as profiler: work()
profiler.profile.save(sys.argv[1])
"""


def real(number: int) -> None:
    """Print what is said of runs of one real program, each compared with the next."""
    with tempfile.TemporaryDirectory() as folder:
        profiles = []
        for i in range(number + 1):
            path = Path(folder) / f"{i}.spprof"
            subprocess.run([sys.executable, "-c", WORKLOAD, str(path)], check=True)
            profiles.append(spprof.load(path))
    wholes = [profile.total_weight_ns for profile in profiles]
    mean = sum(wholes) / len(wholes)
    spread = (sum((whole - mean) ** 2 for whole in wholes) / (len(wholes) - 1)) ** 0.5 / mean
    pairs = [spprof.diff(a, b) for a, b in zip(profiles, profiles[1:])]
    functions = sum(any(entry.changed for entry in pair.functions) for pair in pairs)
    shares = sum(any(entry.share_changed for entry in pair.functions) for pair in pairs)
    alarms = sum(bool(pair.slower(LIMIT)) for pair in pairs)
    by_share = sum(bool(pair.slower(LIMIT, "share")) for pair in pairs)
    print(
        f"{number} real pairs of about {profiles[0].sample_count} samples; "
        f"times of runs differ by {spread:.1%}\n"
        f"the whole said to have changed: {sum(pair.changed for pair in pairs)}, a function: "
        f"{functions}, a function's share: {shares}\n"
        f"--fail-above 5%: {alarms}, --by share: {by_share}"
    )
    rng = random.Random(1)
    several = 0
    for _ in range(number):
        chosen = rng.sample(profiles, min(10, len(profiles)))
        half = len(chosen) // 2
        several += bool(spprof.diff(chosen[:half], chosen[half:]).slower(LIMIT))
    print(f"--fail-above 5%, {half} of these runs drawn for each side: {several} of {number}")


def main() -> None:
    """Run it."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--pairs", type=int, default=1000)
    parser.add_argument("--samples", type=int, default=1000)
    parser.add_argument("--noise", type=float, default=0.02)
    parser.add_argument("--real", type=int, default=0, metavar="N")
    options = parser.parse_args()
    if options.real:
        real(options.real)
    else:
        simulated(options)


if __name__ == "__main__":
    main()
