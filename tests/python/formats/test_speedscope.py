"""What Speedscope files hold, and what is read from those of other tools."""

from __future__ import annotations

import json
from typing import Any

import pytest
from small_profiles import MAIN, WORK, one, plain

from spprof import Profile, Sample
from spprof._profile import tables as columns
from spprof._profile.model import loads
from spprof.formats import FormatError


class TestSpeedscope:
    def test_layout(self) -> None:
        profile = plain(
            Sample(0, 1, "a", [WORK, MAIN], 5),
            Sample(1, 2, "b", [MAIN], 7),
            Sample(2, 1, "a", [MAIN], 1),
        )
        document = profile.to_speedscope("title")
        assert document["$schema"] == "https://www.speedscope.app/file-format-schema.json"
        assert document["name"] == "title"
        assert document["exporter"].startswith("spprof@")
        first, second = document["profiles"]
        frames = [f["name"] for f in document["shared"]["frames"]]
        assert [[frames[i] for i in stack] for stack in first["samples"]] == [
            ["main", "work"],
            ["main"],
        ]
        assert (first["type"], first["unit"], first["weights"]) == (
            "sampled",
            "nanoseconds",
            [5, 1],
        )
        assert (first["startValue"], first["endValue"], second["endValue"]) == (0, 6, 7)
        assert document["activeProfileIndex"] == 1
        assert "counts" not in first

    def test_one_frame_a_function_at_its_first_line(self) -> None:
        b = columns.Builder()
        func = b.func("f", "a.py", 10)
        for line in (11, 12):
            b.row(b.thread(1, "t"), b.stack_of([b.frame(func, line)]), weight=1)
        b.tables.meta = plain()._tables.meta
        profile = Profile._of(b.tables)
        assert [f["line"] for f in profile.to_speedscope()["shared"]["frames"]] == [10]
        assert [f["line"] for f in profile.to_speedscope(lines=True)["shared"]["frames"]] == [
            11,
            12,
        ]

    def test_of_other_tools(self) -> None:
        document = {
            "shared": {"frames": [{"name": "f", "file": "/x/f.py", "line": 3}, {"name": "g"}]},
            "profiles": [
                {
                    "type": "sampled",
                    "name": "Thread 0x7f \"MainThread\"",
                    "unit": "seconds",
                    "startValue": 0,
                    "endValue": 1,
                    "samples": [[0, 1], [0], []],
                    "weights": [0.01, 0.5, 0.25],
                },
                {
                    "type": "evented",
                    "name": "w",
                    "unit": "milliseconds",
                    "startValue": 1,
                    "endValue": 9,
                    "events": [
                        {"type": "O", "frame": 0, "at": 1},
                        {"type": "O", "frame": 1, "at": 3},
                        {"type": "C", "frame": 1, "at": 6.5},
                        {"type": "C", "frame": 0, "at": 7},
                    ],
                },
                {"type": "sampled", "name": "n", "unit": "none", "startValue": 0, "endValue": 3,
                 "samples": [[1]], "weights": [3]},
            ],
            "exporter": "other@1",
        }  # fmt: skip
        profile = loads(json.dumps(document).encode())
        first, second, third = profile.threads
        assert (first.name, first.weight_ns) == ('Thread 0x7f "MainThread"', 760_000_000)
        assert (second.weight_ns, second.samples) == (6_000_000, 3)
        assert (third.weight_ns, third.samples) == (3_000_000, 3)
        top = {s.function_name: s.self_ns for s in profile.filter(thread="w").top()}
        assert top == {"f": 2_500_000, "g": 3_500_000}
        assert profile.top(1, "total")[0].lineno == 3
        assert any("other@1" in note for note in profile.notes)
        assert any("1 ms" in note for note in profile.notes)

    @pytest.mark.parametrize(
        ("change", "message"),
        [
            ({"shared": 1}, "top: shared should be an object"),
            ({"shared": {"frames": [{}]}}, r"shared.frames\[0\]: name"),
            ({"shared": {"frames": [{"name": "f", "line": -1}]}}, "line should be a line number"),
            ({"profiles": {}}, "profiles should be a list"),
            ({"profiles": [{"type": "sampled", "unit": "bytes"}]}, "unit is 'bytes'"),
            ({"profiles": [{"type": "odd", "unit": "none"}]}, "type is 'odd'"),
        ],
    )
    def test_damaged_documents(self, change: dict[str, Any], message: str) -> None:
        document = {**plain().to_speedscope(), **change}
        with pytest.raises(FormatError, match=message):
            loads(json.dumps(document).encode())

    @pytest.mark.parametrize(
        ("change", "message"),
        [
            ({"samples": [[9]]}, r"profiles\[0\].samples\[0\] should hold indices"),
            ({"samples": [[True]]}, "should hold indices"),
            ({"samples": [0]}, "should hold indices"),
            ({"weights": [1, 2]}, "1 samples but 2 weights"),
            ({"weights": [-1]}, "not negative"),
            ({"weights": ["1"]}, "not negative"),
            ({"weights": [1e300]}, "292 years"),
            ({"counts": [0]}, "one positive integer a sample"),
        ],
    )
    def test_damaged_profiles(self, change: dict[str, Any], message: str) -> None:
        document = one(MAIN).to_speedscope()
        document["profiles"][0].update(change)
        with pytest.raises(FormatError, match=message):
            loads(json.dumps(document).encode())

    @pytest.mark.parametrize(
        ("events", "message"),
        [
            ([("C", 0, 1)], "not the innermost"),
            ([("O", 0, 1)], "never closed"),
            ([("O", 0, 2), ("C", 0, 1)], "earlier"),
            ([("X", 0, 1)], 'neither "O" nor "C"'),
            ([("O", 5, 1)], "index into shared.frames"),
        ],
    )
    def test_damaged_events(self, events: list[tuple[str, int, int]], message: str) -> None:
        document = one(MAIN).to_speedscope()
        document["profiles"][0] = {
            "type": "evented", "name": "x", "unit": "none", "startValue": 0, "endValue": 9,
            "events": [{"type": t, "frame": f, "at": at} for t, f, at in events],
        }  # fmt: skip
        with pytest.raises(FormatError, match=message):
            loads(json.dumps(document).encode())
