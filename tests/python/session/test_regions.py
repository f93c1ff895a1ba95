"""Regions: whose time is whose, in threads, tasks, generators and whatever else mixes them up."""

from __future__ import annotations

import asyncio
import contextvars
import gc
import os
import statistics
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

import spprof
from spprof import _native, region


def burn(seconds: float) -> None:
    """Use so much CPU time of the calling thread."""
    end = time.thread_time() + seconds
    while time.thread_time() < end:
        sum(range(100))


def innermost() -> str:
    """Names of the regions around the caller, as a sample would carry them."""
    with spprof.Profiler(interval_ms=1) as profiler:
        burn(0.02)
    names = {r.path for r in profiler.profile.regions() if r.own_ns}
    assert len(names) <= 1
    return " ".join(names.pop()) if names else ""


@pytest.fixture(autouse=True)
def nothing_is_left() -> Iterator[None]:
    yield
    gc.collect()
    assert _native.regions_entered() == 0


class TestTimes:
    def test_own_and_total(self) -> None:
        with spprof.Profiler(interval_ms=1) as profiler:
            burn(0.05)
            with region("outer", data="a"):
                burn(0.1)
                with region("inner"):
                    burn(0.15)
        outer, inner = profiler.profile.regions()
        assert (outer.path, dict(outer.labels)) == (("outer",), {"data": "a"})
        assert inner.path == ("outer", "inner")
        # On a busy machine samples are few, and each has what passed since the one before.
        assert outer.own_ns == pytest.approx(0.1e9, abs=0.04e9)
        assert inner.own_ns == pytest.approx(0.15e9, abs=0.04e9)
        assert outer.total_ns == outer.own_ns + inner.own_ns

    @pytest.mark.parametrize("mode", ["cpu", "wall"])
    @pytest.mark.parametrize("aggregate", [False, True])
    @pytest.mark.slow_unless(aggregate=False)
    @pytest.mark.slow_unless(mode="wall")
    def test_interleaved_coroutines_and_threads(self, mode: str, aggregate: bool) -> None:
        """Each region's CPU time within the error of counting; their sum is the threads'."""
        tasks, threads, rounds = 50, 8, 10
        used: dict[str, float] = {}  # by the job itself, and by its loop's thread
        clocks: dict[str, float] = {}

        async def job(loop: str, number: int) -> None:
            mine = 0.0
            with region("job", number=number):
                for _ in range(rounds):
                    begin = time.thread_time()
                    burn(0.0001 * (1 + number % 4))
                    mine += time.thread_time() - begin
                    await asyncio.sleep(0)
            used[f"{loop}/{number}"] = mine

        async def main(loop: str) -> None:
            await asyncio.gather(*(job(loop, number) for number in range(tasks)))

        def work(loop: str) -> None:
            begin = time.thread_time()
            with region("loop", loop=loop):
                asyncio.run(main(loop))
                clocks[loop] = time.thread_time() - begin

        with spprof.Profiler(interval_ms=0.5, mode=mode, aggregate=aggregate) as profiler:
            running = [threading.Thread(target=work, args=(str(n),)) for n in range(threads)]
            for thread in running:
                thread.start()
            for thread in running:
                thread.join()
        kept = profiler.profile.filter(state="running")
        loops: dict[str, float] = {}
        found = dict.fromkeys(used, 0.0)
        samples = 0
        for r in kept.regions():
            if r.name == "loop":
                loop = r.labels["loop"]
                loops[loop] = r.total_ns / 1e9
                samples += r.total_samples
            else:
                found[f"{loop}/{r.labels['number']}"] = r.own_ns / 1e9
        assert sum(loops.values()) == pytest.approx(sum(clocks.values()), rel=0.01)
        # Besides what a job measures there are the ways into its region and out of it.
        assert 0.95 < sum(found.values()) / sum(used.values()) < 1.15
        if mode == "cpu":  # the weights of samples are much the same
            grain = sum(loops.values()) / samples
            errors = [(found[key] - ns) / (ns * grain) ** 0.5 for key, ns in used.items()]
            # A few samples are late, and weigh several.
            assert statistics.fmean(min(error**2, 16) for error in errors) ** 0.5 < 1.4
        # A job's samples are of the thread whose loop it ran in.
        of_one_loop = kept.filter(labels={"loop": "0"}).samples
        assert len({(sample.thread_id, sample.thread_name) for sample in of_one_loop}) == 1

    def test_waiting_in_a_region(self) -> None:
        with spprof.Profiler(interval_ms=5, mode="wall") as profiler:
            with region("sleep"):
                begin = time.monotonic()
                time.sleep(0.3)
                end = time.monotonic()
            time.sleep(0.1)
        (found,) = profiler.profile.regions()
        # What was not seen goes to where it is met waiting next: much on a busy machine.
        assert 0.5 * (end - begin) * 1e9 < found.total_ns < (end - begin + 0.05) * 1e9

    def test_many_short_regions_with_values_of_their_own(self) -> None:
        """Labels of regions that were left long ago; those never met cost nothing."""
        with spprof.Profiler(interval_ms=1) as profiler:
            end = time.thread_time() + 0.3
            number = 0
            while time.thread_time() < end:
                with region("request", number=number):
                    sum(range(1000))
                number += 1
        p = profiler.profile
        (whole,) = p.regions(by="name")
        assert whole.total_share > 0.5
        met = [int(r.labels["number"]) for r in p.regions()]
        assert len(met) == len(set(met)) > 50
        assert max(met) < number
        # In the order in which they came.
        t = p._tables
        of_rows = [int(t.strings[t.label_value[label]]) for label in t.sample_label if label >= 0]
        assert of_rows == sorted(of_rows)
        assert len(t.label_parent) <= 2 * len(met)

    def test_with_native_frames(self) -> None:
        if not spprof.native_unwinding_available():
            pytest.skip("no native frames here")
        with spprof.Profiler(interval_ms=1, native=True) as profiler, region("sorting"):
            end = time.thread_time() + 0.2
            while time.thread_time() < end:
                sorted(range(1000))
        (found,) = profiler.profile.regions()
        assert found.total_share > 0.9

    def test_without_regions_there_are_no_labels(self) -> None:
        with spprof.Profiler(interval_ms=1) as profiler:
            burn(0.05)
        assert profiler.profile.regions() == []
        assert len(profiler.profile._tables.sample_label) == 0


class TestContexts:
    def test_begun_before_the_session(self) -> None:
        with region("before"):
            assert innermost() == "before"
        assert innermost() == ""

    def test_tasks_and_threads_begun_inside(self) -> None:
        async def child() -> str:
            await asyncio.sleep(0)
            return innermost()

        async def main() -> tuple[str, str, str]:
            with region("parent"):
                task = asyncio.ensure_future(child())
                copied = contextvars.copy_context()
            with ThreadPoolExecutor(1) as pool:
                in_pool = pool.submit(copied.run, innermost).result()
                plain = pool.submit(innermost).result()
            return await task, in_pool, plain

        assert asyncio.run(main()) == ("parent", "parent", "")

    @pytest.mark.parametrize("mode", ["cpu", "wall"])
    def test_jobs_of_executors_begun_inside(self, mode: str) -> None:
        """In a session also without a copy of the context: regions alone are taken along."""
        variable = contextvars.ContextVar("variable", default="worker's")

        def job() -> str:
            burn(0.03)
            with region("inner"):
                burn(0.03)
            return variable.get()

        with ThreadPoolExecutor(1) as pool, spprof.Profiler(1, mode=mode) as profiler:
            variable.set("caller's")
            with region("outer", number=1):
                first = pool.submit(job)
            second = pool.submit(job)
            assert first.result() == second.result() == "worker's"
        paths = {r.path: r for r in profiler.profile.filter(state="running").regions()}
        assert set(paths) == {("outer",), ("outer", "inner"), ("inner",)}
        assert paths["outer",].own_ns > 0.01e9

    def test_many_other_variables(self) -> None:
        """Nodes of the trie that a context is, of every kind and on several levels."""

        def look() -> list[str]:
            found = []
            with region("here"):
                for number in (1, 15, 20, 300, 3000):
                    variables = [contextvars.ContextVar(str(i)) for i in range(number)]
                    for variable in variables:
                        variable.set(1)
                    found.append(innermost())
            return found

        assert contextvars.copy_context().run(look) == ["here"] * 5

    def test_left_out_of_order(self) -> None:
        def generator() -> Iterator[int]:
            with region("generator"):
                yield 1
                yield 2

        asleep = generator()
        next(asleep)
        with region("consumer"):
            assert innermost() == "generator consumer"  # documented: it stays in force
            asleep.close()
            assert innermost() == "consumer"
        assert innermost() == ""

    def test_left_in_another_context(self) -> None:
        entered = region("elsewhere")
        contextvars.copy_context().run(entered.__enter__)
        with region("here"):
            entered.__exit__(None, None, None)
            assert innermost() == "here"

    def test_one_region_many_times(self) -> None:
        again = region("again")
        with again, region("between"), again:
            assert innermost() == "again between again"
        with again:
            assert innermost() == "again"
        assert innermost() == ""

    def test_an_exception_passes_through(self) -> None:
        with pytest.raises(KeyError), region("fails"):
            raise KeyError
        assert innermost() == ""

    def test_regions_never_left(self) -> None:
        """A chain that is freed at once is freed without recursion."""

        def leave_none() -> None:
            for _ in range(200_000):
                region("kept").__enter__()

        contextvars.copy_context().run(leave_none)
        gc.collect()
        assert _native.regions_entered() == 0

    @pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork")
    def test_fork(self) -> None:
        with region("parent"):
            pid = os.fork()
            if pid == 0:
                ok = False
                try:
                    with region("child"):
                        ok = innermost() == "parent child"
                finally:
                    os._exit(0 if ok else 1)
            assert os.waitpid(pid, 0)[1] == 0


class TestDecorator:
    def test_functions(self) -> None:
        @region("call", kind="f")
        def function(a: int, b: int = 2) -> tuple[int, str]:
            """Its words."""
            return a + b, innermost()

        assert function.__doc__ == "Its words."
        assert function(1) == (3, "call")
        assert innermost() == ""

    def test_coroutine_functions(self) -> None:
        @region("call")
        async def function() -> str:
            await asyncio.sleep(0)
            return innermost()

        assert asyncio.iscoroutinefunction(function)
        assert asyncio.run(function()) == "call"

    def test_generators_are_inside_only_while_they_run(self) -> None:
        log: list[Any] = []

        @region("steps")
        def generator() -> Any:
            log.append(innermost())
            try:
                got = yield 1
            except ValueError as error:
                log.append(repr(error))
                got = yield 2
            log.append((got, innermost()))
            return "end"

        steps = generator()
        assert next(steps) == 1
        assert innermost() == ""
        assert steps.throw(ValueError("x")) == 2
        with pytest.raises(StopIteration) as end:
            steps.send("sent")
        assert end.value.value == "end"
        assert log == ["steps", "ValueError('x')", ("sent", "steps")]

    def test_async_generators(self) -> None:
        log: list[Any] = []

        @region("steps")
        async def generator() -> Any:
            try:
                log.append(innermost())
                await asyncio.sleep(0)
                got = yield 1
                log.append((got, innermost()))
                try:
                    yield 2
                except ValueError:
                    yield 3
            finally:
                log.append("closed")

        async def main() -> list[Any]:
            steps = generator()
            met = [await steps.asend(None), innermost(), await steps.asend("sent")]
            met.append(await steps.athrow(ValueError("x")))
            await steps.aclose()
            return [*met, [item async for item in generator()]]

        assert asyncio.run(main()) == [1, "", 2, 3, [1, 2]]
        assert log == ["steps", ("sent", "steps"), "closed", "steps", (None, "steps"), "closed"]


class TestErrors:
    @pytest.mark.parametrize(
        ("args", "labels", "message"),
        [
            ((), {}, "one name, a str"),
            ((1,), {}, "one name, a str"),
            (("a", "b"), {}, "one name, a str"),
            (("a",), {"x": [1]}, "'x' must be str, int, float, bool or None, not list"),
            (("a",), {"region": "b"}, "is the region's name"),
        ],
    )
    def test_bad_arguments(self, args: Any, labels: Any, message: str) -> None:
        for call in (region, lambda *a, **k: region.__new__(region, *a, **k)):
            with pytest.raises(TypeError, match=message):
                call(*args, **labels)

    def test_decorating_something_else(self) -> None:
        with pytest.raises(TypeError, match="decorates functions and methods, not 3"):
            region("a")(3)  # type: ignore[type-var]
        with pytest.raises(TypeError, match="decorates functions"):
            region("a")(dict)

    def test_says_what_it_is(self) -> None:
        assert (
            repr(region("ü", b=1.5, a=None, c=True)) == "region('ü', a='None', b='1.5', c='True')"
        )
        assert region("a", x=1).labels == {"x": "1"}


@pytest.mark.skipif(sys.platform == "win32", reason="POSIX threads")
def test_regions_in_threads_while_sampled_fast() -> None:
    """Threads enter and leave as fast as they can, and are sampled as fast as can be."""
    stop = threading.Event()

    def work(name: str) -> None:
        while not stop.is_set():
            for number in range(50):
                with region(name, number=number), region("inner"):
                    pass

    with spprof.Profiler(interval_ms=0.1, mode="wall") as profiler:
        threads = [threading.Thread(target=work, args=(n,), name=n) for n in ("a", "b", "c")]
        for thread in threads:
            thread.start()
        time.sleep(0.5)
        stop.set()
        for thread in threads:
            thread.join()
    p = profiler.profile
    for name in "abc":
        own = p.filter(thread=name)
        for other in {*"abc"} - {name}:
            assert own.filter(region=other).sample_count == 0
        assert 0 < own.filter(region=name).sample_count <= own.sample_count
    assert {r.path[-1] for r in p.regions()} <= {*"abc", "inner"}
