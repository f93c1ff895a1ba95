"""Where in a burst samples fall: a thread that sleeps between bursts, each cut into eighths.

    python tests/bench/bursts.py [--seconds 8] [--modes cpu,wall]

Each eighth is a function of its own that takes as much CPU time as the others: every column should
be 0.125. `+-` is the standard error of a column by chance. `of due` is how many samples there were
of those that the CPU time asks for.
"""

from __future__ import annotations

import argparse
import math
import time
from collections import Counter
from typing import Callable

import workloads  # noqa: F401 - says where the package is found

import spprof

EIGHTHS = 8
INTERVALS_MS = (10, 4, 1, 0.2)
BURSTS_MS = ((2, 5), (8, 10), (10, 20))  # running, sleeping


def eighth(number: int) -> Callable[[float], None]:
    """A function that uses CPU time, under a name of its own."""
    code = (
        f"def eighth_{number}(seconds):\n"
        "    begin = time.thread_time()\n"
        "    while time.thread_time() - begin < seconds:\n"
        "        pass\n"
    )
    names: dict[str, object] = {"time": time}
    exec(compile(code, __file__, "exec"), names)
    return names[f"eighth_{number}"]  # type: ignore[return-value]


PARTS = [eighth(number) for number in range(EIGHTHS)]


def work(seconds: float, run_ms: float, nap_ms: float) -> None:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        for part in PARTS:
            part(run_ms / 1000 / EIGHTHS)
        time.sleep(nap_ms / 1000)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--seconds", type=float, default=8, help="of each row (default: 8)")
    parser.add_argument("--modes", default="cpu,wall", help="default: cpu,wall")
    options = parser.parse_args()
    print(
        "| mode | interval | burst, nap, ms | engine | " + "share of each eighth |".ljust(48),
        end="",
    )
    print(" +- | of due |")
    for mode in options.modes.split(","):
        for interval in INTERVALS_MS:
            for run_ms, nap_ms in BURSTS_MS:
                with spprof.Profiler(interval, mode=mode) as profiler:
                    begin = time.thread_time()
                    work(options.seconds, run_ms, nap_ms)
                    used = time.thread_time() - begin
                profile = profiler.profile
                assert profile is not None
                met = Counter(
                    frame.function_name
                    for sample in profile.samples
                    if sample.state == "running"
                    for frame in sample.frames
                    if frame.function_name.startswith("eighth_")
                )
                samples = max(1, sum(met.values()))
                shares = " ".join(f"{met[f'eighth_{n}'] / samples:.3f}" for n in range(EIGHTHS))
                noise = math.sqrt(1 / EIGHTHS * (1 - 1 / EIGHTHS) / samples)
                row = [mode, f"{interval:g} ms", f"{run_ms}, {nap_ms}", profile.engine, shares]
                row += [f"{noise:.3f}", f"{samples * interval / 1000 / used:.2f}"]
                print(f"| {' | '.join(row)} |", flush=True)


if __name__ == "__main__":
    main()
