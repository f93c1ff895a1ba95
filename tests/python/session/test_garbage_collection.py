"""Garbage collection is a frame of its own, on top of whoever set it off."""

from __future__ import annotations

import gc
import sys
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest

import spprof

FRAME = "[garbage collection"


@pytest.fixture(autouse=True)
def nothing_is_left() -> Iterator[None]:
    before = list(gc.callbacks)
    gc.collect()
    gc.freeze()  # what the tests themselves hold would take long
    yield
    gc.unfreeze()
    assert gc.callbacks == before


def collect_for(seconds: float) -> float:
    """Collect a heap with many objects over and over; returns the CPU time it took."""
    gc.disable()  # nothing else sets it off
    kept = [[i] for i in range(100_000)]
    gc.enable()
    begin = time.thread_time()
    while time.thread_time() < begin + seconds:
        gc.collect()
    del kept
    return time.thread_time() - begin


def busy(seconds: float) -> None:
    end = time.thread_time() + seconds
    while time.thread_time() < end:
        sum(range(100))


def names(sample: Any) -> list[str]:
    """Functions of a sample, outermost first, from the test on."""
    return [frame.function_name.rpartition(".")[2] for frame in reversed(sample.frames)]


def of_collection(profile: spprof.Profile) -> spprof.Profile:
    return profile.filter(function=f"{FRAME.replace('[', '[[]')}*")


@pytest.fixture
def no_other_callbacks() -> Iterator[None]:
    """What others have called in a collection (hypothesis does) is part of it, above its frame."""
    others = gc.callbacks[:]
    gc.callbacks.clear()
    yield
    gc.callbacks[:] = others


@pytest.mark.usefixtures("no_other_callbacks")
@pytest.mark.parametrize("mode", ["cpu", "wall"])
@pytest.mark.parametrize("native", [False, True])
@pytest.mark.slow_unless(mode="cpu")
def test_its_time_is_its_own(mode: str, native: bool) -> None:
    if native and not spprof.native_unwinding_available():
        pytest.skip("no native frames here")
    with spprof.Profiler(interval_ms=1, mode=mode, native=native) as profiler:
        collected = collect_for(0.2)
        busy(0.2)
    p = profiler.profile.filter(thread="MainThread", state="running")
    found = of_collection(p)
    assert found.total_weight_ns / 1e9 == pytest.approx(collected, rel=0.15)
    for sample in found.samples:
        path = names(sample)
        at = next(i for i, name in enumerate(path) if name.startswith(FRAME))
        assert path[at - 1] == "collect_for"
        if not native:
            assert at == len(path) - 1
    assert found.filter(function="busy").sample_count == 0


def test_what_it_calls_is_above_it() -> None:
    class Finalized:
        def __init__(self) -> None:
            self.me = self

        def __del__(self) -> None:
            busy(0.001)

    def make() -> None:
        for _ in range(100):
            Finalized()
        gc.collect()

    with spprof.Profiler(interval_ms=1) as profiler:
        make()
    paths = [names(sample) for sample in profiler.profile.filter(function="busy").samples]
    assert len(paths) > 30
    for path in paths:
        at = path.index("busy")
        assert path[at - 3 : at] == ["make", "[garbage collection 2]", "__del__"]


def test_another_thread_that_runs_meanwhile_does_not_collect() -> None:
    """A finalizer lets go of the GIL, and the flag stays with the thread that collects."""
    stop = threading.Event()

    class Finalized:
        def __init__(self) -> None:
            self.me = self

        def __del__(self) -> None:
            time.sleep(0.2)

    def run() -> None:
        while not stop.is_set():
            busy(0.005)

    other = threading.Thread(target=run)
    with spprof.Profiler(interval_ms=1, mode="wall") as profiler:
        other.start()
        Finalized()
        gc.collect()
        stop.set()
        other.join()
    p = profiler.profile
    assert of_collection(p).filter(thread="MainThread").total_weight_ns > 0.15e9
    mine = threading.current_thread().native_id
    assert {sample.thread_id for sample in of_collection(p).samples} == {mine}


def test_an_exception_in_a_callback_of_the_program() -> None:
    def fail(phase: str, info: dict[str, int]) -> None:
        raise ValueError(phase)

    gc.callbacks.append(fail)
    hook = sys.unraisablehook
    try:
        sys.unraisablehook = lambda _: None
        with spprof.Profiler(interval_ms=1) as profiler:
            gc.collect()
            busy(0.1)
    finally:
        sys.unraisablehook = hook
        gc.callbacks.remove(fail)
    assert of_collection(profiler.profile).sample_count <= 5


def test_generations() -> None:
    with spprof.Profiler(interval_ms=0.2) as profiler:
        end = time.thread_time() + 0.3
        while time.thread_time() < end:
            kept = [[i] for i in range(20_000)]
            gc.collect(0)
            del kept
    found = {
        name
        for sample in profiler.profile.samples
        for name in names(sample)
        if name.startswith(FRAME)
    }
    assert found <= {f"[garbage collection{n}]" for n in ("", " 0", " 1", " 2")}
    assert "[garbage collection 0]" in found


def test_started_and_stopped_while_collecting() -> None:
    profiles: list[spprof.Profile] = []

    class StartsAndStops:
        def __init__(self) -> None:
            self.me = self

        def __del__(self) -> None:
            if spprof.is_active():
                profiles.append(spprof.stop())
            else:
                spprof.start(interval_ms=1)

    for _ in range(2):
        StartsAndStops()
        gc.collect()
        busy(0.05)
    (profile,) = profiles
    with spprof.Profiler(interval_ms=1) as profiler:
        busy(0.05)
    assert of_collection(profiler.profile).sample_count == 0
    assert of_collection(profile).sample_count <= 2
