"""What pprof files hold, and what is read from those of other tools."""

from __future__ import annotations

import gzip

import pytest

from spprof import Frame
from spprof._profile.model import loads
from spprof.formats import FormatError, pprof


class TestPprof:
    def test_reads_what_is_not_gzipped(self, make_profile, tmp_path) -> None:
        profile = make_profile()
        profile.save(tmp_path / "p.pb.gz")
        raw = gzip.decompress((tmp_path / "p.pb.gz").read_bytes())
        assert loads(raw).tree() == profile.tree()

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
        profile = loads(message)
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
            loads(message, "pprof")

    @pytest.mark.parametrize(
        "kinds",
        [
            "alloc_objects/count alloc_space/bytes inuse_objects/count inuse_space/bytes",
            "goroutine/count",
            "threadcreate/count",
            "objects/count",
        ],
    )
    def test_counts_of_something_else_are_no_time(self, kinds: str) -> None:
        texts = ["", *{word for kind in kinds.split() for word in kind.split("/")}]
        message = b""
        for kind in kinds.split():
            name, unit = map(texts.index, kind.split("/"))
            message += pprof._bytes(1, pprof._int(1, name) + pprof._int(2, unit))
        message += b"".join(pprof._bytes(6, text.encode()) for text in texts)
        with pytest.raises(FormatError, match=f"measures {kinds.split()[0]}"):
            loads(message, "pprof")

    def test_counts_of_samples_are_time_of_one_interval_each(self) -> None:
        texts = ["", "samples", "count", "f"]
        message = pprof._bytes(1, pprof._int(1, 1) + pprof._int(2, 2))
        message += pprof._bytes(2, pprof._packed(1, [1]) + pprof._packed(2, [3]))
        message += pprof._bytes(4, pprof._int(1, 1) + pprof._bytes(4, pprof._int(1, 1)))
        message += pprof._bytes(5, pprof._int(1, 1) + pprof._int(2, 3))
        message += b"".join(pprof._bytes(6, text.encode()) for text in texts)
        assert loads(message, interval_ms=10).total_weight_ns == 30_000_000

    def test_damaged_files(self, make_profile, tmp_path) -> None:
        make_profile().save(tmp_path / "p.pb.gz")
        data = (tmp_path / "p.pb.gz").read_bytes()
        with pytest.raises(FormatError, match="gzip data is damaged or incomplete"):
            loads(data[:-20])
        raw = gzip.decompress(data)
        with pytest.raises(FormatError, match="byte"):
            loads(raw[:-3])
