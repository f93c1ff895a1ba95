"""Processes that a program makes: in its profile, whatever made them and however they end."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import pytest

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="needs /proc to know it all")

PRELUDE = """
import json, multiprocessing, os, resource, signal, subprocess, sys, threading, time
from concurrent.futures import ProcessPoolExecutor
import spprof

CODE = (
    "import time\\ndef in_child():\\n    begin = time.process_time()\\n"
    "    while time.process_time() - begin < {}: pass\\nin_child()\\n"
)

def in_child(seconds=0.3):
    begin = time.process_time()
    while time.process_time() - begin < seconds:
        sum(range(200))
    return os.getpid()

def python(seconds=0.3, more="", **options):
    return subprocess.run([sys.executable, "-c", CODE.format(seconds) + more], **options)

def used():
    found = resource.getrusage(resource.RUSAGE_CHILDREN)
    return found.ru_utime + found.ru_stime

def processes(profile):
    return profile._tables.meta.processes[1:]

def children(profile):
    pids = {p["pid"] for p in processes(profile)}
    return [t for t in profile._tables.threads if t["pid"] in pids]

def seconds_of(profile, name):
    return sum(f.self_ns for f in profile.top(None) if f.function_name == name) / 1e9
"""


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """Where sessions put their files."""
    folder = tmp_path / "temporary"
    folder.mkdir()
    return folder


def start(program: str, place: Path, **options: object) -> subprocess.Popen[str]:
    file = place.parent / "program.py"
    file.write_text(PRELUDE + textwrap.dedent(program))
    return subprocess.Popen(
        [sys.executable, str(file)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "TMPDIR": str(place)},
        **options,  # type: ignore[call-overload]
    )


def said_by(program: str, place: Path) -> list[str]:
    """Lines of a program that leaves nothing behind and complains of nothing."""
    running = start(program, place)
    out, errors = running.communicate(timeout=100)
    assert running.returncode == 0, errors
    assert errors == ""
    assert list(place.glob("spprof*")) == []
    return out.splitlines()


PROCESS = """
p = multiprocessing.get_context("METHOD").Process(target=in_child, args=(SECONDS,))
p.start()
p.join()
"""
POOL = """
with multiprocessing.get_context("METHOD").Pool(1) as p:
    p.map(in_child, [SECONDS])
"""
EXECUTOR = """
with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("METHOD")) as e:
    e.submit(in_child, SECONDS).result()
"""

WAYS = {
    "fork": """
if os.fork() == 0:
    in_child(SECONDS)
    os._exit(0)
os.wait()
""",
    "Process, fork": PROCESS.replace("METHOD", "fork"),
    "Process, spawn": PROCESS.replace("METHOD", "spawn"),
    "Pool, fork": POOL.replace("METHOD", "fork"),
    "Pool, spawn": POOL.replace("METHOD", "spawn"),
    "executor, fork": EXECUTOR.replace("METHOD", "fork"),
    "executor, spawn": EXECUTOR.replace("METHOD", "spawn"),
    "subprocess": "python(SECONDS)",
    "subprocess, its own environment": "python(SECONDS, env={'A': 'b'})",
    "subprocess, preexec_fn": "python(SECONDS, preexec_fn=os.getpid)",
    "shell": """
code = CODE.format(SECONDS)
subprocess.run(f"'{sys.executable}' -c '{code}'; true", shell=True)
""",
    "system": """os.system(f"'{sys.executable}' -c '{CODE.format(SECONDS)}'")""",
    "spawnv": "os.spawnv(os.P_WAIT, sys.executable, [sys.executable, '-c', CODE.format(SECONDS)])",
    "posix_spawn": """
argv = [sys.executable, '-c', CODE.format(SECONDS)]
os.waitpid(os.posix_spawn(sys.executable, argv, os.environ), 0)
""",
    "grandchild": """
p = multiprocessing.get_context("fork").Process(target=python, args=(SECONDS,))
p.start()
p.join()
""",
    "killed by itself": """
if os.fork() == 0:
    in_child(SECONDS)
    os.kill(os.getpid(), signal.SIGKILL)
os.wait()
""",
    "killed by its parent": """
p = subprocess.Popen(
    [sys.executable, "-c", CODE.format(SECONDS) + "print(1, flush=True)\\ntime.sleep(9)"],
    stdout=subprocess.PIPE,
)
p.stdout.readline()
p.kill()
p.wait()
""",
}

COMMON_WAYS = {"fork", "executor, spawn", "subprocess", "killed by its parent"}

MEASURED = """
if __name__ == "__main__":
    before = used()
    spprof.start(1, processes=True)
    try:
@
    finally:
        profile = spprof.stop()
    # The profiler's own threads are none of the program's.
    # The resource tracker of `spawn` goes on, and nobody has waited for it.
    over = [p for p in processes(profile) if p["ended"] != "still running"]
    ours = sum(p["profiler_ns"] for p in over) / 1e9
    print(used() - before - ours, seconds_of(profile, "in_child"))
    print(sum(p["profile_ns"] for p in over) / 1e9)
    print(sum(p["before_ns"] + p["after_ns"] for p in over) / 1e9)
    print(*{p["ended"] for p in processes(profile)}, sep="; ")
"""


def measured(way: str, seconds: float, place: Path) -> tuple[float, float, float, float, str]:
    """CPU time of children as the system has it, of `in_child`, of all that is in the profile.

    And what it says of starts and ends of processes, which are not in it.
    """
    body = textwrap.indent(WAYS[way].strip().replace("SECONDS", str(seconds)), " " * 8)
    first, second, third, ended = said_by(MEASURED.replace("@", body), place)
    whole, function = map(float, first.split())
    return whole, function, float(second), float(third), ended


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.slow_unless(way=COMMON_WAYS)
def test_a_child_is_in_the_profile(way: str, place: Path) -> None:
    whole, function, profile, outside, ended = measured(way, 0.3, place)
    assert 0.2 < function < 0.32
    assert function <= profile <= whole * 1.02
    # A shell's own time, and the end of what nobody of us waited for, are in neither.
    assert profile + outside == pytest.approx(whole, rel=0.05, abs=0.02)
    assert ("SIGKILL" in ended) == ("killed" in way)


@pytest.mark.slow
@pytest.mark.parametrize("way", WAYS)
def test_its_cpu_time_is_what_the_system_says(way: str, place: Path) -> None:
    whole, _, profile, outside, _ = measured(way, 5, place)
    assert profile == pytest.approx(whole, rel=0.02, abs=outside)
    assert profile + outside == pytest.approx(whole, rel=0.01, abs=0.02)


def test_forkserver_and_what_is_still_there(place: Path) -> None:
    said = said_by(
        """
        if __name__ == "__main__":
            spprof.start(1, processes=True)
            p = multiprocessing.get_context("forkserver").Process(target=in_child)
            p.start()
            p.join()
            profile = spprof.stop()
            print(seconds_of(profile, "in_child") > 0.25)
            for p in processes(profile):
                print(p["name"] or "-", p["ended"])
        """,
        place,
    )
    assert said[0] == "True"
    assert {"ForkServerProcess-1 exit status 0", "MainProcess still running"} <= set(said[1:])


def test_all_processes_are_on_one_clock(place: Path) -> None:
    """Each sample lies between what the process itself read on the clock, before and after."""
    said = said_by(
        """
        def timed():
            begin = time.monotonic()
            in_child(0.1)
            return begin, time.monotonic()
        zero = [time.monotonic()]
        spprof.start(1, processes=True)
        zero.append(time.monotonic())
        reader, writer = os.pipe()
        if os.fork() == 0:
            time.sleep(0.2)
            os.write(writer, json.dumps(timed()).encode())
            os._exit(0)
        times = {os.getpid(): timed()}
        (pid, _) = os.wait()
        times[pid] = json.loads(os.read(reader, 100))
        profile = spprof.stop()
        for thread in profile.threads:
            inside = [s.timestamp_ns / 1e9 for s in profile.samples
                      if s.thread_id == thread.thread_id
                      and any(f.function_name == "in_child" for f in s.frames)]
            begin, end = times[thread.thread_id]
            print(begin - zero[1] <= min(inside), max(inside) <= end - zero[0], len(inside) > 20)
        """,
        place,
    )
    assert said == ["True True True"] * 2


def test_how_each_process_ended_is_told(place: Path) -> None:
    said = said_by(
        """
        spprof.start(10, processes=True)
        subprocess.run([sys.executable, "-c", "import sys; sys.exit(3)"])
        subprocess.run([sys.executable, "-c", "import os; os._exit(4)"])
        subprocess.run([sys.executable, "-c", "import os; os.abort()"])
        subprocess.run([sys.executable, "-c", "import os; os.kill(os.getpid(), 9)"])
        subprocess.run([sys.executable, "-c", "import os; os.execlp('false', 'false')"])
        subprocess.run(["true"])
        subprocess.run([sys.executable, "-I", "-c", "pass"])
        if os.fork() == 0:
            os._exit(5)
        time.sleep(0.1)  # nobody waited for it yet
        profile = spprof.stop()
        os.wait()
        for p in processes(profile):
            program = p["command"].rpartition("/")[2].partition(" ")[0]
            print(p["ended"], "|", program.rstrip("0123456789."))  # python3, python3.11
        """,
        place,
    )
    assert sorted(said) == sorted(
        [
            "exit status 3 | python",
            "exit status 4 | python",
            "killed by SIGABRT | python",
            "killed by SIGKILL | python",
            "became another program | python",
            "exit status 0 | true",
            "exit status 0 | python",
            "exit status 5 | program.py",
        ]
    )


def test_a_child_is_undisturbed(place: Path) -> None:
    """Its environment, path, threads, modules, exit and atexit are its own."""
    code = """
import atexit, os, sys, threading, time
time.sleep(0.2)
known = {k: v for k, v in os.environ.items() if k.startswith(("SPPROF", "PYTHON"))}
print(sorted(known.items()), threading.enumerate(), threading.active_count())
print(sys.path, sys.argv, "sitecustomize" in sys.modules and sys.modules["sitecustomize"].mine)
atexit.register(print, "at exit")
sys.exit(7)
"""
    own = place.parent / "own"
    own.mkdir()
    (own / "sitecustomize.py").write_text("mine = True\n")
    (own / "code.py").write_text(code)
    said = said_by(
        f"""
        path = {os.fspath(own)!r} + ":" + os.environ.get("PYTHONPATH", "")
        def run():
            done = subprocess.run(
                [sys.executable, {os.fspath(own / "code.py")!r}, "an argument"],
                capture_output=True, text=True,
                env={{**os.environ, "PYTHONPATH": path}},
            )
            return done.returncode, done.stdout, done.stderr
        import re
        without = run()
        spprof.start(10, processes=True)
        within = run()
        spprof.stop()
        plain = re.compile("started [0-9]+")
        print([plain.sub("", str(x)) for x in without] == [plain.sub("", str(x)) for x in within])
        print(within[0], within[1].count("at exit"), within[1].count("True"))
        if within != without: print(without, within, sep="\\n")
        """,
        place,
    )
    assert said[0] == "True", said
    assert said[1] == "7 1 1"


def test_a_new_interpreter_imports_no_more_than_sampling_takes(place: Path) -> None:
    """It begins later by what it imports: not what makes profiles, which the parent does."""
    code = "import sys; print(*sorted(m for m in sys.modules if m.startswith('spprof')))"
    said = said_by(
        f"""
        spprof.start(10, processes=True)
        subprocess.run([sys.executable, "-c", {code!r}])
        spprof.stop()
        """,
        place,
    )
    imported = set(said[0].split())
    assert "spprof._session.children_member" in imported
    assert {m for m in imported if m.startswith("spprof._profile.")} == {"spprof._profile.shown"}
    assert not imported & {"spprof.formats", "spprof._session.result", "spprof._session.tasks"}


def test_the_parent_is_as_it_was(place: Path) -> None:
    said = said_by(
        """
        import posix
        def state():
            kept = getattr(subprocess, "_del_safe", os)
            return (dict(os.environ), threading.active_count(), os._exit, os.kill, os.waitpid,
                    os.fork, posix.fork, os.execve, kept.waitpid, os.listdir("/proc/self/fd"),
                    subprocess.run(["env"], stdout=subprocess.PIPE).stdout)
        before = state()
        spprof.start(10, processes=True)
        during = dict(os.environ)
        subprocess.run([sys.executable, "-c", "pass"])
        spprof.stop()
        print(state() == before, during == before[0])
        """,
        place,
    )
    assert said == ["True True"]


def test_a_child_may_profile_itself(place: Path) -> None:
    said = said_by(
        """
        spprof.start(1, processes=True)
        if os.fork() == 0:
            assert not spprof.is_active() and spprof.stats() is None
            try:
                spprof.stop()
            except RuntimeError as error:
                print(error, flush=True)
            in_child(0.1)
            with spprof.Profiler(1) as p:
                in_child(0.1)
            print(0.05 < seconds_of(p.profile, "in_child") < 0.15, flush=True)
            os._exit(0)
        os.wait()
        profile = spprof.stop()
        print(0.05 < seconds_of(profile, "in_child") < 0.15)
        """,
        place,
    )
    assert said == ["Profiler not running", "True", "True"]


@pytest.mark.slow
def test_many_children_quickly(place: Path) -> None:
    said = said_by(
        """
        spprof.start(10, processes=True)
        begin = time.monotonic()
        for _ in range(50):
            if os.fork() == 0:
                in_child(0.01)
                os._exit(0)
        for _ in range(50):
            os.wait()
        profile = spprof.stop()
        found = processes(profile)
        print(len(found), {p["ended"] for p in found}, len({p["pid"] for p in found}))
        print(len(threading.enumerate()), os.listdir("/proc/self/task").__len__())
        """,
        place,
    )
    assert said == ["50 {'exit status 0'} 50", "1 1"]


def test_what_cannot_be_reached_is_named(place: Path) -> None:
    said = said_by(
        """
        spprof.start(10, processes=True)
        subprocess.run([sys.executable, "-I", "-c", CODE.format(0.3)])
        for note in spprof.stop().notes:
            print(note.splitlines()[0])
        """,
        place,
    )
    assert len(said) == 1
    assert said[0].startswith("1 child process used 0.3 s of CPU time that is not in this profile")
    assert "-I -c import time" in said[0]


def test_a_pool_that_was_there_before_is_named(place: Path) -> None:
    said = said_by(
        """
        if __name__ == "__main__":
            with multiprocessing.get_context("fork").Pool(1) as pool:
                pool.map(in_child, [0.01])
                spprof.start(10, processes=True)
                pool.map(in_child, [0.3])
                for note in spprof.stop().notes:
                    print(note)
        """,
        place,
    )
    assert len(said) == 1
    assert said[0].startswith("1 child process used 0.3 s of CPU time that is not in this profile")
    assert "there before: " in said[0]
    assert "program.py" in said[0]


def wait_until(is_so, seconds: float = 10) -> bool:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if is_so():
            return True
        time.sleep(0.02)
    return False


def test_a_killed_parent_leaves_nothing_and_its_child_goes_on(place: Path) -> None:
    running = start(
        """
        spprof.start(1, processes=True)
        if os.fork() == 0:
            begin = time.monotonic()
            while len(os.listdir("/proc/self/task")) > 1 or time.monotonic() - begin < 0.2:
                in_child(0.01)
            print("alone", spprof.is_active(), flush=True)
            os._exit(0)
        time.sleep(0.2)
        os.kill(os.getpid(), signal.SIGKILL)
        """,
        place,
    )
    out, errors = running.communicate(timeout=20)
    assert (out, errors) == ("alone False\n", "")
    assert list(place.iterdir()) == []


def test_what_a_killed_session_left_goes_with_the_next(place: Path) -> None:
    running = start(
        """
        spprof.start(1, processes=True)
        os.kill(os.getpid(), signal.SIGKILL)
        """,
        place,
    )
    running.communicate(timeout=20)
    assert len(list(place.glob("spprof*"))) == 1
    said_by("spprof.start(processes=True)\nspprof.stop()", place)


def test_a_child_that_outlives_the_session_is_in_it_until_then(place: Path) -> None:
    said = said_by(
        """
        spprof.start(1, processes=True)
        reader, writer = os.pipe()
        done, tell = os.pipe()
        if os.fork() == 0:
            os.close(writer)
            in_child(0.3)
            os.write(tell, b".")
            os.read(reader, 1)
            in_child(0.1)
            os._exit(len(os.listdir("/proc/self/task")))
        os.read(done, 1)
        profile = spprof.stop()
        os.write(writer, b".")
        print(os.waitstatus_to_exitcode(os.wait()[1]))
        (p,) = processes(profile)
        print(p["ended"], 0.25 < seconds_of(profile, "in_child") < 0.32)
        """,
        place,
    )
    assert said == ["1", "still running True"]
