"""The `.spprof` file and the widget's binary trait: columns behind a JSON header, checksummed.

The layout is in docs/ARCHITECTURE.md. Must not know any other format.
"""

from __future__ import annotations

import json
import zlib
from collections.abc import Sequence
from typing import Any, BinaryIO

from .._profile.rows import thin
from .._profile.tables import COLUMN_TYPES, LABEL_COLUMN_TYPES, Tables, check, empty_column
from ._errors import FormatError
from ._meta import check_meta, check_threads

MAGIC = b"SPPROF\r\n"
VERSION = 1

# The widget draws a few thousand pixels: more rows than this only cost transfer and memory.
DISPLAY_ROWS = 200_000

_SIZES = {"u8": 1, "u32": 4, "i32": 4, "u64": 8, "i64": 8}


def encode(tables: Tables, *, for_display: bool = False, findings: Sequence[str] = ()) -> bytes:
    """Return a profile in its binary form.

    Parameters
    ----------
    tables : Tables
    for_display : bool
        Merge equal stacks that are close in time until at most `DISPLAY_ROWS` sample rows are
        left. Counts and weights stay exact, timestamps become coarser; a note and `thinned_from`,
        the number of rows before, in the header say so.
    findings : sequence of str
        What the profile shows, in words; in the header for those who show it.
    """
    more: dict[str, Any] = {"findings": [*findings]} if findings else {}
    if for_display:
        thinned = thin(tables, DISPLAY_ROWS)
        if thinned is not tables:
            note = (
                f"shown coarser in time than it was taken: {tables.rows:,} rows merged into "
                f"{thinned.rows:,}; totals are exact"
            )
            noted = thinned.same_stacks(meta=tables.meta.but(notes=(*tables.meta.notes, note)))
            return b"".join(_parts(noted, thinned_from=tables.rows, **more))
    return b"".join(_parts(tables, **more))


def dump(tables: Tables, file: BinaryIO) -> None:
    """Write a profile to a binary file."""
    file.writelines(_parts(tables))


def _parts(tables: Tables, **more: Any) -> list[Any]:
    texts = [text.encode("utf-8", "surrogatepass") for text in tables.strings]
    offsets = empty_column("sample.thread")
    position = 0
    offsets.append(0)
    for text in texts:
        position += len(text)
        offsets.append(position)
    raw: list[tuple[str, str, Any]] = [
        ("strings.bytes", "u8", b"".join(texts)),
        ("strings.offsets", "u32", offsets),
    ]
    raw += [(name, kind, tables.column(name)) for name, kind in tables.column_types.items()]
    views = [(name, kind, memoryview(data).cast("B")) for name, kind, data in raw]

    def header(start: int) -> bytes:
        entries, offset = [], start
        for name, kind, view in views:
            length = len(view) // _SIZES[kind]
            entries.append({"name": name, "type": kind, "offset": offset, "length": length})
            offset += _padded(len(view))
        content = {
            "meta": tables.meta.as_dict(),
            **more,
            "threads": tables.threads,
            "columns": entries,
        }
        return json.dumps(content, separators=(",", ":")).encode()

    # Offsets count from the start of the file, so they depend on the length of the header that
    # holds them: leave room for the longest, filled with spaces, which JSON ignores.
    prefix = len(MAGIC) + 8
    start = _padded(prefix + len(header(0)) + 20 * len(views))
    text = header(start).ljust(start - prefix)

    parts: list[Any] = [
        MAGIC,
        VERSION.to_bytes(4, "little"),
        len(text).to_bytes(4, "little"),
        text,
    ]
    for _, _, view in views:
        parts.append(view)
        parts.append(bytes(_padded(len(view)) - len(view)))
    checksum = 0
    for part in parts:
        checksum = zlib.crc32(part, checksum)
    parts.append(checksum.to_bytes(4, "little"))
    return parts


def _padded(size: int) -> int:
    return (size + 7) & ~7


def load(data: bytes, *, interval_ms: float | None = None) -> Tables:
    """Read a profile; `interval_ms` is accepted for symmetry, the file knows its own."""
    return decode(data)


def decode(data: bytes) -> Tables:
    """Read a profile from its binary form, without copying its columns.

    Raises
    ------
    FormatError
        The data is damaged, incomplete, or of a version this spprof does not know.
    """
    header_start = len(MAGIC) + 8
    if not data.startswith(MAGIC):
        if data.startswith(b"SPPROF"):
            raise FormatError(
                "byte 6: the magic's line ending is damaged; was the file transferred as text?"
            )
        raise FormatError('byte 0: not an spprof file, it does not start with "SPPROF"')
    if len(data) < header_start + 4:
        raise FormatError(f"byte {len(data)}: the file ends within its header")
    version = int.from_bytes(data[8:12], "little")
    if version != VERSION:
        raise FormatError(
            f"byte 8: container version {version}; this spprof reads version {VERSION}, "
            "a newer spprof may read it"
        )
    expected = int.from_bytes(data[-4:], "little")
    actual = zlib.crc32(memoryview(data)[:-4])
    if actual != expected:
        raise FormatError(
            f"byte {len(data) - 4}: checksum {actual:08x} instead of {expected:08x}; "
            "the file is damaged or incomplete"
        )
    header_end = header_start + int.from_bytes(data[12:16], "little")
    if header_end > len(data) - 4:
        raise FormatError("byte 12: the header is longer than the file")
    try:
        header = json.loads(data[header_start:header_end].decode("utf-8"))
    except (ValueError, RecursionError) as error:
        raise FormatError(f"byte {header_start}: the header is not JSON: {error}") from None
    try:
        raw, strings = _columns_of(header, data)
        meta = check_meta(_member(header, "meta", dict))
        threads = check_threads(_member(header, "threads", list))
        tables = Tables.from_bytes(raw, strings, threads, meta)
        check(tables)
    except FormatError:
        raise
    except ValueError as error:
        raise FormatError(str(error)) from None
    return tables


def _member(header: Any, name: str, kind: type) -> Any:
    value = header.get(name) if isinstance(header, dict) else None
    if not isinstance(value, kind):
        raise FormatError(f"header: {name} should be a {kind.__name__}")
    return value


def _columns_of(header: Any, data: bytes) -> tuple[dict[str, Any], list[str]]:
    view = memoryview(data)
    raw: dict[str, Any] = {}
    types = {"strings.bytes": "u8", "strings.offsets": "u32", **COLUMN_TYPES, **LABEL_COLUMN_TYPES}
    for number, entry in enumerate(_member(header, "columns", list)):
        try:
            name, kind = entry["name"], entry["type"]
            offset, length = entry["offset"], entry["length"]
        except (TypeError, KeyError):
            raise FormatError(f"header: column entry {number} is incomplete") from None
        if not isinstance(name, str) or name not in types:
            continue  # a column that a later spprof added
        if kind != types[name]:
            raise FormatError(f"header: column {name} has type {kind!r}, not {types[name]}")
        if type(offset) is not int or type(length) is not int or offset < 0 or length < 0:
            raise FormatError(f"header: column {name} has no valid offset and length")
        end = offset + length * _SIZES[kind]
        if end > len(data) - 4 or offset % 8:
            raise FormatError(f"header: column {name} lies outside of the file or is unaligned")
        raw[name] = view[offset:end]
    for name in ("strings.bytes", "strings.offsets"):
        if name not in raw:
            raise FormatError(f"header: missing column {name}")
    text = bytes(raw.pop("strings.bytes"))
    offsets = raw.pop("strings.offsets").cast("I").tolist()
    ordered = all(map(int.__le__, offsets, offsets[1:]))
    if not offsets or offsets[0] != 0 or offsets[-1] != len(text) or not ordered:
        raise FormatError("column strings.offsets: does not divide strings.bytes")
    strings = []
    for number, (start, end) in enumerate(zip(offsets, offsets[1:])):
        try:
            strings.append(text[start:end].decode("utf-8", "surrogatepass"))
        except UnicodeDecodeError as error:
            raise FormatError(f"string {number} is not UTF-8: {error.reason}") from None
    return raw, strings
