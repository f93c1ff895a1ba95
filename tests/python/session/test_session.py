"""What a session promises around sampling: errors, saving, pausing, limits, figures."""

from __future__ import annotations

import asyncio
import json
import os
import stat
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from sampling_here import engine_at

import spprof
from spprof import _native
from spprof._session import engine


def burn(cpu_seconds: float) -> float:
    """Use so much CPU time on this thread; returns how much it was."""
    begin = time.thread_time()
    while (used := time.thread_time() - begin) < cpu_seconds:
        sum(range(200))
    return used


def run(program: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    """Run a program in an interpreter of its own."""
    return subprocess.run(
        [sys.executable, "-c", textwrap.dedent(program)],
        cwd=cwd,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


@pytest.fixture(autouse=True)
def no_session_left() -> Iterator[None]:
    assert not spprof.is_active()
    yield
    if spprof.is_active():
        spprof.stop()
        pytest.fail("the test left a session running")


# --- errors, before any state changes -------------------------------------------------------------


@pytest.mark.parametrize("interval", [0, 0.099, -1, 1000.1, float("nan"), float("inf")])
def test_an_interval_out_of_range_is_refused(interval: float) -> None:
    with pytest.raises(ValueError, match=r"interval_ms .*0\.1 to 1000"):
        spprof.start(interval)
    assert not spprof.is_active()


@pytest.mark.parametrize("interval", ["ten", None, [1], True, 1j])
def test_an_interval_that_is_no_number_is_refused(interval: object) -> None:
    with pytest.raises(TypeError, match="interval_ms"):
        spprof.start(interval)  # type: ignore[arg-type]
    assert not spprof.is_active()


@pytest.mark.parametrize("interval", [0.1, 1, 1000, 12.5])
def test_the_profile_says_which_interval_was_asked_for(interval: float) -> None:
    with spprof.Profiler(interval) as profiler:
        pass
    assert profiler.profile is not None
    assert profiler.profile.interval_ms == interval


def test_other_values_out_of_range_are_refused() -> None:
    with pytest.raises(ValueError, match="mode"):
        spprof.start(mode="gpu")
    with pytest.raises(ValueError, match="memory_limit_mb"):
        spprof.start(memory_limit_mb=0)
    with pytest.raises(TypeError, match="memory_limit_mb"):
        spprof.start(memory_limit_mb="much")  # type: ignore[arg-type]
    assert not spprof.is_active()


def test_a_second_start_is_refused_and_leaves_the_first_alone(tmp_path: Path) -> None:
    spprof.start(1)
    with pytest.raises(RuntimeError, match="Profiler already running"):
        spprof.start(5, tmp_path / "other.json")
    burn(0.05)
    profile = spprof.stop()
    assert profile.interval_ms == 1
    assert profile.sample_count > 20
    assert not list(tmp_path.iterdir())


def test_what_needs_a_session_says_so_without_one() -> None:
    for call in (spprof.stop, spprof.pause, spprof.resume):
        with pytest.raises(RuntimeError, match="Profiler not running"):
            call()
    assert spprof.stats() is None


def test_an_output_path_that_cannot_be_written_is_refused_before_anything_starts(
    tmp_path: Path,
) -> None:
    read_only = tmp_path / "read-only.json"
    read_only.write_text("mine")
    read_only.chmod(stat.S_IRUSR)
    candidates: list[Path] = [tmp_path / "missing" / "p.json", tmp_path]
    if os.geteuid() != 0:
        candidates.append(read_only)
    for path in candidates:
        with pytest.raises(PermissionError, match="cannot write"):
            spprof.start(10, path)
        assert not spprof.is_active()
    assert sorted(tmp_path.iterdir()) == [read_only]
    assert read_only.read_text() == "mine"


# --- saving ---------------------------------------------------------------------------------------


def test_stop_saves_what_it_returns(tmp_path: Path) -> None:
    path = tmp_path / "p.speedscope.json"
    spprof.start(1, path)
    assert not list(tmp_path.iterdir())
    burn(0.1)
    profile = spprof.stop()
    document = json.loads(path.read_text())
    total = sum(sum(one["weights"]) for one in document["profiles"])
    assert total == profile.total_weight_ns
    assert list(tmp_path.iterdir()) == [path]


def test_a_profile_that_cannot_be_saved_is_not_lost(tmp_path: Path) -> None:
    folder = tmp_path / "folder"
    folder.mkdir()
    spprof.start(1, folder / "p.json")
    burn(0.05)
    folder.rmdir()
    with pytest.raises(OSError, match="cannot write") as caught:
        spprof.stop()
    assert caught.value.profile.sample_count > 20  # type: ignore[attr-defined]
    assert not spprof.is_active()


def test_the_context_manager_keeps_the_profile_when_saving_fails(tmp_path: Path) -> None:
    folder = tmp_path / "folder"
    folder.mkdir()
    profiler = spprof.Profiler(1, folder / "p.json")
    profiler.__enter__()
    burn(0.05)
    folder.rmdir()
    with pytest.raises(OSError, match="cannot write"):
        profiler.__exit__(None, None, None)
    assert profiler.profile is not None
    assert profiler.profile.sample_count > 20


def test_the_end_of_the_interpreter_saves(tmp_path: Path) -> None:
    done = run(
        """
        import spprof, time
        spprof.start(1, "p.json")
        def work():
            end = time.thread_time() + 0.3
            while time.thread_time() < end:
                sum(range(200))
        work()
        """,
        tmp_path,
    )
    assert (done.returncode, done.stderr) == (0, "")
    document = json.loads((tmp_path / "p.json").read_text())
    (profile,) = document["profiles"]
    assert 0.29e9 < sum(profile["weights"]) < 0.5e9
    assert "work" in {frame["name"] for frame in document["shared"]["frames"]}


def test_an_exception_that_ends_the_program_does_not_cost_the_profile(tmp_path: Path) -> None:
    done = run(
        """
        import spprof, time
        spprof.start(1, "p.json")
        end = time.thread_time() + 0.1
        while time.thread_time() < end:
            pass
        raise SystemExit(7)
        """,
        tmp_path,
    )
    assert done.returncode == 7
    assert json.loads((tmp_path / "p.json").read_text())["profiles"]


def test_the_end_of_the_interpreter_says_why_it_could_not_save(tmp_path: Path) -> None:
    done = run(
        """
        import os, spprof
        os.mkdir("folder")
        spprof.start(10, "folder/p.json")
        os.rmdir("folder")
        """,
        tmp_path,
    )
    assert "spprof: the profile was not saved" in done.stderr
    assert done.returncode == 0


# --- the ways to profile --------------------------------------------------------------------------


def test_a_profiler_starts_and_stops_and_prints(capsys: pytest.CaptureFixture[str]) -> None:
    profiler = spprof.Profiler(1)
    with pytest.raises(RuntimeError, match="no profile yet"):
        profiler.print()
    with pytest.raises(RuntimeError, match="Profiler not running"):
        profiler.stop()
    profiler.start()
    with pytest.raises(RuntimeError, match="Profiler already running"):
        profiler.start()
    burn(0.05)
    profile = profiler.stop()
    assert profile is profiler.profile
    assert profile.total_weight_ns == pytest.approx(0.05e9, rel=0.1)
    profiler.print()
    assert capsys.readouterr().out == f"{profile}\n"
    with pytest.raises(RuntimeError, match="Profiler not running"):
        profiler.stop()


def test_a_profiler_does_not_stop_the_session_of_another() -> None:
    spprof.start(1)
    with pytest.raises(RuntimeError, match="Profiler not running"):
        spprof.Profiler(1).stop()
    assert spprof.is_active()
    spprof.stop()


@pytest.mark.parametrize("stop", ["module", "itself"])
def test_a_block_that_stops_its_profiler_keeps_profile_and_exception(stop: str) -> None:
    profiler = spprof.Profiler(1)
    stopped = []

    def fails() -> None:
        with profiler:
            burn(0.05)
            stopped.append(spprof.stop() if stop == "module" else profiler.stop())
            raise KeyError("its own")

    with pytest.raises(KeyError, match="its own"):
        fails()
    assert profiler.profile is stopped[0]
    assert profiler.profile.sample_count > 20


def test_a_session_started_in_the_block_after_its_own_goes_on() -> None:
    with spprof.Profiler(1) as profiler:
        first = spprof.stop()
        spprof.start(5)
    assert spprof.is_active()
    assert profiler.profile is first
    assert spprof.stop().interval_ms == 5


def test_the_context_manager_has_its_profile_even_when_the_block_raised() -> None:
    profiler = spprof.Profiler(1)
    assert profiler.profile is None

    def fails() -> None:
        with profiler:
            burn(0.05)
            raise KeyError

    with pytest.raises(KeyError):
        fails()
    assert profiler.profile is not None
    assert profiler.profile.sample_count > 20
    assert profiler.profile.top(1)[0].function_name == "burn"


def test_the_decorator_profiles_each_call() -> None:
    @spprof.profile(interval_ms=1)
    def work(seconds: float) -> str:
        burn(seconds)
        return "done"

    assert work.last_profile is None  # type: ignore[attr-defined]
    assert work(0.1) == "done"
    first = work.last_profile  # type: ignore[attr-defined]
    work(0.02)
    second = work.last_profile  # type: ignore[attr-defined]
    assert first.total_weight_ns > 0.09e9 > second.total_weight_ns > 0.01e9
    assert any(f.function_name.endswith("work") for f in first.samples[0].frames)
    assert work.__name__ == "work"


def test_the_bare_decorator_and_its_errors() -> None:
    @spprof.profile
    def recursive(depth: int) -> int:
        return 0 if depth == 0 else 1 + recursive(depth - 1)

    assert recursive(3) == 3
    assert recursive.last_profile.interval_ms == 10  # type: ignore[attr-defined]

    with pytest.raises(TypeError, match="generator"):

        @spprof.profile
        def generator() -> Iterator[int]:
            yield 1


def test_the_decorator_profiles_a_coroutine_to_its_end() -> None:
    @spprof.profile(interval_ms=1)
    async def work() -> int:
        burn(0.05)
        await asyncio.sleep(0)
        burn(0.05)
        return 5

    assert asyncio.run(work()) == 5
    assert work.last_profile.total_weight_ns > 0.09e9  # type: ignore[attr-defined]


# --- pausing --------------------------------------------------------------------------------------


@pytest.mark.parametrize("interval", [10, 1])
@pytest.mark.parametrize("mode", ["cpu", "wall"])
@pytest.mark.slow_unless(interval=1, mode="cpu")
def test_time_in_a_pause_is_not_counted(interval: float, mode: str) -> None:
    def before() -> float:
        return burn(0.2)

    def between() -> float:
        return burn(0.3)

    def after() -> float:
        return burn(0.2)

    outer = time.monotonic_ns()
    spprof.start(interval, mode=mode)
    inner = time.monotonic_ns()
    counted = before()
    pausing = time.monotonic_ns()
    spprof.pause()
    spprof.pause()
    paused = time.monotonic_ns()
    samples_at_pause = spprof.stats().collected_samples  # type: ignore[union-attr]
    between()
    assert spprof.stats().collected_samples == samples_at_pause  # type: ignore[union-attr]
    resuming = time.monotonic_ns()
    spprof.resume()
    spprof.resume()
    resumed = time.monotonic_ns()
    counted += after()
    stopping = time.monotonic_ns()
    profile = spprof.stop()
    least = pausing - inner + stopping - resumed
    most = paused - outer + time.monotonic_ns() - resuming

    main = next(t for t in profile.threads if t.thread_id == threading.get_native_id())
    if mode == "cpu":
        assert main.weight_ns == pytest.approx(counted * 1e9, rel=0.02)
    else:
        assert 0.98 * least < main.weight_ns < most
    assert 0.98 * least < profile.total_duration_ms * 1e6 < most
    seen = {f.function_name.rpartition(".")[2] for s in profile.samples for f in s.frames}
    assert {"before", "after"} <= seen
    assert "between" not in seen


def test_a_session_may_end_in_a_pause() -> None:
    spprof.start(1)
    used = burn(0.1)
    spprof.pause()
    burn(0.1)
    profile = spprof.stop()
    assert profile.total_weight_ns == pytest.approx(used * 1e9, rel=0.05)


# --- memory ---------------------------------------------------------------------------------------


def test_counts_only_needs_memory_for_stacks_only() -> None:
    def left() -> None:
        burn(0.002)

    def right() -> None:
        burn(0.002)

    memory = []
    spprof.start(1, aggregate=True)
    used = 0.0
    for _ in range(4):
        begin = time.thread_time()
        for _ in range(50):
            left()
            right()
        used += time.thread_time() - begin
        memory.append(spprof.stats().memory_bytes)  # type: ignore[union-attr]
    profile = spprof.stop()
    assert profile.sample_count > 600
    assert profile.total_weight_ns == pytest.approx(used * 1e9, rel=0.02)
    assert {s.timestamp_ns for s in profile.samples} == {None}
    # One row a distinct place in a distinct stack, however long it ran: `burn` was called from two.
    places = sum(len(f.__code__.co_code) // 2 for f in (burn, burn, left, right))
    assert profile._tables.rows <= places + 10
    assert len(profile.aggregate().stacks) <= 2 * 4 + 10
    assert max(memory[1:]) - memory[0] < 64 * 1024


def deep(levels: int, leaf: int) -> float:
    return burn(0.0005) + 0 * leaf if levels == 0 else deep(levels - 1, leaf)


@pytest.mark.slow
def test_at_the_memory_limit_timestamps_go_and_totals_stay() -> None:
    # Stacks of their own for each sample, so that a limit of 1 MiB is reached within a second.
    names = [f"leaf_{i}" for i in range(400)]
    space: dict[str, object] = {"deep": deep}
    for name in names:
        code = "\n".join(f"    deep({depth}, 0)" for depth in range(10))
        exec(f"def {name}():\n{code}", space)
    spprof.start(0.5, memory_limit_mb=1)
    begin = time.thread_time()
    for _ in range(2):
        for name in names:
            space[name]()  # type: ignore[operator]
        if spprof.stats().memory_bytes > 1.2 * (1 << 20):  # type: ignore[union-attr]
            break
    used = time.thread_time() - begin
    figures = spprof.stats()
    profile = spprof.stop()
    assert figures is not None
    assert figures.memory_bytes < 1.5 * (1 << 20)
    assert profile.total_weight_ns == pytest.approx(used * 1e9, rel=0.02)
    assert profile.sample_count >= figures.collected_samples
    assert any("memory limit" in note for note in profile.notes)
    assert profile.samples[0].timestamp_ns is None


# --- figures --------------------------------------------------------------------------------------


def test_figures_of_a_running_session() -> None:
    begin = time.monotonic()
    spprof.start(1)
    earliest = spprof.stats()
    used = burn(0.5)
    elapsed = time.monotonic() - begin
    stats = spprof.stats()
    profile = spprof.stop()
    assert earliest is not None
    assert stats is not None
    assert earliest.collected_samples < 20
    assert 0.9 * used < stats.collected_samples / 1000 < 1.1 * used
    assert stats.collected_samples <= profile.sample_count <= stats.collected_samples + 20
    assert stats.dropped_samples == profile.dropped_count == 0
    assert stats.failed_samples == 0
    assert stats.threads >= 1
    assert elapsed * 990 < stats.duration_ms < elapsed * 1010 + 5
    # A signal handler takes longer than 0.1 µs and, by far, no millisecond.
    assert 100 < stats.handler_mean_ns < 100_000
    assert stats.handler_mean_ns < stats.handler_worst_ns
    assert 0 < stats.overhead_estimate_pct < 50
    assert 10_000 < stats.memory_bytes < 5 << 20


def test_a_full_ring_drops_and_says_how_many() -> None:
    # 2,000 frames at 0.1 ms fill a ring faster than it is emptied while the collector has to wait
    # for the one processor that it shares with the sampled thread.
    def recurse(depth: int) -> float:
        return burn(1.0) if depth == 0 else recurse(depth - 1)

    affinity = os.sched_getaffinity(0)
    limit = sys.getrecursionlimit()
    sys.setrecursionlimit(3000)
    os.sched_setaffinity(0, {min(affinity)})
    try:
        with spprof.Profiler(0.1) as profiler:
            used = recurse(2000)
    finally:
        os.sched_setaffinity(0, affinity)
        sys.setrecursionlimit(limit)
    profile = profiler.profile
    assert profile is not None
    assert profile.dropped_count >= 0
    if profile.dropped_count:
        assert any("dropped" in note for note in profile.notes)
    # Dropped or not, no time is lost.
    assert profile.total_weight_ns == pytest.approx(used * 1e9, rel=0.02)


# --- sessions, one after another ------------------------------------------------------------------


def test_two_sessions_have_nothing_in_common() -> None:
    def first() -> float:
        return burn(0.2)

    def second() -> float:
        return burn(0.2)

    profiles = []
    for work in (first, second):
        with spprof.Profiler(1) as profiler:
            used = work()
        assert profiler.profile is not None
        assert profiler.profile.total_weight_ns == pytest.approx(used * 1e9, rel=0.02)
        profiles.append({f.function_name for s in profiler.profile.samples for f in s.frames})
    assert not any("second" in name for name in profiles[0])
    assert not any(name.endswith("first") for name in profiles[1])


def left_behind() -> dict[str, object]:
    """What a session could leave in this process."""
    fields = {}
    for line in Path("/proc/self/status").read_text().splitlines():
        key, _, value = line.partition(":")
        fields[key] = value.strip()
    timers = Path("/proc/self/timers")
    return {
        "threads": sorted(os.listdir("/proc/self/task")),
        "descriptors": len(os.listdir("/proc/self/fd")),
        "caught signals": fields["SigCgt"],
        "ignored signals": fields["SigIgn"],
        "timers": timers.read_text().count("ID:") if timers.exists() else 0,
        "start_new_thread": getattr(threading, "_start_new_thread", None),  # not from 3.13 on
    }


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="only Linux tells all of it")
def test_200_sessions_leave_nothing_behind() -> None:
    spprof.start()
    spprof.stop()
    before = left_behind()
    for i in range(200):
        spprof.start((10, 1)[i % 2], mode=("cpu", "wall")[i // 2 % 2])
        if i % 10 == 0:
            burn(0.005)
        spprof.stop()
    assert left_behind() == before


def test_the_profiler_does_not_show_itself() -> None:
    own = total = 0
    for _ in range(20):
        spprof.start(0.1)
        burn(0.01)
        profile = spprof.stop()
        total += profile.sample_count
        own += sum(s.frames[0].filename.endswith("/_session/session.py") for s in profile.samples)
    # What is left are the few instructions on the way in and out.
    assert total > 500
    assert own <= total / 50


def test_a_session_of_which_nothing_was_sampled_is_empty() -> None:
    with spprof.Profiler(1000) as profiler:
        pass
    profile = profiler.profile
    assert profile is not None
    assert profile.sample_count <= 1
    assert profile.engine == engine_at(1000)


def test_the_native_session_checks_for_itself() -> None:
    spprof.start()
    with pytest.raises(RuntimeError, match="already running"):
        _native.start(10_000_000, "cpu", 1 << 20, False, False)
    spprof.stop()
    with pytest.raises(RuntimeError, match="not running"):
        _native.stop()


def test_a_profile_that_cannot_be_saved_at_exit_is_kept_beside_it(tmp_path: Path) -> None:
    code = (
        "import os, spprof, time\n"
        "spprof.start(1, 'out.svg')\n"
        "t = time.thread_time()\n"
        "while time.thread_time() - t < .1: pass\n"
        "os.mkdir('out.svg')\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert "was not saved" in done.stderr
    assert spprof.load(tmp_path / "out.svg.spprof").sample_count > 50


def test_the_overhead_is_what_handler_and_own_threads_use_of_the_process(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with spprof.Profiler(10):
        figures = engine.stats()
        figures.update(handler_ns=3_000, background_cpu_ns=7_000, process_cpu_ns=1_000_000)
        monkeypatch.setattr(engine, "stats", lambda: figures)
        stats = spprof.stats()
    assert stats is not None
    assert stats.overhead_estimate_pct == pytest.approx(1.0)
    documented = spprof.ProfilerStats.__doc__ or ""
    assert "used, as a share of the CPU time of the process since the start" in documented
