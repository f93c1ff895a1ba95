"""What collapsed stacks hold, and what is read from those of other tools."""

from __future__ import annotations

import re

import pytest
from small_profiles import MAIN, one, plain

import spprof
from spprof import Frame, Profile, Sample
from spprof._profile.model import loads
from spprof.formats import FormatError


class TestCollapsed:
    ODD = (
        "a;b", "line\nbreak", "carriage\rreturn", " leading", "trailing ", "ends with 12", "12",
        "x 3.5", "looks (like.py:3)", "looks (native)", "thread (1): x", "process 7", "100%",
        "%3B", "%", "ünïcödé", "tab\tinside", "a  b", "operator() (int)", "", " ", "%00",
        "<lambda>",
    )  # fmt: skip

    @pytest.mark.parametrize("name", ODD)
    @pytest.mark.parametrize("place", [("", 0), ("app.py", 3), ("my (copy)/a b.py", 0), ("a:7", 7)])
    @pytest.mark.parametrize("threads", [1, 2])
    def test_odd_names_come_back(self, name: str, place: tuple[str, int], threads: int) -> None:
        leaf = Frame(name, *place)
        samples = [Sample(None, i, name or "t", [leaf, MAIN]) for i in range(threads)]
        text = plain(*samples).to_collapsed()
        assert text.count("\n") == threads
        loaded = loads(text.encode(), "collapsed")
        assert [s.frames for s in loaded.samples] == [(leaf, MAIN)] * threads
        if threads > 1:
            assert [t.name for t in loaded.threads] == [name or "t"] * threads

    @pytest.mark.parametrize(
        "module", ["/usr/lib/libfoo.so.1", "python3.11", "", "a (b):1", "C:\\x.dll"]
    )
    def test_native_frames_come_back(self, module: str) -> None:
        leaf = Frame("ns::f(int, char)", module, 0, is_native=True)
        loaded = loads(one(leaf, MAIN).to_collapsed().encode())
        assert loaded.samples[0].frames == (leaf, MAIN)

    def test_follows_the_rules_of_flamegraph_pl(self, make_profile) -> None:
        # The two patterns by which flamegraph.pl reads a line; the second asks for a further
        # number, which would make it a differential profile.
        profile = make_profile()
        odd = plain(*[Sample(None, 1, "t", [Frame(name, "", 0), MAIN]) for name in self.ODD])
        total = 0
        for text in (profile.to_collapsed(), odd.to_collapsed()):
            for line in text.splitlines():
                match = re.match(r"^(.*)\s+?(\d+(?:\.\d*)?)$", line)
                assert match is not None
                assert re.match(r"^(.*)\s+?(\d+(?:\.\d*)?)$", match[1]) is None, line
                total += int(match[2])
        assert total == profile.sample_count + len(self.ODD)

    def test_several_processes_are_told_apart(self, make_profile) -> None:
        tables = make_profile(threads=2)._tables
        threads = [{**t, "pid": i, "host": "far away"} for i, t in enumerate(tables.threads)]
        profile = Profile._of(tables.same_stacks(threads=threads))
        loaded = loads(profile.to_collapsed().encode())
        assert [(t.pid, t.host) for t in loaded.threads] == [(0, "far away"), (1, "far away")]

    def test_of_other_tools(self) -> None:
        text = "main (app.py:3);work (lib/x.py:7);memcpy (libc.so.6) 12\nswapper;start_kernel 3\n\n"
        profile = loads(text.encode(), interval_ms=10)
        assert profile.sample_count == 15
        assert profile.total_weight_ns == 150_000_000
        natives = {s.function_name for s in profile.top(None) if s.is_native}
        assert natives == {"memcpy"}
        assert profile.notes == ()

    def test_says_which_line_is_wrong(self) -> None:
        with pytest.raises(FormatError, match="line 2: should be frames, a space and a number"):
            loads(b"a;b 3\na;b c\n")

    def test_counts_beyond_a_cell(self) -> None:
        # Other tools count nanoseconds.
        profile = loads(b"java/lang/Thread.run;Bar.baz 5000000000\nx 3\n", interval_ms=1e-6)
        assert profile.sample_count == 5_000_000_003
        assert profile.total_weight_ns == 5_000_000_003
        assert profile.top(1)[0].self_samples == 5_000_000_000
        assert loads(profile.to_collapsed().encode()).sample_count == 5_000_000_003

    @pytest.mark.parametrize("count", ["9" * 17, "9" * 400, "9" * 5000])
    def test_counts_beyond_everything(self, count: str) -> None:
        with pytest.raises(FormatError, match=r"line 2: .*more than can be kept"):
            loads(f"a 1\nb {count}\n".encode())
        with pytest.raises(FormatError, match="more than 292 years"):
            loads(b"a 9999999999999\nb 9999999999999\n", interval_ms=1000)

    def test_an_empty_run_can_be_loaded(self, tmp_path) -> None:
        for name in ("none.folded", "none.collapsed", "none.txt"):
            plain().save(tmp_path / name)
            assert spprof.load(tmp_path / name).sample_count == 0
        assert loads(b"", "collapsed").sample_count == 0
        assert loads(b"# nothing\n\n", "collapsed").sample_count == 0

    def test_two_numbers_a_line_are_a_difference(self, make_profile, tmp_path) -> None:
        with pytest.raises(FormatError, match=r"two numbers a line: .*difference"):
            loads(b"a;b 3 5\na;c 4 2\n")
        make_profile(9).diff(make_profile(9, seed=2)).save(tmp_path / "d.folded")
        with pytest.raises(FormatError, match="difference"):
            spprof.load(tmp_path / "d.folded")
        # Names of other tools may end with a number.
        assert loads(b"worker 3;f 5\ng 7 2\n").sample_count == 7
