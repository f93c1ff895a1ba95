"""One scripted wait of each cause: what its samples say."""

from __future__ import annotations

import os
import queue
import re
import select
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any, Callable

import pytest

import spprof

LINUX = sys.platform == "linux"
SECONDS = 0.25

pytestmark = pytest.mark.skipif(not LINUX, reason="system calls of waiting threads")


@contextmanager
def later(do: Callable[[], Any]) -> Iterator[None]:
    timer = threading.Timer(SECONDS, do)
    timer.start()
    yield
    timer.join()


def sleep() -> None:
    time.sleep(SECONDS)


def lock() -> None:
    held = threading.Lock()
    held.acquire()
    with later(held.release):
        held.acquire()


def lock_with_a_deadline() -> None:
    held = threading.Lock()
    held.acquire()
    held.acquire(timeout=SECONDS)


def event() -> None:
    happened = threading.Event()
    with later(happened.set):
        happened.wait()


def queue_get() -> None:
    waiting: queue.Queue[int] = queue.Queue()
    with later(lambda: waiting.put(1)):
        waiting.get()


def simple_queue() -> None:
    waiting: queue.SimpleQueue[int] = queue.SimpleQueue()
    with later(lambda: waiting.put(1)):
        waiting.get()


def future() -> None:
    result: Future[int] = Future()
    with later(lambda: result.set_result(1)):
        result.result()


def socket_recv() -> None:
    here, there = socket.socketpair()
    with here, there, later(lambda: there.send(b"x")):
        here.recv(1)


def socket_read() -> None:
    here, there = socket.socketpair()
    with here, there, later(lambda: there.send(b"x")):
        os.read(here.fileno(), 1)


def selector() -> None:
    here, there = socket.socketpair()
    with here, there:
        select.select([here], [], [], SECONDS)


def epoll() -> None:
    poll = select.epoll()
    poll.poll(SECONDS)
    poll.close()


def pipe() -> None:
    end, begin = os.pipe()
    with later(lambda: os.write(begin, b"x")):
        os.read(end, 1)
    os.close(end)
    os.close(begin)


SLEEPING = [sys.executable, "-S", "-E", "-c", f"import time; time.sleep({SECONDS})"]


def child_wait() -> None:
    subprocess.run(SLEEPING, check=True)


def child_output() -> None:
    subprocess.run(SLEEPING, check=True, capture_output=True)


def child_waitpid() -> None:
    child = subprocess.Popen(SLEEPING)
    os.waitpid(child.pid, 0)
    child.returncode = 0


def thread_join() -> None:
    other = threading.Thread(target=sleep)
    other.start()
    other.join()


def thread_join_with_a_deadline() -> None:
    other = threading.Thread(target=sleep)
    other.start()
    other.join(10)


def pool_shutdown() -> None:
    with ThreadPoolExecutor(1) as pool:
        pool.submit(sleep)


CAUSES = {
    sleep: "sleep",
    lock: "lock",
    lock_with_a_deadline: "lock",
    event: "lock",
    queue_get: "lock",
    simple_queue: "lock",
    future: "lock",
    socket_recv: "socket",
    socket_read: "socket",
    selector: "socket",
    epoll: "socket",
    pipe: "file",
    child_wait: "process",
    child_output: "process",
    child_waitpid: "process",
    thread_join: "thread",
    thread_join_with_a_deadline: "thread",
    pool_shutdown: "thread",
}


@pytest.mark.parametrize("native", [False, True])
def test_each_cause(native: bool) -> None:
    """All at once, each on a thread of its own: at least 95 % of a wait has the right cause."""
    if native and not spprof.native_unwinding_available():
        pytest.skip("no native frames here")
    threads = [threading.Thread(target=wait, name=wait.__name__) for wait in CAUSES]
    with spprof.Profiler(interval_ms=5, mode="wall", native=native) as profiler:
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    p = profiler.profile
    for wait, cause in CAUSES.items():
        here = p.filter(thread=wait.__name__, function=wait.__name__)
        # Not part of what is scripted: what ends it, starting a thread, taking the GIL again.
        waits = here.ignore(re.compile(r"(^|\.)(start|later)$")).waits()
        waits.pop("gil", None)
        # Who could run and has no processor waits for nothing of this.
        unknown = waits.pop("unknown", 0)
        whole = sum(waits.values())
        assert whole > unknown, (wait, waits, unknown)
        assert waits.get(cause, 0) > 0.95 * whole, (wait, waits)


def busy(seconds: float) -> None:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        sum(range(1000))


HAS_GIL = pytest.mark.skipif(
    hasattr(sys, "_is_gil_enabled") and not sys._is_gil_enabled(), reason="there is no GIL"
)


@HAS_GIL
def test_the_gil() -> None:
    threads = [threading.Thread(target=busy, args=(0.6,), name=name) for name in "ab"]
    with spprof.Profiler(interval_ms=1, mode="wall") as profiler:
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    for name in "ab":
        waits = profiler.profile.filter(thread=name).waits()
        rest = sum(waits.values()) - waits["gil"] - waits.get("unknown", 0)
        assert waits["gil"] > 0.05e9  # about half of the time, on a machine that does nothing else
        assert rest < 0.05 * waits["gil"]
    waiting = profiler.profile.filter(waits_for="gil")
    assert {sample.waits_for for sample in waiting.samples} == {"gil"}
    assert "waiting: " in str(profiler.profile)


def contest(first: Callable[[], None], second: Callable[[], None]) -> spprof.Profile:
    threads = [
        threading.Thread(target=first, name="first"),
        threading.Thread(target=second, name="second"),
    ]
    with spprof.Profiler(interval_ms=1, mode="wall") as profiler:
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    return profiler.profile


def assert_held_by(profile: spprof.Profile, waiter: str, holder: str, function: str) -> None:
    waits = [wait for wait in profile.waits_for_whom() if wait.waiter == waiter and wait.holder]
    whole = sum(wait.ns for wait in waits)
    assert sum(wait.ns for wait in waits if wait.holder == holder) >= 0.95 * whole > 0.02e9, waits
    # A thread that is not given a processor may hold it in any of its functions.
    assert sum(wait.ns for wait in waits if wait.function == function) >= 0.8 * whole, waits
    assert [frame.function_name for frame in waits[0].stack[:2]] == [function, "Thread.run"]


def compress() -> None:
    end = time.monotonic() + 0.5
    while time.monotonic() < end:
        sum(range(1000))


def encode() -> None:
    end = time.monotonic() + 0.5
    while time.monotonic() < end:
        sorted(range(1000))


def wake_up_often() -> None:
    end = time.monotonic() + 0.5
    while time.monotonic() < end:
        time.sleep(0.001)


@HAS_GIL
@pytest.mark.parametrize("turned", [False, True])
@pytest.mark.slow_unless(turned=False)
def test_in_a_contest_each_waits_for_the_other(turned: bool) -> None:
    pair = (encode, compress) if turned else (compress, encode)
    profile = contest(*pair)
    assert_held_by(profile, "first", "second", pair[1].__name__)
    assert_held_by(profile, "second", "first", pair[0].__name__)


@HAS_GIL
@pytest.mark.parametrize("turned", [False, True])
@pytest.mark.slow_unless(turned=False)
def test_who_wants_the_gil_for_moments_waits_for_the_one_that_keeps_it(turned: bool) -> None:
    pair = (wake_up_often, compress) if turned else (compress, wake_up_often)
    busy, waiter = ("second", "first") if turned else ("first", "second")
    assert_held_by(contest(*pair), waiter, busy, "compress")


def test_cpu_mode_sees_no_waiting() -> None:
    with spprof.Profiler(interval_ms=1) as profiler:
        busy(0.05)
        time.sleep(0.05)
    assert profiler.profile.waits() == {}
