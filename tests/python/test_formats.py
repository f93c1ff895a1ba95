"""What saving and loading promise, format by format; real clients are in test_formats_clients."""

from __future__ import annotations

import base64
import gzip
import json
import os
import re
import resource
import signal
import stat
import subprocess
import sys
import tempfile
import xml.etree.ElementTree as ET
import zlib
from datetime import datetime, timezone
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

import spprof
from spprof import _columns as columns
from spprof import formats
from spprof._model import Frame, Profile, Sample
from spprof.formats import FORMATS, FormatError, container, pprof

START = datetime(2026, 5, 1, tzinfo=timezone.utc)
SVG = "{http://www.w3.org/2000/svg}"

MAIN, WORK = Frame("main", "app.py", 3), Frame("work", "app.py", 10)


def plain(*samples: Sample, **more: object) -> Profile:
    return Profile(START, START, 10, samples, **more)


def one(*frames: Frame) -> Profile:
    return plain(Sample(0, 1, "t", frames))


def names_in(folder: Path) -> list[str]:
    return [path.name for path in folder.iterdir()]


# Every format: same total, same top ten


Rows = list[tuple[str, str, int]]


def top_of(profile: Profile, by: str) -> Rows:
    """Function, file and self time or self samples of the ten functions with most of it."""
    rows = []
    for s in profile.top(None):
        rows.append((s.function_name, s.filename, s.self_ns if by == "ns" else s.self_samples))
    return sorted(rows, key=lambda row: (-row[2], row))[:10]


def gecko_top(path: Path) -> tuple[int, Rows]:
    document = json.loads(path.read_text())
    shared = document["shared"]
    strings, funcs = shared["stringArray"], shared["funcTable"]
    sums: dict[tuple[str, str], int] = {}
    for thread in document["threads"]:
        samples = thread["samples"]
        for stack, weight in zip(samples["stack"], samples["weight"]):
            func = shared["frameTable"]["func"][shared["stackTable"]["frame"][stack]]
            if funcs["resource"][func] >= 0:
                lib = shared["resourceTable"]["lib"][funcs["resource"][func]]
                file = document["libs"][lib]["path"]
            else:
                file = strings[shared["sources"]["filename"][funcs["source"][func]]]
            key = strings[funcs["name"][func]], file
            sums[key] = sums.get(key, 0) + round(weight * 1e6)
    rows = sorted(((*k, v) for k, v in sums.items()), key=lambda row: (-row[2], row))
    return sum(sums.values()), rows[:10]


def svg_top(path: Path) -> tuple[int, Rows]:
    # Widths are rounded to a hundredth of a pixel; titles have the times in full microseconds.
    whole, sums = 0.0, {}
    for group in ET.parse(path).iter(f"{SVG}g"):
        title = group.find(f"{SVG}title")
        if title is None:
            continue
        head, numbers = (title.text or "").rsplit("\n", 1)
        width = float(group.find(f"{SVG}rect").get("width"))
        if head == "all":
            whole = width
            continue
        match = re.fullmatch(r"(.*?) \(([^()]*?)(?::\d+)?\)(?: native)?", head)
        assert match is not None, head
        share = float(numbers.rsplit("self ", 1)[1].rstrip("%")) / 100
        key = match[1], match[2]
        sums[key] = sums.get(key, 0.0) + share
    assert whole == pytest.approx(1184)
    rows = sorted(((*k, round(v * 1e4)) for k, v in sums.items()), key=lambda r: (-r[2], r))
    return round(sum(sums.values()) * 1e4), rows[:10]


def html_profile(path: Path) -> Profile:
    text = path.read_text(encoding="utf-8")
    match = re.search(r'<script id="spprof-profile"[^>]*data-encoding="deflate">([^<]*)<', text)
    assert match is not None
    return container.decode(zlib.decompress(base64.b64decode(match[1])))


needs_front_end = pytest.mark.skipif(
    not (Path(spprof.__file__).parent / "static" / "standalone.js").exists(),
    reason="the front end is not built",
)
EVERY_FORMAT = [
    pytest.param(name, marks=needs_front_end if name == "html" else ()) for name in FORMATS
]


@pytest.mark.parametrize("format", EVERY_FORMAT)
def test_every_format_has_the_same_total_and_top_ten(format, make_profile, tmp_path) -> None:
    profile = make_profile(600, seed=11)
    path = tmp_path / "p"
    profile.save(path, format, **({"min_share": 0} if format == "svg" else {}))
    expected = top_of(profile, "ns")
    if format == "collapsed":
        loaded = spprof.load(path)
        assert loaded.sample_count == profile.sample_count
        assert top_of(loaded, "samples") == top_of(profile, "samples")
    elif format == "gecko":
        total, rows = gecko_top(path)
        assert total == profile.total_weight_ns
        assert rows == expected
    elif format == "svg":
        total, rows = svg_top(path)
        assert total == pytest.approx(10_000, abs=100)
        shares = {(n, f): ns / profile.total_weight_ns for n, f, ns in top_of(profile, "ns")}
        assert {(n, f): v / 1e4 for n, f, v in rows} == pytest.approx(shares, abs=0.004)
    else:
        loaded = html_profile(path) if format == "html" else spprof.load(path)
        assert loaded.total_weight_ns == profile.total_weight_ns
        assert loaded.sample_count == profile.sample_count
        assert top_of(loaded, "ns") == expected


# Round trips


class TestRoundTrips:
    def test_spprof_loses_nothing(self, make_profile, tmp_path) -> None:
        profile = make_profile()
        profile.save(tmp_path / "p.spprof")
        loaded = spprof.load(tmp_path / "p.spprof")
        assert loaded == profile
        assert loaded.samples == profile.samples
        assert loaded._tables.meta == profile._tables.meta

    @pytest.mark.parametrize("format", ["speedscope", "pprof"])
    def test_trees_threads_and_circumstances_come_back(
        self, format, make_profile, tmp_path
    ) -> None:
        profile = make_profile()
        profile.save(tmp_path / "p", format)
        loaded = spprof.load(tmp_path / "p")
        assert loaded.tree() == profile.tree()
        seen = [(t.thread_id, t.name, t.pid, t.samples, t.weight_ns) for t in loaded.threads]
        assert seen == [
            (t.thread_id, t.name, t.pid, t.samples, t.weight_ns) for t in profile.threads
        ]
        for name in ("start_time", "end_time", "interval_ms", "mode", "engine", "dropped_count"):
            assert getattr(loaded, name) == getattr(profile, name)
        assert loaded.notes == profile.notes

    def test_pprof_keeps_lines_and_addresses(self, make_profile, tmp_path) -> None:
        profile = make_profile()
        profile.save(tmp_path / "p.pb.gz")
        assert spprof.load(tmp_path / "p.pb.gz").tree(lines=True) == profile.tree(lines=True)

    def test_speedscope_keeps_lines_when_asked(self, make_profile, tmp_path) -> None:
        profile = make_profile()
        profile.save(tmp_path / "p.json", lines=True)
        before = [(s.lineno, s.self_ns) for s in profile.top(None, lines=True)]
        after = [
            (s.lineno, s.self_ns) for s in spprof.load(tmp_path / "p.json").top(None, lines=True)
        ]
        assert after == before

    def test_speedscope_file_is_its_dict(self, make_profile, tmp_path) -> None:
        for profile in (make_profile(), make_profile(threads=1), plain()):
            profile.save(tmp_path / "p.json")
            assert json.loads((tmp_path / "p.json").read_text()) == profile.to_speedscope()

    def test_collapsed_file_is_its_text(self, make_profile, tmp_path) -> None:
        profile = make_profile()
        profile.save(tmp_path / "p.txt")
        assert (tmp_path / "p.txt").read_text(encoding="utf-8") == profile.to_collapsed()

    @pytest.mark.parametrize("format", [f.name for f in FORMATS.values() if f.readable])
    def test_profile_without_samples(self, format, tmp_path) -> None:
        plain().save(tmp_path / "p", format)
        if format == "collapsed":
            assert (tmp_path / "p").read_bytes() == b""
        else:
            assert spprof.load(tmp_path / "p").sample_count == 0

    def test_same_profile_gives_the_same_bytes(self, make_profile, tmp_path) -> None:
        for name in FORMATS:
            if name == "html" and not (Path(spprof.__file__).parent / "static").exists():
                continue
            for copy in ("a", "b"):
                make_profile().save(tmp_path / copy, name)
            assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes(), name


# Single formats


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
        profile = formats.loads(json.dumps(document).encode())
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
            formats.loads(json.dumps(document).encode())

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
            formats.loads(json.dumps(document).encode())

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
            formats.loads(json.dumps(document).encode())


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
        loaded = formats.loads(text.encode(), "collapsed")
        assert [s.frames for s in loaded.samples] == [(leaf, MAIN)] * threads
        if threads > 1:
            assert [t.name for t in loaded.threads] == [name or "t"] * threads

    @pytest.mark.parametrize(
        "module", ["/usr/lib/libfoo.so.1", "python3.11", "", "a (b):1", "C:\\x.dll"]
    )
    def test_native_frames_come_back(self, module: str) -> None:
        leaf = Frame("ns::f(int, char)", module, 0, is_native=True)
        loaded = formats.loads(one(leaf, MAIN).to_collapsed().encode())
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
        loaded = formats.loads(profile.to_collapsed().encode())
        assert [(t.pid, t.host) for t in loaded.threads] == [(0, "far away"), (1, "far away")]

    def test_of_other_tools(self) -> None:
        text = "main (app.py:3);work (lib/x.py:7);memcpy (libc.so.6) 12\nswapper;start_kernel 3\n\n"
        profile = formats.loads(text.encode(), interval_ms=10)
        assert profile.sample_count == 15
        assert profile.total_weight_ns == 150_000_000
        natives = {s.function_name for s in profile.top(None) if s.is_native}
        assert natives == {"memcpy"}
        assert profile.notes == ()

    def test_says_which_line_is_wrong(self) -> None:
        with pytest.raises(FormatError, match="line 2: should be frames, a space and a number"):
            formats.loads(b"a;b 3\na;b c\n")

    def test_counts_beyond_a_cell(self) -> None:
        with pytest.raises(FormatError, match="line 1: 99999999999 samples"):
            formats.loads(b"a 99999999999\n")


class TestContainer:
    def test_layout_is_as_documented(self, make_profile) -> None:
        profile = make_profile()
        data = container.encode(profile)
        assert data[:8] == b"SPPROF\r\n"
        assert int.from_bytes(data[8:12], "little") == 1
        length = int.from_bytes(data[12:16], "little")
        header = json.loads(data[16 : 16 + length])
        assert set(header) == {"meta", "threads", "columns"}
        for entry in header["columns"]:
            assert entry["offset"] % 8 == 0
            assert entry["offset"] >= 16 + length
        names = {entry["name"] for entry in header["columns"]}
        assert names == {"strings.bytes", "strings.offsets", *columns.COLUMN_TYPES}
        assert int.from_bytes(data[-4:], "little") == zlib.crc32(data[:-4])

    def test_every_damaged_byte_is_noticed(self, make_profile) -> None:
        data = container.encode(make_profile(20, stacks=3))
        for position in range(len(data)):
            damaged = bytearray(data)
            damaged[position] ^= 0x10
            with pytest.raises(FormatError, match="byte"):
                container.decode(bytes(damaged))
        for length in range(0, len(data), 97):
            with pytest.raises(FormatError, match="byte"):
                container.decode(data[:length])

    def test_a_newer_version_is_named(self, make_profile) -> None:
        data = bytearray(container.encode(make_profile(5)))
        data[8] = 2
        with pytest.raises(FormatError, match=r"version 2.*newer spprof"):
            container.decode(bytes(data))

    def test_columns_added_later_are_skipped(self, make_profile) -> None:
        profile = make_profile(5)
        data = container.encode(profile)
        length = int.from_bytes(data[12:16], "little")
        header = json.loads(data[16 : 16 + length])
        header["columns"].append({"name": "sample.new", "type": "u128", "offset": 0, "length": 1})
        header["later"] = 1
        text = json.dumps(header, separators=(",", ":")).encode()
        # The columns stay where they are: the longer header takes the room left for it.
        assert len(text) <= length
        changed = data[:16] + text.ljust(length) + data[16 + length : -4]
        assert container.decode(changed + zlib.crc32(changed).to_bytes(4, "little")) == profile

    def test_display_form_is_bounded_and_keeps_totals(self, make_profile, monkeypatch) -> None:
        profile = make_profile(5000, stacks=8)
        monkeypatch.setattr(container, "DISPLAY_ROWS", 700)
        shown = container.decode(container.encode(profile, for_display=True))
        assert shown._tables.rows <= 700
        assert shown.total_weight_ns == profile.total_weight_ns
        assert shown.sample_count == profile.sample_count
        assert shown.tree() == profile.tree()
        assert [t.gil_share for t in shown.threads] == [t.gil_share for t in profile.threads]
        rows: dict[int, int] = {}
        t = shown._tables
        for thread, time, last in zip(t.sample_thread, t.sample_time, t.sample_last):
            assert rows.get(thread, 0) <= time <= last
            rows[thread] = last
        assert container.encode(profile) == b"".join(container._parts(profile._tables))


class TestPprof:
    def test_reads_what_is_not_gzipped(self, make_profile, tmp_path) -> None:
        profile = make_profile()
        profile.save(tmp_path / "p.pb.gz")
        raw = gzip.decompress((tmp_path / "p.pb.gz").read_bytes())
        assert formats.loads(raw).tree() == profile.tree()

    def test_of_other_tools(self) -> None:
        texts = ["", "cpu", "nanoseconds", "samples", "count", "f", "f.go", "g", "/bin/prog"]
        inlined = pprof._bytes(4, pprof._int(1, 1) + pprof._int(2, 7)) + pprof._bytes(
            4, pprof._int(1, 2) + pprof._int(2, 8)
        )
        message = b"".join(
            [
                pprof._bytes(1, pprof._int(1, 3) + pprof._int(2, 4)),
                pprof._bytes(1, pprof._int(1, 1) + pprof._int(2, 2)),
                # Unpacked repeated fields are allowed too.
                pprof._bytes(2, pprof._int(1, 5) + pprof._int(2, 3) + pprof._int(2, 30)),
                pprof._bytes(2, pprof._packed(1, [6]) + pprof._packed(2, [1, 10])),
                pprof._bytes(3, pprof._int(1, 1) + pprof._int(5, 8)),
                pprof._bytes(4, pprof._int(1, 5) + pprof._int(2, 1) + pprof._int(3, 64) + inlined),
                pprof._bytes(4, pprof._int(1, 6) + pprof._int(2, 1) + pprof._int(3, 255)),
                pprof._bytes(5, pprof._int(1, 1) + pprof._int(2, 5) + pprof._int(4, 6)),
                pprof._bytes(5, pprof._int(1, 2) + pprof._int(2, 7) + pprof._int(4, 6)),
                *[pprof._bytes(6, text.encode()) for text in texts],
            ]
        )
        profile = formats.loads(message)
        assert profile.total_weight_ns == 40
        assert profile.sample_count == 4
        stacks = {s.frames: s.weight_ns for s in profile.aggregate().stacks}
        assert stacks == {
            (Frame("f", "f.go", 7, True), Frame("g", "f.go", 8, True)): 30,
            (Frame("0xff", "/bin/prog", 0, True),): 10,
        }

    def test_memory_profiles_are_refused_by_name(self) -> None:
        message = pprof._bytes(1, pprof._int(1, 1) + pprof._int(2, 2))
        message += b"".join(pprof._bytes(6, text) for text in (b"", b"inuse_space", b"bytes"))
        with pytest.raises(FormatError, match="measures inuse_space/bytes"):
            formats.loads(message, "pprof")

    def test_damaged_files(self, make_profile, tmp_path) -> None:
        make_profile().save(tmp_path / "p.pb.gz")
        data = (tmp_path / "p.pb.gz").read_bytes()
        with pytest.raises(FormatError, match="gzip data is damaged or incomplete"):
            formats.loads(data[:-20])
        raw = gzip.decompress(data)
        with pytest.raises(FormatError, match="byte"):
            formats.loads(raw[:-3])


class TestSvg:
    def test_is_bounded(self, make_profile, tmp_path) -> None:
        profile = make_profile(5000, stacks=3000)
        profile.save(tmp_path / "all.svg", min_share=0)
        assert (tmp_path / "all.svg").stat().st_size > 300_000
        for bound in (150_000, 30_000, 12_000):
            profile.save(tmp_path / "p.svg", max_bytes=bound)
            assert (tmp_path / "p.svg").stat().st_size <= bound
            ET.parse(tmp_path / "p.svg")
        with pytest.raises(ValueError, match="too small"):
            profile.save(tmp_path / "p.svg", max_bytes=100)

    def test_deep_stacks_are_cut_to_fit(self, tmp_path) -> None:
        one(*[WORK] * 5000).save(tmp_path / "p.svg", max_bytes=50_000)
        assert 20_000 < (tmp_path / "p.svg").stat().st_size <= 50_000

    def test_narrow_frames_are_folded_not_lost(self, tmp_path) -> None:
        narrow = [Sample(None, 1, "t", [Frame(f"n{i}", "n.py", 1), MAIN]) for i in range(50)]
        wide = [Sample(None, 1, "t", [WORK, MAIN])] * 50
        plain(*narrow, *wide).save(tmp_path / "p.svg", min_share=0.02)
        titles = [e.text or "" for e in ET.parse(tmp_path / "p.svg").iter(f"{SVG}title")]
        (folded,) = [t for t in titles if "narrow frames" in t]
        assert folded.startswith("50 narrow frames: n0, n1")
        assert folded.endswith("50.00%")

    def test_any_name_gives_well_formed_xml(self, tmp_path) -> None:
        names = ["<script>alert(1)</script>", 'a"b', "]]>", "\x00\x1b", "\udc80", "&amp;", "😀"]
        plain(*[Sample(None, 1, n, [Frame(n, n, 1)]) for n in names]).save(tmp_path / "p.svg")
        root = ET.parse(tmp_path / "p.svg").getroot()
        assert len(root.findall(f".//{SVG}script")) == 1


class TestHtml:
    @needs_front_end
    def test_names_cannot_leave_the_page(self, tmp_path) -> None:
        one(Frame("</script><script>alert(1)</script>", "x", 1)).save(
            tmp_path / "p.html", title="</title><script>alert(2)</script>"
        )
        seen: list[tuple[str, str]] = []

        class Reader(HTMLParser):
            def handle_starttag(self, tag: str, attrs: object) -> None:
                seen.append((tag, ""))

            def handle_data(self, data: str) -> None:
                if seen:
                    seen[-1] = seen[-1][0], seen[-1][1] + data

        Reader().feed((tmp_path / "p.html").read_text(encoding="utf-8"))
        assert [tag for tag, _ in seen].count("script") == 3
        (title,) = [text for tag, text in seen if tag == "title"]
        assert title.strip() == "</title><script>alert(2)</script>"

    @needs_front_end
    def test_sources_only_when_asked_for(self, tmp_path) -> None:
        code = "def f():\n    secret = 1\n"
        (tmp_path / "f.py").write_text(code)
        profile = one(Frame("f", str(tmp_path / "f.py"), 2), Frame("g", "/not/here.py", 1))

        def sources(**options: bool) -> object:
            profile.save(tmp_path / "p.html", **options)
            text = (tmp_path / "p.html").read_text(encoding="utf-8")
            match = re.search(r'<script id="spprof-sources"[^>]*>([^<]*)<', text)
            return match and json.loads(zlib.decompress(base64.b64decode(match[1])))

        assert sources() is None
        assert sources(sources=True) == {str(tmp_path / "f.py"): code}

    @needs_front_end
    def test_asks_the_network_for_nothing(self, make_profile, tmp_path) -> None:
        make_profile().save(tmp_path / "p.html")
        text = (tmp_path / "p.html").read_text(encoding="utf-8")
        assert not re.findall(r"<(?:script|link|img|iframe)[^>]*(?:src|href)=", text)
        assert "default-src &#x27;none&#x27;" in text

    def test_says_what_to_do_when_the_front_end_is_missing(self, tmp_path, monkeypatch) -> None:
        from spprof.formats import html

        monkeypatch.setattr(html, "_STATIC", tmp_path / "static")
        with pytest.raises(FileNotFoundError, match="npm ci && npm run build"):
            one(MAIN).save(tmp_path / "p.html")
        assert list(tmp_path.iterdir()) == []


# The registry, sniffing, errors


class TestRegistry:
    @pytest.mark.parametrize(
        ("name", "format"),
        [
            ("p.json", "speedscope"),
            ("p.speedscope.json", "speedscope"),
            ("p.gecko.json", "gecko"),
            ("p.folded", "collapsed"),
            ("p.txt", "collapsed"),
            ("p.pb.gz", "pprof"),
            ("P.SVG", "svg"),
            ("p.html", "html"),
            ("p.spprof", "spprof"),
            ("p.unknown", "speedscope"),
            ("p", "speedscope"),
        ],
    )
    def test_extension_picks_the_format(self, name: str, format: str) -> None:
        assert formats.for_path(f"/some/where.svg/{name}").name == format

    @pytest.mark.parametrize("name", ["flame", "SVG", "", None, 3])
    def test_unknown_formats_are_listed(self, name: object, tmp_path) -> None:
        if name is None:
            return
        with pytest.raises(ValueError, match=r"^Unknown format .*speedscope, collapsed, pprof"):
            one(MAIN).save(tmp_path / "p", name)
        assert list(tmp_path.iterdir()) == []

    def test_content_decides_when_loading(self, make_profile, tmp_path) -> None:
        profile = make_profile()
        for entry in FORMATS.values():
            if entry.readable:
                profile.save(tmp_path / "no_extension", entry.name)
                loaded = spprof.load(tmp_path / "no_extension")
                assert loaded.sample_count == profile.sample_count

    def test_gzipped_files_are_unpacked(self, make_profile) -> None:
        text = json.dumps(make_profile().to_speedscope()).encode()
        assert formats.loads(gzip.compress(text)).tree() == make_profile().tree()
        with pytest.raises(FormatError, match="gzip data is damaged or incomplete"):
            formats.loads(gzip.compress(text)[:-20])

    def test_formats_that_cannot_be_read_back(self, make_profile, tmp_path) -> None:
        make_profile(9).save(tmp_path / "p.gecko.json")
        with pytest.raises(FormatError, match="a Firefox Profiler file"):
            spprof.load(tmp_path / "p.gecko.json")
        with pytest.raises(ValueError, match="gecko files cannot be read back; these can"):
            formats.loads(b"{}", "gecko")

    @pytest.mark.parametrize(
        ("data", "message"),
        [
            (b"", "the file is empty"),
            (b"  \n", "the file is empty"),
            (b"{", "line 1, column 2: not JSON"),
            (b'{"a": \xff}', "byte 6: not UTF-8"),
            (b"{}", 'not a Speedscope document: there is no "shared"'),
            (b"\x7fELF\x02\x01", "byte|protobuf|integer"),
            (b"SPPROF\n", "byte 6"),
            (b"<html>", "line 1: should be frames"),
            (b"[" * 100_000, "line 1"),
            (b'{"a":' * 100_000, "not JSON"),
        ],
    )  # fmt: skip
    def test_what_is_no_profile(self, data: bytes, message: str, tmp_path) -> None:
        (tmp_path / "bad").write_bytes(data)
        with pytest.raises(FormatError, match=message) as caught:
            spprof.load(tmp_path / "bad")
        assert str(tmp_path / "bad") in str(caught.value)
        assert len(str(caught.value)) < 400

    def test_missing_file(self, tmp_path) -> None:
        with pytest.raises(FileNotFoundError):
            spprof.load(tmp_path / "nothing")


# Whole or not at all


class TestSaving:
    def test_new_files_have_usual_permissions(self, tmp_path) -> None:
        previous = os.umask(0o027)
        try:
            one(MAIN).save(tmp_path / "p.json")
        finally:
            os.umask(previous)
        assert stat.S_IMODE((tmp_path / "p.json").stat().st_mode) == 0o640

    def test_replaced_files_keep_theirs(self, tmp_path) -> None:
        path = tmp_path / "p.json"
        path.write_text("old")
        path.chmod(0o604)
        one(MAIN).save(path)
        assert stat.S_IMODE(path.stat().st_mode) == 0o604
        assert spprof.load(path).sample_count == 1

    def test_goes_through_symbolic_links(self, tmp_path) -> None:
        (tmp_path / "real.json").write_text("old")
        (tmp_path / "link.json").symlink_to("real.json")
        one(MAIN).save(tmp_path / "link.json")
        assert (tmp_path / "link.json").is_symlink()
        assert spprof.load(tmp_path / "real.json").sample_count == 1

    def test_writes_to_what_cannot_be_replaced(self) -> None:
        one(MAIN).save("/dev/null")
        assert Path("/dev/null").is_char_device()

    @pytest.mark.parametrize("error", [KeyboardInterrupt, MemoryError, RuntimeError])
    def test_an_error_half_way_leaves_the_old_file(self, error, tmp_path) -> None:
        path = tmp_path / "p.json"
        path.write_text("old")

        def fail_half_way() -> None:
            with formats.replacing(path) as file:
                file.write(b"half")
                raise error

        with pytest.raises(error):
            fail_half_way()
        assert path.read_text() == "old"
        assert names_in(tmp_path) == ["p.json"]

    def test_a_full_disk_leaves_the_old_file(self, tmp_path, make_profile) -> None:
        path = tmp_path / "p.spprof"
        path.write_text("old")
        profile = make_profile()
        soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
        previous = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (1000, hard))
        try:
            with pytest.raises(OSError, match="too large") as caught:
                profile.save(path)
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
            signal.signal(signal.SIGXFSZ, previous)
        assert caught.value.filename == str(path)
        assert path.read_text() == "old"
        assert names_in(tmp_path) == ["p.spprof"]

    @pytest.mark.parametrize("do", [formats.check_writable, lambda p: one(MAIN).save(p)])
    def test_paths_that_cannot_be_written(self, do, tmp_path) -> None:
        (tmp_path / "file").write_text("")
        with pytest.raises(IsADirectoryError, match="it is a directory; name a file in it"):
            do(tmp_path)
        with pytest.raises(FileNotFoundError, match=r"there is no directory .*; create it first"):
            do(tmp_path / "missing" / "p.json")
        with pytest.raises(NotADirectoryError, match="is not a directory"):
            do(tmp_path / "file" / "p.json")
        assert names_in(tmp_path) == ["file"]

    @pytest.mark.parametrize(
        ("mode", "message"), [(0o755, "no permission to create files in"), (0o700, "to reach")]
    )
    def test_directories_of_others(self, mode, message) -> None:
        # Root may write anywhere, so that a child gives up its rights first.
        code = (
            "import os, sys\n"
            "from spprof import formats\n"
            "if os.getuid() == 0: os.setuid(65534)\n"
            "else: os.chmod(sys.argv[1], int(sys.argv[2]) & 0o555 if sys.argv[2] != '448' else 0)\n"
            "try: formats.check_writable(os.path.join(sys.argv[1], 'p.json'))\n"
            "except PermissionError as error: print(error)\n"
        )
        with tempfile.TemporaryDirectory() as folder:
            Path(folder).chmod(mode)
            done = subprocess.run(
                [sys.executable, "-c", code, folder, str(mode)], capture_output=True, text=True
            )
            Path(folder).chmod(0o755)
            assert done.stderr == ""
            assert f"{message} {folder}" in done.stdout
            assert "choose a path in a directory you own" in done.stdout
            assert names_in(Path(folder)) == []

    def test_check_writable_changes_nothing(self, tmp_path) -> None:
        path = tmp_path / "p.json"
        formats.check_writable(path)
        assert names_in(tmp_path) == []
        path.write_text("old")
        formats.check_writable(path)
        assert path.read_text() == "old"
