"""What is sampled: how often, with which weights, which stacks, which lines, in CPU and wall time.

Truths are measured inside with the thread's own CPU clock, so that a busy machine does not matter;
shares of samples are compared within four standard errors of sampling.
"""

from __future__ import annotations

import asyncio
import math
import os
import re
import subprocess
import sys
import threading
import time
import zlib
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Callable

import pytest
from sampling_here import KERNEL_TICK_MS, TICKER_PREEMPTS, engine_at

import spprof
from spprof import Profile, _native


def burn(cpu_seconds: float) -> float:
    """Use so much CPU time on this thread; returns how much it was."""
    begin = time.thread_time()
    while (used := time.thread_time() - begin) < cpu_seconds:
        sum(range(200))
    return used


def profile_of(work: Callable[[], object], interval_ms: float = 1, mode: str = "cpu") -> Profile:
    with spprof.Profiler(interval_ms, mode=mode) as profiler:
        work()
    assert profiler.profile is not None
    return profiler.profile


def names(frames: tuple[spprof.Frame, ...]) -> list[str]:
    """Function names, outermost first, without what encloses a test's local functions."""
    return [f.function_name.rpartition("<locals>.")[2] for f in reversed(frames)]


def within_noise(seen: float, expected: float, samples: int) -> bool:
    """Whether a share of so many samples may be the expected one."""
    return abs(seen - expected) <= 4 * math.sqrt(expected * (1 - expected) / samples) + 0.003


# --- rate -----------------------------------------------------------------------------------------


def test_at_10_ms_a_burn_of_two_seconds_gives_200_samples() -> None:
    used = 0.0

    def work() -> None:
        # Reading the CPU clock ends a time slice that is over before the kernel's tick does: where
        # others want the processor, a thread that reads it all the time hardly sees a tick.
        nonlocal used
        begin = time.thread_time()
        while used < 2:
            sum(range(400_000))
            used = time.thread_time() - begin

    profile = profile_of(work, 10)
    assert profile.engine == engine_at(10)
    assert profile.sample_count == pytest.approx(200, rel=0.05)
    assert profile.total_weight_ns == pytest.approx(used * 1e9, rel=0.02)
    assert profile.effective_rate_hz == pytest.approx(100, rel=0.05)
    assert profile.dropped_count == 0


@pytest.mark.parametrize(("interval", "least"), [(1, 990), (0.2, 4500)])
@pytest.mark.slow_unless(interval=0.2)
def test_below_the_kernel_tick_the_rate_is_the_one_asked_for(interval: float, least: int) -> None:
    used = 0.0

    def work() -> None:
        nonlocal used
        used = burn(1)

    profile = profile_of(work, interval)
    assert profile.engine == engine_at(interval)
    assert profile.total_weight_ns == pytest.approx(used * 1e9, rel=0.01)
    # Never more than asked for, but for the variations of its pace.
    assert least <= profile.sample_count / used <= 1.01 * 1000 / interval


def test_samples_are_spread_evenly_over_cpu_time() -> None:
    profile = profile_of(lambda: burn(1), 1)
    weights = sorted(s.weight_ns or 0 for s in profile.samples)
    # Two signals follow each other within two intervals.
    assert weights[len(weights) // 2] == pytest.approx(1e6, rel=0.25)
    late = [w for w in weights if w > 2.5e6]
    assert sum(late) < 0.25 * sum(weights)


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="needs one CPU for two")
@pytest.mark.slow
def test_the_rate_holds_for_a_thread_that_shares_its_processor() -> None:
    """Its timer runs on while it waits for the processor; its samples go by its CPU time."""
    allowed = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {min(allowed)})
    rival = subprocess.Popen([sys.executable, "-c", "while True: pass"])
    try:
        used = 0.0

        def work() -> None:
            nonlocal used
            used = burn(1)

        profile = profile_of(work)
    finally:
        rival.kill()
        rival.wait()
        os.sched_setaffinity(0, allowed)
    assert profile.total_weight_ns == pytest.approx(used * 1e9, rel=0.01)
    assert profile.sample_count <= 1.02 * used * 1000
    assert profile.sample_count >= 0.9 * used * 1000


@pytest.mark.skipif(KERNEL_TICK_MS <= 1, reason="timers of the kernel's tick do it here")
@pytest.mark.slow
def test_system_calls_do_not_draw_samples_of_the_code_before_them() -> None:
    """A signal from another processor arrives late, at the next entry of the kernel."""

    def compute() -> int:
        total = 0
        for i in range(60):
            total += i * i
        return total

    def ask_kernel() -> float:
        return time.process_time()

    def work() -> None:
        end = time.process_time() + 2
        while ask_kernel() < end:
            compute()

    def cpu_of(function: Callable[[], object]) -> float:
        begin = time.thread_time()
        for _ in range(20_000):
            function()
        return time.thread_time() - begin

    asking, computing = cpu_of(ask_kernel), cpu_of(compute)
    true_share = asking / (asking + computing)
    assert 0.05 < true_share < 0.6
    for interval in (1, 2 * KERNEL_TICK_MS):
        profile = profile_of(work, interval)
        weights = Counter[str]()
        for sample in profile.samples:
            weights[names(sample.frames)[-1]] += sample.weight_ns or 0
        share = weights["ask_kernel"] / sum(weights.values())
        error = math.sqrt(true_share * (1 - true_share) / profile.sample_count)
        assert abs(share - true_share) < 4 * error + 0.02
        # It makes system calls all the time, which is no reason not to be sampled.
        due = profile.total_weight_ns / 1e6 / interval
        assert profile.sample_count == pytest.approx(due, rel=0.05, abs=4)


@pytest.mark.skipif(KERNEL_TICK_MS <= 1, reason="no ticker at 1 ms here")
def test_the_ticker_sleeps_while_threads_keep_their_own_time() -> None:
    def switches_of_ticker() -> int:
        for task in Path("/proc/self/task").iterdir():
            if (task / "comm").read_text().strip() == "spprof-ticker":
                status = (task / "status").read_text()
                return int(re.findall(r"^voluntary_ctxt_switches:\s+(\d+)", status, re.M)[0])
        raise AssertionError("no ticker")

    with spprof.Profiler(1):
        burn(0.1)
        before = switches_of_ticker()
        used = burn(0.5)
        switches = switches_of_ticker() - before
    assert switches < 0.2 * used * 1000


def test_a_program_in_step_with_the_ticks_is_not_fooled() -> None:
    """Work of 1 ms in turns, at 1 ms: fixed phases would see one of the two only."""
    used = Counter[str]()

    def even() -> None:
        used["even"] += round(burn(0.0005) * 1e9)

    def odd() -> None:
        used["odd"] += round(burn(0.0005) * 1e9)

    def work() -> None:
        next_turn = time.perf_counter()
        for _ in range(1500):
            next_turn += 0.001
            even()
            odd()
            while time.perf_counter() < next_turn:
                pass

    profile = profile_of(work)
    weights = Counter[str]()
    for sample in profile.samples:
        for name in names(sample.frames):
            if name in used:
                weights[name] += sample.weight_ns or 0
    share = weights["even"] / sum(weights.values())
    expected = used["even"] / sum(used.values())
    assert within_noise(share, expected, 800)


def test_a_thread_that_naps_shows_where_it_runs() -> None:
    """Work of a millisecond between naps: the naps use no CPU time and must get none.

    A thread whose nap is over waits for a processor where the machine is busy; a signal that comes
    meanwhile finds it where it slept.
    """
    used = 0.0

    def work() -> None:
        nonlocal used
        begin = time.thread_time()
        for _ in range(400):
            burn(0.0008)
            time.sleep(0.0012)
        used = time.thread_time() - begin

    profile = profile_of(work)
    assert profile.total_weight_ns == pytest.approx(used * 1e9, rel=0.02)
    assert profile.sample_count == pytest.approx(used * 1000, rel=0.3)
    asleep = sum(s.weight_ns or 0 for s in profile.samples if names(s.frames)[-1] == "work")
    # `work` itself does next to nothing but sleep.
    assert asleep < 0.12 * profile.total_weight_ns


@pytest.mark.skipif(not TICKER_PREEMPTS, reason="the ticker waits until a short burst is over")
@pytest.mark.slow
def test_a_thread_that_runs_in_short_bursts_is_sampled_at_the_rate_of_its_cpu_time() -> None:
    """It lets go of the GIL for less than a millisecond, and waits five to have it again."""
    data = bytes(1 << 20)
    stop = threading.Event()
    used = 0.0

    def bursts() -> None:
        nonlocal used
        begin = time.thread_time()
        while not stop.is_set():
            sum(range(5000))
            time.sleep(0.005)
            zlib.adler32(data)
        used = time.thread_time() - begin

    def busy() -> None:
        burn(3)
        stop.set()

    threads = [threading.Thread(target=t, name=t.__name__) for t in (bursts, busy)]
    with spprof.Profiler(1) as profiler:
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert profiler.profile is not None
    samples = {t.name: t.samples for t in profiler.profile.threads}["bursts"]
    # A ticker that waits for them to end meets a tenth of them.
    assert 0.5 < samples / (used * 1000) < 1.3


# --- whose time -----------------------------------------------------------------------------------


@pytest.mark.slow
def test_shares_of_functions_are_their_shares_of_cpu_time() -> None:
    used = Counter[str]()

    def one() -> None:
        used["one"] += round(burn(0.001) * 1e9)

    def two() -> None:
        used["two"] += round(burn(0.002) * 1e9)

    def five() -> None:
        used["five"] += round(burn(0.005) * 1e9)

    def work() -> None:
        for _ in range(200):
            one()
            two()
            five()

    profile = profile_of(work)
    weights = Counter[str]()
    for sample in profile.samples:
        for name in names(sample.frames):
            if name in used:
                weights[name] += sample.weight_ns or 0
    for name in used:
        share = weights[name] / profile.total_weight_ns
        expected = used[name] / sum(used.values())
        assert within_noise(share, expected, profile.sample_count), (name, share, expected)


def lines_of_known_work(used: Counter[int]) -> None:
    first = sys._getframe().f_lineno
    for _ in range(150):
        used[first + 2] += round(burn(0.001) * 1e9)
        used[first + 3] += round(burn(0.003) * 1e9)

        if True:  # an empty line and a block must not shift what follows
            used[first + 6] += round(burn(0.002) * 1e9)


@pytest.mark.slow
def test_each_sample_has_the_line_that_ran() -> None:
    used = Counter[int]()
    profile = profile_of(lambda: lines_of_known_work(used))
    weights = Counter[int]()
    for sample in profile.samples:
        for caller, callee in zip(sample.frames[1:], sample.frames):
            if caller.function_name == "lines_of_known_work" and callee.function_name == "burn":
                # The call of three lines may be shown at any of them.
                line = caller.lineno
                weights[max(known for known in used if known <= line)] += sample.weight_ns or 0
                assert any(known <= line <= known + 1 for known in used), line
    for line, spent in used.items():
        share = weights[line] / sum(weights.values())
        expected = spent / sum(used.values())
        assert within_noise(share, expected, profile.sample_count), (line, share, expected)


class Outer:
    class Inner:
        def method(self) -> float:
            return burn(0.02)

        @classmethod
        def made(cls) -> float:
            return burn(0.02)

        @staticmethod
        def alone() -> float:
            return burn(0.02)

        @property
        def value(self) -> float:
            return burn(0.02)


@pytest.mark.skipif(
    sys.version_info < (3, 11), reason="code objects know qualified names from 3.11"
)
def test_names_are_qualified() -> None:
    def work() -> list[float]:
        inner = Outer.Inner()
        return [
            inner.method(),
            inner.made(),
            inner.alone(),
            inner.value,
            (lambda: burn(0.02))(),
            *[burn(0.02) for _ in range(2)],
        ]

    profile = profile_of(work)
    seen = {f.function_name for s in profile.samples for f in s.frames}
    here = "test_names_are_qualified.<locals>.work"
    assert {
        "Outer.Inner.method",
        "Outer.Inner.made",
        "Outer.Inner.alone",
        "Outer.Inner.value",
        here,
        f"{here}.<locals>.<lambda>",
    } <= seen


def test_frames_name_their_file_and_no_frame_is_native() -> None:
    profile = profile_of(lambda: burn(0.05))
    for sample in profile.samples:
        assert not any(f.is_native for f in sample.frames)
        assert all(f.filename and f.lineno > 0 for f in sample.frames)
        if sample.frames[0].function_name == "burn":
            assert Path(sample.frames[0].filename) == Path(burn.__code__.co_filename)


# --- shapes of stacks -----------------------------------------------------------------------------


def test_stacks_deeper_than_the_record_are_cut_at_the_root() -> None:
    def down(depth: int) -> float:
        return burn(0.3) if depth == 0 else down(depth - 1)

    limit = sys.getrecursionlimit()
    sys.setrecursionlimit(5000)
    try:
        profile = profile_of(lambda: down(2500))
    finally:
        sys.setrecursionlimit(limit)
    deepest = [s for s in profile.samples if len(s.frames) > 2048]
    assert len(deepest) > 0.9 * profile.sample_count
    # `down` itself takes a little time on the way.
    burning = [s for s in deepest if "burn" in names(s.frames)[-2:]]
    assert len(burning) > 0.9 * len(deepest)
    for sample in profile.samples:
        cut = len(sample.frames) > 2048
        assert (sample.frames[-1].function_name == "[truncated]") == cut
        assert cut or "burn" not in names(sample.frames)[-2:]
    for sample in deepest:
        assert len(sample.frames) == 2048 + 1
        assert names(sample.frames)[1] == "down"


def test_recursion_that_fits_is_complete() -> None:
    def down(depth: int) -> float:
        return burn(0.2) if depth == 0 else down(depth - 1)

    profile = profile_of(lambda: down(500))
    for sample in profile.samples:
        if names(sample.frames)[-1] == "burn":
            assert names(sample.frames).count("down") == 501
            assert "[truncated]" not in names(sample.frames)


def test_generators_are_seen_under_who_iterates_them() -> None:
    def inner() -> Iterator[float]:
        for _ in range(20):
            yield burn(0.005)

    def outer() -> Iterator[float]:
        yield from inner()

    def drive() -> float:
        return sum(outer())

    profile = profile_of(drive)
    expected = ["drive", "outer", "inner", "burn"]
    stacks = [names(s.frames) for s in profile.samples]
    complete = sum(stack[-4:] == expected for stack in stacks)
    assert complete > 0.8 * profile.sample_count
    for stack in stacks:
        if "inner" in stack:
            at = stack.index("inner")
            assert stack[at - 2 : at] == ["drive", "outer"], stack


def test_coroutines_are_seen_under_who_awaits_them() -> None:
    async def leaf() -> None:
        burn(0.002)
        await asyncio.sleep(0)

    async def middle() -> None:
        await leaf()

    async def task() -> None:
        for _ in range(30):
            await middle()

    async def main() -> None:
        await asyncio.gather(task(), task())

    profile = profile_of(lambda: asyncio.run(main()))
    found = 0
    for sample in profile.samples:
        stack = names(sample.frames)
        if "leaf" in stack:
            at = stack.index("leaf")
            assert stack[at - 2 : at] == ["task", "middle"], stack
            found += 1
    assert found > 0.8 * profile.sample_count


def test_exceptions_unwind_stacks_too() -> None:
    def fails(depth: int) -> None:
        burn(0.0002)
        if depth == 0:
            raise KeyError
        try:
            fails(depth - 1)
        finally:
            burn(0.0002)

    def work() -> None:
        for _ in range(100):
            try:
                fails(5)
            except KeyError:
                burn(0.0002)

    profile = profile_of(work, 0.2)
    assert profile.sample_count > 500
    for sample in profile.samples:
        stack = names(sample.frames)
        assert 0 <= stack.count("fails") <= 6
        if "fails" in stack:
            at = stack.index("fails")
            assert stack[at - 1] == "work"
            assert set(stack[at:]) <= {"fails", "burn"}


def test_short_alternating_chains_are_never_mixed_up() -> None:
    """The shape that breaks samplers from outside: an inner function under the wrong outer one."""

    def leaf(n: int) -> int:
        total = 0
        for i in range(n):
            total += i
        return total

    def a_inner() -> int:
        return leaf(3)

    def b_inner() -> int:
        return leaf(5)

    def a_outer() -> int:
        return a_inner()

    def b_outer() -> int:
        return b_inner()

    def numbers() -> Iterator[int]:
        for _ in range(3):
            yield leaf(2)

    def g_outer() -> int:
        return sum(numbers())

    def work() -> None:
        begin = time.thread_time()
        while time.thread_time() - begin < 1:
            for _ in range(100):
                a_outer()
                b_outer()
                g_outer()

    with spprof.Profiler(0.2) as profiler:
        work()
        stats = spprof.stats()
    profile = profiler.profile
    assert profile is not None
    assert stats is not None
    assert stats.failed_samples == 0
    possible = {
        ("a_outer", "a_inner", "leaf"),
        ("a_outer", "a_inner"),
        ("a_outer",),
        ("b_outer", "b_inner", "leaf"),
        ("b_outer", "b_inner"),
        ("b_outer",),
        ("g_outer", "numbers", "leaf"),
        ("g_outer", "numbers"),
        ("g_outer",),
        (),
    }
    impossible = Counter[tuple[str, ...]]()
    for stack in profile.aggregate().stacks:
        chain = names(stack.frames)
        if "work" not in chain:
            continue  # starting and stopping
        below = tuple(chain[chain.index("work") + 1 :])
        if below not in possible:
            impossible[below] += stack.count
    assert profile.sample_count > 4000
    assert not impossible


# --- wall time ------------------------------------------------------------------------------------


def switches(tid: int) -> int:
    """How often a thread has given the processor up by itself."""
    for line in Path(f"/proc/self/task/{tid}/status").read_text().splitlines():
        if line.startswith("voluntary_ctxt_switches"):
            return int(line.split()[1])
    raise AssertionError(f"no such line for thread {tid}")


@pytest.mark.parametrize("interval", [10, 1])
@pytest.mark.slow_unless(interval=1)
def test_sleepers_are_never_woken_and_get_their_time(interval: float) -> None:
    wake = threading.Event()
    ready = threading.Barrier(61)

    def sleeper() -> None:
        ready.wait()
        wake.wait()

    threads = [threading.Thread(target=sleeper, daemon=True) for _ in range(60)]
    for thread in threads:
        thread.start()
    ready.wait()
    time.sleep(0.2)
    tids = [thread.native_id for thread in threads]
    assert None not in tids
    before = {tid: switches(tid) for tid in tids if tid is not None}
    before_start = time.monotonic_ns()
    spprof.start(interval, mode="wall")
    spprof.unregister_thread()
    begin = time.monotonic_ns()
    time.sleep(1)
    interrupts = _native.stats()["handler_calls"]
    end = time.monotonic_ns()
    profile = spprof.stop()
    after_stop = time.monotonic_ns()
    after = {tid: switches(tid) for tid in before}
    wake.set()
    for thread in threads:
        thread.join()

    assert after == before
    # Those are of this thread, before it is left out.
    assert interrupts <= 6
    summaries = {t.thread_id: t for t in profile.threads}
    for tid in before:
        assert end - begin <= summaries[tid].weight_ns * 1.02
        assert summaries[tid].weight_ns <= 1.01 * (after_stop - before_start)
    waiting = [s for s in profile.filter(thread=tids[0]).samples if s.state == "waiting"]
    assert len(waiting) == pytest.approx((end - begin) / 1e6 / interval, rel=0.1)
    inner = [name.rpartition(".")[2] for name in names(waiting[0].frames)[-3:-1]]
    assert inner == ["sleeper", "wait"]


def test_sleepers_are_left_alone_in_cpu_time() -> None:
    wake = threading.Event()
    thread = threading.Thread(target=wake.wait, daemon=True)
    thread.start()
    time.sleep(0.1)
    assert thread.native_id is not None
    before = switches(thread.native_id)
    for interval in (10, 1):
        with spprof.Profiler(interval) as profiler:
            # Not burn(): of a busy machine the kernel's tick may never meet what reads a CPU clock
            # all the time.
            sum(range(10_000_000))
        assert profiler.profile is not None
        assert [t.name for t in profiler.profile.threads] == ["MainThread"]
    assert switches(thread.native_id) == before
    wake.set()
    thread.join()


def test_wall_time_tells_running_from_waiting() -> None:
    used = passed = slept = 0.0

    def running() -> None:
        nonlocal used, passed
        begin, cpu = time.monotonic(), time.thread_time()
        burn(0.3)
        used += time.thread_time() - cpu
        passed += time.monotonic() - begin

    def waiting() -> None:
        nonlocal slept
        begin = time.monotonic()
        time.sleep(0.3)
        slept += time.monotonic() - begin

    def work() -> None:
        for _ in range(2):
            running()
            waiting()

    profile = profile_of(work, 1, "wall")
    weights = Counter[tuple[str, str]]()
    for sample in profile.samples:
        for name in set(names(sample.frames)) & {"running", "waiting"}:
            weights[name, sample.state] += sample.weight_ns or 0
    assert weights["waiting", "waiting"] == pytest.approx(slept * 1e9, rel=0.05)
    assert weights["running", "running"] == pytest.approx(used * 1e9, rel=0.05)
    # What it waited for a processor there, on a busy machine.
    assert weights["running", "waiting"] == pytest.approx((passed - used) * 1e9, abs=3e7)
    assert profile.engine == "ticker"
    assert profile.mode == "wall"


def test_wall_time_of_one_thread_is_the_time_that_passed() -> None:
    elapsed = 0.0

    def work() -> None:
        nonlocal elapsed
        begin = time.monotonic()
        for _ in range(30):
            burn(0.003)
            time.sleep(0.007)
        elapsed = time.monotonic() - begin

    profile = profile_of(work, 1, "wall")
    assert profile.total_weight_ns == pytest.approx(elapsed * 1e9, rel=0.02)


# --- the GIL --------------------------------------------------------------------------------------


@pytest.mark.skipif(
    not getattr(sys, "_is_gil_enabled", lambda: True)(), reason="there is no GIL to hold"
)
def test_gil_share_tells_who_holds_it() -> None:
    import hashlib

    data = bytes(1 << 20)
    stop = threading.Event()

    def lets_go() -> None:
        while not stop.is_set():
            hashlib.sha256(data)

    def holds() -> None:
        burn(1)
        stop.set()

    threads = [threading.Thread(target=t, name=t.__name__) for t in (lets_go, holds)]
    with spprof.Profiler(1, mode="cpu") as profiler:
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert profiler.profile is not None
    shares = {t.name: t.gil_share for t in profiler.profile.threads}
    assert shares["holds"] is not None
    assert shares["lets_go"] is not None
    assert shares["holds"] > 0.9
    assert shares["lets_go"] < 0.2
    for sample in profiler.profile.samples:
        assert sample.holds_gil in (True, False)
