"""Files made to harm whoever reads them: refused with a reason, within a time and memory bound.

Each is read under a timeout that a reader whose time grows with the square of the size would miss
by far.
"""

from __future__ import annotations

import gzip
import io
import json
import os
import zlib
from pathlib import Path

import pytest

from spprof import formats
from spprof._profile import sources
from spprof._profile.tables import Meta
from spprof.formats import FormatError, loads, registry

pytestmark = pytest.mark.timeout(60)

NINES = "9" * 400


def speedscope(**changes: object) -> bytes:
    document = {
        "shared": {"frames": [{"name": "a"}]},
        "profiles": [
            {"type": "sampled", "unit": "seconds", "samples": [[0]], "weights": [1]},
        ],
    }
    return json.dumps({**document, **changes}).encode()


def sampled(**changes: object) -> bytes:
    profile = {"type": "sampled", "unit": "seconds", "samples": [[0]], "weights": [1], **changes}
    return speedscope(profiles=[profile])


def evented(at: float) -> bytes:
    events = [{"type": "O", "frame": 0, "at": 0}, {"type": "C", "frame": 0, "at": at}]
    return speedscope(profiles=[{"type": "evented", "unit": "seconds", "events": events}])


REFUSED = {
    "1e308 seconds": sampled(weights=[1e308]),
    "no number": sampled(weights=[float("nan")]),
    "infinite": sampled(weights=[float("inf")]),
    "400 digits": sampled(weights=[int(NINES)]),
    "400 digits, only counted": sampled(weights=[int(NINES)], unit="none"),
    "1e300, only counted": sampled(weights=[1e300], unit="none"),
    "an event at 1e308": evented(1e308),
    "a line of 400 digits": speedscope(shared={"frames": [{"name": "a", "line": int(NINES)}]}),
    "own duration of 400 digits": speedscope(spprof={"duration_ns": int(NINES)}),
    "own interval of 400 digits": speedscope(spprof={"interval_ns": int(NINES)}),
    "a thread of 400 digits": sampled(thread={"tid": int(NINES)}),
    "deeply nested": b'{"shared":' + b"[" * 100_000 + b"]" * 100_000 + b"}",
    "100,000 frames": sampled(samples=[[0] * 100_000]),
    "a count of 5,000 digits": b"a;b " + b"9" * 5000 + b"\n",
    "a count of 400 digits and a half": b"a;b " + NINES.encode() + b".5\n",
    "5 million frames": b"a;" * 5_000_000 + b"b 1\n",
    "a bomb": gzip.compress(bytes(80 << 20), 6),
    "a bomb of text": gzip.compress(b"a;b 1\n" * (14 << 20), 6),
    "an endless number": b"\x0a" + b"\xff" * 100,
}


@pytest.mark.parametrize("name", REFUSED)
def test_a_file_that_claims_too_much_is_refused(name: str) -> None:
    with pytest.raises(FormatError):
        loads(REFUSED[name])


READ = {
    "40,000 parentheses": b"a" + b" (" * 40_000 + b" 1\n",
    "40,000 parentheses, closed": b"a" + b" (" * 40_000 + b") 1\n",
    "a name of 2 MB": b"a" * 2_000_000 + b";b 1\n",
    "colons and digits": b"a (" + b":1" * 50_000 + b") 1\n",
    "a thread of 5,000 digits": b"thread (" + b"9" * 5000 + b"): x;a 1\n",
    "a line of 5,000 digits": b"a (f.py:" + b"9" * 5000 + b");b 1\n",
    "a thread's name of digits": sampled(name="x (" + "9" * 5000 + ")"),
    "the first year": speedscope(
        spprof={
            "start_time": "0001-01-01T00:00:00+14:00",
            "end_time": "0001-01-01T00:00:00+14:00",
        }
    ),
    "the last year": speedscope(
        spprof={
            "start_time": "9999-12-31T23:59:59-14:00",
            "end_time": "9999-12-31T23:59:59-14:00",
        }
    ),
    "half a character": sampled().replace(b'"a"', b'"\\ud800"'),
    "15,000 frames": b"a;" * 15_000 + b"b 1\n",
}


@pytest.mark.parametrize("name", READ)
def test_a_strange_file_is_read_and_written_in_every_format(name: str) -> None:
    tables = loads(READ[name])
    assert len(tables.sample_stack) == 1
    for entry in formats.FORMATS.values():
        entry.dump(tables, io.BytesIO())


@pytest.mark.slow
def test_a_profile_that_shrinks_well_is_read() -> None:
    text = "".join(f"main;f{i};g{i * 7 % 1000} {i}\n" for i in range(1, 200_000)).encode()
    assert len(loads(gzip.compress(text)).sample_stack) == 199_999


def test_a_file_that_is_too_large_is_not_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sparse = tmp_path / "large.collapsed"
    with sparse.open("wb") as file:
        file.truncate(registry._LARGEST_FILE + 1)
    with pytest.raises(FormatError, match=r"large\.collapsed: more than 2147483648 bytes"):
        formats.load(sparse)  # at once: not a byte of 2 GiB of zeros
    text = b"main;leaf 3\n"
    small = tmp_path / "small.collapsed"
    small.write_bytes(text)
    monkeypatch.setattr(registry, "_LARGEST_FILE", len(text))
    formats.load(small)
    small.write_bytes(text + b"\n")
    for path in (small, "/dev/zero") if os.path.exists("/dev/zero") else (small,):
        with pytest.raises(FormatError, match="aggregate=True"):
            formats.load(path)


def test_what_was_cut_off_is_said() -> None:
    with pytest.raises(FormatError, match="damaged or incomplete"):
        loads(gzip.compress(b"a;b 1\n" * 1000)[:50])
    with pytest.raises(FormatError, match="damaged or incomplete"):
        loads(zlib.compress(b"")[:0] + b"\x1f\x8b" + b"\0" * 40)


# --- what a profile from elsewhere may have us read ---


def test_a_profile_from_elsewhere_has_no_sources_read_unless_asked_for(tmp_path: Path) -> None:
    code = tmp_path / "code.py"
    code.write_text("secret = 1\n")
    # Neither file has been edited since: what ran is what is shown.
    foreign = Meta(end_time="2999-01-01T00:00:00+00:00")
    own = Meta(start_time="2020-01-01T00:00:00+00:00", end_time="2999-01-01T00:00:00+00:00")
    sources.recorded_here(own)
    assert sources.text_of(foreign, str(code), asked=False) == ""
    assert sources.text_of(foreign, str(code), asked=True) == "secret = 1\n"
    assert sources.text_of(own, str(code), asked=False) == "secret = 1\n"


def test_only_source_files_are_read_for_a_profile_from_elsewhere(tmp_path: Path) -> None:
    secret = tmp_path / "shadow"
    secret.write_text("root:secret\n")
    assert sources.text_of(Meta(), str(secret), asked=True) == ""
    assert sources.text_of(Meta(), str(tmp_path / "none.py"), asked=True) == ""
    assert sources.text_of(Meta(), "a\0b.py", asked=True) == ""


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="pipes and devices with names")
@pytest.mark.parametrize("mine", [False, True])
def test_neither_devices_nor_pipes_nor_huge_files_are_read(tmp_path: Path, mine: bool) -> None:
    meta = Meta(start_time=f"2021-01-01T00:00:0{mine:d}+00:00")
    if mine:
        sources.recorded_here(meta)
    pipe, zero, huge = tmp_path / "pipe.py", tmp_path / "zero.py", tmp_path / "huge.py"
    os.mkfifo(pipe)
    zero.symlink_to("/dev/zero")
    huge.touch()
    os.truncate(huge, sources.LARGEST_BYTES + 1)
    for file in (pipe, zero, huge, Path("/dev/zero"), tmp_path):
        assert sources.text_of(meta, str(file), asked=True) == ""
