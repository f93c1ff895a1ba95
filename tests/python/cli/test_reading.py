"""`spprof report`, `convert` and `diff`: what they print and write."""

from __future__ import annotations

import random
import re
import shlex
import subprocess
import sys
from datetime import datetime, timedelta, timezone
from pathlib import Path

import pytest
from programs import environment, python

import spprof
from spprof._cli.main import main
from spprof._profile.names import short


class TestReport:
    def test_table(self, saved, capsys) -> None:
        assert main(["report", "-n", "3", "p.spprof"]) == 0
        out = capsys.readouterr().out
        rows = re.findall(r"^ *[\d.]+ (?:m?s|µs) +([\d.]+)% .*%  +(\S+)", out, re.MULTILINE)
        assert [name for _, name in rows] == [
            short(s.function_name, s.is_native).split()[0] for s in saved.top(3)
        ]
        assert [float(share) for share, _ in rows] == [
            round(s.self_share * 100, 1) for s in saved.top(3)
        ]
        assert "note: the timer was refused" in out
        assert "\x1b" not in out

    def test_by_total_lines_and_filters(self, saved, capsys) -> None:
        main(["report", "--by", "total", "--thread", "MainThread", "p.spprof"])
        assert re.search(r"100\.0%  +<module>", capsys.readouterr().out)
        main(["report", "--module", "libfast", "--lines", "-n", "99", "p.spprof"])
        assert "libfast" in capsys.readouterr().out

    def test_colours_when_asked_for(self, saved, capsys) -> None:
        main(["report", "--color", "always", "p.spprof"])
        assert "\x1b[1m" in capsys.readouterr().out

    def test_full_names(self, saved, capsys) -> None:
        main(["report", "-n", "99", "p.spprof"])
        shortened = capsys.readouterr().out
        assert "std::vector::op" in shortened
        assert "<int>" not in shortened
        for shape in [], ["--tree"]:
            main(["report", "-n", "99", "--full-names", *shape, "p.spprof"])
            assert "std::vector<int>::op" in capsys.readouterr().out

    def test_imports_are_folded_unless_all_frames_are_wanted(self, here, capsys) -> None:
        calls = [
            ("<module>", "/site-packages/pandas/__init__.py"),
            ("_call_with_frames_removed", "<frozen importlib._bootstrap>"),
            ("_find_and_load", "<frozen importlib._bootstrap>"),
            ("main", "app.py"),
        ]
        frames = [spprof.Frame(name, file, 1) for name, file in calls]
        now = datetime.now()
        spprof.Profile(now, now, 10, [spprof.Sample(0, 1, "MainThread", frames)]).save("p.spprof")
        for shape in ["--by", "total"], ["--tree"]:
            main(["report", *shape, "p.spprof"])
            folded = capsys.readouterr().out
            assert "import pandas" in folded
            assert "_find_and_load" not in folded
            main(["report", *shape, "--all-frames", "p.spprof"])
            everything = capsys.readouterr().out
            assert "_call_with_frames_removed" in everything
            assert "  import pandas" not in everything

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


class TestReportSays:
    def test_every_thread_that_was_sampled(self, saved) -> None:
        out = python("-m", "spprof", "report", "p.spprof").stdout
        shown = re.findall(r"^ *([\d.]+)%  (.+) \((\d+)\), held the GIL", out, re.MULTILINE)
        assert {(name, int(tid)) for _, name, tid in shown} == {
            (thread.name, thread.thread_id) for thread in saved.threads
        }
        assert sum(float(share) for share, *_ in shown) == pytest.approx(100, abs=0.2)
        assert "more" not in out

    def test_the_tree_by_lines(self, saved) -> None:
        out = python("-m", "spprof", "report", "--tree", "--lines", "p.spprof").stdout
        roots = re.findall(
            r"^ *[\d.]+% +[\d.]+%    <module>  app/main\.py:(\d+)$", out, re.MULTILINE
        )
        assert len(roots) == len(saved.tree(lines=True).children) > 1

    @pytest.mark.parametrize("by", ["self", "total"])
    def test_the_tree_down_to_so_many_rows_in_order(self, saved, by) -> None:
        out = python("-m", "spprof", "report", "--tree", "-n", 12, "--by", by, "p.spprof").stdout
        rows = re.findall(r"^ *([\d.]+)% +([\d.]+)%  ( *)(\S.*)$", out, re.MULTILINE)
        ordered = [float(row[by == "self"]) for row in rows if len(row[2]) == 4]
        assert len(ordered) > 1
        assert ordered == sorted(ordered, reverse=True)
        if by == "total":
            assert len(rows) == 12
        else:
            # The twelve with most time of their own, and their callers.
            most = sorted((n.self_ns for _, n in saved.tree().walk()), reverse=True)[:12]
            shown = sorted((float(own) for _, own, *_ in rows), reverse=True)[:12]
            whole = saved.total_weight_ns
            assert shown == pytest.approx([100 * ns / whole for ns in most], abs=0.051)

    @pytest.mark.parametrize(
        "wrong", [["-n", "-1"], ["-n", "x"], ["--interval", "-7"], ["--interval", "inf"]]
    )
    def test_which_number_makes_no_sense(self, saved, wrong) -> None:
        done = python("-m", "spprof", "report", *wrong, "p.spprof")
        assert done.returncode == 2
        assert f"argument {wrong[0]}" in done.stderr
        assert done.stdout == ""

    @pytest.mark.parametrize("encoding", ["ascii", "latin-1", "utf-8"])
    @pytest.mark.slow_unless(encoding="ascii")
    def test_whatever_the_terminal_can_show(self, here, encoding) -> None:
        Path("odd.txt").write_bytes("häuser;日本語 7\n".encode())
        for command in (["report"], ["report", "--tree"], ["diff", "odd.txt"]):
            done = python(
                "-m", "spprof", *command, "odd.txt",
                env=environment(PYTHONIOENCODING=encoding), text=False,
            )  # fmt: skip
            assert done.returncode == 0, done.stderr
            assert done.stderr == b""
            assert (r"\u65e5" if encoding != "utf-8" else "日本語").encode() in done.stdout

    def test_nothing_that_a_terminal_obeys(self, here) -> None:
        evil = ["\x1b]0;owned\x07", "\x1b[31mred\x1b[2J (b\x1b[1mc.py:2)", "\u202ertl", "\x9b31mc1"]
        evil += ["un\u200bseen", "ta\U000e0041g"]  # two that look like others
        text = "thread (1): t\x1b[5m;main (a.py:1) 3\n"
        text += "".join(f"thread (2): u;main (a.py:1);{name} 9\n" for name in evil)
        Path("evil.txt").write_bytes(text.encode())
        commands = (["report"], ["report", "--tree"], ["report", "--lines"], ["diff", "evil.txt"])
        for command in commands:
            done = python("-m", "spprof", *command, "evil.txt")
            assert done.returncode == 0
            pattern = "[\x00-\x09\x0b-\x1f\x7f-\x9f\u202a-\u202e\u200b\U000e0000-\U000e007f]"
            obeyed = re.search(pattern, done.stdout)
            assert obeyed is None, command
            assert r"\x1b[31mred" in done.stdout

    def test_long_names_in_short(self, here) -> None:
        Path("long.txt").write_text(f"main;{'a' * 100_000}b ({'c' * 50_000}.py:3) 9\n")
        for command in (["report"], ["report", "--tree"], ["diff", "long.txt"]):
            done = python("-m", "spprof", *command, "long.txt")
            assert done.returncode == 0
            assert max(map(len, done.stdout.splitlines())) < 1000
            assert "aaaa" in done.stdout


class TestReportFilters:
    def test_by_state_and_time(self, saved, capsys) -> None:
        for options, expected in (
            (["--state", "waiting"], saved.filter(state="waiting")),
            (["--from", "500", "--until", "900.5"], saved.filter(start_ms=500, end_ms=900.5)),
        ):
            assert 0 < expected.sample_count < saved.sample_count
            assert main(["report", *options, "p.spprof"]) == 0
            printed = capsys.readouterr().out
            expected.save("expected.spprof")
            assert main(["report", "expected.spprof"]) == 0
            assert printed == capsys.readouterr().out


class TestConvert:
    @pytest.mark.parametrize("name", ["x.json", "x.pb.gz", "x.gecko.json", "x.svg", "x.folded"])
    def test_is_save(self, saved, name) -> None:
        assert main(["convert", "p.spprof", name]) == 0
        saved.save("expected_" + name)
        assert Path(name).read_bytes() == Path("expected_" + name).read_bytes()

    def test_to_standard_output(self, saved) -> None:
        done = python("-m", "spprof", "convert", "--to", "collapsed", "p.spprof", "-")
        assert done.stdout == saved.to_collapsed()

    @pytest.mark.parametrize("option", ["-f", "--format", "--to"])
    def test_format_has_one_name_everywhere(self, saved, option) -> None:
        assert main(["convert", option, "collapsed", "p.spprof", "x.dat"]) == 0
        assert Path("x.dat").read_text() == saved.to_collapsed()

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
        assert "warm: more time than before" in Path("d.svg").read_text()
        assert main(["diff", "p.spprof", "q.spprof", "-o", "d.dat", "-f", "svg"]) == 0
        assert Path("d.dat").read_text() == Path("d.svg").read_text()
        assert main(["diff", "p.spprof", "q.spprof", "-f", "svg"]) == 1
        assert "name a file" in capsys.readouterr().err
        assert main(["diff", "p.spprof", "q.spprof", "-o", "d.pb.gz"]) == 1
        assert "for a difference: use one of" in capsys.readouterr().err

    @pytest.mark.parametrize("output", [[], ["-o", "d.svg"], ["-o", "d.spprof"]])
    def test_of_two_kinds_of_time_is_refused(self, here, make_profile, output) -> None:
        make_profile(mode="cpu").save("cpu.spprof")
        make_profile(mode="wall").save("wall.spprof")
        done = python("-m", "spprof", "diff", "cpu.spprof", "wall.spprof", *output)
        assert done.returncode == 1
        assert done.stdout == ""
        assert re.search(r"CPU time .*wall time", done.stderr)
        assert not Path("d.svg").exists()
        assert not Path("d.spprof").exists()


class TestDiffAsACheck:
    """`--fail-above`: what a program that runs it in CI relies on."""

    @pytest.fixture(autouse=True)
    def _profiles(self, here) -> None:
        start = datetime(2026, 1, 1, tzinfo=timezone.utc)
        main_frame = spprof.Frame("main", "a.py", 1)

        def save(name: str, slow: int, other: int = 700) -> None:
            order = ["slow"] * slow + ["other"] * other
            random.Random(name).shuffle(order)
            samples = [
                spprof.Sample(at * 10**6, 1, "t", [spprof.Frame(f, "b.py", 2), main_frame])
                for at, f in enumerate(order)
            ]
            end = start + timedelta(milliseconds=len(order))
            spprof.Profile(start, end, 1, samples).save(name)

        for name in ("a1.spprof", "a2.spprof", "a3.spprof"):
            save(name, 300)
        for name in ("b1.spprof", "b2.spprof", "b3.spprof"):
            save(name, 450)

    def test_status_and_reason(self, capsys) -> None:
        assert main(["diff", "--fail-above", "5%", "a1.spprof", "b1.spprof"]) == 3
        said = capsys.readouterr()
        assert re.search(r"slow: \+15\.0% of the run's time before, more than 5\.0%", said.err)
        assert "the whole run: +15.0%" in said.err
        assert "one run a side does not tell how runs differ; 2% is taken" in said.err
        assert "other" not in said.err
        assert main(["diff", "--fail-above", "20", "a1.spprof", "b1.spprof"]) == 0
        assert main(["diff", "--fail-above", "5%", "a1.spprof", "a2.spprof"]) == 0
        assert main(["diff", "--fail-above", "5%", "b1.spprof", "a1.spprof"]) == 0
        assert capsys.readouterr().err == ""
        assert main(["diff", "a1.spprof", "b1.spprof"]) == 0

    def test_by_share_and_noise(self, capsys) -> None:
        assert main(["diff", "--fail-above", "5", "--by", "share", "a1.spprof", "b1.spprof"]) == 3
        assert "slow: +9.1% of the whole" in capsys.readouterr().err
        few = ["diff", "--fail-above", "5", "--noise", "50%", "a1.spprof", "b1.spprof"]
        assert main(few) == 3
        assert "the whole run" not in capsys.readouterr().err

    def test_several_runs(self, capsys) -> None:
        before = ["--before", "a1.spprof", "a2.spprof", "a3.spprof"]
        after = ["--after", "b1.spprof", "b2.spprof", "b3.spprof"]
        assert main(["diff", *before, *after, "--fail-above", "5%"]) == 3
        said = capsys.readouterr()
        assert "1.00 s before, 1.15 s after (1.15x): beyond noise" in said.out
        assert "one run a side" not in said.err
        assert main(["diff", *before, *after, "-o", "d.svg", "--fail-above", "5%"]) == 3
        assert Path("d.svg").exists()

    def test_within_noise_is_dimmed(self, capsys) -> None:
        assert main(["diff", "--color", "always", "a1.spprof", "b1.spprof"]) == 0
        lines = capsys.readouterr().out.splitlines()
        (slow,) = (line for line in lines if " slow " in line)
        (of_main,) = (line for line in lines if " other " in line)
        assert slow.startswith("\x1b[31m")
        assert of_main.startswith(("\x1b[2m", "\x1b[34m"))

    @pytest.mark.parametrize(
        "wrong",
        [
            ["a1.spprof"],
            ["a1.spprof", "a2.spprof", "a3.spprof"],
            ["--before", "a1.spprof"],
            ["a1.spprof", "--before", "a1.spprof", "--after", "a2.spprof"],
            ["--fail-above", "much", "a1.spprof", "a2.spprof"],
        ],
    )
    def test_wrong_usage(self, wrong, capsys) -> None:
        # A file before the options is one of two, or one too many.
        with pytest.raises(SystemExit) as ended:
            main(["diff", *wrong])
        assert ended.value.code == 2
        assert "usage: spprof diff" in capsys.readouterr().err
