"""Binary files of Python 3.15's profiler: what they hold comes back, whatever else is refused."""

from __future__ import annotations

import random
import struct
import subprocess
import sys
import time
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import spprof
from spprof._profile.model import loads
from spprof.formats import FormatError, _unpacking

# Made by Python 3.15.2 with `-r 250 -a --native` from the program beside them; the second one
# packed, the third with `--mode cpu` and without `--native`. It has been formatted since.
FILES = Path(__file__).parents[2] / "examples" / "other_tools"
PLAIN, PACKED, CPU = (FILES / f"python315{kind}.bin" for kind in ("", "_zstd", "_cpu"))
HAS_ZSTD = _unpacking._zstd() is not None
WALL, CPU_MODE = 1, 2
GIL, ON_CPU, UNKNOWN, WANTS_GIL, MAIN = 1, 2, 4, 8, 32


def number(value: int) -> bytes:
    parts = bytearray()
    while value >= 0x80:
        parts.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*parts, value])


class Writer:
    """A file of few records, in either order of bytes."""

    def __init__(self, order: str = "<", mode: int = WALL, interval_us: int = 1000) -> None:
        self.order, self.mode, self.interval_us = order, mode, interval_us
        self.names = ["/a.py", "main", "f", "g", "~", "<GC>"]
        # File, name, line; as the format has them, doubled where they are not negative.
        self.frames = [(0, 1, 10), (0, 2, 20), (0, 3, 30), (4, 5, 0)]
        self.records = b""
        self.samples = 0

    def record(self, tid: int, kind: int, *rest: bytes, samples: int = 1) -> Writer:
        self.records += struct.pack(self.order + "QIB", tid, 0, kind) + b"".join(rest)
        self.samples += samples
        return self

    def full(self, tid: int, delta: int, status: int, *inner_first: int) -> Writer:
        frames = b"".join(map(number, inner_first))
        size = number(len(inner_first))
        return self.record(tid, 1, number(delta), bytes([status]), size, frames)

    def change(self, kind: int, tid: int, delta: int, status: int, by: int, *new: int) -> Writer:
        head = (number(delta), bytes([status]), number(by), number(len(new)))
        return self.record(tid, kind, *head, *map(number, new))

    def repeat(self, tid: int, *times: tuple[int, int]) -> Writer:
        rows = b"".join(number(delta) + bytes([status]) for delta, status in times)
        return self.record(tid, 0, number(len(times)), rows, samples=len(times))

    def data(self, statistics: tuple[float, float] | None = None) -> bytes:
        strings = b"".join(number(len(n)) + n.encode() for n in self.names)
        frames = b"".join(
            number(file) + number(name) + number(line * 2) + b"\0\0\0\xff"
            for file, name, line in self.frames
        )
        extra = b""
        if statistics is not None:
            extra = struct.pack(self.order + "ddddII", statistics[0], 0, statistics[1], 0, 1, 0)
            extra += b"TACHSTAT" + struct.pack(self.order + "II", 1, 56)
        at = 64 + len(self.records)
        size = at + len(strings) + len(frames) + len(extra) + 32
        head = struct.pack(
            self.order + "II4BQQQIQQII", 0x54414348, 1, 3, 15, 2, 0, 5_000_000, self.interval_us,
            self.samples, 9, at, at + len(strings), 0, self.mode,
        )  # fmt: skip
        foot = struct.pack(self.order + "IIQ16x", len(self.names), len(self.frames), size)
        return head + self.records + strings + frames + extra + foot


def rows(profile: spprof.Profile) -> list[tuple[str, int | None, int, str, bool | None]]:
    return [
        (
            ">".join(f.function_name for f in reversed(s.frames)),
            s.timestamp_ns,
            s.weight_ns,
            s.state,
            s.holds_gil,
        )
        for s in profile.samples
    ]


@pytest.mark.parametrize("order", "<>")
def test_every_kind_of_record_comes_back(order: str) -> None:
    file = (
        Writer(order)
        .full(7, 500, GIL | MAIN | UNKNOWN, 1, 0)
        .repeat(7, (1000, GIL | UNKNOWN), (1500, UNKNOWN))
        .change(2, 7, 1000, GIL | ON_CPU, 2, 2)  # keeps two, calls g
        .change(3, 7, 1000, 0, 2, 2, 1)  # two return, f calls g
        .change(3, 7, 1000, WANTS_GIL, 99)  # all of them return
    )
    profile = loads(file.data(statistics=(0.01, 12.5)))
    ms = 10**6
    assert rows(profile) == [
        ("main>f", ms // 2, ms, "running", True),
        ("main>f", 3 * ms // 2, ms, "running", True),
        ("main>f", 3 * ms, 3 * ms // 2, "running", False),
        ("main>f>g", 4 * ms, ms, "running", True),
        ("main>f>g", 5 * ms, ms, "waiting", False),
        ("", 6 * ms, ms, "waiting", False),
    ]
    assert [(t.thread_id, t.thread_name) for t in profile.threads] == [(7, "MainThread")]
    assert profile.total_duration_ms == 10
    assert profile.interval_ms == 1
    assert profile.python_version == "3.15.2"
    assert "12 % of its samples failed: their time is the next one's" in " ".join(profile.notes)


def test_lines_files_and_other_code_than_pythons() -> None:
    (sample,) = loads(Writer().full(7, 0, GIL, 3, 2).data()).samples
    inner, outer = sample.frames
    assert (inner.function_name, inner.is_native, inner.lineno) == ("<GC>", True, 0)
    assert (outer.filename, outer.lineno, outer.is_native) == ("/a.py", 30, False)


def test_threads_are_told_apart_and_a_gap_is_time_only_where_all_is_looked_at() -> None:
    for mode, expected in ((WALL, 50_000_000), (CPU_MODE, 1_000_000)):
        file = Writer(mode=mode).full(7, 0, ON_CPU, 0).full(8, 0, ON_CPU, 1)
        profile = loads(file.repeat(7, (50_000, ON_CPU)).data())
        weights = {t.thread_id: t.weight_ns for t in profile.threads}
        assert weights == {7: 1_000_000 + expected, 8: 1_000_000}


# --- real files ---


def shares(profile: spprof.Profile) -> dict[str, float]:
    return {f.function_name: f.total_ns / profile.total_weight_ns for f in profile.top(None)}


def test_a_real_file_says_what_its_own_profiler_says_of_it() -> None:
    profile = spprof.load(PLAIN)
    # `python3.15 -m profiling.sampling replay --collapsed` counts 194 samples, 97 of them in nap.
    assert profile.sample_count == 194
    assert sum(s.frames[0].function_name == "nap" for s in profile.samples) == 97
    by_thread = {t.thread_name: t.weight_ns / 1e9 for t in profile.threads}
    assert by_thread["MainThread"] == pytest.approx(0.42, abs=0.02)
    assert not any("_sync_coordinator" in f.filename for s in profile.samples for f in s.frames)
    assert {f.function_name for s in profile.samples for f in s.frames if f.is_native} == {
        "<native>", "<GC>",
    }  # fmt: skip
    assert shares(spprof.load(CPU))["right"] == pytest.approx(0.775, abs=0.001)


@pytest.mark.skipif(not HAS_ZSTD, reason="nothing here unpacks Zstandard")
def test_a_packed_file() -> None:
    profile = spprof.load(PACKED)
    assert profile.sample_count == 200
    assert shares(profile)["nap"] == pytest.approx(shares(spprof.load(PLAIN))["nap"], abs=0.05)
    broken = bytearray(PACKED.read_bytes())
    broken[100] ^= 0xFF
    with pytest.raises(FormatError):
        loads(bytes(broken))


def test_without_zstandard_a_packed_file_is_refused_with_the_remedy(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(_unpacking, "_zstd", lambda: None)
    with pytest.raises(FormatError, match=r"`pip install backports\.zstd`, or use Python 3\.14"):
        spprof.load(PACKED)


@pytest.mark.skipif(sys.version_info < (3, 15), reason="profiling.sampling came with Python 3.15")
def test_what_this_python_writes(tmp_path: Path) -> None:
    out = tmp_path / "out.bin"
    command = [sys.executable, "-m", "profiling.sampling", "run", "-a", "--binary", "-o", str(out)]
    done = subprocess.run([*command, str(FILES / "program.py")], capture_output=True, text=True)
    if not out.exists():
        pytest.skip(f"it does not run here: {done.stderr[-200:]}")
    profile = spprof.load(out)
    assert shares(profile)["nap"] == pytest.approx(0.5, abs=0.1)


# --- what is no such file ---


def test_what_cannot_be_is_refused() -> None:
    good = Writer().full(7, 0, GIL, 1, 0)
    data = good.data()
    for bad, message in (
        (data[:90], "too few"),
        (data[:-1], "cut off"),
        (data + b"\0", "cut off"),
        (data[:4] + b"\x02\0\0\0" + data[8:], "version 2"),
        (data[:28] + struct.pack("<Q", 5) + data[36:], "says that it has 5 samples, and has 1"),
        (data[:56] + struct.pack("<I", 7) + data[60:], "packed in a way that is not known"),
        (Writer().full(7, 0, GIL, 9).data(), "frame 9 of 4"),
        (Writer().repeat(7, (1, GIL)).data(), "repeats what was not there"),
        (Writer().record(7, 4).data(), "no kind of record has number 4"),
        (Writer().full(7, 2**63, GIL, 0).data(), "292 years"),
        (Writer().change(2, 7, 0, GIL, 3, 0).data(), "keeps 3 of 0 frames"),
        (Writer().full(7, 0, GIL, *[0] * 30_000).data(), "a stack of 30000 frames"),
        (Writer(interval_us=0).data(), "an interval of 0 us"),
        (Writer().full(7, 0, GIL, 0).data((float("nan"), 0)), "no statistics"),
    ):
        with pytest.raises(FormatError, match=message):
            loads(bad)


@pytest.mark.parametrize("mode", [WALL, CPU_MODE])
def test_times_that_do_not_fit_in_all_are_refused(mode: int) -> None:
    each = 2**62 // 1000
    file = Writer(mode=mode, interval_us=each)
    for tid in (7, 8, 9):
        file.full(tid, 1000, GIL, 0)
    with pytest.raises(FormatError, match="more than 292 years"):
        loads(file.data())


def test_what_claims_more_than_it_has_costs_nothing() -> None:
    data = bytearray(Writer().full(7, 0, GIL, 1, 0).data())
    data[-32:-24] = struct.pack("<II", 2**32 - 1, 2**32 - 1)
    with pytest.raises(FormatError, match="strings in"):
        loads(bytes(data))
    huge = Writer()
    huge.record(7, 0, number(2**60))
    begin = time.monotonic()
    with pytest.raises(FormatError):
        loads(huge.data())
    huge = Writer().full(7, 0, GIL, 1, 0).record(7, 1, b"\0\0", number(2**40))
    with pytest.raises(FormatError, match="frames in"):
        loads(huge.data())
    assert time.monotonic() - begin < 5


def test_deep_stacks_that_come_and_go_take_linear_time() -> None:
    # Each record keeps 9,999 frames: whoever copies them makes 200 million steps.
    file = Writer().full(7, 0, GIL, *[0] * 10_000)
    for _ in range(20_000):
        file.change(3, 7, 1, GIL, 1, 1)
    data = file.data()
    begin = time.thread_time()
    profile = loads(data)
    assert profile.sample_count == 20_001
    assert time.thread_time() - begin < 5


@settings(deadline=None)
@given(st.data())
def test_whatever_happens_to_a_file_it_is_read_or_refused(data: st.DataObject) -> None:
    broken = bytearray(PLAIN.read_bytes())
    for _ in range(data.draw(st.integers(1, 4))):
        # Most bytes are samples: half of the changes go to the tables and what says where they are.
        where = data.draw(
            st.integers(0, len(broken) - 1)
            | st.integers(0, 63)
            | st.integers(len(broken) - 500, len(broken) - 1)
        )
        broken[where % len(broken)] = data.draw(st.integers(0, 255))
    if data.draw(st.booleans()):
        del broken[data.draw(st.integers(100, len(broken) - 40)) : -32]
        broken[-24:-16] = struct.pack("<Q", len(broken))
    try:
        profile = loads(bytes(broken))
    except FormatError:
        return
    assert profile.tree() is not None
    assert len(list(profile.samples)) == profile.sample_count


def test_random_changes_of_records() -> None:
    rng = random.Random(1)
    good = Writer().full(7, 0, GIL, 1, 0).repeat(7, (1, 1), (2, 1)).change(3, 7, 1, 1, 1, 2)
    data = good.data()
    for _ in range(3000):
        broken = bytearray(data)
        for _ in range(rng.randrange(1, 4)):
            broken[rng.randrange(len(broken))] = rng.randrange(256)
        try:
            loads(bytes(broken))
        except FormatError:
            continue
