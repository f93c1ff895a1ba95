"""Labels of samples in the tables: kept by every operation, absent where there are none."""

from __future__ import annotations

import json
import random
import re
from array import array
from datetime import datetime, timedelta, timezone
from pathlib import Path

import pytest

import spprof
from spprof import Profile
from spprof._cli.main import main
from spprof._profile import rows
from spprof._profile import tables as columns
from spprof._profile.labels import label_sets
from spprof._profile.model import loads
from spprof._profile.tables import NO_LABEL, WAITING, Builder, Meta, cause_bits, check
from spprof.formats import container, registry

START = datetime(2026, 5, 1, tzinfo=timezone.utc)


def labelled(*samples: tuple[str, str, int], time: int = 0) -> Profile:
    """A profile of (labels such as ``region=a,x=1``, function, weight in ns), one sample each."""
    builder = Builder()
    labels = []
    for path, function, weight in samples:
        label = NO_LABEL
        for pair in filter(None, path.split(",")):
            label = builder.label(label, *pair.split("="))
        labels.append(label)
        stack = builder.stack_of([builder.frame(builder.func(function, "a.py"), 1)])
        builder.row(builder.thread(1, "t"), stack, weight=weight, time=time)
        time += weight
    builder.tables.meta = Meta.between(START, START + timedelta(seconds=1), mode="cpu")
    t = builder.tables
    if any(path for path, _, _ in samples):
        t = t.same_stacks(sample_label=array("i", labels))
    check(t)
    return Profile._of(t)


def times(profile: Profile) -> dict[str, int]:
    """Weight in ns by labels."""
    t = profile._tables
    check(t)
    sets = label_sets(t)
    result: dict[str, int] = {}
    for label, weight in zip(t.sample_labels, t.sample_weight):
        path = ",".join(f"{key}={value}" for key, value in sets[label])
        result[path] = result.get(path, 0) + weight
    return result


@pytest.fixture
def three() -> Profile:
    return labelled(
        ("region=load,x=1", "f", 10),
        ("", "f", 20),
        ("region=load,x=1,region=parse", "g", 30),
        ("region=load,x=2", "f", 40),
    )


TIMES = {"region=load,x=1": 10, "": 20, "region=load,x=1,region=parse": 30, "region=load,x=2": 40}


class TestTables:
    def test_operations_keep_labels(self, three: Profile) -> None:
        assert times(three) == TIMES
        assert times(three.aggregate()._for_output()) == TIMES
        assert times(three.filter(function="f")) == {k: v for k, v in TIMES.items() if v != 30}
        assert times(three.focus("g")) == {"region=load,x=1,region=parse": 30}
        assert times(three.filter(start_ms=0, end_ms=35e-6)) == {
            "region=load,x=1": 10,
            "": 20,
            "region=load,x=1,region=parse": 30,
        }
        doubled = spprof.merge(three, labelled(("region=new", "f", 5)), three)
        assert times(doubled) == {**{k: 2 * v for k, v in TIMES.items()}, "region=new": 5}
        both = spprof.diff(three, three).as_profile()
        assert times(both) == {k: 2 * v for k, v in TIMES.items()}

    def test_merging_with_a_profile_without_labels_keeps_both(self, three: Profile) -> None:
        plain = labelled(("", "f", 7))
        for merged in (spprof.merge(plain, three), spprof.merge(three, plain)):
            assert times(merged) == {**TIMES, "": 27}

    def test_what_is_left_without_labels_has_no_columns_of_them(self, three: Profile) -> None:
        kept = three.filter(start_ms=10e-6, end_ms=11e-6)
        assert times(kept) == {"": 20}
        assert len(kept._tables.sample_label) == len(kept._tables.label_parent) == 0

    def test_aggregating_keeps_equal_stacks_of_other_labels_apart(self) -> None:
        p = labelled(("region=a", "f", 1), ("region=b", "f", 2), ("region=a", "f", 4))
        t = p.aggregate()._for_output()._tables
        assert sorted(zip(t.sample_count, t.sample_weight)) == [(1, 2), (2, 5)]

    def test_thinning_merges_only_what_has_the_same_labels(self) -> None:
        chance = random.Random(3)
        p = labelled(
            *(
                (chance.choice(["", "region=a", "region=b"]), chance.choice("fg"), 1 + i % 3)
                for i in range(5000)
            )
        )
        thinned = rows.thin(p._tables, 300)
        assert thinned.rows <= 300
        assert times(Profile._of(thinned)) == times(p)
        # The wide keys that do not fit 64 bits give the same.
        rows_of = list(zip(*(thinned.column(n) for n in thinned.column_types if "sample." in n)))
        original = rows._fit
        try:
            rows._fit = lambda tables, sets: False
            wide = rows.thin(p._tables, 300)
        finally:
            rows._fit = original
        assert rows_of == list(zip(*(wide.column(n) for n in wide.column_types if "sample." in n)))

    def test_profiles_differ_where_labels_do(self, three: Profile) -> None:
        assert three == loads(registry.find("spprof").dumps(three._tables))
        assert labelled(("region=a", "f", 1)) != labelled(("region=b", "f", 1))
        assert labelled(("region=a", "f", 1)) != labelled(("", "f", 1))


class TestContainer:
    def test_round_trip(self, three: Profile) -> None:
        assert times(Profile._of(container.decode(container.encode(three._tables)))) == TIMES

    def test_a_file_without_labels_has_nothing_of_them(self) -> None:
        data = container.encode(labelled(("", "f", 1))._tables)
        assert b"label" not in data
        assert len(container.decode(data).sample_label) == 0

    def test_columns_come_together(self, three: Profile) -> None:
        raw = {
            name: bytes(memoryview(three._tables.column(name)))
            for name in three._tables.column_types
        }
        t = three._tables
        columns.Tables.from_bytes(raw, t.strings, t.threads, t.meta)
        del raw["label.key"]
        with pytest.raises(ValueError, match=r"missing column label\.key"):
            columns.Tables.from_bytes(raw, t.strings, t.threads, t.meta)

    @pytest.mark.parametrize(
        ("column", "value", "message"),
        [
            ("label_parent", [0, 0, 0, 0], "label.parent, row 0: parent 0 comes after it"),
            ("label_key", [99, 0, 0, 0], "label.key, row 0: refers to string 99"),
            ("sample_label", [4, 0, 0, 0], "sample.label, row 0: refers to label 4 of only 4"),
            ("sample_label", [-2, 0, 0, 0], "sample.label, row 0: -2 is below -1"),
        ],
    )
    def test_bad_rows_are_refused(self, three, column, value, message) -> None:
        code = "I" if column == "label_key" else "i"
        damaged = three._tables.same_stacks(**{column: array(code, value)})
        with pytest.raises(ValueError, match=re.escape(message)):
            check(damaged)


class TestRegions:
    def test_own_and_total_times(self, three: Profile) -> None:
        assert [(r.path, dict(r.labels), r.own_ns, r.total_ns) for r in three.regions()] == [
            (("load",), {"x": "1"}, 10, 40),
            (("load", "parse"), {}, 30, 30),
            (("load",), {"x": "2"}, 40, 40),
        ]
        assert [r.total_share for r in three.regions()] == [0.4, 0.3, 0.4]

    def test_by_name_a_region_in_its_like_counts_once(self) -> None:
        p = labelled(("region=a,region=b,region=a", "f", 1), ("region=a", "f", 2))
        assert [(r.name, r.own_ns, r.total_ns) for r in p.regions(by="name")] == [
            ("a", 3, 3),
            ("b", 0, 1),
        ]
        with pytest.raises(ValueError, match=r'"path" or "name", not .stack.'):
            p.regions(by="stack")

    def test_filters(self, three: Profile) -> None:
        assert times(three.filter(region="load")) == {k: v for k, v in TIMES.items() if k}
        assert times(three.filter(region="p*")) == {"region=load,x=1,region=parse": 30}
        assert times(three.filter(labels={"x": re.compile("^1$")})) == {
            "region=load,x=1": 10,
            "region=load,x=1,region=parse": 30,
        }
        assert three.filter(region="none").sample_count == 0
        assert labelled(("", "f", 1)).filter(region="load").sample_count == 0

    def test_text_is_a_table(self, three: Profile) -> None:
        assert str(three.regions()) == (
            "    own   total  region\n"
            "  10.0%   40.0%  load x=1\n"
            "  30.0%   30.0%    parse\n"
            "  40.0%   40.0%  load x=2"
        )


class TestFormats:
    def test_pprof_keeps_labels_in_order(self, three: Profile) -> None:
        back = loads(registry.find("pprof").dumps(three._tables), "pprof")
        assert times(back) == TIMES

    def test_pprof_keeps_causes_of_waiting_and_labels_that_look_like_others(self) -> None:
        p = labelled(("region=a,host=h,thread=x,waits_for=gil", "f", 5), ("", "f", 7))
        t = p._tables.same_stacks(sample_state=array("B", [WAITING | cause_bits("lock"), 0]))
        back = loads(registry.find("pprof").dumps(t), "pprof")
        assert times(back) == {"region=a,host=h,thread=x,waits_for=gil": 5, "": 7}
        assert back.waits() == {"lock": 5}
        assert [(thread.thread_name, thread.host) for thread in back.threads] == [("t", "")]

    def test_report(self, three: Profile, tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
        path = tmp_path / "a.spprof"
        three.save(path)
        assert main(["report", "--by-region", str(path)]) == 0
        rows = [line.split() for line in capsys.readouterr().out.splitlines()[3:]]
        assert [(row[-1], row[2], row[5]) for row in rows] == [
            ("x=1", "10.0%", "40.0%"),
            ("parse", "30.0%", "30.0%"),
            ("x=2", "40.0%", "40.0%"),
        ]
        assert main(["report", "--region", "parse", str(path)]) == 0
        assert " g " in capsys.readouterr().out


def test_speedscope_has_a_profile_for_each_region_beside_the_threads() -> None:
    profile = labelled(("", "main", 5), ("region=a,x=1", "f", 20), ("region=a,region=b", "g", 10))
    document = profile.to_speedscope()
    names = [frame["name"] for frame in document["shared"]["frames"]]
    shown = {
        one["name"]: [(names[stack[-1]], ns) for stack, ns in zip(one["samples"], one["weights"])]
        for one in document["profiles"]
    }
    assert shown == {
        "t (1)": [("main", 5), ("f", 20), ("g", 10)],
        "region a": [("f", 20), ("g", 10)],
        "region b": [("g", 10)],
    }
    assert document["activeProfileIndex"] == 0
    # Written piece by piece it is the same, and read back nothing counts twice.
    data = registry.FORMATS["speedscope"].dumps(profile._tables)
    assert json.loads(data)["profiles"] == document["profiles"]
    assert loads(data, format="speedscope").total_weight_ns == 35
