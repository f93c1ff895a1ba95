"""Code objects that are made, run and freed while profiling: each sample keeps its right name.

Addresses of freed code objects are reused at once, so every generation has names, files and lines
of its own, and the generations of a thread only ever grow with time: a sample that took over the
name of another code object at the same address shows.
"""

from __future__ import annotations

import gc
import importlib
import re
import subprocess
import sys
import sysconfig
import textwrap
import threading
import time
import weakref
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Callable

import pytest

import spprof
from spprof import Profile

Generation = Callable[[int, dict[str, Any]], None]


def spin(seconds: float) -> None:
    end = time.thread_time() + seconds
    while time.thread_time() < end:
        pass


# --- ways to make code ----------------------------------------------------------------------------


def run_source(i: int, source: str, names: dict[str, Any]) -> None:
    """Run it as file_<i>, further down the file the greater i is."""
    padding = "\n" * (i % 50)
    exec(compile(padding + textwrap.dedent(source), f"file_{i}", "exec"), names)


def functions(i: int, names: dict[str, Any]) -> None:
    source = f"""\
    def inner_{i}(n):
        total = 0
        for k in range(n):
            total += k
        return total
    def outer_{i}():
        return inner_{i}(400) + inner_{i}(400)
    outer_{i}()
    """
    run_source(i, source, names)


def factories(i: int, names: dict[str, Any]) -> None:
    source = f"""\
    @dataclass(order=True)
    class Data_{i}:
        x: int
        def __post_init__(self):
            self.total_{i}(200)
        def total_{i}(self, n):
            return sum([k for k in range(n)])
    Tuple_{i} = namedtuple("Tuple_{i}", "a b c")
    class Sub_{i}(Tuple_{i}):
        def total_{i}(self):
            return sum(k for k in range(self.a))
    Data_{i}(1) < Data_{i}(2)
    Sub_{i}(200, 2, 3).total_{i}()
    """
    run_source(i, source, names)


def shapes(i: int, names: dict[str, Any]) -> None:
    source = f"""\
    class Base_{i}:
        def method_{i}(self, n):
            return [step_{i}(k) for k in range(n)]
    def step_{i}(k):
        return (lambda x_{i}: x_{i} + 1)(k)
    def generate_{i}(n):
        for k in range(n):
            yield step_{i}(k)
    async def wait_{i}(n):
        return [step_{i}(k) for k in range(n)]
    Base_{i}().method_{i}(60)
    sum(generate_{i}(60))
    try:
        wait_{i}(60).send(None)
    except StopIteration:
        pass
    """
    run_source(i, source, names)


# --- the truth about a profile --------------------------------------------------------------------

MADE = re.compile(r"file_(\d+)$")
NUMBERED = re.compile(r"_(\d+)(?=$|\.)")


def generation_of(sample: spprof.Sample) -> int | None:
    """Which generation ran; fails where frames of a sample do not belong together."""
    of_files = set()
    for frame in sample.frames:
        made = MADE.match(frame.filename)
        if made is None:
            # Nothing of a generation may be taken for something else.
            assert not frame.function_name.startswith(("inner_", "outer_", "step_", "Data_"))
            continue
        i = int(made.group(1))
        of_files.add(i)
        numbers = {int(n) for n in NUMBERED.findall(frame.function_name)}
        assert numbers <= {i}, (frame, i)
        # A module's first instruction is on its first line, whatever is on that.
        starts = frame.function_name == "<module>" and frame.lineno == 1
        assert starts or i % 50 < frame.lineno <= i % 50 + 25, (frame, i)
    assert len(of_files) <= 1, sample
    return of_files.pop() if of_files else None


def check(profile: Profile) -> int:
    """Number of samples in made code, all of them checked."""
    newest: dict[int, int] = {}
    checked = 0
    for sample in sorted(profile.samples, key=lambda s: s.timestamp_ns):
        i = generation_of(sample)
        if i is not None:
            assert i >= newest.get(sample.thread_id, 0), (i, newest, sample)
            newest[sample.thread_id] = i
            checked += 1
    return checked


def storm(make: Generation, seconds: float, threads: int = 1, interval_ms: float = 0.2) -> Profile:
    """Make, run and forget code in so many threads; generations of threads never share a number."""
    from collections import namedtuple
    from dataclasses import dataclass

    failures: list[BaseException] = []

    def run(first: int) -> None:
        try:
            i = first
            until = time.monotonic() + seconds
            while time.monotonic() < until:
                names = {
                    "dataclass": dataclass,
                    "namedtuple": namedtuple,
                    "__name__": "builtins",
                }
                make(i, names)
                names.clear()
                i += threads
        except BaseException as error:  # noqa: BLE001  handed to the test
            failures.append(error)

    with spprof.Profiler(interval_ms) as profiler:
        workers = [threading.Thread(target=run, args=(k,)) for k in range(threads)]
        for worker in workers:
            worker.start()
        for worker in workers:
            worker.join()
    assert not failures
    assert profiler.profile is not None
    return profiler.profile


@pytest.mark.parametrize("make", [functions, factories, shapes])
@pytest.mark.slow_unless(make=functions)
def test_samples_of_freed_code_keep_their_names_files_and_lines(make: Generation) -> None:
    profile = storm(make, 2)
    assert check(profile) > 20
    generations = {generation_of(s) for s in profile.samples} - {None}
    assert len(generations) > 10


@pytest.mark.slow
def test_a_storm_of_dying_code_in_four_threads() -> None:
    profile = storm(functions, 2.5, threads=4)
    assert check(profile) > 20
    assert profile.dropped_count == 0


@pytest.mark.slow
@pytest.mark.timeout(200)
@pytest.mark.parametrize("threads", [1, 4])
def test_a_minute_of_the_storm_at_1_ms(threads: int) -> None:
    profile = storm(functions, 60, threads=threads, interval_ms=1)
    assert check(profile) > 200
    assert profile.dropped_count == 0


@pytest.mark.slow
def test_sessions_that_begin_and_end_in_the_middle_of_the_storm() -> None:
    stop = threading.Event()

    def run(first: int) -> None:
        i = first
        while not stop.is_set():
            functions(i, {})
            i += 2

    workers = [threading.Thread(target=run, args=(k,)) for k in range(2)]
    for worker in workers:
        worker.start()
    checked = 0
    try:
        for _ in range(12):
            with spprof.Profiler(0.2) as profiler:
                spin(0.03)
            assert profiler.profile is not None
            checked += check(profiler.profile)
    finally:
        stop.set()
        for worker in workers:
            worker.join()
    assert checked > 5


@pytest.fixture
def reloaded_module(tmp_path: Path) -> Iterator[Callable[[int], Any]]:
    """Rewrites and reloads one module; its functions carry the number of the generation."""
    path = tmp_path / "spprof_reloaded.py"
    module: Any = None

    def load(i: int) -> Any:
        nonlocal module
        path.write_text(
            f"import time\ndef work_{i}(seconds):\n    end = time.thread_time() + seconds\n"
            f"    while time.thread_time() < end:\n        helper_{i}()\n"
            f"def helper_{i}():\n    pass\nwork = work_{i}\n"
        )
        importlib.invalidate_caches()
        # Two versions within one second look the same to the cache of compiled files.
        sys.dont_write_bytecode = True
        module = importlib.import_module("spprof_reloaded") if i == 0 else importlib.reload(module)
        return module

    sys.path.insert(0, str(tmp_path))
    before = sys.dont_write_bytecode
    yield load
    sys.dont_write_bytecode = before
    sys.path.remove(str(tmp_path))
    sys.modules.pop("spprof_reloaded", None)


def test_a_reloaded_module_is_what_it_was_when_it_was_sampled(
    reloaded_module: Callable[[int], Any],
) -> None:
    generations = 60
    with spprof.Profiler(0.2) as profiler:
        for i in range(generations):
            reloaded_module(i).work(0.01)
    assert profiler.profile is not None
    newest = -1
    seen = set()
    for sample in profiler.profile.samples:
        numbers = {
            int(n)
            for f in sample.frames
            if f.filename.endswith("spprof_reloaded.py")
            for n in NUMBERED.findall(f.function_name)
        }
        assert len(numbers) <= 1
        if numbers:
            (i,) = numbers
            assert i >= newest
            newest = i
            seen.add(i)
    # A hundredth of a second each: where the machine is busy, some may go by unseen.
    assert len(seen) > generations * 0.6


def forgotten_code() -> weakref.ref[Any]:
    names: dict[str, Any] = {}
    exec(compile("def gone(): pass", "file_gone", "exec"), names)
    return weakref.ref(names.pop("gone").__code__)


def test_memory_of_dead_code_is_given_back() -> None:
    without = forgotten_code()
    with spprof.Profiler(1):
        code = forgotten_code()
    # Parked while the session ran, gone with it; free-threaded builds leave it to the collector.
    gc.collect()
    if without() is not None:
        pytest.skip("3.13t makes code immortal as soon as there was a second thread")
    assert code() is None


# Of every length in UTF-8, and one that has no UTF-8.
NAMES = ("plain", "caf\u00e9", "\u65e5\u672c\u8a9e", "party\U0001f389", "\udc80lone", "nul\0inside")
NAMES_IN_TIME = f"""
import gc, sys, time
import spprof

class Finalizer:
    def __del__(self):
        asked.append(spprof.stats())

asked = []

names = {NAMES!a}
spprof.start(0.5)
for name in names:
    made = {{}}
    exec("def f(end):\\n while time.thread_time() < end: pass", {{"time": time}}, made)
    code = made["f"].__code__.replace(co_name=name, co_filename=name + ".py")
    if sys.version_info >= (3, 11):
        code = code.replace(co_qualname=name)
    made["f"].__code__ = code
    made["f"](time.thread_time() + 0.05)
    del made, code
# Until 3.11 the first allocation of an object collects, and a finalizer asks us something: not
# while the dead are named.
codes = [compile("def dies(): pass", "dies", "exec") for _ in range(600)]
gc.disable()
finalizer = Finalizer()
finalizer.me = finalizer
del finalizer
gc.set_threshold(1)
gc.enable()
codes.clear()
gc.collect()
assert len(asked) == 1
gc.set_threshold(700)
seen = {{(f.function_name, f.filename) for s in spprof.stop().samples for f in s.frames}}
for name in names:
    shown = name.encode("utf-8", "backslashreplace").decode()
    assert (shown, shown + ".py") in seen, ascii((shown, sorted(seen)))
"""


def run_apart(source: str) -> None:
    result = subprocess.run(
        [sys.executable, "-c", source], capture_output=True, text=True, timeout=60, check=False
    )
    assert result.returncode == 0, result.stderr


def test_names_of_dead_code_have_all_their_characters() -> None:
    run_apart(NAMES_IN_TIME)


@pytest.mark.skipif(
    not sysconfig.get_config_var("Py_GIL_DISABLED"), reason="other builds stop one thread at a time"
)
def test_sessions_may_end_while_other_threads_free_code() -> None:
    run_apart("""
import threading, time
import spprof

def codes():
    while not over:
        exec("def f(): return 1\\nf()", {})

over = False
workers = [threading.Thread(target=codes) for _ in range(3)]
for worker in workers:
    worker.start()
end = time.time() + 8
while time.time() < end:
    spprof.start(10)
    spprof.stop()
over = True
for worker in workers:
    worker.join()
""")


WATCHERS = """
import ctypes, sys, sysconfig
import spprof

callback = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_int, ctypes.c_void_p)(lambda event, code: 0)
add, clear = ctypes.pythonapi.PyCode_AddWatcher, ctypes.pythonapi.PyCode_ClearWatcher
taken = []
while True:
    try:
        taken.append(add(callback))
    except RuntimeError:
        break
try:
    spprof.start(1)
except RuntimeError as error:
    assert "code watchers" in str(error) and "PyCode_AddWatcher" in str(error), error
else:
    sys.exit("started without a code watcher")
assert not spprof.is_active()
clear(taken.pop())
spprof.start(1)
spprof.stop()
try:
    given_back = add(callback) >= 0
except RuntimeError:
    given_back = False
# Free-threaded builds cannot take one back while another thread may be calling it: it stays, idle.
assert given_back != bool(sysconfig.get_config_var("Py_GIL_DISABLED")), given_back
import os
os._exit(0)  # before the callback is gone, and the watchers are not
"""


@pytest.mark.skipif(sys.version_info < (3, 12), reason="no code watchers before 3.12")
def test_start_refuses_where_all_code_watchers_are_taken() -> None:
    run_apart(WATCHERS)
