"""Packed files: unpacked, or refused before they fill memory. Must not know what is in them."""

from __future__ import annotations

import gzip
import importlib
import io
import zlib
from typing import Any

from ._errors import FormatError

# What a file may unpack to: so much in any case, and so many times its own size. Profiles shrink
# to a tenth or a thirtieth; what is made to fill memory, to a thousandth.
_BYTES, _TIMES = 64 << 20, 200


def gunzip(data: bytes) -> bytes:
    """Unpack what gzip packed; raises FormatError."""
    most = max(_BYTES, _TIMES * len(data))
    try:
        with gzip.GzipFile(fileobj=io.BytesIO(data)) as file:
            content = file.read(most + 1)
    except (OSError, EOFError, zlib.error) as error:
        raise FormatError(f"the gzip data is damaged or incomplete: {error}") from None
    return _within(content, most, "gzip")


def unpack_zstd(data: bytes) -> bytes:
    """Unpack a frame of Zstandard, with the standard library from Python 3.14 on.

    Raises
    ------
    FormatError
        It is damaged, incomplete or too large, or nothing here can unpack it.
    """
    zstd = _zstd()
    if zstd is None:
        raise FormatError(
            "packed with Zstandard, which this Python cannot unpack: `pip install backports.zstd`, "
            "or use Python 3.14 or later"
        )
    most = max(_BYTES, _TIMES * len(data))
    unpacker = zstd.ZstdDecompressor()
    try:
        content: bytes = unpacker.decompress(data, most + 1)
    except zstd.ZstdError as error:
        raise FormatError(f"the Zstandard data is damaged: {error}") from None
    content = _within(content, most, "Zstandard")
    if not unpacker.eof or unpacker.unused_data:
        raise FormatError("the Zstandard data is incomplete, or there is more behind it")
    return content


def _zstd() -> Any:
    for name in ("compression.zstd", "backports.zstd"):
        try:
            return importlib.import_module(name)
        except ImportError:
            continue
    return None


def _within(content: bytes, most: int, packer: str) -> bytes:
    if len(content) > most:
        raise FormatError(
            f"the {packer} data holds more than {most >> 20} MiB, over {_TIMES} times its size: "
            "unpack it first if that is meant"
        )
    return content
