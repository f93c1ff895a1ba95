"""greenlet and gevent: the running greenlet's stack is what a sample shows, and nothing breaks."""

from __future__ import annotations

import math
import subprocess
import sys
import textwrap
import time
from collections import Counter
from typing import Any

import pytest

import spprof

greenlet: Any = pytest.importorskip("greenlet")


def spin(seconds: float) -> None:
    end = time.thread_time() + seconds
    while time.thread_time() < end:
        pass


def ping(rounds: int) -> None:
    for _ in range(rounds):
        ping_work()
        greenlet.getcurrent().parent.switch()


def pong(rounds: int) -> None:
    for _ in range(rounds):
        pong_work()
        greenlet.getcurrent().parent.switch()


def ping_work() -> None:
    spin(0.003)


def pong_work() -> None:
    spin(0.001)


def switch_between(rounds: int) -> None:
    one, two = greenlet.greenlet(ping), greenlet.greenlet(pong)
    for _ in range(rounds):
        one.switch(rounds)
        two.switch(rounds)


def test_each_greenlets_time_is_on_its_own_stack() -> None:
    with spprof.Profiler(0.5) as profiler:
        switch_between(120)
    assert profiler.profile is not None
    weights: Counter[str] = Counter()
    samples = 0
    for stack in profiler.profile.aggregate().stacks:
        names = [f.function_name for f in stack.frames]
        if names[0] == "spin":
            weights[names[1]] += stack.weight_ns or 0
            samples += stack.count
        for inner, outer in (("ping_work", "ping"), ("pong_work", "pong")):
            if inner in names:
                # Never the other greenlet's, and not on top of whoever switched here.
                at = names.index(inner)
                assert names[at + 1 : at + 2] == [outer]
                assert "switch_between" not in names
    total = sum(weights.values())
    noise = 5 * math.sqrt(0.75 * 0.25 / samples) + 0.02
    assert weights["ping_work"] / total == pytest.approx(0.75, abs=noise)
    assert weights["pong_work"] / total == pytest.approx(0.25, abs=noise)


def deep(n: int) -> None:
    if n:
        deep(n - 1)
    while True:
        greenlet.getcurrent().parent.switch()


@pytest.mark.slow
def test_switches_as_fast_as_they_can_be() -> None:
    """Many samples fall into the middle of a switch, where the C stack is the next one's already.

    Those are given up, and their time goes on: it must not be lost, nor shown where it was not.
    """
    many = [greenlet.greenlet(deep) for _ in range(30)]
    for n, one in enumerate(many):
        one.switch(n % 12)
    with spprof.Profiler(0.1) as profiler:
        begin = time.thread_time()
        while time.thread_time() < begin + 1.5:
            for one in many:
                one.switch()
        used = time.thread_time() - begin
    assert profiler.profile is not None
    stacks = profiler.profile.aggregate().stacks
    assert sum(s.weight_ns or 0 for s in stacks) / 1e9 == pytest.approx(used, rel=0.05)
    for stack in stacks:
        names = [f.function_name for f in stack.frames]
        if "deep" in names:
            assert set(names) <= {"deep"}
            assert len(names) <= 12


GEVENT = """
import time, gevent, spprof
def spin(seconds):
    end = time.thread_time() + seconds
    while time.thread_time() < end:
        pass
def small():
    for _ in range(60):
        spin(0.001); gevent.sleep(0)
def large():
    for _ in range(60):
        spin(0.003); gevent.sleep(0)
with spprof.Profiler(0.5) as p:
    gevent.joinall([gevent.spawn(small), gevent.spawn(large)])
weights, samples = {}, 0
for s in p.profile.aggregate().stacks:
    names = [f.function_name for f in s.frames]
    if names[0] == "spin":
        assert names[1] in ("small", "large"), names
        weights[names[1]] = weights.get(names[1], 0) + s.weight_ns
        samples += s.count
share = weights["large"] / sum(weights.values())
assert abs(share - 0.75) < 5 * (0.75 * 0.25 / samples) ** 0.5 + 0.02, (share, samples)
"""


def test_gevent() -> None:
    pytest.importorskip("gevent")
    result = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(GEVENT)],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert result.returncode == 0, result.stderr
