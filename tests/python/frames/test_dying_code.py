"""Code objects that die while being sampled: every sample keeps the name of what really ran.

Each piece of code here has a name that tells its file and its line, so that an address that was
given to new code before the old one was named shows as a mismatch.
"""

from __future__ import annotations

import dataclasses
import gc
import importlib
import os
import re
import subprocess
import sys
import textwrap
import threading
import time
from collections import namedtuple
from pathlib import Path

import pytest

import spprof
from spprof import Profile

# The suite runs a short storm; SPPROF_STORM_SECONDS=60 a long one.
STORM_SECONDS = float(os.environ.get("SPPROF_STORM_SECONDS", "10"))


def burn(cpu_seconds: float) -> float:
    """Use so much CPU time on this thread; returns how much it was."""
    begin = time.thread_time()
    while (used := time.thread_time() - begin) < cpu_seconds:
        pass
    return used


# Starts at a line of its own, and spends its time in one line of its own.
TEMPLATE = """{gap}def f_{number}(seconds, clock):
    end = clock() + seconds
    while clock() < end: pass
class C_{number}:
    def method_{number}(self, seconds, clock):
        end = clock() + seconds
        while clock() < end: pass
"""


def first_line(number: int) -> int:
    return number % 50 + 1


def run_unique(number: int, seconds: float) -> None:
    source = TEMPLATE.format(number=number, gap="\n" * (number % 50))
    space: dict[str, object] = {}
    exec(compile(source, f"unique_{number}.py", "exec"), space)
    space[f"f_{number}"](seconds, time.thread_time)  # type: ignore[operator]
    made = space[f"C_{number}"]()  # type: ignore[operator]
    getattr(made, f"method_{number}")(seconds, time.thread_time)


def check_unique(profile: Profile) -> int:
    """Every frame of unique code has its own file and line; returns how many there were."""
    found = 0
    files = set()
    for stack in profile.aggregate().stacks:
        for frame in stack.frames:
            function = re.fullmatch(
                r"(?:C_\d+\.)?(f|method)_(\d+)|C_(\d+)|<module>", frame.function_name
            )
            if not frame.filename.startswith("unique_"):
                if function is not None and function[2] is not None:
                    pytest.fail(f"{frame} has lost its file")
                continue
            assert function is not None, frame
            file_number = int(frame.filename[len("unique_") : -len(".py")])
            first = first_line(file_number)
            if function[1] == "f":
                assert int(function[2]) == file_number, frame
                assert first <= frame.lineno <= first + 2, frame
            elif function[1] == "method":
                assert int(function[2]) == file_number, frame
                assert first + 4 <= frame.lineno <= first + 6, frame
            found += stack.count
            files.add(file_number)
    assert len(files) > 20
    return found


@pytest.mark.slow
def test_a_storm_of_code_that_comes_and_goes() -> None:
    stop = threading.Event()
    numbers = iter(range(1 << 62))

    def compiles() -> None:
        while not stop.is_set():
            run_unique(next(numbers), 0.0003)

    def makes_classes() -> None:
        while not stop.is_set():
            number = next(numbers)
            record = dataclasses.make_dataclass(f"Record{number}", ["a", ("b", int, 5)])
            assert record(1) == record(1, 5)
            point = namedtuple(f"Point{number}", "x y")
            assert point(1, 2)._replace(x=3) == (3, 2)
            (lambda: burn(0.0002))()

    def collects() -> None:
        # Half of the time at most: free-threaded 3.13 stops all threads for it, which takes long
        # beside busy processes.
        while not stop.is_set():
            begin = time.monotonic()
            gc.collect()
            time.sleep(max(0.01, time.monotonic() - begin))

    threads = [threading.Thread(target=t) for t in (compiles, compiles, makes_classes, collects)]
    with spprof.Profiler(0.2, memory_limit_mb=500) as profiler:
        for thread in threads:
            thread.start()
        time.sleep(STORM_SECONDS)
        stop.set()
        for thread in threads:
            thread.join()
        stats = spprof.stats()
    assert profiler.profile is not None
    assert stats is not None
    assert check_unique(profiler.profile) > 100 * STORM_SECONDS
    # A dying frame's code may be gone when the frame is read: such a sample is given up.
    assert stats.failed_samples <= 0.001 * stats.collected_samples


@pytest.mark.parametrize("interval", [10, 0.2])
@pytest.mark.slow_unless(interval=0.2)
def test_names_of_code_that_died_before_stop(interval: float) -> None:
    with spprof.Profiler(interval) as profiler:
        for number in range(60):
            run_unique(number, 0.004)
    assert profiler.profile is not None
    assert check_unique(profiler.profile) > 0.8 * profiler.profile.sample_count


def in_a_process_of_its_own(program: str) -> str:
    """Free-threaded 3.13 makes all code immortal as soon as there was a second thread."""
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(program)],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_memory_of_dead_code_is_given_back() -> None:
    """Parked for a while, never kept: ten thousand functions do not pile up."""
    out = in_a_process_of_its_own(
        """
        import gc, spprof, weakref
        made = []
        with spprof.Profiler(1):
            for i in range(10_000):
                space = {}
                exec(compile("def f(): pass", f"dead_{i}.py", "exec"), space)
                made.append(weakref.ref(space["f"].__code__))
            del space
            gc.collect()  # free-threaded builds leave it to the collector
            alive = sum(code() is not None for code in made)
        gc.collect()
        print(alive, sum(code() is not None for code in made))
        """
    )
    alive, left = map(int, out.split())
    assert alive <= 256 + 10  # parked, until there are so many
    assert left == 0


@pytest.mark.slow
def test_reloaded_modules_keep_their_names_and_lines(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    source = tmp_path / "reloaded_module.py"

    def write(version: int) -> None:
        source.write_text(
            "import time\n" + "\n" * version + f"def version_{version}(seconds):\n"
            "    end = time.thread_time() + seconds\n"
            "    while time.thread_time() < end: pass\n"
        )

    write(0)
    module = importlib.import_module("reloaded_module")
    try:
        with spprof.Profiler(0.5) as profiler:
            for version in range(30):
                write(version)
                importlib.invalidate_caches()
                module = importlib.reload(module)
                getattr(module, f"version_{version}")(0.01)
                delattr(module, f"version_{version}")
    finally:
        del sys.modules["reloaded_module"]
    assert profiler.profile is not None
    seen = set()
    for stack in profiler.profile.aggregate().stacks:
        for frame in stack.frames:
            match = re.fullmatch(r"version_(\d+)", frame.function_name)
            if match is not None:
                version = int(match[1])
                assert frame.filename == str(source)
                assert version + 2 <= frame.lineno <= version + 4
                seen.add(version)
    assert len(seen) >= 28


def test_lambdas_and_closures_that_are_made_anew_each_time() -> None:
    def make(number: int) -> float:
        return (lambda: burn(0.001))()

    with spprof.Profiler(0.5) as profiler:
        for number in range(300):
            make(number)
    assert profiler.profile is not None
    burning = 0
    for stack in profiler.profile.aggregate().stacks:
        names = [f.function_name.rpartition(".")[2] for f in stack.frames]
        if names[0] == "burn":
            assert names[1:3] == ["<lambda>", "make"], names
            burning += stack.weight_ns or 0
    assert burning == pytest.approx(0.3e9, rel=0.1)


def test_code_dies_with_weak_references_to_it() -> None:
    """A callback of a weak reference runs Python code while code objects are being freed."""
    out = in_a_process_of_its_own(
        """
        import gc, spprof, time, weakref
        called, references = [], []
        with spprof.Profiler(0.5):
            for i in range(1000):
                space = {}
                exec(compile(f"def f(): return {i}", f"weak_{i}.py", "exec"), space)
                code = space["f"].__code__
                references.append(weakref.ref(code, lambda _, i=i: called.append(i)))
                del space, code
            end = time.thread_time() + 0.05
            while time.thread_time() < end:
                pass
        gc.collect()
        print(sorted(called) == list(range(1000)))
        """
    )
    assert out == "True\n"
