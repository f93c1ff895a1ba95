"""Integers in pieces of seven bits, least first: LEB128. Must not know any format."""

from __future__ import annotations

from ._errors import FormatError


def read_varint(data: bytes, at: int, end: int) -> tuple[int, int]:
    """Read one of at most ten bytes before `end`; where it ends comes with it.

    Raises
    ------
    FormatError
    """
    value = shift = 0
    for position in range(at, min(at + 10, end)):
        byte = data[position]
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, position + 1
        shift += 7
    raise FormatError(f"byte {at}: an integer is cut off or too long")
