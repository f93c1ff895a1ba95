"""What a region costs to enter and leave, without a session and with one, and what a sample costs.

    python tests/bench/regions.py

Times of the fastest of several rounds. "Labels" are those of `spprof.region("load", dataset="a")`.
"""

from __future__ import annotations

import contextvars
import time
import timeit
from typing import Callable

import spprof
from spprof import region

ROUNDS, NUMBER = 7, 100_000

again = region("again")
variable = contextvars.ContextVar("variable", default=0)


def nothing() -> None:
    pass


def named() -> None:
    with region("load"):
        pass


def with_labels() -> None:
    with region("load", dataset="a"):
        pass


def used_again() -> None:
    with again:
        pass


def a_variable() -> None:
    variable.reset(variable.set(1))


def ns(call: Callable[[], None]) -> float:
    return min(timeit.repeat(call, number=NUMBER, repeat=ROUNDS)) / NUMBER * 1e9


def visit_us(depth: int) -> float:
    """Mean time of a sample's handler in so many regions."""
    if depth:
        with region("outer", depth=depth):
            return visit_us(depth - 1)
    spprof.start(interval_ms=1)
    end = time.thread_time() + 1
    while time.thread_time() < end:
        sum(range(1000))
    figures = spprof._session.engine.stats()
    spprof.stop()
    return figures["handler_ns"] / figures["handler_calls"] / 1e3


def main() -> None:
    calls = (a_variable, named, with_labels, used_again)
    base = ns(nothing)
    without = {call: ns(call) - base for call in calls}
    spprof.start(interval_ms=1)
    during = {call: ns(call) - base for call in calls}
    spprof.stop()
    print("| enter and leave | no session, ns | session at 1 ms, ns |")
    print("| --------------- | -------------- | ------------------- |")
    for call in calls:
        print(f"| {call.__name__:<15} | {without[call]:14.0f} | {during[call]:19.0f} |")
    print("\n| sample in regions | mean, µs |")
    print("| ----------------- | -------- |")
    for depth in (0, 1, 10):
        print(f"| {depth:17} | {visit_us(depth):8.2f} |")


if __name__ == "__main__":
    main()
