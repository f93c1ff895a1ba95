"""greenlet and gevent: stacks that are switched under the interpreter's feet."""

from __future__ import annotations

import subprocess
import sys
import textwrap
import time

import pytest

import spprof

greenlet = pytest.importorskip(
    "greenlet", reason="greenlet is not installed: NOT TESTED whether switched stacks are right"
)


def burn(cpu_seconds: float) -> float:
    begin = time.thread_time()
    while (used := time.thread_time() - begin) < cpu_seconds:
        pass
    return used


def names(frames: tuple[spprof.Frame, ...]) -> list[str]:
    return [f.function_name.rpartition(".")[2] for f in reversed(frames)]


@pytest.mark.slow
def test_the_running_greenlet_is_seen_with_its_own_stack() -> None:
    def left_inner() -> None:
        burn(0.0002)

    def right_inner() -> None:
        burn(0.0002)

    def left() -> None:
        while True:
            left_inner()
            right_greenlet.switch()

    def right() -> None:
        while True:
            right_inner()
            left_greenlet.switch()
            if time.thread_time() > end:
                main.switch()

    main = greenlet.getcurrent()
    left_greenlet, right_greenlet = greenlet.greenlet(left), greenlet.greenlet(right)
    end = time.thread_time() + 2
    with spprof.Profiler(0.2) as profiler:
        left_greenlet.switch()
        stats = spprof.stats()
    profile = profiler.profile
    assert profile is not None
    assert stats is not None
    counts = {"left": 0, "right": 0}
    for stack in profile.aggregate().stacks:
        chain = names(stack.frames)
        assert not ("left" in chain and "right" in chain), chain
        for side in counts:
            if f"{side}_inner" in chain:
                assert side in chain, chain
                counts[side] += stack.count
    total = sum(counts.values())
    assert total > 0.8 * profile.sample_count
    assert counts["left"] == pytest.approx(total / 2, rel=0.1)
    # Between two stacks nothing can be read, and such samples are given up: that is for less than a
    # microsecond of each 200.
    assert stats.failed_samples <= 0.005 * profile.sample_count


def test_greenlets_that_come_and_go() -> None:
    def deep(depth: int) -> None:
        if depth:
            deep(depth - 1)
        else:
            burn(0.0001)
            greenlet.getcurrent().parent.switch()

    with spprof.Profiler(0.2) as profiler:
        for i in range(3000):
            one = greenlet.greenlet(deep)
            one.switch(i % 20)
            if i % 3:
                one.switch()
    assert profiler.profile is not None
    for stack in profiler.profile.aggregate().stacks:
        assert names(stack.frames).count("deep") <= 20


@pytest.mark.slow
def test_gevent() -> None:
    pytest.importorskip("gevent", reason="gevent is not installed: NOT TESTED with its hub")
    program = """
        from gevent import monkey
        monkey.patch_all()
        import gevent, time, threading, spprof
        from time import thread_time

        def burn(seconds):
            begin = thread_time()
            while thread_time() - begin < seconds:
                pass

        def handler_a():
            for _ in range(100):
                burn(0.001)
                gevent.sleep(0)

        def handler_b():
            for _ in range(100):
                burn(0.001)
                gevent.sleep(0.001)

        for mode in ("cpu", "wall"):
            with spprof.Profiler(1, mode=mode) as p:
                jobs = [gevent.spawn(h) for h in (handler_a, handler_b) * 3]
                patched = threading.Thread(target=handler_a)
                patched.start()
                gevent.joinall(jobs)
                patched.join()
            weights = {"handler_a": 0, "handler_b": 0}
            for stack in p.profile.aggregate().stacks:
                chain = {f.function_name for f in stack.frames}
                both = chain & set(weights)
                assert len(both) <= 1
                for name in both:
                    weights[name] += stack.weight_ns
            # The "thread" is a greenlet of the main thread, too.
            print(mode, weights["handler_a"], weights["handler_b"], len(p.profile.threads))
        """
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(program)],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    for line in done.stdout.splitlines():
        mode, *figures = line.split()
        a, b, threads = map(int, figures)
        assert threads == 1
        if mode == "cpu":
            assert a == pytest.approx(0.4e9, rel=0.15)
            assert b == pytest.approx(0.3e9, rel=0.15)
        else:
            assert a > 0.35e9
            assert b > 0.25e9
