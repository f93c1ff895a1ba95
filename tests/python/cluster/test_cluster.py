"""`spprof.cluster`: a program and its workers in one profile, with an engine made for the tests."""

from __future__ import annotations

import multiprocessing
import os
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

import spprof
from spprof._cluster import there
from spprof._cluster.clocks import offset_of

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="the workers are forked")

HOUR_NS = 3600 * 10**9


def burn(seconds: float) -> tuple[float, float]:
    """When it ran, on this machine's clock."""
    start = time.monotonic()
    begin = time.process_time()
    while time.process_time() - begin < seconds:
        sum(range(200))
    return start, time.monotonic()


def serve(connection: Any) -> None:
    while True:
        function, args = connection.recv()
        try:
            answer = function(*args)
        except Exception as error:  # noqa: BLE001 - as an engine does
            answer = error
        connection.send(answer)


class Worker:
    def __init__(self) -> None:
        context = multiprocessing.get_context("fork")
        self._ours, theirs = context.Pipe()
        self.process = context.Process(target=serve, args=(theirs,), daemon=True)
        self.process.start()

    def call(self, function: Callable[..., Any], *args: Any) -> Any:
        self._ours.send((function, args))
        return self._ours.recv()


class Pipes:
    """An engine: the workers behind pipes."""

    def __init__(self, *names: str) -> None:
        self.workers = {name: Worker() for name in names}

    def run(self, function: Callable[..., Any], *args: Any) -> dict[str, Any]:
        return {name: worker.call(function, *args) for name, worker in self.workers.items()}

    def end(self) -> None:
        for worker in self.workers.values():
            worker.process.kill()
            worker.process.join()


@pytest.fixture
def engine() -> Iterator[Pipes]:
    made = Pipes("a", "b")
    yield made
    made.end()


def seconds_of(profile: spprof.Profile, process: int) -> float:
    top = profile.filter(process=process).top(None)
    return sum(f.self_ns for f in top if f.function_name == "burn") / 1e9


def test_workers_are_in_the_profile_on_its_clock(engine) -> None:
    before = time.monotonic()
    with spprof.cluster(engine, 1) as p:
        after = time.monotonic()
        ran = engine.run(burn, 0.1)
        burn(0.1)
    own, *workers = p.profile.processes()
    assert (own.pid, own.depth) == (os.getpid(), 0)
    assert sorted((w.name, w.pid, w.depth) for w in workers) == sorted(
        (name, worker.process.pid, 1) for name, worker in engine.workers.items()
    )
    for process in (own, *workers):
        assert 0.05 < seconds_of(p.profile, process.pid) < 0.12
    for worker in workers:
        inside = [
            sample.timestamp_ns / 1e9
            for sample in p.profile.filter(process=worker.pid, function="burn").samples
        ]
        begin, end = ran[worker.name]
        assert begin - after <= min(inside)
        assert max(inside) <= end - before
        assert worker.cpu_ns == pytest.approx(worker.profile_ns, rel=0.3)
    assert {t.thread_name for t in p.profile.threads} >= {"a", "b"}
    # The workers are children of this process, and none of their time is missing.
    assert p.profile.notes == ()


def test_nothing_is_left_in_workers_and_it_goes_again(engine) -> None:
    for _ in range(2):
        with spprof.cluster(engine, 1) as p:
            engine.run(burn, 0.03)
        assert len(p.profile.processes()) == 3
        assert list(engine.run(spprof.is_active).values()) == [False, False]
        assert there.asked_here == set()


class Elsewhere:
    """An engine whose workers seem to be on another machine, an hour ahead."""

    def __init__(self, engine: Pipes) -> None:
        self._engine = engine

    def run(self, function: Callable[..., Any], *args: Any) -> dict[str, Any]:
        return {name: self._moved(told) for name, told in self._engine.run(function, *args).items()}

    def _moved(self, told: Any) -> Any:
        if isinstance(told, dict):
            moved = {**told, "clock": "another", "host": "node17"}
            return {**moved, **{k: told[k] + HOUR_NS for k in ("start_ns",) if k in told}}
        return told + HOUR_NS if isinstance(told, int) else told


def test_clocks_of_other_machines_are_set_to_ours(engine) -> None:
    with spprof.cluster(Elsewhere(engine), 1) as p:
        ran = engine.run(burn, 0.1)
        middle = time.monotonic()
        burn(0.1)
    profile = p.profile
    mine = profile.filter(process=os.getpid(), function="burn").samples
    assert len(mine) > 20
    for thread in profile._tables.threads:
        assert thread["host"] == ("" if thread["pid"] == os.getpid() else "node17")
    of_b = profile.filter(process="b", function="burn").samples
    # Within what the note allows: half of a round trip on this machine.
    gap = (mine[0].timestamp_ns - of_b[-1].timestamp_ns) / 1e9
    assert gap == pytest.approx(middle - ran["b"][1], abs=0.15)
    assert of_b[0].timestamp_ns > 0
    assert "on node17" in str(profile)


def test_the_shortest_look_at_a_clock_tells_most() -> None:
    assert offset_of([]) is None
    offset = offset_of([(0, 1000, 100), (200, 1105, 210), (300, 1000, 500)])
    assert (offset.ns, offset.error_ns) == (-900, 5)


class Answers(Pipes):
    """An engine in which one worker answers a function otherwise."""

    def __init__(self, function: Callable[..., Any], answer: Callable[[Any], Any]) -> None:
        super().__init__("a", "b")
        self._function, self._answer = function, answer

    def run(self, function: Callable[..., Any], *args: Any) -> dict[str, Any]:
        found = super().run(function, *args)
        if function is self._function:
            found["b"] = self._answer(found["b"])
        return {name: answer for name, answer in found.items() if answer is not self}


@pytest.mark.parametrize(
    ("function", "answer", "said"),
    [
        (
            there.about,
            lambda told: ModuleNotFoundError("No module named 'spprof'", name="spprof"),
            "not in the profile: b (spprof is not installed there)",
        ),
        (
            there.about,
            lambda told: {**told, "spprof": "0.0.1"},
            f"not in the profile: b (spprof 0.0.1 is installed there, "
            f"and {spprof.__version__} here)",
        ),
        (there.begin, lambda told: "no room", "not in the profile: b (no room)"),
        (there.end, lambda told: OSError("lost"), "not in the profile: b (OSError: lost)"),
        (
            there.end,
            lambda told: {**told, "pid": told["pid"] + 1},
            "b restarted: what is here is since then",
        ),
    ],
)
def test_a_worker_that_cannot_be_had_is_named(function, answer, said) -> None:
    engine = Answers(function, answer)
    try:
        with spprof.cluster(engine, 1) as p:
            engine.run(burn, 0.03)
        assert said in p.profile.notes
        assert "a" in [process.name for process in p.profile.processes()]
    finally:
        engine.end()


def test_workers_that_die_and_join_are_named(engine) -> None:
    with spprof.cluster(engine, 1) as p:
        gone = engine.workers.pop("b")
        gone.process.kill()
        gone.process.join()
        engine.workers["c"] = Worker()
        # As an engine does that follows: who joins begins.
        token, options = p._workers._token, {"interval_ms": 1.0}
        engine.workers["c"].call(there.begin, token, options)
        engine.run(burn, 0.05)
    assert "b ended before the session did: what they had recorded is lost" in p.profile.notes
    assert "c joined while the session ran" in p.profile.notes
    assert {process.name for process in p.profile.processes()} >= {"a", "c"}


def test_a_workers_own_session_is_left_alone(engine) -> None:
    engine.workers["b"].call(spprof.start, 1)
    with spprof.cluster(engine, 1) as p:
        pass
    assert "not in the profile: b (Profiler already running)" in p.profile.notes
    assert engine.run(spprof.is_active) == {"a": False, "b": True}


def test_where_no_worker_can_be_had_nothing_begins() -> None:
    class Nobody:
        def run(self, function: Callable[..., Any], *args: Any) -> dict[str, Any]:
            return {"a": ModuleNotFoundError("No module named 'spprof'", name="spprof")}

    p = spprof.cluster(Nobody())
    with pytest.raises(RuntimeError, match=r"no worker can be had: a \(spprof is not installed"):
        p.start()
    assert not spprof.is_active()
    assert there.asked_here == set()


def test_an_engine_that_fails_at_the_end_costs_the_workers_only(engine) -> None:
    p = spprof.cluster(engine, 1)
    p.start()
    burn(0.05)
    engine.run = lambda *_: 1 / 0
    profile = p.stop()
    assert [f.function_name for f in profile.top(1)] == ["burn"]
    assert any("ZeroDivisionError" in note and "a, b" in note for note in profile.notes)
    assert not spprof.is_active()


def test_workers_in_this_process_are_in_the_profile_once() -> None:
    class Here:
        def run(self, function: Callable[..., Any], *args: Any) -> dict[str, Any]:
            return {"a": function(*args), "b": function(*args)}

    with spprof.cluster(Here(), 1) as p:
        burn(0.05)
    assert len(p.profile.processes()) == 1
    assert 0.03 < p.profile.total_weight_ns / 1e9 < 0.2


def test_it_is_saved_with_the_workers_in_it(engine, tmp_path) -> None:
    with spprof.cluster(engine, 1, output_path=tmp_path / "p.spprof"):
        engine.run(burn, 0.05)
    loaded = spprof.load(tmp_path / "p.spprof")
    assert [process.depth for process in loaded.processes()] == [0, 1, 1]


def test_what_are_no_workers_is_refused() -> None:
    with pytest.raises(TypeError, match=r"a Client of dask\.distributed.*not int"):
        spprof.cluster(3)
