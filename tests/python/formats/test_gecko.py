"""What Firefox Profiler files cost to write, and their markers."""

from __future__ import annotations

import json
from array import array

import pytest

from spprof._profile.tables import NO_LABEL, WAITING, Builder, cause_bits
from spprof.formats import FORMATS


class Counted(array):
    """A column that counts how often all of it is read."""

    passes = 0

    def __iter__(self):
        self.passes += 1
        return super().__iter__()


@pytest.mark.parametrize("threads", [2, 60])
def test_rows_are_not_read_once_for_each_thread(threads, make_profile) -> None:
    tables = make_profile(2000, threads=threads)._tables
    counted = Counted("I", tables.sample_thread)
    FORMATS["gecko"].dumps(tables.same_stacks(sample_thread=counted))
    assert 0 < counted.passes < 5


def markers_of(*rows: tuple[str, str, int, int, str | None]) -> list[tuple[str, str, float, float]]:
    """Rows of one thread: regions (``a>b``), function, begin and end in ms, cause of waiting."""
    builder, labels = Builder(), []
    for regions, function, begin, end, cause in rows:
        label = NO_LABEL
        for name in filter(None, regions.split(">")):
            label = builder.label(builder.label(label, "region", name), "size", "1")
        labels.append(label)
        stack = builder.stack_of([builder.frame(builder.func(function, "a.py"), 1)])
        state = WAITING | cause_bits(cause) if cause else 0
        weight, time = (end - begin) * 10**6, end * 10**6
        builder.row(builder.thread(1, "t"), stack, weight=weight, time=time, state=state)
    tables = builder.tables.same_stacks(sample_label=array("i", labels))
    document = json.loads(FORMATS["gecko"].dumps(tables))
    schemas = {schema["name"] for schema in document["meta"]["markerSchema"]}
    (thread,) = document["threads"]
    markers, strings = thread["markers"], document["shared"]["stringArray"]
    assert {len(column) for column in markers.values() if isinstance(column, list)} == {
        markers["length"]
    }
    assert {data["type"] for data in markers["data"]} <= schemas
    spans = zip(markers["data"], markers["name"], markers["startTime"], markers["endTime"])
    return [(data["type"].split()[1], strings[name], b, e) for data, name, b, e in spans]


def test_waits_and_regions_are_markers() -> None:
    found = markers_of(
        ("", "f", 0, 2, None),
        ("load", "f", 2, 4, None),
        ("load>parse", "g", 4, 6, "gil"),
        ("load>parse", "h", 6, 9, "gil"),
        ("load", "f", 9, 10, "lock"),
        ("", "f", 10, 12, "unknown"),
    )
    assert found == [
        ("region", "load", 2, 10),
        ("region", "parse", 4, 9),
        ("wait", "gil", 4, 9),
        ("wait", "lock", 9, 10),
    ]


def test_without_waits_and_regions_there_are_no_markers() -> None:
    assert markers_of(("", "f", 0, 2, None), ("", "g", 2, 4, None)) == []
