"""Which threads are sampled: all that run Python, from their first interval to their end."""

from __future__ import annotations

import _signal
import _thread
import ctypes
import operator
import os
import signal
import sys
import sysconfig
import threading
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Callable

import pytest

import spprof
from spprof import Profile, _native


def burn(cpu_seconds: float) -> float:
    """Use so much CPU time on this thread; returns how much it was."""
    begin = time.thread_time()
    while (used := time.thread_time() - begin) < cpu_seconds:
        sum(range(200))
    return used


def weights_by_name(profile: Profile) -> dict[str, int]:
    weights = Counter[str]()
    for thread in profile.threads:
        weights[thread.name] += thread.weight_ns
    return dict(weights)


@pytest.fixture(autouse=True)
def no_session_left() -> Iterator[None]:
    yield
    if spprof.is_active():
        spprof.stop()
        pytest.fail("the test left a session running")


# --- the time of each thread ----------------------------------------------------------------------


@pytest.mark.parametrize("interval", [10, 1])
@pytest.mark.slow_unless(interval=1)
def test_in_each_of_four_threads_weights_sum_to_its_cpu_time(interval: float) -> None:
    """Alive before and born later; busy, napping, calling C, and short of work."""
    used: dict[str, float] = {}
    go, stop = threading.Event(), threading.Event()

    def run(name: str, step: Callable[[], object]) -> None:
        go.wait()
        begin = time.thread_time()
        while not stop.is_set():
            step()
        used[name] = time.thread_time() - begin

    def naps() -> None:
        burn(0.003)
        time.sleep(0.002)

    def sorts() -> None:
        sorted(range(20_000), key=lambda x: -x)

    def light() -> None:
        burn(0.0005)
        time.sleep(0.005)

    steps = {"busy": lambda: burn(0.01), "naps": naps, "sorts": sorts, "light": light}
    threads = {
        name: threading.Thread(target=run, args=(name, step), name=name)
        for name, step in steps.items()
    }
    threads["busy"].start()
    threads["naps"].start()
    with spprof.Profiler(interval) as profiler:
        threads["sorts"].start()
        threads["light"].start()
        go.set()
        time.sleep(1.5)
        stop.set()
        for thread in threads.values():
            thread.join()
    assert profiler.profile is not None
    weights = weights_by_name(profiler.profile)
    for name, seconds in used.items():
        if name not in weights:
            # On a busy machine there may be too little of it for a sample: that has no stack.
            assert seconds * 1e3 < 2 * interval, name
            continue
        # Starting and ending a thread takes some 100 µs that the thread itself cannot measure.
        assert weights[name] == pytest.approx(seconds * 1e9, rel=0.01, abs=0.5e6), name


class _SlowToLeave(bytes):
    """After a thread's function its name is asked for: here some 20 ms of C, without a frame."""

    name = property(operator.methodcaller("count", b"ab"))

    def run(self, used: list[float], done: Any) -> None:
        used.append(burn(0.025))
        done.release()


def test_a_thread_that_is_met_after_its_last_frame_keeps_the_time_before() -> None:
    used: list[float] = []
    done = _thread.allocate_lock()
    done.acquire()
    leaving = _SlowToLeave(b"ac" * 8_000_000)
    with spprof.Profiler(10) as profiler:
        _thread.start_new_thread(leaving.run, (used, done))
        done.acquire()
        time.sleep(0.2)
    assert profiler.profile is not None
    (thread,) = [t for t in profiler.profile.threads if t.name != "MainThread"]
    assert thread.weight_ns >= used[0] * 1e9


def test_threads_of_all_ages_are_sampled_by_name() -> None:
    used: dict[str, float] = {}
    stop = threading.Event()
    ready = threading.Barrier(2)

    def early() -> None:
        ready.wait()
        used["early"] = burn(0.3)
        stop.wait()

    def late() -> None:
        used["late"] = burn(0.3)

    def raw() -> None:
        used["raw"] = burn(0.3)
        done.release()

    def pooled() -> None:
        used["pooled"] = burn(0.3)

    threads = [threading.Thread(target=early, name="early")]
    threads[0].start()
    with spprof.Profiler(5) as profiler:
        ready.wait()
        threads.append(threading.Thread(target=late, name="late"))
        threads[1].start()
        done = _thread.allocate_lock()
        done.acquire()
        _thread.start_new_thread(raw, ())
        done.acquire()
        with ThreadPoolExecutor(1, thread_name_prefix="pooled") as pool:
            pool.submit(pooled).result()
        threads[1].join()
    stop.set()
    threads[0].join()
    profile = profiler.profile
    assert profile is not None
    weights = weights_by_name(profile)
    for name in ("early", "late"):
        assert weights[name] == pytest.approx(used[name] * 1e9, rel=0.05, abs=2e6)
    assert weights["pooled_0"] == pytest.approx(used["pooled"] * 1e9, rel=0.05, abs=2e6)
    by_function = Counter[str]()
    for sample in profile.samples:
        for frame in sample.frames:
            by_function[frame.function_name.rpartition(".")[2]] += sample.weight_ns or 0
            if frame.function_name.endswith("raw"):
                assert sample.thread_name
    for name, seconds in used.items():
        assert by_function[name] == pytest.approx(seconds * 1e9, rel=0.08, abs=6e6), name


def test_a_thread_is_sampled_from_its_first_interval() -> None:
    def first_thing() -> None:
        burn(0.03)

    with spprof.Profiler(1) as profiler:
        for _ in range(10):
            thread = threading.Thread(target=first_thing, name="first_thing")
            thread.start()
            thread.join()
    assert profiler.profile is not None
    born = [t for t in profiler.profile.threads if "first_thing" in t.name]
    assert len(born) == 10
    for thread_summary in born:
        assert thread_summary.weight_ns == pytest.approx(0.03e9, rel=0.1, abs=1e6)
        assert thread_summary.samples >= 15


def test_names_follow_renames() -> None:
    def renamed_and_ends() -> None:
        burn(0.05)
        threading.current_thread().name = "after"

    stop = threading.Event()

    def stays() -> None:
        burn(0.05)
        stop.wait()

    ending = threading.Thread(target=renamed_and_ends, name="before")
    staying = threading.Thread(target=stays, name="old")
    with spprof.Profiler(1) as profiler:
        ending.start()
        staying.start()
        ending.join()
        time.sleep(0.1)
        staying.name = "new"
    stop.set()
    staying.join()
    assert profiler.profile is not None
    names = {t.name for t in profiler.profile.threads}
    assert {"after", "new"} <= names
    assert not {"before", "old"} & names


def test_what_a_thread_raises_and_returns_is_not_touched(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    caught = []
    monkeypatch.setattr(threading, "excepthook", lambda args: caught.append(args.exc_value))

    def fails() -> None:
        raise KeyError("mine")

    with spprof.Profiler(1):
        thread = threading.Thread(target=fails)
        thread.start()
        thread.join()
        with ThreadPoolExecutor(1) as pool:
            assert pool.submit(pow, 2, 5).result() == 32
        with pytest.raises(TypeError):
            _thread.start_new_thread("no function", ())  # type: ignore[arg-type]
        with pytest.raises(TypeError):
            _thread.start_new_thread()  # type: ignore[call-overload]
        got: list[Any] = []
        done = _thread.allocate_lock()
        done.acquire()

        def keywords(*args: Any, **kwargs: Any) -> None:
            got.append((args, kwargs))
            done.release()

        _thread.start_new_thread(keywords, (1, 2), {"three": 3})
        done.acquire()
    assert [str(e) for e in caught] == ["'mine'"]
    assert got == [((1, 2), {"three": 3})]


def test_hooks_are_undone() -> None:
    def hooked() -> list[object]:
        return [
            _thread.start_new_thread,
            getattr(threading, "_start_new_thread", None),  # not from 3.13 on
            getattr(threading, "_start_joinable_thread", None),
            threading.Thread._delete  # type: ignore[attr-defined]
            if sys.version_info >= (3, 11)
            else threading._active_limbo_lock,  # type: ignore[attr-defined]
            _signal.signal,
        ]

    originals = hooked()
    spprof.start()
    during = hooked()
    spprof.stop()
    assert hooked() == originals
    assert all(ours is not theirs for ours, theirs in zip(during, originals) if theirs is not None)


def test_somebody_elses_hook_over_ours_stays() -> None:
    original = _thread.start_new_thread
    calls = []
    try:
        spprof.start()
        ours = _thread.start_new_thread

        def theirs(*args: Any) -> Any:
            calls.append(args)
            return ours(*args)

        _thread.start_new_thread = theirs  # type: ignore[assignment]
        spprof.stop()
        assert _thread.start_new_thread is theirs
        done = _thread.allocate_lock()
        done.acquire()
        _thread.start_new_thread(done.release, ())
        done.acquire()
        assert len(calls) == 1
    finally:
        _thread.start_new_thread = original


# --- threads that Python did not make -------------------------------------------------------------


class NativeThread:
    """A thread made by C (pthread_create) that calls back into Python."""

    def __init__(self, body: Callable[[], None]) -> None:
        libc = ctypes.CDLL(None)
        self._join = libc.pthread_join
        self._handle = ctypes.c_ulong()

        def call(_: object) -> None:
            body()

        self._callback = ctypes.CFUNCTYPE(None, ctypes.c_void_p)(call)
        if libc.pthread_create(ctypes.byref(self._handle), None, self._callback, None) != 0:
            raise OSError("pthread_create")

    def join(self) -> None:
        self._join(self._handle, None)


@pytest.mark.parametrize("interval", [10, 1])
@pytest.mark.slow_unless(interval=1)
def test_threads_made_by_c_are_found(interval: float) -> None:
    used = 0.0

    def native_body() -> None:
        nonlocal used
        used = burn(0.5)

    with spprof.Profiler(interval) as profiler:
        thread = NativeThread(native_body)
        thread.join()
    assert profiler.profile is not None
    weight = sum(
        s.weight_ns or 0
        for s in profiler.profile.samples
        if any(f.function_name.endswith("native_body") for f in s.frames)
    )
    # Found within 50 ms; of a busy machine more is not asked.
    assert weight > 0.7 * used * 1e9


def test_a_thread_made_by_c_is_found_though_another_has_just_ended() -> None:
    """Their number is the same as before."""
    go = threading.Event()
    old = threading.Thread(target=go.wait)
    old.start()
    task = Path(f"/proc/self/task/{old.native_id}")
    used = 0.0

    def native_body() -> None:
        nonlocal used
        used = burn(0.5)

    with spprof.Profiler(1) as profiler:
        go.set()
        while task.exists():
            time.sleep(0.0001)
        NativeThread(native_body).join()
    assert profiler.profile is not None
    weight = sum(
        s.weight_ns or 0
        for s in profiler.profile.samples
        if any(f.function_name.endswith("native_body") for f in s.frames)
    )
    assert weight > 0.7 * used * 1e9


def test_registering_follows_a_c_thread_at_once() -> None:
    used = 0.0

    def native_body() -> None:
        nonlocal used
        threading.current_thread().name = "from C"
        assert spprof.register_thread()
        used = burn(0.2)

    with spprof.Profiler(1) as profiler:
        thread = NativeThread(native_body)
        thread.join()
    assert profiler.profile is not None
    assert weights_by_name(profiler.profile)["from C"] == pytest.approx(used * 1e9, rel=0.05)


def test_a_c_thread_without_python_costs_nothing() -> None:
    """It gets a few signals until it is known to run no Python, and no samples."""
    libc = ctypes.CDLL(None)
    handle = ctypes.c_ulong()
    # pause() returns when a handler has run: usleep() as a body survives signals, too.
    usleep = ctypes.cast(libc.usleep, ctypes.c_void_p)
    libc.pthread_create(ctypes.byref(handle), None, usleep, ctypes.c_void_p(700_000))
    of_python = {thread.native_id for thread in threading.enumerate()}
    with spprof.Profiler(1, mode="wall") as profiler:
        burn(0.4)
    libc.pthread_join(handle, None)
    assert profiler.profile is not None
    sampled = {thread.thread_id for thread in profiler.profile.threads}
    assert threading.get_native_id() in sampled
    assert sampled <= of_python


# --- register and unregister ----------------------------------------------------------------------


def test_registering_is_harmless_where_it_is_not_needed() -> None:
    assert spprof.register_thread() is True
    assert spprof.unregister_thread() is True
    with spprof.ThreadProfiler():
        pass
    with spprof.Profiler(1) as profiler:
        assert spprof.register_thread() is True
        with spprof.ThreadProfiler():
            used = burn(0.1)
        used += burn(0.1)
    assert profiler.profile is not None
    assert profiler.profile.total_weight_ns == pytest.approx(used * 1e9, rel=0.05)


def test_a_block_entered_outside_of_a_session_takes_no_thread_out_of_one() -> None:
    with spprof.ThreadProfiler():
        spprof.start(1)
    used = burn(0.1)
    assert spprof.stop().total_weight_ns == pytest.approx(used * 1e9, rel=0.1)


@pytest.mark.parametrize("interval", [10, 1])
@pytest.mark.slow_unless(interval=1)
def test_an_unregistered_thread_is_not_sampled(interval: float) -> None:
    def seen() -> float:
        return burn(0.2)

    def unseen() -> float:
        return burn(0.2)

    spprof.start(interval)
    used = seen()
    assert spprof.unregister_thread() is True
    assert spprof.unregister_thread() is True
    unseen()
    assert spprof.register_thread() is True
    used += seen()
    profile = spprof.stop()
    functions = {f.function_name.rpartition(".")[2] for s in profile.samples for f in s.frames}
    assert "seen" in functions
    assert "unseen" not in functions
    assert profile.total_weight_ns == pytest.approx(used * 1e9, rel=0.05, abs=2e6)


def test_thread_profiler_follows_for_the_block() -> None:
    def seen() -> None:
        burn(0.1)

    def unseen() -> None:
        burn(0.1)

    with spprof.Profiler(1) as profiler:
        spprof.unregister_thread()
        unseen()
        with spprof.ThreadProfiler():
            seen()
        unseen()
    assert profiler.profile is not None
    functions = {
        f.function_name.rpartition(".")[2] for s in profiler.profile.samples for f in s.frames
    }
    assert "seen" in functions
    assert "unseen" not in functions


# --- nothing leaks --------------------------------------------------------------------------------


def in_use() -> dict[str, int]:
    maps = Path("/proc/self/maps").read_text().count("\n")
    timers = Path("/proc/self/timers")
    status = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
    return {
        "descriptors": len(os.listdir("/proc/self/fd")),
        "maps": maps,
        "timers": timers.read_text().count("ID:") if timers.exists() else 0,
        "resident KiB": int(status["VmRSS"].split()[0]),
    }


@pytest.mark.parametrize("interval", [10, 1])
@pytest.mark.slow_unless(interval=1)
def test_10_000_short_threads_leak_nothing(interval: float) -> None:
    def short() -> None:
        sum(range(100))

    def some(count: int) -> None:
        for _ in range(count // 10):
            threads = [threading.Thread(target=short) for _ in range(10)]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()

    own = 0
    if sysconfig.get_config_var("Py_GIL_DISABLED"):
        # A free-threaded interpreter keeps half a kilobyte of each by itself.
        some(1000)
        alone = in_use()["resident KiB"]
        some(9000)
        own = in_use()["resident KiB"] - alone
    alive = len(os.listdir("/proc/self/task"))
    with spprof.Profiler(interval, aggregate=True):
        some(1000)
        time.sleep(0.2)
        before = in_use()
        some(9000)
        time.sleep(0.2)
        after = in_use()
        stats = spprof.stats()
    assert stats is not None
    assert stats.threads <= alive
    assert after["descriptors"] <= before["descriptors"]
    assert after["timers"] <= before["timers"] + 2
    # One for each would be 9,000; the C library makes heaps and stacks as threads happen to meet.
    assert after["maps"] <= before["maps"] + 100
    # A ring left behind by each would be gigabytes of address space and 40 MB touched.
    assert after["resident KiB"] <= before["resident KiB"] + 6000 + own


def test_the_time_of_threads_too_short_to_sample_is_owned_up_to() -> None:
    """A millisecond each, at an interval of a second: hardly one is ever sampled."""
    used = 0.0

    def short() -> None:
        nonlocal used
        used += burn(0.001)

    begin = time.process_time()
    with spprof.Profiler(1000) as profiler:
        for _ in range(300):
            thread = threading.Thread(target=short)
            thread.start()
            thread.join()
    profile = profiler.profile
    assert profile is not None
    if used - sum(t.weight_ns for t in profile.threads) / 1e9 > 0.9 * used:
        (note,) = [note for note in profile.notes if "too short to be sampled" in note]
        # Starting and ending a thread counts, too.
        assert 0.9 * used < float(note.split()[0]) < time.process_time() - begin


@pytest.mark.slow
def test_threads_with_blocked_signals_do_no_harm() -> None:
    def blocked() -> None:
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGPROF})
        burn(0.2)
        stop.wait()

    stop = threading.Event()
    thread = threading.Thread(target=blocked, name="blocked")
    for interval, mode in ((10, "cpu"), (1, "cpu"), (10, "wall")):
        stop.clear()
        thread = threading.Thread(target=blocked, name="blocked")
        with spprof.Profiler(interval, mode=mode) as profiler:
            thread.start()
            used = burn(0.2)
        stop.set()
        thread.join()
        assert profiler.profile is not None
        weights = weights_by_name(profiler.profile)
        ran = sum(
            sample.weight_ns or 0
            for sample in profiler.profile.samples
            if sample.thread_name == "blocked" and sample.state == "running"
        )
        assert ran == 0
        if mode == "cpu":
            assert weights["MainThread"] == pytest.approx(used * 1e9, rel=0.05, abs=2e6)
        (note,) = (note for note in profiler.profile.notes if "SIGPROF blocked" in note)
        assert "'blocked'" in note
        lost = float(note.split("blocked: ")[1].split()[0])
        assert 0.1 < lost < 0.25


def test_a_thread_with_blocked_signals_that_hardly_runs_is_not_worth_a_note() -> None:
    """As message queues have: a notebook's kernel has one for its sockets."""

    def blocked() -> None:
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGPROF})
        for _ in range(10):
            time.sleep(0.02)

    thread = threading.Thread(target=blocked, name="blocked")
    with spprof.Profiler(1) as profiler:
        thread.start()
        burn(0.2)
        thread.join()
    assert profiler.profile is not None
    assert not [note for note in profiler.profile.notes if "blocked" in note]


@pytest.mark.slow
def test_64_threads_at_once() -> None:
    used: dict[str, float] = {}

    def work(name: str) -> None:
        used[name] = burn(0.03)

    threads = [threading.Thread(target=work, args=(f"t{i}",), name=f"t{i}") for i in range(64)]
    with spprof.Profiler(1) as profiler:
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert profiler.profile is not None
    weights = weights_by_name(profiler.profile)
    assert sum(weights[name] for name in used if name in weights) == pytest.approx(
        sum(used.values()) * 1e9, rel=0.05
    )


def test_figures_count_threads() -> None:
    stop = threading.Event()
    threads = [threading.Thread(target=stop.wait) for _ in range(5)]
    spprof.start()
    before = _native.stats()["threads"]
    for thread in threads:
        thread.start()
    assert _native.stats()["threads"] == before + 5
    stop.set()
    for thread in threads:
        thread.join()
    assert _native.stats()["threads"] == before
    spprof.stop()


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_our_own_threads_take_no_signals() -> None:
    with spprof.Profiler(1):
        own = 0
        for task in Path("/proc/self/task").iterdir():
            if (task / "comm").read_text().startswith("spprof-"):
                own += 1
                status = (task / "status").read_text()
                mask = next(x for x in status.splitlines() if x.startswith("SigBlk"))
                assert int(mask.split()[1], 16) >> (signal.SIGTERM - 1) & 1
        assert own == 2
