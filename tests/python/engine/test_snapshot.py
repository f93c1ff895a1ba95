"""Looking at a session that goes on: what is seen, and that nobody notices."""

from __future__ import annotations

import threading
import time
from collections import Counter
from typing import Callable

import pytest

import spprof


def burn(seconds: float, clock: Callable[[], float] = time.thread_time) -> float:
    """Use so much time; returns how much it was."""
    begin = clock()
    while (used := clock() - begin) < seconds:
        sum(range(200))
    return used


@pytest.fixture(autouse=True)
def no_session():
    assert not spprof.is_active()
    yield
    if spprof.is_active():
        spprof.stop()
        pytest.fail("a session was left running")


def time_of(profile: spprof.Profile, function: str) -> float:
    return sum(f.total_ns for f in profile.top(None) if f.function_name.endswith(function)) / 1e9


def weights(profile: spprof.Profile) -> Counter[tuple[int, tuple[tuple[str, int], ...]]]:
    """Weight of each (thread, stack with its lines)."""
    found: Counter[tuple[int, tuple[tuple[str, int], ...]]] = Counter()
    for sample in profile.samples:
        stack = tuple((frame.function_name, frame.lineno) for frame in sample.frames)
        found[sample.thread_id, stack] += sample.weight_ns
    return found


@pytest.mark.parametrize("mode", ["cpu", "wall"])
@pytest.mark.parametrize("interval_ms", [10, 1, 0.1])
def test_a_snapshot_is_the_beginning_of_the_profile(mode, interval_ms):
    clock = time.thread_time if mode == "cpu" else time.perf_counter
    spprof.start(interval_ms, mode=mode)
    until_first = burn(0.15, clock)
    first = spprof.snapshot()
    until_second = until_first + burn(0.1, clock)
    second = spprof.snapshot()
    assert spprof.is_active()
    burn(0.05, clock)
    whole = spprof.stop()
    seen = [first.sample_count, second.sample_count, whole.sample_count]
    assert seen == sorted(seen)
    # What was used since the last sample is not in it yet, and that may be long ago, where others
    # had the processors.
    for profile, used in ((first, until_first), (second, until_second)):
        assert 0 < time_of(profile, "burn") < used + 0.03
    # Nothing that was said is taken back.
    for earlier, later in ((first, second), (second, whole)):
        before, after = weights(earlier), weights(later)
        assert all(after[stack] >= weight for stack, weight in before.items())
    assert first.start_time == whole.start_time
    assert first.end_time <= second.end_time <= whole.end_time


def test_many_snapshots_change_neither_the_number_of_samples_nor_their_time():
    spprof.start(1)
    burn(0.05)
    before = time.thread_time()
    for _ in range(30):
        burn(0.005)
        spprof.snapshot()
    used = time.thread_time() - before
    profile = spprof.stop()
    assert profile.total_weight_ns / 1e9 == pytest.approx(used + 0.05, rel=0.05)
    assert profile.dropped_count == 0


def test_a_line_first_met_after_a_snapshot_is_known():
    namespace = {"burn": burn}
    exec(
        compile(
            "def f(late):\n  if late:\n    burn(0.06)\n  else:\n    burn(0.05)", "made", "exec"
        ),
        namespace,
    )
    spprof.start(1)
    namespace["f"](False)
    early = spprof.snapshot()
    namespace["f"](True)
    whole = spprof.stop()

    def lines(profile):
        return {f.lineno for s in profile.samples for f in s.frames if f.function_name == "f"}

    assert lines(early) == {5}
    assert lines(whole) == {3, 5}


def test_code_that_dies_between_snapshots_keeps_its_name():
    def run(name: str) -> None:
        namespace = {"burn": burn}
        exec(compile(f"def {name}():\n  burn(0.08)\n{name}()", "made", "exec"), namespace)

    spprof.start(10)
    for number in range(4):
        run(f"dead_{number}")
        seen = spprof.snapshot()
        assert time_of(seen, f"dead_{number}") < 0.2
    # Enough that parked code is freed.
    for number in range(300):
        compile(f"def other_{number}(): pass", "made", "exec")
    profile = spprof.stop()
    dead = sum(time_of(profile, f"dead_{number}") for number in range(4))
    assert dead == pytest.approx(4 * 0.08, abs=0.1)


def test_other_threads_are_seen_from_a_thread_of_ones_own():
    done = threading.Event()

    def worker() -> None:
        while not done.is_set():
            burn(0.01)

    thread = threading.Thread(target=worker, name="hard at work")
    spprof.start(1)
    thread.start()
    taken: list[spprof.Profile] = []

    def look() -> None:
        for _ in range(5):
            time.sleep(0.04)
            taken.append(spprof.snapshot())

    looking = threading.Thread(target=look)
    looking.start()
    looking.join()
    done.set()
    thread.join()
    whole = spprof.stop()
    counts = [time_of(profile, "worker") for profile in taken]
    assert counts == sorted(counts)
    assert counts[0] < counts[-1] <= time_of(whole, "worker")
    assert "hard at work" in {thread.thread_name for thread in taken[-1].threads}


def test_a_session_that_ends_meanwhile():
    errors: list[str] = []

    def look() -> None:
        try:
            while True:
                spprof.snapshot()
        except RuntimeError as error:
            errors.append(str(error))

    for _ in range(2):
        spprof.start(1)
        thread = threading.Thread(target=look)
        thread.start()
        burn(0.01)
        spprof.stop()
        thread.join(10)
        assert not thread.is_alive()
    assert errors == ["Profiler not running"] * 2


def test_of_a_pause_nothing_is_seen():
    spprof.start(10)
    burn(0.1)
    spprof.pause()
    burn(0.1)
    paused = spprof.snapshot()
    spprof.resume()
    burn(0.1)
    whole = spprof.stop()
    assert time_of(paused, "burn") == pytest.approx(0.1, abs=0.03)
    assert time_of(whole, "burn") == pytest.approx(0.2, abs=0.03)


def test_counts_only():
    spprof.start(10, aggregate=True)
    burn(0.1)
    early = spprof.snapshot()
    burn(0.1)
    whole = spprof.stop()
    assert {sample.timestamp_ns for sample in early.samples} == {None}
    assert 0 < time_of(early, "burn") < 0.13
    assert time_of(whole, "burn") == pytest.approx(0.2, abs=0.03)


@pytest.mark.skipif(not spprof.native_unwinding_available(), reason="no native frames here")
def test_native_stacks_are_in_it():
    import zlib

    data = bytes(range(256)) * 4000
    spprof.start(10, native=True)
    end = time.thread_time() + 0.3
    while time.thread_time() < end:
        zlib.compress(data, 9)
    early = spprof.snapshot()
    zlib.compress(data, 9)
    whole = spprof.stop()
    for profile in (early, whole):
        assert any(frame.is_native for sample in profile.samples for frame in sample.frames)
        assert 0.05 < profile.total_weight_ns / 1e9 < 0.5


def test_without_a_session_there_is_nothing_to_see():
    with pytest.raises(RuntimeError, match="Profiler not running"):
        spprof.snapshot()
