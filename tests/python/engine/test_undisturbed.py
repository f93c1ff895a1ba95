"""A program that is sampled runs as one that is not: its calls, its descriptors, its warnings."""

from __future__ import annotations

import importlib.util
import os
import shutil
import subprocess
import sys
import textwrap
from pathlib import Path
from types import ModuleType

import pytest

import spprof

TORTURE = Path(__file__).resolve().parents[2] / "torture"


@pytest.fixture(scope="module")
def blocking_calls() -> ModuleType:
    if shutil.which("cc") is None:
        pytest.skip("the calls need a C compiler")
    spec = importlib.util.spec_from_file_location("blocking_calls", TORTURE / "blocking_calls.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("mode", ["cpu", "wall"])
@pytest.mark.parametrize("interval", [10, 1, 0.1])
@pytest.mark.slow_unless(interval=1, mode="wall")
def test_no_blocking_call_ends_early(
    blocking_calls: ModuleType, tmp_path: Path, mode: str, interval: float
) -> None:
    """Of each kind; tests/torture/blocking_calls.py makes ten thousand."""
    library = blocking_calls.build(tmp_path)
    with spprof.Profiler(interval, mode=mode) as profiler:
        results = blocking_calls.make_all(library, 150)
    for name, (cut, early, _) in zip(blocking_calls.names(library), results):
        assert (cut, early) == (0, 0), name
    assert profiler.profile is not None
    assert profiler.profile.sample_count > 0


def output_of(program: str, *arguments: str) -> str:
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(program), *arguments],
        capture_output=True,
        text=True,
        timeout=100,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout + done.stderr


PAUSE = """
import signal, sys, threading, time, spprof
def work():
    end = time.monotonic() + 1
    while time.monotonic() < end:
        sum(range(20000))
        time.sleep(0.005)
mode, interval = sys.argv[1], float(sys.argv[2])
spprof.start(interval, mode=mode)
threading.Thread(target=work, daemon=True).start()
begin = time.process_time()
while time.process_time() - begin < 0.05:
    pass
signal.signal(signal.SIGALRM, lambda *_: None)
signal.setitimer(signal.ITIMER_REAL, 1)
begin = time.monotonic()
signal.pause()
print("long" if time.monotonic() - begin > 0.9 else "short", end="")
"""


@pytest.mark.parametrize("mode", ["cpu", "wall"])
@pytest.mark.parametrize("interval", [10, 1, 0.1])
@pytest.mark.slow_unless(interval=1, mode="wall")
def test_pause_lasts_until_a_signal_of_the_programs_own(mode: str, interval: float) -> None:
    assert output_of(PAUSE, mode, str(interval)) == "long"


SIGWAIT = """
import os, signal, sys, threading, time, spprof
everything = set(signal.valid_signals()) - {signal.SIGKILL, signal.SIGSTOP}
signal.pthread_sigmask(signal.SIG_BLOCK, everything)
got = []
def burn(seconds):
    end = time.thread_time() + seconds
    while time.thread_time() < end:
        pass
def waiter():
    while not got or got[-1] != signal.SIGTERM:
        got.append(signal.sigwait(everything))
        burn(0.01)
mode, interval, native = sys.argv[1], float(sys.argv[2]), sys.argv[3] == "native"
spprof.start(interval, mode=mode, native=native)
threads = [threading.Thread(target=burn, args=(0.3,)) for _ in range(2)]
threads.append(threading.Thread(target=waiter))
for thread in threads:
    thread.start()
for _ in range(3):
    time.sleep(0.1)
    os.kill(os.getpid(), signal.SIGUSR1)
burn(0.2)
threads[0].join()
threads[1].join()
os.kill(os.getpid(), signal.SIGTERM)
threads[2].join()
profile = spprof.stop()
assert any("SIGPROF blocked" in note for note in profile.notes), profile.notes
print(*(signal.Signals(number).name for number in got), end="")
"""


@pytest.mark.parametrize("mode", ["cpu", "wall"])
@pytest.mark.parametrize("interval", [10, 1, 0.2])
@pytest.mark.slow_unless(interval=1)
@pytest.mark.slow_unless(mode="cpu")
def test_sigwait_gets_no_signal_that_nobody_sent(mode: str, interval: float) -> None:
    for native in ("native", "python"):
        seen = output_of(SIGWAIT, mode, str(interval), native).split()
        assert set(seen) == {"SIGUSR1", "SIGTERM"}


DESCRIPTORS = """
import os, sys, time, spprof
spprof.start(float(sys.argv[2]), mode=sys.argv[1])
time.sleep(0.1)
os.closerange(3, 64)
pairs = [os.pipe() for _ in range(4)]
damaged = 0
for _ in range(10):
    for _, writer in pairs:
        os.write(writer, b"12345678abcdefgh")
    end = time.process_time() + 0.02
    while time.process_time() < end:
        pass
    time.sleep(0.06)
    for reader, _ in pairs:
        os.set_blocking(reader, False)
        try:
            damaged += os.read(reader, 100) != b"12345678abcdefgh"
        except BlockingIOError:
            damaged += 1
begin = os.times()
time.sleep(1)
end = os.times()
spinning = end.user + end.system - begin.user - begin.system
profile = spprof.stop()
for pair in pairs:
    for number in pair:
        os.fstat(number)
assert spinning < 0.3, spinning
print(damaged, profile.sample_count > 0, end="")
"""


CLOSE_ALWAYS = """
import os, sys, time, spprof
spprof.start(0.1, mode=sys.argv[1], native=True)
end = time.monotonic() + 1.5
while time.monotonic() < end:
    os.closerange(3, 256)
    reader, writer = os.pipe()
    os.write(writer, b"x")
    sum(range(300))
    time.sleep(0.0002)
    assert os.read(reader, 10) == b"x"
    os.close(reader)
    os.close(writer)
assert spprof.stop().sample_count > 0
print("whole", end="")
"""


@pytest.mark.parametrize("mode", ["cpu", "wall"])
@pytest.mark.slow
def test_what_the_program_opens_is_never_closed(mode: str) -> None:
    """A program may close what is just being read by a thread of ours."""
    assert output_of(CLOSE_ALWAYS, mode) == "whole"


def test_what_the_program_closes_is_closed() -> None:
    """Nobody of ours holds the other end of its pipes."""
    reader, writer = os.pipe()
    spprof.start(1, mode="wall", native=True)
    try:
        os.close(writer)
        os.set_blocking(reader, False)
        assert os.read(reader, 1) == b""  # and no BlockingIOError
    finally:
        spprof.stop()
        os.close(reader)


@pytest.mark.parametrize("mode", ["cpu", "wall"])
@pytest.mark.parametrize("interval", [10, 1])
@pytest.mark.slow_unless(interval=1)
@pytest.mark.slow_unless(mode="wall")
def test_a_program_may_close_and_reuse_every_descriptor(mode: str, interval: float) -> None:
    """As daemons do; ours are numbers that nobody else would know."""
    assert output_of(DESCRIPTORS, mode, str(interval)) == "0 True"


FORK = """
import os, sys, warnings, spprof
warnings.simplefilter("error")
spprof.start(float(sys.argv[2]), mode=sys.argv[1])
def burn(n):
    for _ in range(n):
        sum(range(10_000))
burn(500)
for _ in range(5):
    child = os.fork()
    if child == 0:
        os._exit(0)
    os.waitpid(child, 0)
def after_fork():
    burn(2000)
after_fork()
profile = spprof.stop()
assert any(f.function_name == "after_fork" for s in profile.samples for f in s.frames)
print("quiet", end="")
"""


@pytest.mark.parametrize("mode", ["cpu", "wall"])
@pytest.mark.parametrize("interval", [10, 1])
@pytest.mark.slow_unless(interval=1)
def test_a_program_of_one_thread_forks_without_a_warning(mode: str, interval: float) -> None:
    assert output_of(FORK, mode, str(interval)) == "quiet"


LIMITS = """
import os, resource, sys, threading, time, spprof
when, mode = sys.argv[1], sys.argv[2]
def burn(seconds):
    end = time.thread_time() + seconds
    while time.thread_time() < end:
        pass
def limit_timers():
    _, hard = resource.getrlimit(resource.RLIMIT_SIGPENDING)
    resource.setrlimit(resource.RLIMIT_SIGPENDING, (0, hard))
def limit_descriptors():
    taken = []
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (64, hard))
    try:
        while True:
            taken.append(os.dup(0))
    except OSError:
        return taken
if when == "before":
    limit_timers()
spprof.start(10, mode=mode)
limit_timers()
taken = limit_descriptors()
thread = threading.Thread(target=burn, args=(0.3,))
thread.start()
burn(0.3)
thread.join()
for number in taken:
    os.close(number)
profile = spprof.stop()
print("survived", end="")
"""


@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize("mode", ["cpu", "wall"])
@pytest.mark.slow_unless(when="after")
def test_limits_of_the_system_do_not_end_the_program(when: str, mode: str) -> None:
    """No timer, no descriptor: what cannot be had is done without."""
    assert output_of(LIMITS, when, mode).startswith("survived")


def test_a_handler_that_was_disabled_does_not_hold_up_a_crash() -> None:
    program = """
    import ctypes, faulthandler, resource, time, spprof
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    spprof.start(10)
    faulthandler.enable()
    time.sleep(0.2)
    faulthandler.disable()
    ctypes.string_at(8)
    """
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(program)], timeout=30, capture_output=True
    )
    assert done.returncode == -11


COLLECT = """
import faulthandler, gc, sys, spprof
faulthandler.dump_traceback_later(20, exit=True)
armed = True
class Finalized:
    def __del__(self):
        if armed:
            spprof.is_active()
            spprof.stats()
def make_cycle():
    cycle = Finalized()
    cycle.me = cycle
for _ in range(5):
    spprof.start(10, native=True)
    many = type("Many", (), {f"a{i}": i for i in range(4000)})
    gc.collect()
    make_cycle()
    spprof.stop()
armed = False
print("ended", end="")
"""


def test_finalizers_may_call_us_while_a_session_ends() -> None:
    assert output_of(COLLECT) == "ended"


def test_no_descriptor_of_ours_is_open_while_a_session_runs() -> None:
    def kinds() -> list[str]:
        found = []
        for number in os.listdir("/proc/self/fd"):
            try:
                found.append(os.readlink(f"/proc/self/fd/{number}"))
            except FileNotFoundError:
                continue  # the listing's own
        return sorted(kind for kind in found if "/proc/" not in kind)

    before = kinds()
    for mode in ("cpu", "wall"):
        with spprof.Profiler(1, mode=mode):
            assert kinds() == before
