"""`spprof report`, `convert` and `diff`: what they print and write."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
from programs import environment, python

import spprof
from spprof._cli.main import main


class TestReport:
    def test_table(self, saved, capsys) -> None:
        assert main(["report", "-n", "3", "p.spprof"]) == 0
        out = capsys.readouterr().out
        rows = re.findall(r"^ *[\d.]+ (?:m?s|µs) +([\d.]+)% .*?%  (\S+)", out, re.MULTILINE)
        assert [name for _, name in rows] == [s.function_name.split()[0] for s in saved.top(3)]
        assert [float(share) for share, _ in rows] == [
            round(s.self_share * 100, 1) for s in saved.top(3)
        ]
        assert "note: the timer was refused" in out
        assert "\x1b" not in out

    def test_by_total_lines_and_filters(self, saved, capsys) -> None:
        main(["report", "--by", "total", "--thread", "MainThread", "p.spprof"])
        assert re.search(r"100\.0%  <module>", capsys.readouterr().out)
        main(["report", "--module", "libfast", "--lines", "-n", "99", "p.spprof"])
        assert "libfast" in capsys.readouterr().out

    def test_colours_when_asked_for(self, saved, capsys) -> None:
        main(["report", "--color", "always", "p.spprof"])
        assert "\x1b[1m" in capsys.readouterr().out

    def test_tree(self, saved, capsys) -> None:
        main(["report", "--tree", "p.spprof"])
        lines = capsys.readouterr().out.splitlines()
        assert re.match(r" 100\.0%    0\.0%  all", lines[1])
        assert re.match(r" 100\.0%    0\.0%    <module>", lines[2])

    @pytest.mark.parametrize("content", [None, b"", b"SPPROF\r\n", b"{}"])
    def test_files_that_are_no_profiles(self, here, content, capsys) -> None:
        if content is not None:
            Path("bad").write_bytes(content)
        for command in (["report", "bad"], ["convert", "bad", "x.svg"], ["diff", "bad", "bad"]):
            assert main(command) == 1
            error = capsys.readouterr().err
            assert error.startswith("spprof: error: bad: ")
            assert error.count("\n") == 1

    def test_a_reader_that_has_had_enough(self, saved) -> None:
        command = f"{shlex.quote(sys.executable)} -m spprof report -n 99 p.spprof | true"
        done = subprocess.run(
            command, shell=True, capture_output=True, text=True, env=environment()
        )
        assert done.stderr == ""


class TestConvert:
    @pytest.mark.parametrize("name", ["x.json", "x.pb.gz", "x.gecko.json", "x.svg", "x.folded"])
    def test_is_save(self, saved, name) -> None:
        assert main(["convert", "p.spprof", name]) == 0
        saved.save("expected_" + name)
        assert Path(name).read_bytes() == Path("expected_" + name).read_bytes()

    def test_to_standard_output(self, saved) -> None:
        done = python("-m", "spprof", "convert", "--to", "collapsed", "p.spprof", "-")
        assert done.stdout == saved.to_collapsed()

    def test_interval_of_counts(self, here) -> None:
        Path("c.txt").write_text("a;b 3\n")
        main(["convert", "--interval", "7", "c.txt", "c.spprof"])
        assert spprof.load("c.spprof").total_weight_ns == 21_000_000

    def test_target_that_cannot_be_written(self, saved, capsys) -> None:
        assert main(["convert", "p.spprof", "no/where.svg"]) == 1
        assert "create it first" in capsys.readouterr().err


class TestDiff:
    def test_prints_or_saves(self, saved, capsys, make_profile) -> None:
        make_profile(seed=2).save("q.spprof")
        assert main(["diff", "p.spprof", "q.spprof"]) == 0
        assert "before" in capsys.readouterr().out
        assert main(["diff", "p.spprof", "q.spprof", "-o", "d.svg"]) == 0
        assert "red: a larger share" in Path("d.svg").read_text()
        assert main(["diff", "p.spprof", "q.spprof", "-o", "d.pb.gz"]) == 1
        assert "for a difference: use one of" in capsys.readouterr().err
