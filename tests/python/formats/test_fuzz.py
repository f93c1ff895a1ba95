"""Files that nobody meant: every loader gives a profile or a FormatError, never anything else."""

from __future__ import annotations

import gzip
import io
import json
import zlib
from datetime import datetime, timezone

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from spprof import Frame, Profile, Sample
from spprof._profile.model import loads
from spprof.formats import FORMATS, FormatError, container

READABLE = [entry.name for entry in FORMATS.values() if entry.readable]
START = datetime(2026, 5, 1, tzinfo=timezone.utc)

# A file can hold any text, a surrogate from an undecodable file name included.
names = st.text(max_size=12)
frames = st.builds(Frame, names, names, st.integers(0, 2**31 - 1), st.booleans()) | st.sampled_from(
    [Frame("main", "a.py", 1), Frame("f", "a.py", 2), Frame("memcpy", "c.so", 0, True)]
)
samples = st.builds(
    Sample,
    st.none() | st.integers(0, 2**62),
    st.integers(0, 2**40),
    names,
    st.lists(frames, max_size=6),
    st.none() | st.integers(0, 2**50),
    st.sampled_from(["running", "waiting"]),
    st.sampled_from([None, True, False]),
)
profiles = st.builds(
    lambda samples, dropped, notes: Profile(START, START, 10, samples, dropped, notes=notes),
    st.lists(samples, max_size=8),
    st.integers(0, 10**6),
    st.lists(names, max_size=2),
)

fuzz = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])


def dumped(profile: Profile, format: str, **options: bool) -> bytes:
    file = io.BytesIO()
    FORMATS[format].dump(profile._tables, file, **options)
    return file.getvalue()


def loads_or_refuses(data: bytes, format: str | None = None) -> None:
    try:
        profile = loads(data, format)
    except FormatError:
        return
    # Whatever was accepted has to answer every question.
    list(profile.samples)
    str(profile), profile.tree(), profile.threads, profile.aggregate().stacks
    assert loads(container.encode(profile._tables)) == profile
    for name in FORMATS:
        if name != "html":
            dumped(profile, name)


@fuzz
@given(profiles)
def test_spprof_loses_nothing(profile) -> None:
    loaded = loads(container.encode(profile._tables))
    assert loaded == profile
    assert list(loaded.samples) == list(profile.samples)


def per_stack(profile: Profile, *, by_thread: bool = True) -> dict[object, list[int]]:
    sums: dict[object, list[int]] = {}
    for stack in profile.aggregate().stacks:
        key = (stack.thread_id, stack.thread_name) if by_thread else None, stack.frames
        entry = sums.setdefault(key, [0, 0])
        entry[0] += stack.count
        entry[1] += stack.weight_ns or 0
    return sums


def without_surrogates(profile: Profile) -> bool:
    texts = profile._tables.strings + [t["name"] for t in profile._tables.threads]
    return not any("\ud800" <= c <= "\udfff" for text in texts for c in text)


@fuzz
@given(profiles)
def test_speedscope_keeps_stacks_counts_and_weights(profile) -> None:
    if any(not f.function_name for s in profile.samples for f in s.frames):
        return  # Speedscope cannot show a function without a name; it gets one
    loaded = loads(dumped(profile, "speedscope", lines=True))
    assert per_stack(loaded) == per_stack(profile)


@fuzz
@given(profiles)
def test_pprof_keeps_stacks_counts_and_weights(profile) -> None:
    if not without_surrogates(profile) or any(
        f.is_native and f.filename == "[python]" for s in profile.samples for f in s.frames
    ):
        return
    # A label that is empty or 0 is none at all.
    if any(not t.name or not t.thread_id for t in profile.threads):
        return
    assert per_stack(loads(dumped(profile, "pprof"))) == per_stack(profile)


@fuzz
@given(profiles)
def test_collapsed_keeps_counts_and_names(profile) -> None:
    def shown(profile: Profile) -> dict[object, int]:
        sums: dict[object, int] = {}
        for s in profile.aggregate().stacks:
            key = tuple(f.function_name for f in s.frames)
            sums[key] = sums.get(key, 0) + s.count
        return sums

    if without_surrogates(profile):
        assert shown(loads(dumped(profile, "collapsed"), "collapsed")) == shown(profile)


@pytest.mark.parametrize("format", [None, *READABLE])
@fuzz
@given(data=st.binary(max_size=300))
def test_random_bytes(format, data) -> None:
    loads_or_refuses(data, format)


@pytest.mark.parametrize("format", READABLE)
@fuzz
@given(profile=profiles, data=st.data())
def test_damaged_files(format, profile, data) -> None:
    raw = dumped(profile, format)
    if format == "pprof":
        raw = gzip.decompress(raw)
    if not raw:
        return
    damaged = bytearray(raw)
    for _ in range(data.draw(st.integers(1, 4))):
        position = data.draw(st.integers(0, len(damaged) - 1))
        kind = data.draw(st.sampled_from(["change", "delete", "repeat"]))
        if kind == "change":
            damaged[position] = data.draw(st.integers(0, 255))
        elif kind == "delete" and len(damaged) > 8:
            del damaged[position : position + data.draw(st.integers(1, 8))]
        else:
            damaged[position:position] = damaged[position : position + 8]
        if not damaged:
            return
    if format == "spprof":
        # Behind a right checksum, as from a writer with a bug.
        body = bytes(damaged[:-4])
        loads_or_refuses(body + zlib.crc32(body).to_bytes(4, "little"))
    loads_or_refuses(bytes(damaged), format)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(names, inner, max_size=4),
    max_leaves=8,
)


@fuzz
@given(profile=profiles, data=st.data())
def test_speedscope_with_anything_anywhere(profile, data) -> None:
    document = json.loads(dumped(profile, "speedscope"))
    for _ in range(data.draw(st.integers(1, 3))):
        node = document
        while True:
            keys = list(node) if isinstance(node, dict) else list(range(len(node)))
            if not keys:
                break
            key = data.draw(st.sampled_from(keys))
            if isinstance(node[key], (dict, list)) and data.draw(st.booleans()):
                node = node[key]
                continue
            node[key] = data.draw(json_values)
            break
    loads_or_refuses(json.dumps(document).encode(), "speedscope")


@fuzz
@given(profile=profiles, data=st.data())
def test_container_header_with_anything_anywhere(profile, data) -> None:
    raw = container.encode(profile._tables)
    length = int.from_bytes(raw[12:16], "little")
    header = json.loads(raw[16 : 16 + length])
    node = header
    while True:
        keys = list(node) if isinstance(node, dict) else list(range(len(node)))
        if not keys:
            break
        key = data.draw(st.sampled_from(keys))
        if isinstance(node[key], (dict, list)) and data.draw(st.booleans()):
            node = node[key]
            continue
        node[key] = data.draw(json_values)
        break
    text = json.dumps(header, separators=(",", ":")).encode()
    if len(text) > length:
        return
    body = raw[:16] + text.ljust(length) + raw[16 + length : -4]
    loads_or_refuses(body + zlib.crc32(body).to_bytes(4, "little"), "spprof")
