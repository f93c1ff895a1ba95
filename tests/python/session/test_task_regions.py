"""Regions that tasks of asyncio wait in, and what keeping them may take."""

from __future__ import annotations

import asyncio
import time

import spprof

TASKS = "asyncio tasks of *"


def profiled(main, interval_ms: float, **options) -> spprof.Profile:
    with spprof.Profiler(interval_ms, mode="wall", **options) as profiler:
        asyncio.run(main())
    return profiler.profile


def test_a_task_waits_in_the_regions_that_it_is_in() -> None:
    async def fetch(seconds: float) -> None:
        with spprof.region("fetch", size=seconds):
            await asyncio.sleep(seconds)
        await asyncio.sleep(0.1)

    async def main() -> None:
        with spprof.region("all"):
            await asyncio.gather(fetch(0.2), fetch(0.4))

    profile = profiled(main, 5)
    waited = profile.filter(thread=TASKS)
    times = {region.path + tuple(region.labels.values()): region for region in waited.regions()}
    assert set(times) == {("all",), ("all", "fetch", "0.2"), ("all", "fetch", "0.4")}
    for seconds in (0.2, 0.4):
        own = times["all", "fetch", str(seconds)].own_ns / 1e9
        assert seconds - 0.02 < own < 1.1 * seconds + 0.03, own
    # Outside of `fetch` both slept for a tenth of a second.
    assert 0.15 < times["all",].own_ns / 1e9 < 0.3


def test_regions_of_tasks_take_a_part_of_the_memory_and_no_more() -> None:
    slept: list[float] = []

    async def fetch(number: int) -> None:
        with spprof.region("fetch", number=number, text="x" * 200_000):
            begin = time.perf_counter()
            await asyncio.sleep(0.1)
            slept.append(time.perf_counter() - begin)

    async def main() -> None:
        await asyncio.gather(*(fetch(number) for number in range(20)))

    # A tenth of it holds five such texts.
    profile = profiled(main, 5, memory_limit_mb=10)
    waited = profile.filter(thread=TASKS)
    kept = [region for region in waited.regions() if region.path == ("fetch",)]
    assert len(kept) == 5
    assert "regions were too many to keep all that tasks waited in" in profile.notes
    # Whoever was met in another one waited all the same; tasks that can run do not wait.
    fetching = waited.filter(function="*fetch").total_weight_ns / 1e9
    assert 0.7 * sum(slept) < fetching < 1.05 * sum(slept)
