"""What the data classes and Profile promise: contents, runs, sums, questions."""

from __future__ import annotations

import copy
import dataclasses
import pickle
import re
import subprocess
import sys
from array import array
from datetime import datetime, timedelta, timezone

import pytest

from spprof import (
    AggregatedProfile,
    AggregatedStack,
    Frame,
    NativeFrame,
    Profile,
    ProfilerStats,
    Sample,
    StackTrace,
)
from spprof._profile import tables as columns

START = datetime(2026, 5, 1, 12, 0, 0, tzinfo=timezone.utc)
END = START + timedelta(seconds=2)

MAIN = Frame("main", "app.py", 3)
WORK = Frame("work", "app.py", 10)
PARSE = Frame("parse", "/lib/parser.py", 7)
SORT = Frame("sort", "/lib/libc.so", 0, is_native=True)


def sample(*frames: Frame, time: int | None = 0, tid: int = 1, **more: object) -> Sample:
    return Sample(time, tid, f"t{tid}", frames, **more)


def plain(*samples: Sample, **more: object) -> Profile:
    return Profile(START, END, 10, samples, **more)


def runs(**changes: object) -> Profile:
    """One thread, one stack, one run of three samples."""
    b = columns.Builder()
    stack = b.stack_of([b.frame(b.func("main", "app.py", 1), 3)])
    row = {"time": 100, "last": 200, "count": 3, "weight": 10, "state": columns.GIL_HELD}
    row.update(changes)
    b.row(b.thread(1, "t1"), stack, **row)
    b.tables.meta = plain()._tables.meta.but(weights="measured")
    return Profile._of(b.tables)


class TestDataClasses:
    def test_samples_are_values(self) -> None:
        a = Sample(1, 2, "t", [MAIN, WORK])
        b = Sample(1, 2, "t", (MAIN, WORK))
        assert a == b
        assert hash(a) == hash(b)
        assert a.frames == (MAIN, WORK)

    @pytest.mark.parametrize(
        "value",
        [
            MAIN,
            sample(MAIN),
            StackTrace([MAIN]),
            AggregatedStack([MAIN], 1, "t", 2),
            NativeFrame(1, "f", "m.so", 2, True),
            ProfilerStats(1, 0, 2.0, 0.1),
        ],
    )
    def test_frozen(self, value: object) -> None:
        name = dataclasses.fields(value)[0].name
        with pytest.raises(dataclasses.FrozenInstanceError):
            setattr(value, name, 1)

    def test_stack_trace_is_a_sequence_of_frames(self) -> None:
        trace = StackTrace([WORK, MAIN])
        assert (trace.depth, len(trace), trace[0], list(trace)) == (2, 2, WORK, [WORK, MAIN])

    def test_frame_reads_as_a_place(self) -> None:
        assert str(WORK) == "work (app.py:10)"
        assert str(SORT) == "sort (/lib/libc.so)"


class TestPlainSamples:
    SAMPLES = (
        sample(WORK, MAIN, time=0),
        sample(WORK, MAIN, time=7),
        sample(MAIN, time=9, weight_ns=5, state="waiting", holds_gil=False),
        sample(SORT, PARSE, MAIN, time=None, tid=2, holds_gil=True),
        sample(time=3),
    )

    def test_come_back_as_they_went_in(self) -> None:
        samples = [dataclasses.replace(s, weight_ns=4) for s in self.SAMPLES]
        profile = plain(*samples)
        assert list(profile.samples) == samples
        assert profile.samples == samples
        assert profile.sample_count == 5

    def test_weigh_one_interval_each_without_weights(self) -> None:
        profile = plain(sample(MAIN), sample(WORK))
        assert profile.total_weight_ns == 20_000_000
        assert [s.weight_ns for s in profile.samples] == [None, None]
        assert profile.effective_rate_hz == pytest.approx(1.0)  # 2 samples in 2 s

    def test_rate_is_per_measured_second_where_weights_are_measured(self) -> None:
        profile = plain(*[sample(MAIN, weight_ns=10_000_000) for _ in range(5)])
        assert profile.effective_rate_hz == pytest.approx(100.0)

    def test_circumstances_are_kept(self) -> None:
        profile = Profile(
            START, END, 2.5, [], 7, "3.9.1", "plan9", mode="wall", engine="ticker", notes=["n"]
        )
        assert (profile.start_time, profile.end_time) == (START, END)
        assert (profile.interval_ms, profile.dropped_count) == (2.5, 7)
        assert (profile.python_version, profile.platform) == ("3.9.1", "plan9")
        assert (profile.mode, profile.engine, profile.notes) == ("wall", "ticker", ("n",))
        assert profile.total_duration_ms == 2000.0

    def test_naive_times_stay_naive(self) -> None:
        start = datetime(2026, 5, 1, 12)
        assert Profile(start, start, 1).start_time == start

    def test_empty_profile_answers_everything(self) -> None:
        profile = plain()
        assert profile.sample_count == profile.total_weight_ns == 0
        assert profile.effective_rate_hz == 0.0
        assert list(profile.samples) == []
        assert profile.threads == ()
        assert profile.top() == []
        assert profile.tree().children == []
        assert profile.aggregate().compression_ratio == 1.0
        assert profile.aggregate().memory_reduction_pct == 0.0
        assert profile.to_collapsed() == ""
        assert "0 samples" in str(profile)

    @pytest.mark.parametrize(
        ("bad", "message"),
        [
            (sample(MAIN, time=-1), "timestamp"),
            (sample(MAIN, weight_ns=-1), "weight"),
            (sample(MAIN, state="asleep"), "state"),
            (sample(Frame("f", "x.py", -3)), "line number"),
        ],
    )
    def test_impossible_samples_are_refused(self, bad: Sample, message: str) -> None:
        with pytest.raises(ValueError, match=message):
            plain(bad)

    def test_impossible_circumstances_are_refused(self) -> None:
        with pytest.raises(ValueError, match="before start_time"):
            Profile(END, START, 10)
        with pytest.raises(ValueError, match="interval_ms"):
            Profile(START, END, -1)
        with pytest.raises(ValueError, match="interval_ms"):
            Profile(START, END, float("nan"))


class TestRuns:
    def test_a_run_appears_as_its_samples(self) -> None:
        samples = list(runs().samples)
        assert [s.timestamp_ns for s in samples] == [100, 150, 200]
        assert [s.weight_ns for s in samples] == [3, 3, 4]
        assert {s.holds_gil for s in samples} == {True}

    @pytest.mark.parametrize("weight", [0, 1, 2, 7, 10**18 + 1])
    def test_weights_of_a_run_lose_nothing(self, weight: int) -> None:
        spread = [s.weight_ns for s in runs(weight=weight, count=7, last=100).samples]
        assert sum(spread) == weight
        assert max(spread) - min(spread) <= 1

    def test_without_timestamps(self) -> None:
        assert [s.timestamp_ns for s in runs(time=-1, last=-1).samples] == [None] * 3

    def test_sequence_behaves_like_a_list(self, make_profile) -> None:
        profile = make_profile()
        samples = profile.samples
        full = list(samples)
        assert len(samples) == len(full) == profile.sample_count
        assert [samples[i] for i in range(len(full))] == full
        assert samples[-1] == full[-1]
        for cut in (slice(3, 9), slice(None, None, -7), slice(-5, None), slice(9, 3)):
            assert list(samples[cut]) == full[cut]
            assert samples[cut][1:3] == full[cut][1:3]
        with pytest.raises(IndexError):
            samples[len(full)]
        with pytest.raises(IndexError):
            samples[-len(full) - 1]

    def test_nothing_is_made_before_it_is_asked_for(self) -> None:
        profile = runs(count=4_000_000_000, weight=4_000_000_000, last=10**18)
        assert len(profile.samples) == 4_000_000_000
        assert profile.samples[-1].timestamp_ns == 10**18


class TestThreads:
    def test_sums_and_gil_share(self) -> None:
        profile = plain(
            sample(MAIN, weight_ns=30, holds_gil=True),
            sample(MAIN, weight_ns=10, holds_gil=False),
            sample(MAIN, weight_ns=60, holds_gil=None),
            sample(MAIN, weight_ns=5, tid=2),
        )
        first, second = profile.threads
        assert (first.thread_id, first.thread_name) == (1, "t1")
        assert (first.sample_count, first.weight_ns) == (3, 100)
        assert first.gil_share == pytest.approx(0.75)
        assert (second.weight_ns, second.gil_share) == (5, None)

    def test_same_id_with_another_name_is_another_thread(self) -> None:
        profile = plain(Sample(0, 1, "before", [MAIN]), Sample(1, 1, "after", [MAIN]))
        assert [t.name for t in profile.threads] == ["before", "after"]


class TestAggregate:
    def test_counts_equal_stacks_per_thread(self) -> None:
        aggregated = plain(
            sample(WORK, MAIN), sample(MAIN), sample(WORK, MAIN), sample(WORK, MAIN, tid=2)
        ).aggregate()
        counts = {(s.thread_id, s.frames): s.count for s in aggregated.stacks}
        assert counts == {(1, (WORK, MAIN)): 2, (1, (MAIN,)): 1, (2, (WORK, MAIN)): 1}
        assert aggregated.total_samples == 4
        assert aggregated.unique_stack_count == 3
        assert aggregated.compression_ratio == pytest.approx(4 / 3)
        assert aggregated.memory_reduction_pct == pytest.approx(25.0)

    def test_keeps_totals_and_outputs(self, make_profile) -> None:
        profile = make_profile()
        aggregated = profile.aggregate()
        assert aggregated.total_weight_ns == profile.total_weight_ns
        assert sum(s.weight_ns for s in aggregated.stacks) == profile.total_weight_ns
        assert aggregated.to_collapsed() == profile.to_collapsed()
        assert aggregated.top(None) == profile.top(None)
        total = sum(p["endValue"] for p in aggregated.to_speedscope()["profiles"])
        assert total == profile.total_weight_ns

    def test_native_frames_at_different_addresses_are_one_frame(self) -> None:
        b = columns.Builder()
        func = b.func("f", "m.so", 0, columns.NATIVE)
        for address in (16, 32):
            b.row(b.thread(1, "t"), b.stack_of([b.frame(func, 0, address)]), weight=1)
        b.tables.meta = plain()._tables.meta
        stacks = Profile._of(b.tables).aggregate().stacks
        assert [(s.frames, s.count) for s in stacks] == [((Frame("f", "m.so", 0, True),), 2)]

    def test_from_stacks(self) -> None:
        stacks = [AggregatedStack([WORK, MAIN], 1, "t1", 5), AggregatedStack([MAIN], 1, "t1", 2)]
        aggregated = AggregatedProfile(START, END, 10, stacks)
        assert {s.frames: s.count for s in aggregated.stacks} == {(WORK, MAIN): 5, (MAIN,): 2}
        assert aggregated.total_weight_ns == 70_000_000
        assert (
            aggregated.to_collapsed() == "main (app.py:3) 2\nmain (app.py:3);work (app.py:10) 5\n"
        )
        assert pickle.loads(pickle.dumps(aggregated)) == aggregated

    def test_counts_beyond_32_bits(self) -> None:
        stack = AggregatedStack([MAIN], 1, "t", 2**33 + 5, 2**33 + 7)
        aggregated = AggregatedProfile(START, END, 10, [stack])
        assert aggregated.total_samples == 2**33 + 5
        assert aggregated.stacks == (stack,)


class TestEquality:
    def test_ignores_how_tables_are_numbered(self) -> None:
        samples = [sample(WORK, MAIN, time=1), sample(PARSE, MAIN, time=2, tid=2)]
        profile = plain(*samples)
        tables = plain(sample(SORT, MAIN), *samples)._tables
        kept = {n: tables.column(n)[1:] for n in columns.COLUMN_TYPES if n.startswith("sample.")}
        roundabout = Profile._of(
            tables.same_stacks(**{columns.attribute(n): column for n, column in kept.items()})
        )
        assert list(roundabout._tables.sample_stack) != list(profile._tables.sample_stack)
        assert roundabout == profile

    @pytest.mark.parametrize(
        "other",
        [
            plain(sample(WORK, MAIN, time=2)),
            plain(sample(WORK, MAIN, time=1, tid=2)),
            plain(sample(MAIN, WORK, time=1)),
            plain(sample(WORK, MAIN, time=1, weight_ns=4)),
            plain(sample(WORK, MAIN, time=1, state="waiting")),
            plain(sample(WORK, Frame("main", "app.py", 4), time=1)),
            plain(sample(WORK, MAIN, time=1), dropped_count=1),
            plain(),
            plain(sample(WORK, MAIN, time=1), sample(WORK, MAIN, time=1)),
            "a profile",
        ],
    )
    def test_sees_every_difference(self, other: object) -> None:
        assert plain(sample(WORK, MAIN, time=1)) != other

    def test_pickles_and_copies(self, make_profile) -> None:
        profile = make_profile()
        for protocol in range(2, pickle.HIGHEST_PROTOCOL + 1):
            assert pickle.loads(pickle.dumps(profile, protocol)) == profile
        assert copy.deepcopy(profile) == profile

    def test_unhashable_as_mutable_looking_values_are(self) -> None:
        with pytest.raises(TypeError):
            hash(plain())


class TestQuestions:
    # main 10 (self 1): work 6 (self 2): parse 4, sort 3
    PROFILE = plain(
        sample(MAIN, weight_ns=1),
        sample(WORK, MAIN, weight_ns=2),
        sample(PARSE, WORK, MAIN, weight_ns=4),
        sample(SORT, MAIN, weight_ns=3, tid=2),
    )

    def test_top_by_self(self) -> None:
        top = [(s.function_name, s.self_ns, s.total_ns) for s in self.PROFILE.top(by="self")]
        assert top == [("parse", 4, 4), ("sort", 3, 3), ("work", 2, 6), ("main", 1, 10)]

    def test_top_by_total(self) -> None:
        top = [(s.function_name, s.total_share) for s in self.PROFILE.top(2, by="total")]
        assert top == [("main", pytest.approx(1.0)), ("work", pytest.approx(0.6))]

    def test_top_refuses_another_order(self) -> None:
        with pytest.raises(ValueError, match='"self" or "total"'):
            self.PROFILE.top(by="time")

    def test_recursion_counts_once(self) -> None:
        profile = plain(sample(WORK, MAIN, WORK, WORK, weight_ns=5), sample(WORK, weight_ns=1))
        top = {s.function_name: (s.self_ns, s.total_ns) for s in profile.top()}
        assert top == {"work": (6, 6), "main": (0, 5)}

    def test_lines_of_one_function_are_one_entry_unless_asked_for(self) -> None:
        other = dataclasses.replace(WORK, lineno=11)
        profile = plain(sample(WORK, weight_ns=1), sample(other, weight_ns=2))
        assert [(s.function_name, s.self_ns) for s in profile.top()] == [("work", 3)]
        assert [(s.lineno, s.self_ns) for s in profile.top(lines=True)] == [(11, 2), (10, 1)]

    def test_deep_recursion_needs_no_python_recursion(self) -> None:
        profile = plain(sample(*([WORK] * 20_000), weight_ns=7))
        assert [(s.self_ns, s.total_ns) for s in profile.top()] == [(7, 7)]
        assert sum(1 for _ in profile.tree().walk()) == 20_001

    def test_tree(self) -> None:
        tree = self.PROFILE.tree()
        assert (tree.function_name, tree.total_ns, tree.total_samples) == ("all", 10, 4)
        (main,) = tree.children
        assert (main.function_name, main.self_ns, main.total_ns) == ("main", 1, 10)
        assert [(c.function_name, c.total_ns) for c in main.children] == [("work", 6), ("sort", 3)]
        found = tree.find("parse")
        assert found is not None
        assert found.self_ns == 4
        assert "parse" in str(tree)

    def test_filter_by_thread(self) -> None:
        for thread in (2, "t2", "?2", re.compile("2$")):
            chosen = self.PROFILE.filter(thread=thread)
            assert chosen.total_weight_ns == 3
            assert [t.name for t in chosen.threads] == ["t2"]

    def test_filter_by_function_and_module(self) -> None:
        assert self.PROFILE.filter(function="work").total_weight_ns == 6
        assert self.PROFILE.filter(function="*or*").total_weight_ns == 9
        assert self.PROFILE.filter(function="work", module="parser").total_weight_ns == 4
        assert self.PROFILE.filter(module="app").sample_count == 4
        assert self.PROFILE.filter(module="/lib/parser.py").total_weight_ns == 4
        assert self.PROFILE.filter(module="lib.parser").total_weight_ns == 4
        assert self.PROFILE.filter(module="libc").total_weight_ns == 3
        assert self.PROFILE.filter(module="pars").sample_count == 0

    def test_filter_leaves_nothing_of_others_in_the_tables(self) -> None:
        chosen = self.PROFILE.filter(thread=2)
        assert "parse" not in chosen._tables.strings
        assert b"parse" not in pickle.dumps(chosen)

    def test_filter_by_time_cuts_runs(self) -> None:
        profile = runs(time=0, last=4_000_000, count=5, weight=10)
        chosen = profile.filter(start_ms=1, end_ms=3)
        assert [s.timestamp_ns for s in chosen.samples] == [1_000_000, 2_000_000]
        assert chosen.total_weight_ns == 4

    def test_time_ranges_partition_a_profile(self, make_profile) -> None:
        profile = make_profile()
        cuts = [0, 333.3, 1000.123456, 1e9]
        parts = [profile.filter(start_ms=a, end_ms=b) for a, b in zip(cuts, cuts[1:])]
        assert sum(p.sample_count for p in parts) == profile.sample_count
        assert sum(p.total_weight_ns for p in parts) == profile.total_weight_ns

    def test_filter_by_state_and_predicate(self, make_profile) -> None:
        profile = make_profile()
        waiting = profile.filter(state="waiting")
        assert {s.state for s in waiting.samples} == {"waiting"}
        running = profile.filter(predicate=lambda s: s.state == "running")
        assert waiting.total_weight_ns + running.total_weight_ns == profile.total_weight_ns
        with pytest.raises(ValueError, match="state"):
            profile.filter(state="asleep")

    def test_focus_makes_the_function_the_root(self) -> None:
        focused = self.PROFILE.focus("work")
        assert [s.frames for s in focused.samples] == [(WORK,), (PARSE, WORK)]
        assert focused.total_weight_ns == 6

    def test_focus_keeps_recursion_below_the_outermost_call(self) -> None:
        focused = plain(sample(WORK, MAIN, WORK, PARSE)).focus("work")
        assert [s.frames for s in focused.samples] == [(WORK, MAIN, WORK)]

    def test_ignore(self) -> None:
        assert self.PROFILE.ignore("work").total_weight_ns == 4

    def test_dataframe(self, make_profile) -> None:
        pandas = pytest.importorskip("pandas")
        profile = make_profile()
        frame = profile.to_dataframe()
        assert isinstance(frame, pandas.DataFrame)
        assert frame["weight_ns"].sum() == profile.total_weight_ns
        assert frame["samples"].sum() == profile.sample_count
        by_function = frame.groupby(["function", "filename"])["weight_ns"].sum()
        entry = profile.top(1)[0]
        assert by_function[entry.function_name, entry.filename] == entry.self_ns
        assert plain(sample(MAIN, time=None)).to_dataframe()["time_ns"].isna().all()

    def test_texts(self) -> None:
        assert len(repr(self.PROFILE)) < 80
        text = str(self.PROFILE)
        assert text.index("parse") < text.index("sort")
        assert "40.0%" in text
        assert "t2" in text


class TestRefusals:
    @pytest.mark.parametrize("interval", [-7, float("inf"), float("nan"), -float("inf"), 1e300])
    def test_intervals_that_are_none(self, interval: float) -> None:
        with pytest.raises(ValueError, match="interval_ms"):
            Profile(START, END, interval)
        with pytest.raises(ValueError, match="interval_ms"):
            AggregatedProfile(START, END, interval)

    @pytest.mark.parametrize("kind", ["mode", "engine"])
    def test_modes_and_engines_that_do_not_exist(self, kind: str) -> None:
        for make in (Profile, AggregatedProfile):
            with pytest.raises(ValueError, match=rf"^{kind} must be .*'bogus'"):
                make(START, END, 10, **{kind: "bogus"})
            make(START, END, 10, **{kind: ""})

    def test_a_negative_number_of_rows(self) -> None:
        with pytest.raises(ValueError, match="n must not be negative"):
            runs().top(-1)
        with pytest.raises(ValueError, match="n must not be negative"):
            runs().diff(runs()).growing(-1)
        assert runs().top(0) == []


class TestTables:
    def test_from_what_the_native_module_returns(self, make_profile) -> None:
        profile = make_profile()
        t = profile._tables
        raw = {
            "columns": {n: bytes(memoryview(t.column(n))) for n in columns.COLUMN_TYPES},
            "strings": t.strings,
            "threads": t.threads,
            "meta": t.meta,
        }
        again = Profile._of(columns.Tables.from_bytes(**raw))
        assert again == profile
        kept = again._tables.sample_weight
        assert isinstance(kept, memoryview)
        assert kept.obj is raw["columns"]["sample.weight"]

    def test_columns_of_unequal_length_are_refused(self) -> None:
        raw = {name: b"" for name in columns.COLUMN_TYPES}
        raw["sample.count"] = bytes(4)
        with pytest.raises(ValueError, match="sample differ in length"):
            columns.Tables.from_bytes(raw, [], [], columns.Meta())
        del raw["frame.line"]
        with pytest.raises(ValueError, match="missing column"):
            columns.Tables.from_bytes(raw, [], [], columns.Meta())

    @pytest.mark.parametrize(
        ("column", "value"),
        [
            ("func.name", 99),
            ("frame.func", 99),
            ("stack.frame", 99),
            ("stack.parent", 0),
            ("stack.parent", -2),
            ("sample.stack", 99),
            ("sample.thread", 99),
            ("sample.count", 0),
            ("sample.weight", -1),
            ("sample.time", -2),
            ("sample.last", 99),
        ],
    )
    def test_check_names_the_column(self, column: str, value: int) -> None:
        tables = runs()._tables
        columns.check(tables)
        changed = array(columns.TYPECODES[columns.COLUMN_TYPES[column]], tables.column(column))
        changed[0] = value
        with pytest.raises(ValueError, match=column):
            columns.check(tables.same_stacks(**{columns.attribute(column): changed}))

    def test_importing_the_model_imports_nothing_heavy(self) -> None:
        code = (
            "import sys, spprof._profile.model; "
            "print([m for m in ('numpy','pandas','IPython','ipywidgets') if m in sys.modules])"
        )
        out = subprocess.run(
            [sys.executable, "-c", code], capture_output=True, text=True, check=True
        )
        assert out.stdout.strip() == "[]"
