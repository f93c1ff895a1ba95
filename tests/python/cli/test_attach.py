"""`spprof attach` and `spprof dump`: a process that runs already, or a sentence why not."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

import spprof
from spprof._cli.main import main
from spprof._session import remote

needs_remote = pytest.mark.skipif(
    not hasattr(sys, "remote_exec"), reason="needs Python 3.14: sys.remote_exec"
)
posix = pytest.mark.skipif(os.name != "posix", reason="needs /proc or signals")

PROGRAM = """
import sys, threading, time
def spin():
    while True:
        sum(range(1000))
def wait():
    threading.Event().wait()
threading.Thread(target=wait, name="waiter", daemon=True).start()
print("ready", flush=True)
spin()
"""


@pytest.fixture
def busy(tmp_path: Path) -> Iterator[subprocess.Popen[str]]:
    file = tmp_path / "busy.py"
    file.write_text(PROGRAM)
    with subprocess.Popen([sys.executable, str(file)], stdout=subprocess.PIPE, text=True) as made:
        assert made.stdout is not None
        made.stdout.readline()
        yield made
        made.kill()


def spprof_cli(*arguments: str, tmp: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "spprof", *arguments],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        cwd=tmp,
        env={**os.environ, "TMPDIR": str(tmp)},
    )


def refusal(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    assert main([*arguments]) == 1
    return capsys.readouterr().err


@pytest.mark.parametrize("command", ["attach", "dump"])
@pytest.mark.skipif(hasattr(sys, "remote_exec"), reason="this Python can")
def test_an_older_python_says_what_it_takes(command: str, capsys, tmp_path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    said = refusal(capsys, command, "1")
    assert re.search(r"from Python 3\.14 on, and this is 3\.\d+: run spprof with the Python", said)
    assert list(tmp_path.iterdir()) == []


class TestWhoCannotBeAsked:
    """As a Python that could ask says it, whichever runs the tests."""

    @pytest.fixture(autouse=True)
    def asks(self, monkeypatch) -> None:
        if not hasattr(sys, "remote_exec"):
            monkeypatch.setattr(sys, "remote_exec", self.ask, raising=False)
        self.asked: list[tuple[int, str]] = []

    def ask(self, pid: int, script: str) -> None:
        self.asked.append((pid, script))

    def test_this_process(self) -> None:
        with pytest.raises(remote.Unreachable, match="is this one"):
            remote.check(os.getpid())

    @posix
    def test_nobody(self) -> None:
        with subprocess.Popen([sys.executable, "-c", ""]) as child:
            child.wait()
        with pytest.raises(remote.Unreachable, match=f"there is no process {child.pid}"):
            remote.check(child.pid)

    @pytest.mark.skipif(sys.platform != "linux", reason="needs /proc")
    def test_one_that_has_ended_and_was_not_waited_for(self) -> None:
        with subprocess.Popen([sys.executable, "-c", ""]) as child:
            os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)
            with pytest.raises(remote.Unreachable, match="has ended"):
                remote.check(child.pid)

    @pytest.mark.skipif(sys.platform != "linux", reason="needs /proc")
    @pytest.mark.skipif(os.name == "posix" and os.geteuid() != 0, reason="needs root")
    def test_another_users(self) -> None:
        with subprocess.Popen(["sleep", "60"], user=65534) as child:
            try:
                with pytest.raises(remote.Unreachable, match="belongs to user 65534, and this is"):
                    remote.check(child.pid)
            finally:
                child.kill()

    @posix
    def test_an_older_python(self, monkeypatch, busy) -> None:
        # Older than whichever runs the tests.
        monkeypatch.setattr(remote, "python_of", lambda pid: (3, 8))
        with pytest.raises(remote.Unreachable, match=r"runs Python 3\.8: that can be asked from 3"):
            remote.check(busy.pid)

    @posix
    def test_another_newer_python(self, monkeypatch, busy) -> None:
        monkeypatch.setattr(remote, "python_of", lambda pid: (3, 99))
        with pytest.raises(remote.Unreachable, match=r"runs Python 3.99, and this is 3\.\d+: run"):
            remote.check(busy.pid)

    @posix
    @pytest.mark.parametrize(
        ("error", "said"),
        [
            (PermissionError(1, "no"), "ptrace_scope"),
            (ProcessLookupError(3, "no"), "there is no process"),
            (RuntimeError("no runtime"), "cannot be asked .*no runtime"),
            (OSError(5, "odd"), "cannot be asked .*odd"),
        ],
    )
    def test_what_the_system_refuses(self, monkeypatch, busy, error, said) -> None:
        def refuse(pid: int, script: str) -> None:
            raise error

        monkeypatch.setattr(sys, "remote_exec", refuse)
        monkeypatch.setattr(remote, "python_of", lambda pid: None)
        with pytest.raises(remote.Unreachable, match=said):
            remote.run(busy.pid, "script.py")


@pytest.mark.skipif(sys.platform != "linux", reason="needs /proc")
def test_which_python_a_process_runs_is_seen(busy) -> None:
    assert remote.python_of(busy.pid) in (sys.version_info[:2], None)
    with subprocess.Popen(["sleep", "60"]) as other:
        try:
            assert remote.python_of(other.pid) is None
        finally:
            other.kill()


@posix
def test_what_dump_runs_there_tells_where_threads_are(tmp_path: Path) -> None:
    """The same text as is sent, in a process of this Python."""
    there = Path(spprof.__file__).parent / "_cli" / "dump_there.py"
    answer, script = tmp_path / "answer", tmp_path / "script.py"
    script.write_text(f"{there.read_text()}\n\nwrite({str(answer)!r})\n")
    program = PROGRAM.replace(
        "    while True:\n        sum(range(1000))",
        f"    exec(compile(open({str(script)!r}).read(), 'script', 'exec'), {{}})",
    )
    subprocess.run([sys.executable, "-c", program], check=True, stdout=subprocess.DEVNULL)
    found = json.loads(answer.read_text())
    threads = {thread["name"]: thread for thread in found["threads"]}
    assert sorted(threads) == ["MainThread", "waiter"]
    assert [frame[0] for frame in threads["MainThread"]["stack"]] == ["spin", "<module>"]
    assert "wait" in [frame[0] for frame in threads["waiter"]["stack"]]
    assert [threads[name]["daemon"] for name in ("waiter", "MainThread")] == [True, False]


@needs_remote
class TestAnotherProcess:
    def test_dump_prints_the_stacks_of_all_its_threads(self, busy, tmp_path) -> None:
        done = spprof_cli("dump", str(busy.pid), tmp=tmp_path)
        assert (done.returncode, done.stderr) == (0, "")
        main_thread = done.stdout.partition("MainThread (")[2].partition("\n\n")[0].splitlines()
        assert [line.split()[0] for line in main_thread[1:]] == ["spin", "<module>"]
        assert re.search(r"^waiter \([0-9]+, daemon\)$", done.stdout, re.MULTILINE)
        assert sorted(path.name for path in tmp_path.iterdir()) == ["busy.py"]

    def test_attach_has_its_profile(self, busy, tmp_path) -> None:
        options = ("--seconds", "0.5", "-i", "1", "-o", "p.spprof")
        done = spprof_cli("attach", str(busy.pid), *options, tmp=tmp_path)
        assert done.returncode == 0, done.stderr
        profile = spprof.load(tmp_path / "p.spprof")
        assert [t.thread_name for t in profile.threads if t.sample_count] == ["MainThread"]
        (spin,) = [f for f in profile.top(None) if f.function_name == "spin"]
        assert spin.self_share > 0.9
        (process,) = profile.processes()
        assert process.pid == busy.pid
        assert process.ended == "still running"
        assert profile.total_weight_ns == pytest.approx(process.sampled_ns, rel=0.1)
        assert sorted(path.name for path in tmp_path.iterdir()) == ["busy.py", "p.spprof"]
        assert busy.poll() is None
        self.nothing_is_left_in(busy.pid)

    def nothing_is_left_in(self, pid: int) -> None:
        """Only the threads that the program made."""
        end = time.monotonic() + 5
        while len(os.listdir(f"/proc/{pid}/task")) > 2 and time.monotonic() < end:
            time.sleep(0.02)
        assert len(os.listdir(f"/proc/{pid}/task")) == 2

    def test_start_stays_and_stop_has_it(self, busy, tmp_path) -> None:
        pid = str(busy.pid)
        assert spprof_cli("attach", pid, "start", "-i", "1", tmp=tmp_path).returncode == 0
        again = spprof_cli("attach", pid, "start", tmp=tmp_path)
        assert again.returncode == 1
        assert "a session is running there already" in again.stderr
        done = spprof_cli("attach", pid, "stop", "-o", "p.folded", tmp=tmp_path)
        assert done.returncode == 0, done.stderr
        assert "spin" in (tmp_path / "p.folded").read_text()
        assert "no session was started" in spprof_cli("attach", pid, "stop", tmp=tmp_path).stderr
        assert sorted(path.name for path in tmp_path.iterdir()) == ["busy.py", "p.folded"]

    def test_live_shows_where_the_time_goes(self, busy, tmp_path) -> None:
        options = ("live", "--seconds", "2.5", "-o", "p.spprof")
        done = spprof_cli("attach", str(busy.pid), *options, tmp=tmp_path)
        assert done.returncode == 0, done.stderr
        assert done.stdout.count(" in spin()") == 2  # once meanwhile

    def test_a_process_that_is_killed_leaves_what_it_had(self, busy, tmp_path) -> None:
        command = [sys.executable, "-m", "spprof", "attach", str(busy.pid), "-o", "p.spprof"]
        with subprocess.Popen(command, stderr=subprocess.PIPE, text=True, cwd=tmp_path) as running:
            assert running.stderr is not None
            assert "is profiled until Ctrl-C" in running.stderr.readline()
            time.sleep(1)
            busy.kill()
            busy.wait()
            assert running.wait(20) == 0
        profile = spprof.load(tmp_path / "p.spprof")
        assert profile.top(1)[0].function_name == "spin"
        assert profile.processes()[0].ended == "killed"

    def test_one_that_waits_in_c_says_so_and_takes_it_back(self, tmp_path) -> None:
        code = "print(1, flush=True); print(len(input()))"
        with subprocess.Popen(
            [sys.executable, "-c", code],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        ) as sleeper:
            assert sleeper.stdout is not None
            sleeper.stdout.readline()
            done = spprof_cli("dump", "--timeout", "0.1", str(sleeper.pid), tmp=tmp_path)
            assert done.returncode == 1
            assert "its main thread waits in a system call or in C code" in done.stderr
            assert sleeper.communicate("two\n", timeout=20) == ("3\n", "")
