"""What the signal handler says of itself: its mean and worst time by interval and stack depth.

    python tests/bench/handler.py

Sessions of one second of CPU time each. The rows with native frames count all of them, the
interpreter's own included; what the program's stack looks like is checked in the profile.
"""

from __future__ import annotations

import functools
import itertools
import sys
import time
from collections.abc import Sequence
from typing import Any, Callable

import workloads

import spprof

EVAL_LOOP = "_PyEval_EvalFrameDefault"
INTERVALS_MS = (10, 1, 0.2)
PYTHON_DEPTHS = (5, 20, 50, 500)
MIXED = (20, 30)  # Python frames, native frames: all of them, as the handler sees them

Work = Callable[[], Any]


def burn() -> None:
    """A second of hardly anything but the eval loop: what it calls would add native frames."""
    a, b = 1, 2
    end = time.thread_time() + 1
    while time.thread_time() < end:
        # Seldom: reading the clock has native frames of its own.
        for _ in itertools.repeat(None, 10_000):
            a, b = b, a
            a, b = b, a
            a, b = b, a
            a, b = b, a
            a, b = b, a
            a, b = b, a
            a, b = b, a
            a, b = b, a
            a, b = b, a
            a, b = b, a
            a, b = b, a
            a, b = b, a
            a, b = b, a
            a, b = b, a
            a, b = b, a
            a, b = b, a


def frames_here() -> tuple[int, int]:
    """Python and native frames that `burn` has when the caller measures a `row` with it."""
    python = 3  # those two and what calls `row`, all in the caller's call of the eval loop
    frame = sys._getframe(1)
    while frame is not None:
        python, frame = python + 1, frame.f_back  # type: ignore[assignment]
    symbols = [frame.symbol for frame in spprof.capture_native_stack()]
    loops = [i for i, symbol in enumerate(symbols) if symbol == EVAL_LOOP]
    return python, len(symbols) - loops[0]


def through_reduce(callback: Callable[..., Any]) -> None:
    functools.reduce(callback, (1, 2))


def through_map(callback: Callable[..., Any]) -> None:
    list(map(callback, (1,)))


def through_sorted(callback: Callable[..., Any]) -> None:
    sorted((1,), key=callback)


def nested(calls: Sequence[Callable[..., None]], depth: int, work: Work) -> None:
    """Do `work` within all the calls, the first one outermost, and `depth` Python calls."""
    if calls:
        calls[0](lambda *_: nested(calls[1:], depth, work))
    elif depth:
        workloads.at_depth(depth, work)
    else:
        work()


def with_native_frames(work: Work) -> None:
    """Do `work` in a function that has exactly the stack MIXED."""
    ways = (through_reduce, through_map, through_sorted)
    python = native = 0
    done = False

    def count() -> None:
        nonlocal python, native
        python, native = frames_here()

    def work_if_exact() -> None:
        nonlocal done
        if frames_here() == MIXED:
            work()
            done = True

    for levels in range(6):
        for calls in itertools.combinations_with_replacement(ways, levels):
            nested(calls, 0, count)
            # What a call takes changes as the interpreter specializes it: this is but a guess.
            if native == MIXED[1] and python <= MIXED[0]:
                nested(calls, MIXED[0] - python, work_if_exact)
                if done:
                    return
    raise LookupError(f"this interpreter has no stack of {MIXED} frames")


def check(profile: spprof.Profile) -> None:
    """Was the handler measured on stacks of MIXED frames, and on nothing else worth mentioning?

    The visible native frames below the innermost Python function were counted; any above it would
    come on top.
    """
    right = sum(
        sum(not frame.is_native for frame in sample.frames) == MIXED[0]
        and not sample.frames[0].is_native
        for sample in profile.samples
    )
    if right < 0.95 * profile.sample_count:
        raise AssertionError(f"{right} of {profile.sample_count} samples have {MIXED} frames")


def row(interval: float, python: int, native: int, program: Work) -> list[str]:
    """Measure one session."""
    spprof.start(interval, native=native > 0)
    program()
    stats = spprof.stats()
    profile = spprof.stop()
    assert stats is not None
    if native:
        check(profile)
    return [
        f"{interval:g} ms",
        str(python),
        str(native),
        str(stats.collected_samples),
        f"{stats.handler_mean_ns / 1000:.2f}",
        f"{stats.handler_worst_ns / 1000:.0f}",
        str(stats.failed_samples + stats.mismatched_samples),
        f"{stats.overhead_estimate_pct:.2f}",
    ]


def main() -> None:
    rows: list[list[str]] = []

    def mixed_row() -> None:
        rows.append(row(interval, *MIXED, burn))

    for interval in INTERVALS_MS:
        for depth in PYTHON_DEPTHS:
            rows.append(row(interval, depth, 0, functools.partial(workloads.at_depth, depth, burn)))
        try:
            with_native_frames(mixed_row)
        except LookupError as reason:
            print(reason)
    head = ["interval", "Python", "native", "samples", "mean, µs", "worst, µs", "failed"]
    print(workloads.table([*head, "overhead, %"], rows))


if __name__ == "__main__":
    main()
