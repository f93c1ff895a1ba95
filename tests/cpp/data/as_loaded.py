"""Writes a PE or Mach-O file as it lies in memory once it is loaded: as_loaded.py FROM TO"""

import struct
import sys
from pathlib import Path


def pe_pieces(data: bytes) -> "list[tuple[int, int, int]]":
    """Where in memory, where in the file, how many bytes."""
    (header,) = struct.unpack_from("<I", data, 0x3C)
    count, optional_size = struct.unpack_from("<H12xH", data, header + 6)
    (header_size,) = struct.unpack_from("<I", data, header + 24 + 60)
    pieces = [(0, 0, header_size)]
    for number in range(count):
        place = header + 24 + optional_size + 40 * number
        address, length, start = struct.unpack_from("<III", data, place + 12)
        pieces.append((address, start, length))
    return pieces


def macho_pieces(data: bytes) -> "list[tuple[int, int, int]]":
    """The same; the file's own addresses begin at 0."""
    (count,) = struct.unpack_from("<I", data, 16)
    pieces, at = [], 32
    for _ in range(count):
        command, size = struct.unpack_from("<II", data, at)
        if command == 0x19:
            address, _, start, length = struct.unpack_from("<QQQQ", data, at + 24)
            pieces.append((address, start, length))
        at += size
    return pieces


data = Path(sys.argv[1]).read_bytes()
pieces = pe_pieces(data) if data.startswith(b"MZ") else macho_pieces(data)
image = bytearray(max(address + length for address, _, length in pieces))
for address, start, length in pieces:
    image[address : address + length] = data[start : start + length]
Path(sys.argv[2]).write_bytes(image)
