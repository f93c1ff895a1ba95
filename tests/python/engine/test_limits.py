"""Far beyond what is usual: thousands of threads, a hundred thousand stacks, and a system without
/proc or without a place to write. What is lost then is stated, and the rest is as ever.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

import spprof

PRELUDE = """
import os, subprocess, sys, threading, time, warnings
import spprof
warnings.simplefilter("ignore")
mode, interval, native = sys.argv[1], float(sys.argv[2]), sys.argv[3] == "native"
def burn(seconds):
    begin = time.thread_time()
    while time.thread_time() - begin < seconds:
        sum(range(200))
    return time.thread_time() - begin
"""

# Where temporary files may go.
PLACES = ("/tmp", "/var/tmp", "/usr/tmp", "/dev/shm")

KINDS = [("cpu", 10, False), ("cpu", 1, True), ("wall", 1, False), ("wall", 10, True)]


def output_of(
    program: str, mode: str, interval: float, native: bool, before: tuple[str, ...] = ()
) -> list[str]:
    """Lines that a program of its own prints; `before`: the command that becomes it."""
    command = [*before, sys.executable, "-c", PRELUDE + textwrap.dedent(program)]
    done = subprocess.run(
        [*command, mode, str(interval), "native" if native else "python"],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, (done.returncode, done.stderr[-2000:])
    return done.stdout.splitlines()


# --- many of them ---


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="limits of threads as Linux has them")
@pytest.mark.parametrize(("mode", "interval"), [("cpu", 1), ("wall", 10)])
def test_five_thousand_threads(mode: str, interval: float) -> None:
    """All of them are there; who works among them has its time and its rate; stopping is quick."""
    program = """
    threading.stack_size(64 * 1024)
    over = threading.Event()
    def sleepers():
        threads = [threading.Thread(target=over.wait) for _ in range(2500)]
        for thread in threads:
            thread.start()
        return threads
    try:
        threads = sleepers()
        begin = time.process_time()
        spprof.start(interval, mode=mode)
        starting = time.process_time() - begin
        threads += sleepers()
    except RuntimeError as error:
        over.set()
        print("no such many threads:", error)
        sys.exit()
    worker = threading.Thread(target=lambda: used.append(burn(0.5)), name="worker")
    used = []
    worker.start()
    worker.join()
    begin = time.process_time()
    profile = spprof.stop()
    stopping = time.process_time() - begin
    over.set()
    for thread in threads:
        thread.join()
    (row,) = [thread for thread in profile.threads if thread.name == "worker"]
    ran = [s for s in profile.samples if s.thread_name == "worker" and s.state == "running"]
    print(starting < 2, stopping < 2, profile.dropped_count, len(profile.threads) > 5000)
    print(sum(s.weight_ns for s in ran) / 1e9, used[0], len(ran))
    """
    first, *rest = output_of(program, mode, interval, False)
    if first.startswith("no such many threads"):
        pytest.skip(first)
    assert first.split()[:3] == ["True", "True", "0"]
    # In cpu time who sleeps costs nothing, and has no row.
    assert first.split()[3] == str(mode == "wall")
    weight, used, samples = (float(word) for word in rest[0].split())
    assert weight == pytest.approx(used, rel=0.1)
    assert samples > 0.2 * used * 1e3 / interval


@pytest.mark.slow
def test_a_hundred_thousand_stacks_are_all_kept(tmp_path: Path) -> None:
    file = tmp_path / "many.folded"
    with file.open("w") as lines:
        for i in range(100_000):
            frames = [f"f{bit}_{i >> bit & 1} (m.py:{bit + 1})" for bit in range(17)]
            lines.write(f"{';'.join(frames)} {i % 7 + 1}\n")
    profile = spprof.load(file)
    profile.save(tmp_path / "many.spprof")
    again = spprof.load(tmp_path / "many.spprof")
    assert again.sample_count == sum(i % 7 + 1 for i in range(100_000))
    assert again.aggregate().unique_stack_count == 100_000
    # Stacks share their callers: a stack costs its last frames, and not seventeen.
    assert (tmp_path / "many.spprof").stat().st_size < file.stat().st_size / 3
    profile.save(tmp_path / "many.html")
    assert (tmp_path / "many.html").stat().st_size < 40e6


# --- without the system's help ---


def in_a_namespace(script: str) -> tuple[str, ...]:
    """A command that sees other mounts than we do: made by `script`."""
    if shutil.which("unshare") is None:
        pytest.skip("no unshare here")
    command = ("unshare", "--mount", "sh", "-c", f'{script} && exec "$@"', "sh")
    python = [sys.executable, "-c", "import spprof"]
    tried = subprocess.run([*command, *python], capture_output=True, text=True, check=False)
    if tried.returncode != 0:
        pytest.skip(f"no mount namespaces here: {tried.stderr.strip()}")
    return command


@pytest.mark.parametrize(("mode", "interval", "native"), KINDS)
@pytest.mark.slow
def test_without_proc_threads_have_their_time(mode: str, interval: float, native: bool) -> None:
    program = """
    assert not os.path.exists("/proc/self")
    used = {}
    def work():
        used["worker"] = burn(0.2)
    with spprof.Profiler(interval, mode=mode, native=native) as profiler:
        thread = threading.Thread(target=work, name="worker")
        thread.start()
        used["MainThread"] = burn(0.2)
        thread.join()
    profile = profiler.profile
    for thread in profile.threads:
        ran = thread.weight_ns / 1e9
        print(thread.name, 0.9 * used[thread.name] < ran, mode == "wall" or ran < 0.3)
    print("no /proc" in " ".join(profile.notes))
    """
    before = in_a_namespace("mount -t tmpfs none /proc")
    lines = output_of(program, mode, interval, native, before)
    assert lines[-1] == "True"
    assert sorted(lines[:-1]) == ["MainThread True True", "worker True True"]


@pytest.mark.slow
def test_on_a_read_only_file_system_nothing_is_lost() -> None:
    program = """
    os.chdir("/tmp")
    def fails(work):
        try:
            work()
        except OSError as error:
            print(str(error), spprof.is_active())
    fails(lambda: spprof.start(interval, output_path="profile.spprof"))
    fails(lambda: spprof.start(interval, processes=True))
    spprof.start(interval, mode=mode, native=native)
    burn(0.1)
    profile = spprof.stop()
    fails(lambda: profile.save("profile.spprof"))
    print(profile.sample_count > 0, len(profile.to_collapsed()) > 0, os.listdir("."))
    """
    places = sorted({os.path.realpath(place) for place in PLACES if os.path.isdir(place)})
    script = " && ".join(f"mount -t tmpfs -o ro none '{place}'" for place in places)
    lines = output_of(program, "cpu", 1, True, in_a_namespace(script))
    assert [line.rpartition(" ")[2] for line in lines[:3]] == ["False", "False", "False"]
    assert "Read-only file system" in lines[0]
    assert "temporary" in lines[1]
    assert "Read-only file system" in lines[2]
    assert lines[3] == "True True []"
