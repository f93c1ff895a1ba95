"""Python that calls C that calls Python: `main`, the C library's `qsort`, `compare`.

    mixed.py REPORT TURNS

Must not know who profiles it.
"""

import ctypes
import json
import random
import sys
import time

COMPARISON = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.POINTER(ctypes.c_int), ctypes.c_void_p)


def compare(left, right):
    total = 0
    for i in range(40):
        total += i
    return left[0] & 1023


def main():
    report, turns = sys.argv[1:3]
    qsort = ctypes.CDLL(None).qsort
    callback = COMPARISON(compare)
    numbers = random.Random(1)
    begin = time.perf_counter()
    for _ in range(int(turns)):
        values = [numbers.randrange(1, 1 << 20) for _ in range(64)]
        qsort((ctypes.c_int * 64)(*values), 64, 4, callback)
    with open(report, "w") as file:
        json.dump({"wall": time.perf_counter() - begin}, file)


main()
