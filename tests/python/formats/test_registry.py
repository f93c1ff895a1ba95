"""Which format is meant, by name, by ending and by content."""

from __future__ import annotations

import gzip
import json

import pytest
from small_profiles import MAIN, one

import spprof
from spprof import formats
from spprof._profile.model import loads
from spprof.formats import FORMATS, FormatError


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
        assert loads(gzip.compress(text)).tree() == make_profile().tree()
        with pytest.raises(FormatError, match="gzip data is damaged or incomplete"):
            loads(gzip.compress(text)[:-20])

    def test_formats_that_cannot_be_read_back(self, make_profile, tmp_path) -> None:
        make_profile(9).save(tmp_path / "p.gecko.json")
        with pytest.raises(FormatError, match="a Firefox Profiler file"):
            spprof.load(tmp_path / "p.gecko.json")
        with pytest.raises(ValueError, match="gecko files cannot be read back; these can"):
            loads(b"{}", "gecko")

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
