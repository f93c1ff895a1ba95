"""What a profile says of child processes that are not in it."""

from __future__ import annotations

import subprocess
import sys
import textwrap

import pytest

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="other systems tell less")

PRELUDE = """
import os, subprocess, sys, time
import spprof
BURN = "import time\\nwhile time.process_time() < {}: pass"
def notes(profile):
    for note in profile.notes:
        if "child process" in note:
            print(note)
"""


def said_by(program: str) -> list[str]:
    done = subprocess.run(
        [sys.executable, "-c", PRELUDE + textwrap.dedent(program)],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


def seconds(note: str) -> float:
    return float(note.partition(" used ")[2].partition(" s ")[0])


@pytest.mark.slow
def test_children_that_ended_and_one_that_runs_on_are_counted() -> None:
    (note,) = said_by(
        """
        subprocess.run([sys.executable, "-c", BURN.format(.3)])  # before: not counted
        spprof.start(10)
        subprocess.run([sys.executable, "-c", BURN.format(.3)])
        if os.fork() == 0:
            begin = time.process_time()
            while time.process_time() - begin < .3: pass
            os._exit(0)
        os.wait()
        running = subprocess.Popen(
            [sys.executable, "-c", BURN.format(.3) + "\\nprint(1, flush=True)\\ntime.sleep(60)"],
            stdout=subprocess.PIPE,
        )
        running.stdout.readline()
        notes(spprof.stop())
        running.kill()
        running.wait()
        """
    )
    assert note.endswith(" s of CPU time that is not in this profile: processes=True")
    assert 0.9 <= seconds(note) < 1.5
    assert note.startswith("3 child processes used ")


def test_one_child_is_one() -> None:
    (note,) = said_by(
        """
        with spprof.Profiler() as p:
            subprocess.run([sys.executable, "-c", BURN.format(.2)])
        notes(p.profile)
        """
    )
    assert note.startswith("1 child process used 0.")


def test_what_is_little_or_was_before_is_not_worth_a_word() -> None:
    said = said_by(
        """
        code = BURN.format(.3) + "\\nprint(1, flush=True)\\ntime.sleep(60)"
        before = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE)
        before.stdout.readline()
        spprof.start(10)
        subprocess.run(["true"])
        before.kill()
        before.wait()  # its time comes to us now, all of it from before the session
        notes(spprof.stop())
        """
    )
    assert said == []


def test_whatever_makes_processes_is_as_it_was() -> None:
    assert said_by(
        """
        import _posixsubprocess, posix
        del sys.modules["subprocess"]
        was = [os.fork, posix.fork, _posixsubprocess.fork_exec, os.posix_spawn]
        spprof.start()
        import subprocess as of_the_session
        assert of_the_session.run(["true"]).returncode == 0
        during = [os.fork, posix.fork, _posixsubprocess.fork_exec, os.posix_spawn]
        spprof.stop()
        print([os.fork, posix.fork, _posixsubprocess.fork_exec, os.posix_spawn] == was)
        print(any(a is b for a, b in zip(was, during)))
        print(getattr(of_the_session, "_fork_exec", was[2]) is was[2])
        """
    ) == ["True", "False", "True"]


def test_who_has_no_child_reads_nothing_for_its_threads() -> None:
    assert said_by(
        """
        import threading
        from spprof._session import children_cpu

        read = []
        def hook(event, args):
            if event in ("open", "os.listdir"):
                read.append(args[0])
        sys.addaudithook(hook)
        subprocess.run([sys.executable, "-c", ""])  # it is gone
        end = threading.Event()
        started = []
        def start_one():
            started.append(os.spawnv(os.P_NOWAIT, sys.executable, ["python", "-c", ""]))
            end.wait()
        thread = threading.Thread(target=start_one)
        del read[:]
        print(children_cpu.usage().living, read)
        thread.start()
        while not started:
            time.sleep(.01)
        print([*children_cpu.usage().living] == started, len(read) > 2)
        os.waitid(os.P_PID, started[0], os.WEXITED | os.WNOWAIT)  # it ended
        print([*children_cpu.usage().living] == started)
        os.waitpid(started[0], 0)  # it is there still
        del read[:]
        print(children_cpu.usage().living, read)
        end.set()
        """
    ) == ["{} []", "True True", "True", "{} []"]
