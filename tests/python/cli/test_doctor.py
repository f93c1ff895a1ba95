"""`spprof doctor`: what works is said to work, what does not is not, and nobody is named."""

from __future__ import annotations

import getpass
import json
import os
import socket
from pathlib import Path

import pytest
from programs import python

import spprof
from spprof._cli import doctor
from spprof._cli.main import main
from spprof._session import engine, session


@pytest.fixture
def brief(monkeypatch) -> None:
    monkeypatch.setattr(doctor, "_TRY", 0.05)


def found(capsys) -> tuple[bool, dict[str, dict[str, str]]]:
    told = json.loads(capsys.readouterr().out)
    return told["healthy"], {check["name"]: check for check in told["checks"]}


@pytest.mark.slow
def test_a_healthy_system(tmp_path) -> None:
    """As its user runs it: status 0, on a terminal's terms, and nothing is left behind."""
    done = python("-m", "spprof", "doctor", cwd=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    assert "profiling works here" in done.stdout
    assert "\x1b" not in done.stdout
    assert list(tmp_path.iterdir()) == []


@pytest.mark.usefixtures("brief")
class TestJson:
    def test_says_what_runs_here(self, capsys) -> None:
        assert main(["doctor", "--json"]) == 0
        healthy, checks = found(capsys)
        assert healthy
        assert checks["spprof"]["text"] == spprof.__version__
        assert os.uname().release in checks["system"]["text"]
        for name in ("cpu, 10 ms", "cpu, 1 ms", "wall, 1 ms"):
            assert checks[name]["status"] in ("ok", "note"), checks[name]
        assert "samples" in checks["cpu, 1 ms"]["text"]
        assert not spprof.is_active()

    def test_names_no_user_host_nor_file(self, capsys) -> None:
        main(["doctor", "--json"])
        told = capsys.readouterr().out
        for private in (str(Path.home()) + "/", socket.gethostname(), f'"{getpass.getuser()}"'):
            assert private not in told

    def test_samples_that_do_not_come_are_a_failure(self, capsys, monkeypatch) -> None:
        monkeypatch.setattr(doctor, "_burn", lambda seconds: None)
        assert main(["doctor", "--json"]) == 1
        healthy, checks = found(capsys)
        assert not healthy
        assert checks["cpu, 1 ms"]["status"] == "FAILED"

    def test_a_try_that_raises_is_a_finding_and_the_others_are_made(
        self, capsys, monkeypatch
    ) -> None:
        def refuses() -> list[tuple[int, str, str, int, bool]]:
            raise OSError("no such thing")

        monkeypatch.setattr(session, "native_unwinding_available", lambda: True)
        monkeypatch.setattr(engine, "capture_native_stack", refuses)
        assert main(["doctor", "--json"]) == 1
        _, checks = found(capsys)
        assert checks["native stacks"]["text"] == "OSError: no such thing"
        assert checks["wall, 1 ms"]["status"] != "FAILED"

    def test_a_session_that_runs_already_is_said_and_left_alone(self, capsys) -> None:
        with spprof.Profiler(10):
            assert main(["doctor", "--json"]) == 1
            assert spprof.is_active()
        _, checks = found(capsys)
        assert "Profiler already running" in checks["cpu, 1 ms"]["text"]

    def test_a_front_end_that_was_not_built(self, capsys, monkeypatch, tmp_path) -> None:
        monkeypatch.setattr(doctor, "STATIC", tmp_path)
        assert main(["doctor", "--json"]) == 0
        _, checks = found(capsys)
        assert checks["front end"]["status"] == "note"

    def test_a_system_without_native_frames(self, capsys, monkeypatch) -> None:
        monkeypatch.setattr(session, "native_unwinding_available", lambda: False)
        assert main(["doctor", "--json"]) == 0
        _, checks = found(capsys)
        assert checks["native stacks"]["status"] == checks["native samples"]["status"] == "note"
