"""The `.spprof` file: its layout, its checksum, its display form."""

from __future__ import annotations

import json
import zlib

import pytest

from spprof._profile import tables as columns
from spprof._profile.model import loads
from spprof.formats import FormatError, container


class TestContainer:
    def test_layout_is_as_documented(self, make_profile) -> None:
        profile = make_profile()
        data = container.encode(profile._tables)
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
        data = container.encode(make_profile(20, stacks=3)._tables)
        for position in range(len(data)):
            damaged = bytearray(data)
            damaged[position] ^= 0x10
            with pytest.raises(FormatError, match="byte"):
                container.decode(bytes(damaged))
        for length in range(0, len(data), 97):
            with pytest.raises(FormatError, match="byte"):
                container.decode(data[:length])

    def test_weights_whose_sum_does_not_fit_are_refused(self, make_profile) -> None:
        tables = make_profile(5, stacks=1)._tables
        for row in range(len(tables.sample_weight)):
            tables.sample_weight[row] = 2**62
        with pytest.raises(FormatError, match="does not fit in 64 bits"):
            loads(container.encode(tables))

    def test_findings_are_for_those_who_show_it(self, make_profile) -> None:
        tables = make_profile(20)._tables
        told = container.encode(tables, for_display=True, findings=["61% in parse()"])
        length = int.from_bytes(told[12:16], "little")
        assert json.loads(told[16 : 16 + length])["findings"] == ["61% in parse()"]
        assert loads(told) == loads(container.encode(tables))

    def test_a_newer_version_is_named(self, make_profile) -> None:
        data = bytearray(container.encode(make_profile(5)._tables))
        data[8] = 2
        with pytest.raises(FormatError, match=r"version 2.*newer spprof"):
            container.decode(bytes(data))

    def test_columns_added_later_are_skipped(self, make_profile) -> None:
        profile = make_profile(5)
        data = container.encode(profile._tables)
        length = int.from_bytes(data[12:16], "little")
        header = json.loads(data[16 : 16 + length])
        header["columns"].append({"name": "sample.new", "type": "u128", "offset": 0, "length": 1})
        header["later"] = 1
        text = json.dumps(header, separators=(",", ":")).encode()
        # The columns stay where they are: the longer header takes the room left for it.
        assert len(text) <= length
        changed = data[:16] + text.ljust(length) + data[16 + length : -4]
        assert loads(changed + zlib.crc32(changed).to_bytes(4, "little")) == profile

    def test_display_form_is_bounded_and_keeps_totals(self, make_profile, monkeypatch) -> None:
        profile = make_profile(5000, stacks=8)
        monkeypatch.setattr(container, "DISPLAY_ROWS", 700)
        shown = loads(container.encode(profile._tables, for_display=True))
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
        assert container.encode(profile._tables) == b"".join(container._parts(profile._tables))
