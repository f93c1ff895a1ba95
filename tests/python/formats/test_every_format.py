"""What every format promises: the same totals, and what comes back is what was saved."""

from __future__ import annotations

import base64
import json
import re
import xml.etree.ElementTree as ET
import zlib
from pathlib import Path
from urllib.parse import unquote

import pytest
from small_profiles import needs_front_end, plain

import spprof
from spprof import Profile
from spprof._profile.model import loads
from spprof.formats import FORMATS

Rows = list[tuple[str, str, int]]


SVG = "{http://www.w3.org/2000/svg}"


EVERY_FORMAT = [
    pytest.param(name, marks=needs_front_end if name == "html" else ()) for name in FORMATS
]


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


def cpuprofile_top(path: Path) -> tuple[int, Rows]:
    """As VS Code sums them: a sample lasts until the next one, the last one until the end."""
    document = json.loads(path.read_text())
    nodes = {node["id"]: node["callFrame"] for node in document["nodes"]}
    deltas = document["timeDeltas"]
    lasts = [*deltas[1:], document["endTime"] - document["startTime"] - sum(deltas)]
    sums: dict[tuple[str, str], int] = {}
    for sample, microseconds in zip(document["samples"], lasts):
        call = nodes[sample]
        key = call["functionName"], unquote(call["url"].removeprefix("file://"))
        sums[key] = sums.get(key, 0) + round(microseconds * 1000)
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
    return loads(zlib.decompress(base64.b64decode(match[1])))


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
    elif format == "cpuprofile":
        total, rows = cpuprofile_top(path)
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
