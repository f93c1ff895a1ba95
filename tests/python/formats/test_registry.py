"""Which format is meant, by name, by ending and by content."""

from __future__ import annotations

import gzip
import inspect
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
            ("p", "speedscope"),
            (".p", "speedscope"),
            ("p.gz", "speedscope"),
            ("p.json.gz", "speedscope"),
            ("p.gecko.json.gz", "gecko"),
            ("P.FOLDED.GZ", "collapsed"),
        ],
    )
    def test_extension_picks_the_format(self, name: str, format: str) -> None:
        assert formats.for_path(f"/some/where.svg/{name}").name == format

    @pytest.mark.parametrize("name", ["p.png", "p.spprof.gz", "p.png.gz", "p.tar"])
    def test_endings_that_no_format_has_are_refused_with_those_there_are(
        self, name: str, make_profile, tmp_path
    ) -> None:
        with pytest.raises(ValueError, match=r"no format has this ending.* \.svg \.html"):
            make_profile().save(tmp_path / name)
        with pytest.raises(ValueError, match=r"no format has this ending"):
            spprof.start(output_path=tmp_path / name)
        assert not spprof.is_active()
        assert list(tmp_path.iterdir()) == []
        # By name any ending is free.
        make_profile().save(tmp_path / name, "collapsed")

    @pytest.mark.parametrize("name", [each.name for each in FORMATS.values() if each.text])
    def test_gz_behind_a_text_format_compresses(self, name: str, make_profile, tmp_path) -> None:
        entry, profile = FORMATS[name], make_profile()
        plain, packed = (
            tmp_path / f"p{entry.extensions[0]}",
            tmp_path / f"p{entry.extensions[0]}.gz",
        )
        profile.save(plain)
        profile.save(packed)
        assert gzip.decompress(packed.read_bytes()) == plain.read_bytes()
        profile.save(tmp_path / "q", name, compress=True)
        assert (tmp_path / "q").read_bytes() == packed.read_bytes()
        if entry.readable:
            assert spprof.load(packed).tree() == spprof.load(plain).tree()

    def test_differences_compress_too(self, make_profile, tmp_path) -> None:
        difference = make_profile(seed=1).diff(make_profile(seed=2))
        difference.save(tmp_path / "d.folded")
        difference.save(tmp_path / "d.folded.gz")
        packed = (tmp_path / "d.folded.gz").read_bytes()
        assert gzip.decompress(packed) == (tmp_path / "d.folded").read_bytes()

    @pytest.mark.parametrize(
        ("name", "options", "message"),
        [
            ("p.svg", {"lines": True}, "svg has no option 'lines': it has title, max_bytes, min_s"),
            ("p.json", {"colour": 1}, "no option 'colour': it has name, lines, compress"),
            ("p.pprof", {"compress": True}, "pprof has no option 'compress': it has none"),
        ],
    )
    def test_options_a_format_has_not_are_refused_with_those_it_has(
        self, name, options, message, make_profile, tmp_path
    ) -> None:
        with pytest.raises(TypeError, match=message):
            make_profile().save(tmp_path / name, **options)
        with pytest.raises(TypeError, match="collapsed has no option 'title': it has compress"):
            make_profile().diff(make_profile()).save(tmp_path / "d.folded", title="x")
        assert list(tmp_path.iterdir()) == []

    def test_every_option_of_every_format_is_named_by_save(self) -> None:
        named = inspect.signature(spprof.Profile.save).parameters
        of_differences = inspect.signature(spprof.ProfileDiff.save).parameters
        for entry in FORMATS.values():
            module = entry._module()
            assert set(module.dump.__kwdefaults__ or ()) <= set(named)
            dump_diff = getattr(module, "dump_diff", None)
            if dump_diff is not None:
                assert set(dump_diff.__kwdefaults__ or ()) <= set(of_differences)

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
                # There a run of equal samples is one of their weight.
                runs = profile._tables.rows if entry.name == "gecko" else profile.sample_count
                assert loaded.sample_count == runs

    def test_gzipped_files_are_unpacked(self, make_profile) -> None:
        text = json.dumps(make_profile().to_speedscope()).encode()
        assert loads(gzip.compress(text)).tree() == make_profile().tree()
        with pytest.raises(FormatError, match="gzip data is damaged or incomplete"):
            loads(gzip.compress(text)[:-20])

    def test_formats_that_cannot_be_read_back(self, make_profile, tmp_path) -> None:
        make_profile(9).save(tmp_path / "p.cpuprofile")
        with pytest.raises(FormatError, match=r"a \.cpuprofile of Chrome or Node"):
            spprof.load(tmp_path / "p.cpuprofile")
        with pytest.raises(ValueError, match="svg files cannot be read back; these can"):
            loads(b"{}", "svg")

    @pytest.mark.parametrize(
        ("data", "message"),
        [
            (b"", "the file is empty"),
            (b"  \n", "the file is empty"),
            (b"{", "line 1, column 2: not JSON"),
            (b'{"a": \xff}', "byte 6: not UTF-8"),
            (b"{}", 'not a Speedscope document: there is no "shared"'),
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

    @pytest.mark.parametrize("interval", [-7, 0, float("inf"), float("nan"), 1e300, "10", True])
    @pytest.mark.parametrize("name", ["p.folded", "p.json", "p.pb.gz", "p.spprof"])
    def test_intervals_that_are_none(self, interval, name, make_profile, tmp_path) -> None:
        make_profile(9).save(tmp_path / name)
        with pytest.raises((ValueError, TypeError), match="interval_ms must be"):
            spprof.load(tmp_path / name, interval_ms=interval)

    @pytest.mark.parametrize(
        ("start", "what", "advice"),
        [
            (b"PERFILE2" + bytes(99), "perf", "perf script"),
            (b"memray\0\x0c" + bytes(99), "memray", "memray flamegraph"),
            (b'{"nodes":[{"id":1}],"samples":[1],"timeDeltas":[0]}', "Chrome", "speedscope"),
        ],
    )  # fmt: skip
    def test_known_files_of_another_kind(self, start: bytes, what: str, advice: str) -> None:
        with pytest.raises(FormatError, match=what) as caught:
            loads(start)
        assert advice in str(caught.value)

    @pytest.mark.parametrize(
        "data",
        [
            b"\x7fELF\x02\x01" + bytes(200),
            b"\x89PNG\r\n\x1a\n" + bytes(99),
            b"PK\x03\x04" + bytes(99),
            b"\x1b\x00\x00\x00",
            bytes(range(256)),
            b"<!DOCTYPE html>\n<html>",
            b'{"traceEvents": []}',
            b"hello\n",
        ],
    )
    def test_unknown_files_are_answered_with_what_can_be_read(self, data: bytes) -> None:
        with pytest.raises(FormatError) as caught:
            loads(data)
        message = str(caught.value)
        assert "wire type" not in message
        for entry in FORMATS.values():
            assert (entry.name in message.partition(")")[0]) == entry.readable

    def test_missing_file(self, tmp_path) -> None:
        with pytest.raises(FileNotFoundError):
            spprof.load(tmp_path / "nothing")
