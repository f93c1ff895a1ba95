"""What merge and diff promise."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone

import pytest

import spprof
from spprof import Frame, Profile, Sample

START = datetime(2026, 5, 1, 12, 0, 0, tzinfo=timezone.utc)
MAIN, WORK, PARSE = Frame("main", "a.py", 1), Frame("work", "a.py", 5), Frame("parse", "b.py", 2)


def profile(*samples: Sample, after_s: float = 0, seconds: float = 1, **more: object) -> Profile:
    start = START + timedelta(seconds=after_s)
    return Profile(start, start + timedelta(seconds=seconds), 10, samples, **more)


def on_host(p: Profile, pid: int, host: str) -> Profile:
    threads = [{**thread, "pid": pid, "host": host} for thread in p._tables.threads]
    return Profile._of(p._tables.same_stacks(threads=threads))


class TestMerge:
    def test_sums_and_common_time_axis(self) -> None:
        first = profile(Sample(5, 1, "t", [MAIN], 10), dropped_count=1)
        second = profile(Sample(7, 1, "t", [WORK, MAIN], 20), after_s=3, dropped_count=2)
        merged = spprof.merge(second, first)
        assert merged.total_weight_ns == 30
        assert merged.dropped_count == 3
        assert merged.start_time == START
        assert merged.total_duration_ms == 4000
        assert sorted(s.timestamp_ns for s in merged.samples) == [5, 3_000_000_007]

    def test_equal_stacks_are_shared(self) -> None:
        one = profile(Sample(0, 1, "t", [WORK, MAIN]))
        merged = one.merge(one, one)
        assert len(merged._tables.stack_frame) == len(one._tables.stack_frame)
        assert [s.count for s in merged.aggregate().stacks] == [3]

    def test_merging_one_changes_nothing(self, make_profile) -> None:
        one = make_profile()
        assert spprof.merge(one) == one

    def test_processes_and_hosts_stay_apart(self) -> None:
        one = profile(Sample(0, 1, "t", [MAIN]))
        merged = spprof.merge(on_host(one, 7, "a"), on_host(one, 7, "b"), on_host(one, 8, "a"))
        assert [(t.pid, t.host, t.samples) for t in merged.threads] == [
            (7, "a", 1),
            (7, "b", 1),
            (8, "a", 1),
        ]

    def test_cpu_and_wall_time_do_not_add_up(self) -> None:
        with pytest.raises(ValueError, match="do not add up"):
            spprof.merge(profile(mode="cpu"), profile(mode="wall"))

    def test_nothing_to_merge(self) -> None:
        with pytest.raises(ValueError, match="at least one"):
            spprof.merge()

    def test_naive_and_aware_times(self) -> None:
        naive = Profile(datetime(2026, 5, 1), datetime(2026, 5, 1), 10, [Sample(0, 1, "t", [MAIN])])
        merged = spprof.merge(naive, profile(Sample(0, 1, "t", [MAIN])))
        assert merged.sample_count == 2
        assert merged.start_time.tzinfo is not None


class TestDiff:
    BEFORE = profile(
        *[Sample(0, 1, "t", [PARSE, MAIN])] * 6, *[Sample(0, 1, "t", [WORK, MAIN])] * 2
    )
    AFTER = profile(*[Sample(0, 1, "t", [PARSE, MAIN])] * 1, *[Sample(0, 1, "t", [WORK, MAIN])] * 3)

    def test_functions(self) -> None:
        diff = spprof.diff(self.BEFORE, self.AFTER)
        (growing,), (shrinking,) = diff.growing(), diff.shrinking()
        assert growing.functions == ("work",)
        assert (growing.before_ns, growing.after_ns) == (20_000_000, 30_000_000)
        assert growing.delta_share == pytest.approx(0.75 - 0.25)
        assert shrinking.functions == ("parse",)
        assert shrinking.delta_ns == -50_000_000

    def test_shares_change_by_nothing_in_total(self, make_profile) -> None:
        diff = spprof.diff(make_profile(seed=1), make_profile(seed=2))
        for entries in (diff.stacks, diff.functions):
            assert sum(e.delta_share for e in entries) == pytest.approx(0, abs=1e-9)
            changes = [abs(e.delta_share) for e in entries]
            assert changes == sorted(changes, reverse=True)

    def test_moved_lines_are_no_difference(self) -> None:
        moved = profile(*[Sample(0, 1, "t", [Frame("parse", "b.py", 99), MAIN])] * 6)
        diff = spprof.diff(self.BEFORE.filter(function="parse"), moved)
        assert [e.delta_ns for e in diff.stacks] == [0]

    def test_of_a_profile_with_itself(self, make_profile) -> None:
        one = make_profile()
        diff = one.diff(one)
        assert diff.growing() == diff.shrinking() == []
        assert "1.00x" in repr(diff)

    def test_with_an_empty_profile(self) -> None:
        diff = spprof.diff(profile(), self.AFTER)
        assert {e.before_share for e in diff.functions} == {0.0}
        assert "work" in str(diff)

    def test_text_names_what_changed_most_first(self) -> None:
        text = str(spprof.diff(self.BEFORE, self.AFTER))
        assert "80.0 ms before, 40.0 ms after (0.50x)" in text
        assert "+50.0%" in text

    def test_saved_as_two_columns(self, tmp_path) -> None:
        path = tmp_path / "d.collapsed"
        spprof.diff(self.BEFORE, self.AFTER).save(path)
        assert sorted(path.read_text().splitlines()) == [
            "main (a.py);parse (b.py) 60000 10000",
            "main (a.py);work (a.py) 20000 30000",
        ]

    def test_saved_as_two_profiles_in_one(self, tmp_path) -> None:
        path = tmp_path / "d.spprof"
        spprof.diff(self.BEFORE, self.AFTER).save(path)
        both = spprof.load(path)
        assert [(t.name, t.samples) for t in both.threads] == [("before: t", 8), ("after: t", 4)]

    def test_saved_as_a_coloured_graph(self, tmp_path) -> None:
        path = tmp_path / "d.svg"
        spprof.diff(self.BEFORE, self.AFTER).save(path)
        text = path.read_text()
        assert 'class="u5"><title>work (a.py)\n25.00% before, 75.00% after (+50.00%)' in text
        assert 'class="l5"><title>parse (b.py)\n75.00% before, 25.00% after (-50.00%)' in text

    def test_formats_that_cannot_show_it(self, tmp_path) -> None:
        with pytest.raises(ValueError, match="Unknown format 'pprof' for a difference"):
            spprof.diff(self.BEFORE, self.AFTER).save(tmp_path / "d", "pprof")

    def test_of_two_kinds_of_time_is_refused(self) -> None:
        cpu, wall = profile(mode="cpu"), profile(mode="wall")
        with pytest.raises(ValueError, match=r"CPU time .*wall time"):
            spprof.diff(cpu, wall)
        with pytest.raises(ValueError, match=r"wall time .*CPU time"):
            wall.diff(cpu)
        # Where a file does not say what it measures, its reader has to know.
        assert spprof.diff(cpu, profile(mode="")).stacks == []

    def test_its_meta_says_which_threads_are_of_which_side(self) -> None:
        before = profile(Sample(0, 1, "t", [MAIN], 10), Sample(0, 2, "u", [MAIN], 10))
        after = profile(Sample(0, 1, "t", [WORK], 30))
        both = spprof.diff(before, after).as_profile()
        sides = both._tables.meta.difference
        assert sides == {"before": [0, 1], "after": [2]}
        only = both.filter(thread="after: *")
        assert only._tables.meta.difference == {"before": [], "after": [0]}
        assert spprof.merge(before, after)._tables.meta.difference is None
