"""Programs that spend their time in C code of many kinds; run under a debugger by a test."""

from __future__ import annotations

import contextlib
import ctypes
import functools
import hashlib
import json
import re
import sqlite3
import ssl
import sys
import time
import zlib
from typing import Any, Callable


def work_re() -> None:
    re.sub(r"(a+)(b|c)*d?", lambda m: m.group(0).upper(), "aaabcbcdaab" * 300)


def work_json() -> None:
    json.loads(json.dumps([{"a": i, "b": [1.5, None, "x" * 20]} for i in range(300)]))


def work_sqlite() -> None:
    with sqlite3.connect(":memory:") as connection:
        connection.create_function("half", 1, lambda x: x / 2)
        connection.execute("create table t (x real, y text)")
        connection.executemany("insert into t values (?, ?)", ((i, str(i)) for i in range(400)))
        connection.execute("select sum(half(x)), y from t group by y order by 1").fetchall()
    connection.close()


def work_ssl() -> None:
    client, server = ssl.MemoryBIO(), ssl.MemoryBIO()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    connection = context.wrap_bio(server, client, server_hostname="x")
    with contextlib.suppress(ssl.SSLWantReadError):
        connection.do_handshake()
    hashlib.pbkdf2_hmac("sha256", b"password", b"salt", 2000)


def work_zlib() -> None:
    data = bytes(range(256)) * 400
    assert zlib.decompress(zlib.compress(data, 6)) == data


def work_sorted() -> None:
    sorted(range(3000), key=lambda x: -x % 17)
    functools.reduce(lambda a, b: a + b, map(lambda x: x + 1, range(2000)))


def work_qsort() -> None:
    values = (ctypes.c_int * 300)(*[(i * 7919) % 300 for i in range(300)])
    kind = ctypes.CFUNCTYPE(
        ctypes.c_int, ctypes.POINTER(ctypes.c_int), ctypes.POINTER(ctypes.c_int)
    )
    compare = kind(lambda a, b: a[0] - b[0])
    ctypes.CDLL(None).qsort(values, 300, ctypes.sizeof(ctypes.c_int), compare)


def work_numpy() -> None:
    import numpy as np

    a = np.random.default_rng(1).random((60, 60))
    np.linalg.svd(a @ a)
    np.apply_along_axis(lambda row: np.sort(row).sum(), 0, a)


def workloads() -> list[Callable[[], None]]:
    """Those that can run here."""
    chosen: list[Callable[[], None]] = [
        work_re,
        work_json,
        work_sqlite,
        work_ssl,
        work_zlib,
        work_sorted,
        work_qsort,
    ]
    try:
        import numpy  # noqa: F401
    except ImportError:
        return chosen
    return [*chosen, work_numpy]


def main(probe_path: str, seconds: float) -> None:
    probe: Any = ctypes.CDLL(probe_path)
    chosen = workloads()
    for work in chosen:
        work()
    probe.probe_start(ctypes.c_long(4000))
    deadline = time.process_time() + seconds
    while time.process_time() < deadline:
        for work in chosen:
            begin = time.process_time()
            while time.process_time() - begin < 0.01:
                work()


if __name__ == "__main__":
    main(sys.argv[1], float(sys.argv[2]))
