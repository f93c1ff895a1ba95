"""What `processes=True` costs: how much later a child begins, and what starting and stopping takes.

    python tests/bench/processes.py [children]

Prints medians in ms. Run it from an installed package, or with compiled files allowed
(PYTHONDONTWRITEBYTECODE unset): a child imports spprof.
"""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import time
from typing import Callable

import spprof

_MANY = 200
TELL = "import time; print(time.monotonic())"


def median_ms(measure: Callable[[], float], count: int) -> float:
    return statistics.median(measure() for _ in range(count)) * 1e3


def anew() -> float:
    """From the start of a new interpreter to its program's first line."""
    begin = time.monotonic()
    told = subprocess.run([sys.executable, "-c", TELL], stdout=subprocess.PIPE, check=True)
    return float(told.stdout) - begin


def forked() -> float:
    """From a fork to the child's first line."""
    reader, writer = os.pipe()
    begin = time.monotonic()
    if os.fork() == 0:
        os.write(writer, str(time.monotonic()).encode())
        os._exit(0)
    told = float(os.read(reader, 100))
    os.wait()
    os.close(reader)
    os.close(writer)
    return told - begin


def started_and_stopped(processes: bool) -> float:
    begin = time.monotonic()
    spprof.start(10, processes=processes)
    spprof.stop()
    return time.monotonic() - begin


def burn(seconds: float) -> None:
    begin = time.process_time()
    while time.process_time() - begin < seconds:
        sum(range(200))


def many(count: int) -> tuple[float, float]:
    """Seconds that so many forked children take that work 10 ms each, and that `stop` takes."""
    begin = time.monotonic()
    spprof.start(10, processes=True)
    for _ in range(count):
        if os.fork() == 0:
            burn(0.01)
            os._exit(0)
    for _ in range(count):
        os.wait()
    stopping = time.monotonic()
    profile = spprof.stop()
    end = time.monotonic()
    assert len(profile.processes()) == count + 1
    return stopping - begin, end - stopping


def main() -> None:
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 20
    anew(), forked(), started_and_stopped(True)
    print(f"{'':24} {'no session':>10} {'without':>10} {'with processes':>15}")
    for name, measure in (("a new interpreter", anew), ("a fork", forked)):
        plain = median_ms(measure, count)
        figures = []
        for processes in (False, True):
            spprof.start(10, processes=processes)
            figures.append(median_ms(measure, count))
            spprof.stop()
        print(f"{name:24} {plain:10.1f} {figures[0]:10.1f} {figures[1]:15.1f}")
    without, with_them = (
        median_ms(lambda asked=asked: started_and_stopped(asked), count) for asked in (False, True)
    )
    print(f"{'start() and stop()':24} {'':10} {without:10.1f} {with_them:15.1f}")
    took, stop = many(_MANY)
    print(f"{_MANY} forked children of 10 ms: {took:.1f} s, and stop() {stop:.1f} s")


if __name__ == "__main__":
    main()
