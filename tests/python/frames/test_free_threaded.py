"""Threads that run at the same time, truly so without the GIL: all of them are sampled right."""

from __future__ import annotations

import subprocess
import sys
import sysconfig
import textwrap
import threading
import time
from collections import Counter
from typing import Callable

import pytest

import spprof

FREE_THREADED = bool(sysconfig.get_config_var("Py_GIL_DISABLED"))
free_threaded_only = pytest.mark.skipif(not FREE_THREADED, reason="needs a free-threaded build")


@free_threaded_only
def test_import_and_profiling_leave_the_gil_off() -> None:
    program = textwrap.dedent(
        """
        import sys, threading
        assert not sys._is_gil_enabled()
        import spprof
        assert not sys._is_gil_enabled()
        with spprof.Profiler(1) as p:
            t = threading.Thread(target=sum, args=(range(3_000_000),)); t.start(); t.join()
        assert not sys._is_gil_enabled()
        assert p.profile.sample_count
        """
    )
    result = subprocess.run(
        [sys.executable, "-W", "error", "-c", program],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert result.returncode == 0, result.stderr


def count(n: int) -> int:
    total = 0
    for i in range(n):
        total += i
    return total


def first(until: float) -> None:
    while time.monotonic() < until:
        count(50)


def second(until: float) -> None:
    while time.monotonic() < until:
        count(500)


def third(until: float) -> None:
    while time.monotonic() < until:
        [count(5) for _ in range(10)]


def fourth(until: float) -> None:
    while time.monotonic() < until:
        sum(map(count, (5, 5, 5)))


BODIES = (first, second, third, fourth)


@pytest.mark.timeout(400)
@pytest.mark.parametrize(
    ("seconds", "interval_ms"),
    [(2, 10), (1.2, 1), (60, 1)],
)
@pytest.mark.slow_unless(seconds=1.2)
def test_four_busy_threads_are_each_sampled_at_full_rate(
    seconds: float, interval_ms: float
) -> None:
    """The rate is against the thread's own CPU time: cores may be fewer than threads."""
    used: dict[str, float] = {}

    def run(body: Callable[[float], None]) -> None:
        begin = time.thread_time()
        body(time.monotonic() + seconds)
        used[body.__name__] = time.thread_time() - begin

    with spprof.Profiler(interval_ms) as profiler:
        threads = [threading.Thread(target=run, args=(b,), name=b.__name__) for b in BODIES]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    profile = profiler.profile
    assert profile is not None
    assert profile.dropped_count <= 1e-5 * profile.sample_count
    by_name = {t.name: t for t in profile.threads}
    for name, cpu in used.items():
        thread = by_name[name]
        assert thread.weight_ns / 1e9 == pytest.approx(cpu, abs=0.03 + 0.01 * cpu)
        # A thread that gets no processor for a while misses the signals of that time; so does one
        # that waits for the GIL, and is found again a little later.
        least = 0.9 if not getattr(sys, "_is_gil_enabled", lambda: True)() else 0.6
        assert thread.samples >= least * cpu * 1000 / interval_ms - 3
        assert thread.samples <= 1.02 * cpu * 1000 / interval_ms + 5
    # Nobody's frames are on somebody else's stack.
    allowed = {b.__name__ for b in BODIES}
    for stack in profile.aggregate().stacks:
        bodies = {f.function_name for f in stack.frames} & allowed
        if stack.thread_name in allowed:
            assert bodies <= {stack.thread_name}


@pytest.mark.slow
def test_threads_that_come_and_go_while_others_start_and_stop_sessions() -> None:
    stop = threading.Event()
    errors: list[BaseException] = []
    stopped = Counter[str]()

    def churn() -> None:
        try:
            while not stop.is_set():
                workers = [threading.Thread(target=count, args=(2000 + 500 * k,)) for k in range(4)]
                for worker in workers:
                    worker.start()
                for worker in workers:
                    worker.join()
        except BaseException as error:  # noqa: BLE001  handed to the test
            errors.append(error)

    def sessions() -> None:
        try:
            while not stop.is_set():
                try:
                    spprof.start(0.5)
                    time.sleep(0.01)
                    spprof.stop()
                    stopped["ours"] += 1
                except RuntimeError as refused:
                    if "Profiler" not in str(refused):  # else the other thread was faster
                        raise
                spprof.stats()
        except BaseException as error:  # noqa: BLE001
            errors.append(error)

    threads = [threading.Thread(target=f) for f in (churn, churn, sessions, sessions)]
    for thread in threads:
        thread.start()
    time.sleep(2.5)
    stop.set()
    for thread in threads:
        thread.join()
    if spprof.is_active():
        spprof.stop()
    assert not errors
    assert stopped["ours"] > 5


def test_one_generator_driven_by_several_threads_in_turn() -> None:
    """Its frame moves from one thread's stack to another's."""

    def numbers() -> object:
        while True:
            yield count(300)

    generator = iter(numbers())  # type: ignore[call-overload]
    turn = threading.Lock()
    end = time.monotonic() + 1.2

    def drive() -> None:
        while time.monotonic() < end:
            with turn:
                for _ in range(20):
                    next(generator)

    with spprof.Profiler(0.3) as profiler:
        threads = [threading.Thread(target=drive, name=f"driver {k}") for k in range(3)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert profiler.profile is not None
    seen = 0
    for stack in profiler.profile.aggregate().stacks:
        names = [f.function_name.rpartition(".")[2] for f in stack.frames]
        if "numbers" in names:
            seen += stack.count
            assert names[names.index("numbers") + 1] == "drive"
            assert stack.thread_name.startswith("driver")
    assert seen > 20
