"""Writes a PE file as it lies in memory once it is loaded: as_loaded.py FROM.dll TO.pe"""

import struct
import sys
from pathlib import Path

data = Path(sys.argv[1]).read_bytes()
(header,) = struct.unpack_from("<I", data, 0x3C)
count, optional_size = struct.unpack_from("<H12xH", data, header + 6)
size, header_size = struct.unpack_from("<II", data, header + 24 + 56)
image = bytearray(size)
image[:header_size] = data[:header_size]
for number in range(count):
    place = header + 24 + optional_size + 40 * number
    _, address, length, start = struct.unpack_from("<IIII", data, place + 8)
    image[address : address + length] = data[start : start + length]
Path(sys.argv[2]).write_bytes(image[: max(i for i, byte in enumerate(image) if byte) + 1])
