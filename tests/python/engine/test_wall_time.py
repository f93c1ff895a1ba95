"""Wall time is told as the clocks tell it: bursts, naps, the GIL, threads that nobody can reach."""

from __future__ import annotations

import ctypes
import signal
import subprocess
import sys
import textwrap
import threading
import time
from collections import Counter
from pathlib import Path
from typing import Callable

import pytest
from c_library import library

import spprof

HAS_GIL: bool = getattr(sys, "_is_gil_enabled", lambda: True)()


def burn(cpu_seconds: float) -> None:
    """Use so much CPU time on this thread."""
    end = time.thread_time() + cpu_seconds
    while time.thread_time() < end:
        pass


def wall_profile(work: Callable[[], object], interval: float) -> spprof.Profile:
    with spprof.Profiler(interval, mode="wall") as profiler:
        work()
    assert profiler.profile is not None
    return profiler.profile


def time_of(profile: spprof.Profile, function: str, state: str | None = None) -> float:
    """Seconds in which `function` was on the stack."""
    return sum(
        (sample.weight_ns or 0) / 1e9
        for sample in profile.samples
        if (state is None or sample.state == state)
        and any(frame.function_name.endswith(function) for frame in sample.frames)
    )


@pytest.mark.parametrize("interval", [10, 2, 1, 0.2])
@pytest.mark.parametrize(("burst", "nap"), [(0.003, 0.007), (0.02, 0.002), (0.002, 0.02)])
@pytest.mark.slow_unless(interval=1)
@pytest.mark.slow_unless(burst=0.003)
def test_bursts_and_naps_come_out_as_long_as_they_were(
    interval: float, burst: float, nap: float
) -> None:
    """Within 10 % of the thread's CPU clock, and of the rest of the time."""
    used = passed = 0.0

    def f_run() -> None:
        nonlocal used
        begin = time.thread_time()
        burn(burst)
        used += time.thread_time() - begin

    def f_wait() -> None:
        time.sleep(nap)

    def work() -> None:
        nonlocal passed
        begin = time.monotonic()
        while time.monotonic() - begin < 1.5:
            f_wait()
            f_run()
        passed = time.monotonic() - begin

    profile = wall_profile(work, interval)
    assert time_of(profile, "f_run", "running") == pytest.approx(used, rel=0.1)
    # On a busy machine the thread also waits for a processor, in f_run, too.
    waited = time_of(profile, "f_wait") + time_of(profile, "f_run", "waiting")
    assert waited == pytest.approx(passed - used, rel=0.1, abs=2 * interval / 1e3)
    assert profile.total_weight_ns / 1e9 == pytest.approx(passed, rel=0.05, abs=2 * interval / 1e3)


@pytest.mark.skipif(not HAS_GIL, reason="there is no GIL to hold")
@pytest.mark.parametrize("interval", [10, 1])
@pytest.mark.parametrize("count", [2, 4])
@pytest.mark.slow
def test_shares_of_the_gil_add_up(count: int, interval: float) -> None:
    ready = threading.Barrier(count)

    used: list[float] = []
    passed = 0.0

    def contend() -> None:
        ready.wait()
        burn(1.2 / count)
        used.append(time.thread_time())

    def work() -> None:
        nonlocal passed
        threads = [threading.Thread(target=contend, name="contender") for _ in range(count)]
        begin = time.monotonic()
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        passed = time.monotonic() - begin

    profile = wall_profile(work, interval)
    contenders = [t for t in profile.threads if t.name == "contender"]
    assert len(contenders) == count
    held = sum((t.gil_share or 0) * t.weight_ns / 1e9 for t in contenders)
    # Who runs holds it, and one at a time does. On a busy machine it is handed over slowly, and
    # nobody holds it meanwhile.
    assert 0.9 * sum(used) < held < 1.1 * passed


def test_what_threads_ran_is_their_cpu_time() -> None:
    used = Counter[str]()

    def contend(name: str) -> None:
        burn(0.3)
        used[name] = round(time.thread_time() * 1e9)

    def work() -> None:
        threads = [
            threading.Thread(target=contend, name=f"t{i}", args=(f"t{i}",)) for i in range(3)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    profile = wall_profile(work, 1)
    ran = Counter[str]()
    for sample in profile.samples:
        if sample.state == "running":
            ran[sample.thread_name] += sample.weight_ns or 0
    for name, expected in used.items():
        assert ran[name] == pytest.approx(expected, rel=0.05)


def test_a_thread_is_not_dark_for_good_after_a_lost_signal() -> None:
    """It blocks the signal, loses what was sent meanwhile, and opens itself again."""
    may_run, may_open, may_go_on = threading.Event(), threading.Event(), threading.Event()
    ran, opened, ended = threading.Event(), threading.Event(), threading.Event()

    def after_opening() -> None:
        burn(0.5)

    def work() -> None:
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGPROF})
        may_run.wait()
        burn(0.15)
        ran.set()
        may_open.wait()
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGPROF})
        opened.set()
        may_go_on.wait()
        after_opening()
        ended.set()

    thread = threading.Thread(target=work)
    thread.start()
    spprof.start(10, mode="wall")
    may_run.set()
    ran.wait()
    spprof.pause()
    may_open.set()
    opened.wait()
    spprof.resume()
    may_go_on.set()
    ended.wait()
    profile = spprof.stop()
    thread.join()
    assert time_of(profile, "after_opening", "running") > 0.3


LATE = """
#include <pthread.h>
#include <unistd.h>
static void (*callback)(void);
static pthread_t thread;
static volatile int go;
static void *body(void *unused) {
    while (!go) { for (volatile int i = 0; i < 100000; i++) { } usleep(1000); }
    callback();
    return 0;
}
void begin(void (*function)(void)) {
    callback = function;
    go = 0;
    pthread_create(&thread, 0, body, 0);
}
void proceed(void) { go = 1; }
void join(void) { pthread_join(thread, 0); }
"""


@pytest.mark.parametrize("mode", ["cpu", "wall"])
def test_a_thread_that_registers_stays_registered(tmp_path: Path, mode: str) -> None:
    """Without Python at first, so left alone; then it says that it is there."""
    late = ctypes.CDLL(library(tmp_path, LATE))
    seen: list[bool] = []

    def python_part() -> None:
        spprof.register_thread()
        for _ in range(4):
            seen.append(spprof._session.engine.is_thread_registered())
            time.sleep(0.05)
        burn(0.1)

    callback = ctypes.CFUNCTYPE(None)(python_part)
    spprof.start(10, mode=mode)
    late.begin(callback)
    time.sleep(0.4)
    late.proceed()
    late.join()
    profile = spprof.stop()
    assert seen == [True] * 4
    assert time_of(profile, "python_part", "running") > 0.05


PROGRAM = """
import spprof, threading, time
def sleeper():
    time.sleep(30)
threads = [threading.Thread(target=sleeper, daemon=True) for _ in range({count})]
for thread in threads:
    thread.start()
time.sleep(0.5)
def work():
    cpu = time.thread_time()
    x = 0
    for _ in range(30):
        for i in range(100_000):
            x += i
    return time.thread_time() - cpu
spprof.start(1, mode="wall")
time.sleep(0.5)
begin = time.process_time()
time.sleep(1)
idle = time.process_time() - begin
profile = spprof.stop()
weights = sorted(t.weight_ns for t in profile.threads if t.name != "MainThread")
print(idle, len(weights), weights[0], weights[-1])
"""


def test_a_thousand_sleepers_cost_little_and_have_their_time() -> None:
    """One look at the process's clock a tick; each sleeper is read once."""
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(PROGRAM.format(count=1000))],
        capture_output=True,
        text=True,
        check=True,
        timeout=100,
    )
    idle, count, least, most = map(float, done.stdout.split())
    assert count == 1000
    assert 1.4e9 < least <= most < 2.5e9
    # Of one processor, in a second in which everybody sleeps; on a busy machine clocks cost more.
    assert idle < 0.15
