"""What the processes of a session say of themselves, and how it is put together."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

import spprof
from spprof import Profile
from spprof._profile.names import process_name
from spprof._profile.tables import Builder, Meta, Tables

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")

if hasattr(os, "fork"):
    from spprof._session import children_cpu, children_profile, children_told
    from spprof._session.children_folder import Folder, identity, is_alive
    from spprof._session.children_member import WRITE_LATEST_S, pause_before_next


@pytest.mark.parametrize(
    ("name", "command", "called"),
    [
        ("ForkPoolWorker-2", "python work.py", "ForkPoolWorker-2"),
        ("MainProcess", "/usr/bin/python3.11 -u /home/me/work.py --fast", "work.py"),
        ("", "python -X dev -W error -m package.tool x", "package.tool"),
        ("", "python -c print(1)", "python -c"),
        ("", "python", "python"),
        (
            "MainProcess",
            "python -s -c from multiprocessing.resource_tracker import main;main(20)",
            "resource tracker",
        ),
        ("", "/usr/bin/gcc -c x.c", "gcc"),
        ("", "", "process"),
    ],
)
def test_a_process_is_called_by_its_role(name: str, command: str, called: str) -> None:
    assert process_name(name, command) == called


def test_it_writes_often_at_first_and_never_for_long() -> None:
    assert pause_before_next(0, 0) == pytest.approx(0.05)
    assert pause_before_next(2, 0.001) == pytest.approx(0.5)
    assert pause_before_next(1000, 0.001) == WRITE_LATEST_S
    # A tenth of a second to write: at most a twentieth of the time.
    assert pause_before_next(1000, 0.1) == pytest.approx(2)


def test_children_are_told_in_an_environment_of_their_own(tmp_path: Path) -> None:
    told = children_told.Told(Folder(os.fspath(tmp_path)))
    try:
        assert "SPPROF_PROCESSES" not in os.environ
        out = subprocess.run(["env"], stdout=subprocess.PIPE, text=True, check=True).stdout
        assert "SPPROF_PROCESSES" in out
        listed = told.in_list([b"A=1", b"PYTHONPATH=/mine", b"SPPROF_PROCESSES=old"])
        assert listed[0] == b"A=1"
        assert os.fsencode(f"SPPROF_PROCESSES={tmp_path}") in listed
        assert b"SPPROF_RUN_PYTHONPATH=/mine" in listed
        (path,) = [entry for entry in listed if entry.startswith(b"PYTHONPATH=")]
        assert path.endswith(b"startup:/mine")
        mapped = told.in_mapping({b"A": "1"})
        assert mapped["PYTHONPATH"].endswith("startup")
        assert "SPPROF_RUN_PYTHONPATH" not in mapped
        assert told.in_list(None) is None
    finally:
        told.take_back()
    out = subprocess.run(["env"], stdout=subprocess.PIPE, text=True, check=True).stdout
    assert "SPPROF_PROCESSES" not in out


def test_how_a_process_ended_is_who_waited_s_word_first() -> None:
    about = {"ended": "exit 3", "identity": (1, 1), "pid": 2**22 + 1, "final": True}
    assert children_profile.how_it_ended(about, (3 << 8, -1)) == "exit status 3"
    assert children_profile.how_it_ended(about, (signal.SIGKILL, -1)) == "killed by SIGKILL"
    assert children_profile.how_it_ended(about, None) == "exit status 3"
    assert children_profile.how_it_ended({**about, "ended": "exec"}, (0, -1)) == (
        "became another program"
    )
    gone = {**about, "ended": "", "final": False}
    assert children_profile.how_it_ended(gone, None) == "killed"
    here = {**gone, "identity": identity(os.getpid())}
    assert children_profile.how_it_ended(here, None) == "still running"


def tables(pid: int, times: list[int], name: str = "work") -> Tables:
    b = Builder()
    thread = b.thread(pid, "MainThread", pid)
    stack = b.stack_of([b.frame(b.func("<module>", "a.py", 1), 1), b.frame(b.func(name, "a.py"))])
    for time in times:
        b.row(thread, stack, weight=10, time=time)
    b.tables.meta = Meta(mode="cpu", dropped_count=1, python_version="3.11.7")
    return b.tables


def test_samples_of_several_processes_are_on_the_profile_s_clock() -> None:
    merged = children_profile.merged(
        tables(1, [0, 5]), [(tables(2, [-1, 7]), 100), (tables(3, [7], "other"), -3)]
    )
    assert list(merged.sample_time) == [0, 5, -1, 107, 4]
    assert [thread["pid"] for thread in merged.threads] == [1, 2, 3]
    assert list(merged.sample_thread) == [0, 0, 1, 1, 2]
    # What two processes ran is there once.
    assert len(merged.stack_frame) == 3
    assert merged.meta.dropped_count == 3
    assert merged.meta.python_version == "3.11.7"


def test_a_part_is_whole_or_not_there(tmp_path: Path) -> None:
    folder = Folder(os.fspath(tmp_path))
    folder.write_part("1-2", {"a": [1, b"x"]})
    (tmp_path / "1-3.part.new").write_bytes(b"half")
    assert folder.parts() == [{"a": [1, b"x"]}]
    folder.remove()
    assert not tmp_path.exists()


def test_a_folder_that_others_can_write_to_is_none(tmp_path: Path) -> None:
    tmp_path.chmod(0o777)
    with pytest.raises(PermissionError, match="not this user's own"):
        Folder(os.fspath(tmp_path)).asked()


def test_a_pid_that_is_used_again_is_another_process() -> None:
    pid, start = identity(os.getpid())
    assert is_alive(pid, start)
    assert is_alive(pid, start + 1) == (start == 0)
    child = subprocess.Popen([sys.executable, "-c", ""])
    child_identity = identity(child.pid)
    child.wait()
    assert not is_alive(*child_identity)


def test_little_is_not_worth_a_word() -> None:
    note = children_cpu.note
    assert note(49_000_000, 1, 0, "--processes") is None
    assert note(90_000_000, 1, 10**10, "--processes") is None
    assert note(int(12.4e9), 3, 10**10, "--processes") == (
        "3 child processes used 12.4 s of CPU time that is not in this profile: --processes"
    )
    assert (note(10**9, 0, 0, "x") or "").startswith("child processes used 1.0 s")


def test_processes_come_back_from_files(make_profile, tmp_path: Path) -> None:
    row = {
        "pid": 4242,
        "host": "",
        "ppid": 1,
        "command": "python work.py",
        "name": "",
        "start_ns": -5,
        "end_ns": None,
        "ended": "exit status 0",
        "cpu_ns": 2_000_000_000,
        "before_ns": 20_000_000,
        "after_ns": 3_000_000,
        "profiler_ns": 1000,
        "profile_ns": 1_000_000_000,
    }
    made = make_profile(20)._tables
    profile = Profile._of(made.same_stacks(meta=made.meta.but(processes=(row,))))
    for ending in ("spprof", "speedscope.json", "pb.gz"):
        profile.save(tmp_path / f"p.{ending}")
        assert spprof.load(tmp_path / f"p.{ending}")._tables.meta.processes == (row,)
    assert "processes:\n" in str(profile)
    assert "work.py (4242): exit status 0" in str(profile)
    profile.save(tmp_path / "p.gecko.json")
    assert '"processName":"work.py"' in (tmp_path / "p.gecko.json").read_text()


@pytest.mark.parametrize("bad", [{}, [1], [{"pid": 1}], [{"pid": "1"}]])
def test_what_is_no_process_is_refused(make_profile, bad: object) -> None:
    from spprof.formats import FormatError
    from spprof.formats._meta import check_meta

    meta = {**make_profile(5)._tables.meta.as_dict(), "processes": bad}
    with pytest.raises(FormatError, match=r"meta\.processes"):
        check_meta(meta)


def test_options_are_checked_where_there_is_no_fork(monkeypatch) -> None:
    from spprof._session import children

    monkeypatch.setattr(children, "os", type("os", (), {}))
    with pytest.raises(RuntimeError, match="processes is not available on"):
        spprof.start(processes=True)
    assert not spprof.is_active()


def test_what_is_missing_is_laid_to_those_who_are_missing() -> None:
    note = children_profile.missing_note
    assert note(10**7, {5: "gcc"}, 0) is None
    assert note(10**9, {}, 0) == (
        "child processes used 1.0 s of CPU time that is not in this profile: what their starts "
        "and ends took, and what was lost where they were killed"
    )
    said = note(2 * 10**9, {5: "gcc -c a.c", 6: "gcc -c a.c", 7: "a", 8: "b", 9: "c"}, 0) or ""
    assert said.startswith("5 child processes used 2.0 s")
    assert said.endswith("(gcc -c a.c, a, b, and 1 more)")
