"""Threads that run in bursts, or live for one, at the default interval: all parts are met alike.

At 10 ms there are few samples, so these take seconds, and need processors that are to be had.
"""

from __future__ import annotations

import math
import threading
import time
from collections import Counter
from typing import Callable

import pytest

import spprof
from spprof import Profile


def burn(cpu_seconds: float) -> None:
    until = time.thread_time() + cpu_seconds
    while time.thread_time() < until:
        pass


def profile_of(work: Callable[[], object], mode: str) -> Profile:
    with spprof.Profiler(10, mode=mode) as profiler:
        work()
    assert profiler.profile is not None
    return profiler.profile


@pytest.mark.parametrize("mode", ["cpu", "wall"])
@pytest.mark.slow
def test_bursts_of_two_ticks_are_met_from_their_beginning(mode: str) -> None:
    """On the kernel's tick the first half of a tick of such bursts got half of its samples."""

    def quarter_first(until: float) -> None:
        while time.thread_time() < until:
            pass

    def the_rest(until: float) -> None:
        while time.thread_time() < until:
            pass

    kept_waiting = 0.0

    def work() -> None:
        nonlocal kept_waiting
        for _ in range(800):
            woken, begin = time.monotonic(), time.thread_time()
            quarter_first(begin + 0.002)
            the_rest(begin + 0.008)
            kept_waiting += time.monotonic() - woken - 0.008
            time.sleep(0.01)

    profile = profile_of(work, mode)
    if profile.engine == "timer":
        pytest.skip("the ticker cannot be prompt here: CPU timers alone, which the tick biases")
    if kept_waiting > 0.05 * 6.4:
        pytest.skip("too busy: it and the ticker had to wait for a processor within bursts")
    counts = Counter(
        sample.frames[0].function_name.rpartition("<locals>.")[2]
        for sample in profile.samples
        if sample.state == "running"
    )
    samples = counts["quarter_first"] + counts["the_rest"]
    # 6.4 s of CPU time at 10 ms: 640 samples are due.
    assert samples > 500
    assert abs(counts["quarter_first"] / samples - 0.25) < 4 * math.sqrt(0.25 * 0.75 / samples)


@pytest.mark.parametrize("mode", ["cpu", "wall"])
@pytest.mark.slow
def test_threads_that_live_for_half_an_interval_are_met_in_proportion_to_their_time(
    mode: str,
) -> None:
    """A first look that came after an interval would find many of them gone."""

    kept_waiting = 0.0

    def short() -> None:
        nonlocal kept_waiting
        begin = time.monotonic()
        burn(0.005)
        kept_waiting += time.monotonic() - begin - 0.005

    def work() -> None:
        for _ in range(600):
            thread = threading.Thread(target=short, name="short")
            thread.start()
            thread.join()
            time.sleep(0.002)

    profile = profile_of(work, mode)
    if kept_waiting > 0.05 * 3:
        pytest.skip("too busy: threads that wait for a processor live for longer than that")
    met = [s for s in profile.samples if s.thread_name == "short" and s.state == "running"]
    # 300 are due.
    assert abs(len(met) - 300) < 4 * math.sqrt(300)
