"""What the engine meets in a process: refused timers, errno, interrupted system calls."""

from __future__ import annotations

import ctypes
import os
import re
import signal
import subprocess
import sys
import textwrap
import threading
import time

import pytest

import spprof


def burn(cpu_seconds: float) -> float:
    """Use so much CPU time on this thread; returns how much it was."""
    begin = time.thread_time()
    while (used := time.thread_time() - begin) < cpu_seconds:
        sum(range(200))
    return used


# --- a system that refuses timers -----------------------------------------------------------------

REFUSING = """
import ctypes, errno, struct, sys, time, warnings

# A BPF program: refuse timer_create with EPERM, allow everything else.
machine = __import__("platform").machine()
audit, timer_create = {"x86_64": (0xC000003E, 222), "aarch64": (0xC00000B7, 107)}[machine]
LD, JEQ, RET = 0x20, 0x15, 0x06
program = b"".join(
    struct.pack("HBBI", *instruction)
    for instruction in (
        (LD, 0, 0, 4),  # the architecture
        (JEQ, 0, 3, audit),
        (LD, 0, 0, 0),  # the number of the system call
        (JEQ, 0, 1, timer_create),
        (RET, 0, 0, 0x00050000 | errno.EPERM),
        (RET, 0, 0, 0x7FFF0000),
    )
)
buffer = ctypes.create_string_buffer(program, len(program))
filter = struct.pack("HxxxxxxP", len(program) // 8, ctypes.addressof(buffer))
libc = ctypes.CDLL(None, use_errno=True)
if libc.prctl(38, 1, 0, 0, 0) != 0:  # PR_SET_NO_NEW_PRIVS
    sys.exit("no_new_privs is refused")
if libc.prctl(22, 2, ctypes.c_char_p(filter), 0, 0) != 0:  # PR_SET_SECCOMP, a filter
    sys.exit(f"the filter is refused: {errno.errorcode[ctypes.get_errno()]}")

import spprof

def work():
    begin = time.thread_time()
    while time.thread_time() - begin < 1:
        sum(range(200))

with warnings.catch_warnings(record=True) as caught:
    warnings.simplefilter("always")
    for _ in range(2):
        with spprof.Profiler(10) as profiler:
            work()
profile = profiler.profile
print(profile.engine, [str(w.category.__name__) for w in caught], profile.sample_count)
print(profile.total_weight_ns, profile.top(1)[0].function_name)
print(profile.notes)
"""


@pytest.mark.slow
def test_where_timers_are_refused_the_ticker_takes_over() -> None:
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(REFUSING)],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    if "is refused" in done.stderr:
        pytest.skip(f"seccomp filters cannot be installed here: {done.stderr.strip()}")
    assert done.returncode == 0, done.stderr
    head, figures, notes = done.stdout.splitlines()
    assert head.startswith("ticker ['RuntimeWarning']")
    assert int(head.split()[-1]) == pytest.approx(100, rel=0.1)
    weight, top = figures.split()
    assert int(weight) == pytest.approx(1e9, rel=0.02)
    assert top == "work"
    assert "timers are refused" in notes


# --- what the handler must leave alone ------------------------------------------------------------


@pytest.mark.parametrize("mode", ["cpu", "wall"])
@pytest.mark.slow_unless(mode="wall")
def test_too_few_samples_are_said_and_weights_are_right_all_the_same(mode) -> None:
    """A thread that lets signals through once in three intervals gets a third of its samples."""
    # As C code does: spprof hears of Python's own function, and follows such a thread no more.
    set_mask = ctypes.CDLL(None).pthread_sigmask
    blocked = ctypes.create_string_buffer(128)
    ctypes.CDLL(None).sigaddset(blocked, signal.SIGPROF)
    with spprof.Profiler(2, mode=mode) as profiler:
        begin = time.thread_time()
        while time.thread_time() - begin < 0.8:
            set_mask(signal.SIG_BLOCK, blocked, None)
            piece = time.thread_time()
            while time.thread_time() - piece < 0.006:
                pass
            set_mask(signal.SIG_UNBLOCK, blocked, None)
        used = time.thread_time() - begin
    profile = profiler.profile
    assert profile is not None
    note = next(note for note in profile.notes if "was met running" in note)
    found = re.search(r"'MainThread' was met running (\d+) times instead of (\d+)", note)
    assert found is not None
    met, due = int(found[1]), int(found[2])
    assert 50 < met < 0.75 * due
    assert due == pytest.approx(used / 0.002, rel=0.05)
    running = sum(s.weight_ns or 0 for s in profile.samples if s.state == "running")
    assert running == pytest.approx(used * 1e9, rel=0.05)


def test_errno_is_preserved() -> None:
    libc = ctypes.CDLL(None, use_errno=False)
    libc.__errno_location.restype = ctypes.POINTER(ctypes.c_int)
    # In one C call, so that nothing but signals comes between setting and reading: qsort calls us
    # back, and the comparison is what would see errno change.
    errno_of = libc.__errno_location()
    wrong = []

    def work() -> None:
        begin = time.thread_time()
        while time.thread_time() - begin < 0.5:
            pass

    spprof.start(0.1)
    try:
        for value in range(1, 200):
            errno_of[0] = value
            for _ in range(2000):
                pass
            if errno_of[0] != value:
                wrong.append((value, errno_of[0]))
        work()
    finally:
        profile = spprof.stop()
    assert profile.sample_count > 100
    assert not wrong


def test_system_calls_are_restarted_or_completed() -> None:
    """A pipe filled slowly: every read is interrupted, none fails, none loses a byte."""
    reader, writer = os.pipe()

    def fill() -> None:
        for i in range(100):
            burn(0.001)
            os.write(writer, bytes([i]))
        os.close(writer)

    thread = threading.Thread(target=fill)
    with spprof.Profiler(0.5, mode="wall"):
        thread.start()
        got = bytearray()
        while chunk := os.read(reader, 10):
            got += chunk
        thread.join()
    os.close(reader)
    assert got == bytes(range(100))
