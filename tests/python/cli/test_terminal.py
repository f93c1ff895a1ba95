"""What the command line says about itself and while it works."""

from __future__ import annotations

import io
import re
import subprocess
import time

import pytest
from programs import python

import spprof
from spprof._cli import terminal as terminals
from spprof._cli.main import main
from spprof._cli.terminal import progress


class TestProgress:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    def test_shown_once_it_takes_long(self) -> None:
        terminal = self.Terminal()
        began = time.monotonic()
        with progress("saving x", terminal):
            while not terminal.getvalue() and time.monotonic() < began + 20:
                time.sleep(0.05)
        assert time.monotonic() - began > 1
        assert re.fullmatch(r"(\rspprof: saving x \.\.\. \d+ s)+\r\x1b\[K", terminal.getvalue())

    def test_not_shown_for_what_is_fast_or_no_terminal(self, monkeypatch) -> None:
        monkeypatch.setattr(terminals, "_SHOWN_AFTER", 0.1)
        terminal, file = self.Terminal(), io.StringIO()
        with progress("saving x", terminal):
            pass
        with progress("saving x", file):
            time.sleep(0.5)
        assert terminal.getvalue() == file.getvalue() == ""


class TestHelp:
    @pytest.mark.parametrize("command", ["run", "view", "report", "convert", "diff", "completion"])
    def test_every_command_has_examples(self, command, capsys) -> None:
        with pytest.raises(SystemExit) as caught:
            main([command, "--help"])
        assert caught.value.code == 0
        out = capsys.readouterr().out
        assert f"spprof {command}" in out.split("examples:")[1]

    def test_version(self, capsys) -> None:
        with pytest.raises(SystemExit):
            main(["--version"])
        assert capsys.readouterr().out == f"spprof {spprof.__version__}\n"

    def test_bash_completes(self, here) -> None:
        script = python("-m", "spprof", "completion", "bash").stdout
        for words, expected in (
            ("spprof re", ["report"]),
            ("spprof report --li", ["--lines"]),
            ("spprof run bu", ["burn.py"]),
        ):
            code = (
                f"{script}\nCOMP_WORDS=({words}); COMP_CWORD=$((${{#COMP_WORDS[@]}} - 1)); "
                '_spprof; printf "%s\\n" "${COMPREPLY[@]}"'
            )
            done = subprocess.run(["bash", "-c", code], capture_output=True, text=True, check=True)
            assert done.stdout.split() == expected
