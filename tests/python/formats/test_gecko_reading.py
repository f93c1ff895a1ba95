"""Firefox Profiler files of ours, of other tools and of Firefox itself, read back."""

from __future__ import annotations

import json
from array import array
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import spprof
from spprof._profile.model import loads
from spprof.formats import FORMATS, FormatError

# Made by Python 3.15.2's profiler with `-r 250 -a --native --gecko` from the program beside it.
FILES = Path(__file__).parents[2] / "examples" / "other_tools"
CATEGORIES = [{"name": name} for name in ("Other", "JavaScript", "Idle", "Native")]


def read(document: dict[str, Any], **options: float) -> spprof.Profile:
    return loads(json.dumps(document).encode(), **options)


def rows(profile: spprof.Profile) -> list[tuple[str, int | None, int, str]]:
    return [
        (
            ">".join(f.function_name for f in reversed(s.frames)),
            s.timestamp_ns,
            weight,
            s.state,
        )
        for s, weight in zip(profile.samples, profile._tables.sample_weight)
    ]


def test_ours_come_back_with_functions_lines_times_weights_and_waits(make_profile) -> None:
    tables = make_profile(300)._tables
    # A run of equal samples becomes one of its weight.
    counts = array("I", [1] * len(tables.sample_count))
    profile = spprof.Profile._of(tables.same_stacks(sample_count=counts))

    def told(profile: spprof.Profile) -> list[Any]:
        return sorted(
            (s.thread_name, s.thread_id, s.timestamp_ns, s.weight_ns, s.state, s.frames)
            for s in profile.samples
        )

    again = loads(FORMATS["gecko"].dumps(tables))
    assert told(again) == told(profile)
    assert again.total_weight_ns == profile.total_weight_ns
    assert [t.pid for t in again.threads] == [t.pid for t in profile.threads]


# --- processed files of other tools ---


def processed(version: int, **samples: Any) -> dict[str, Any]:
    """Two samples of main > f and one of main > poll, as each version has its tables."""
    strings = ["main", "f", "a.py", "poll", "libc.so"]
    funcs: dict[str, Any] = {
        "name": [0, 1, 3],
        "isJS": [False] * 3,
        "resource": [-1, -1, 0],
        "lineNumber": [1, 7, None],
    }
    resources = {"name": [4], "lib": [0]}
    frames = {
        "func": [0, 1, 2],
        "line": [3, 8, None],
        "address": [-1, -1, 4096],
        "category": [0, None, 2],
        "nativeSymbol": [None] * 3,
    }
    stacks = {"frame": [0, 1, 2], "prefix": [None, 0, 0]}
    shared: dict[str, Any] = {}
    thread: dict[str, Any] = {
        "name": "GeckoMain",
        "pid": "42",
        "tid": "43",
        "samples": {"stack": [1, 1, 2], "time": [0, 2, 4], **samples},
    }
    tables = {
        "stackTable": stacks,
        "frameTable": frames,
        "funcTable": funcs,
        "resourceTable": resources,
    }
    if version >= 58:
        funcs["source"] = [0, 0, None]
        shared["sources"] = {"filename": [2]}
    else:
        funcs["fileName"] = [2, 2, None]
    (shared if version >= 60 else thread).update(tables)
    if version >= 56:
        shared["stringArray"] = strings
    else:
        thread["stringArray"] = strings
    meta = {"preprocessedProfileVersion": version, "interval": 1, "categories": CATEGORIES}
    libs = [{"path": "/usr/lib/libc.so"}]
    return {"meta": meta, "libs": libs, "threads": [thread], "shared": shared}


@pytest.mark.parametrize("version", [47, 56, 58, 61])
def test_tables_are_found_wherever_a_version_has_them(version: int) -> None:
    profile = read(processed(version))
    ms = 10**6
    # 2 ms apart, whatever the file says of its interval.
    assert rows(profile) == [
        ("main>f", 0, 2 * ms, "running"),
        ("main>f", 2 * ms, 2 * ms, "running"),
        ("main>poll", 4 * ms, 2 * ms, "waiting"),
    ]
    poll, main = profile.samples[2].frames
    assert (poll.filename, poll.is_native, poll.lineno) == ("/usr/lib/libc.so", True, 0)
    assert (main.filename, main.is_native, main.lineno) == ("a.py", False, 3)
    (thread,) = profile.threads
    assert (thread.thread_name, thread.thread_id, thread.pid) == ("GeckoMain", 43, 42)


@pytest.mark.parametrize(
    ("samples", "weights"),
    [
        ({"weight": [1, 2.5, 0], "weightType": "tracing-ms"}, [1, 2.5, 0]),
        ({"weight": [1, 3, 2], "weightType": "samples"}, [2, 6, 4]),
        ({"time": None, "timeDeltas": [0, 5, 5]}, [5, 5, 5]),
        ({"time": None}, [1, 1, 1]),
    ],
)
def test_weights(samples: dict[str, Any], weights: list[float]) -> None:
    found = read(processed(61, **samples))._tables.sample_weight
    assert list(found) == [round(weight * 1e6) for weight in weights]


def test_what_one_sample_stands_for_may_be_said() -> None:
    assert read(processed(61), interval_ms=10).total_weight_ns == 30_000_000


def test_a_real_file_of_pythons_profiler() -> None:
    profile = spprof.load(FILES / "python315.gecko.json")
    assert profile.sample_count == 218
    found = {f.function_name: f.self_ns / profile.total_weight_ns for f in profile.top(None)}
    assert found["nap"] == pytest.approx(0.491, abs=0.001)
    assert found["right"] == pytest.approx(0.289, abs=0.001)
    kinds = {f.function_name: f.is_native for s in profile.samples for f in s.frames}
    assert (kinds["<native>"], kinds["<GC>"], kinds["_run_code"], kinds["nap"]) == (
        True, True, False, False,
    )  # fmt: skip


# --- what Firefox and perf write ---


def raw(strings: list[str], start: float = 0.0, **more: Any) -> dict[str, Any]:
    """One thread of samples of the first string, each after it called by the one before."""
    count = len(strings)
    thread = {
        "name": "GeckoMain",
        "pid": 7,
        "tid": 8,
        "samples": {
            "schema": {"stack": 0, "time": 1, "eventDelay": 2},
            "data": [[count - 1, 1.0, 0], [count - 1, 2.0], [None, 3.0]],
        },
        "stackTable": {
            "schema": {"prefix": 0, "frame": 1},
            "data": [[row - 1 if row else None, row] for row in range(count)],
        },
        "frameTable": {
            "schema": {"location": 0, "relevantForJS": 1, "line": 5, "category": 7},
            "data": [[row] for row in range(count)],
        },
        "stringTable": strings,
    }
    meta = {"version": 24, "interval": 1, "startTime": start, "categories": CATEGORIES}
    return {"meta": meta, "libs": [], "threads": [thread], **more}


def test_names_with_their_places() -> None:
    profile = read(
        raw(
            [
                "(root)",
                "main (in /usr/bin/python3)",
                "load (https://a.example/b.js:12:7)",
                "operator() (int)",
                "0x7f00",
            ]
        )
    )
    found = [(f.function_name, f.filename, f.lineno) for f in reversed(profile.samples[0].frames)]
    assert found == [
        ("(root)", "", 0),
        ("main", "/usr/bin/python3", 0),
        ("load", "https://a.example/b.js", 12),
        ("operator()", "int", 0),
        ("0x7f00", "", 0),
    ]
    assert rows(profile)[2] == ("", 3_000_000, 1_000_000, "running")


def test_processes_below_another_begin_later() -> None:
    profile = read(raw(["a"], 1000.0, processes=[raw(["b"], 1500.0)]))
    assert {(row[0], row[1]) for row in rows(profile) if row[0]} == {
        ("a", 1_000_000), ("a", 2_000_000), ("b", 501_000_000), ("b", 502_000_000),
    }  # fmt: skip


# --- what is no such file ---


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"weight": [1, 1, 1], "weightType": "bytes"}, "weightType is 'bytes'"),
        ({"weight": [1, -1, 1]}, r"weight\[1\] should be a number, not negative"),
        ({"weight": [1, 1]}, "has 2 rows, not 3"),
        ({"stack": [0, 9, 0]}, r"threads\[0\].samples.stack\[1\]: 9 is no row of the 3 stacks"),
        ({"time": [0, 1, float("nan")]}, "should be a number of ms"),
        ({"time": [0, 1, 10**400]}, "should be a number of ms"),
        ({"time": [0, 1, 1e17]}, "292 years"),
        ({"weight": [1e15] * 3, "weightType": "tracing-ms"}, "292 years"),
    ],
)
def test_samples_that_cannot_be(change: dict[str, Any], message: str) -> None:
    with pytest.raises(FormatError, match=message):
        read(processed(61, **change))


def test_a_stack_below_itself_and_one_too_deep() -> None:
    document = processed(61)
    document["shared"]["stackTable"]["prefix"] = [0, 0, 0]
    with pytest.raises(FormatError, match="0 is no row of the 0 stacks before it"):
        read(document)
    deep = raw(["f"])
    stacks = [[row - 1 if row else None, 0] for row in range(30_000)]
    deep["threads"][0]["stackTable"]["data"] = stacks
    with pytest.raises(FormatError, match="a stack of 20001 frames"):
        read(deep)


anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=3),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3)
    ),
    max_leaves=5,
)


@settings(deadline=None)
@given(st.data())
def test_with_anything_anywhere_it_is_read_or_refused(data: st.DataObject) -> None:
    kind = data.draw(st.sampled_from([47, 58, 61, 0]))
    document = processed(kind) if kind else raw(["a", "b"], processes=[raw(["c"])])
    document = json.loads(json.dumps(document))  # nothing of it is anybody else's
    for _ in range(data.draw(st.integers(1, 3))):
        node: Any = document
        while True:
            keys = list(node) if isinstance(node, dict) else list(range(len(node)))
            if not keys:
                break
            key = data.draw(st.sampled_from(keys))
            if isinstance(node[key], (dict, list)) and data.draw(st.integers(0, 3)):
                node = node[key]
                continue
            node[key] = data.draw(anything)
            break
    try:
        profile = loads(json.dumps(document).encode(), "gecko")
    except FormatError:
        return
    assert profile.tree() is not None
    assert len(list(profile.samples)) == profile.sample_count
