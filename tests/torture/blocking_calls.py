"""Does a session end a blocking system call of the program? Each kind of call, in both modes.

    python tests/torture/blocking_calls.py [--times 10000] [--intervals 10,1,0.1] [--modes cpu,wall]

Each call is made from C, after 0.5 to 1.5 ms of work, with a time-out of 2 ms. Prints a table of
how many ended with EINTR, how many before their time, and the latest; exit status 1 when any did.
Needs a C compiler.
"""

from __future__ import annotations

import argparse
import ctypes
import subprocess
import sys
import tempfile
import threading
from pathlib import Path

import spprof

WORK_S, WAIT_S = 0.001, 0.002


def build(directory: Path) -> ctypes.CDLL:
    """The calls as a library."""
    source, target = Path(__file__).with_suffix(".c"), directory / "blocking_calls.so"
    command = ["cc", "-O1", "-fPIC", "-shared", "-pthread", str(source), "-o", str(target)]
    subprocess.run(command, check=True)
    library = ctypes.CDLL(str(target))
    library.make_calls.argtypes = [
        ctypes.c_int,
        ctypes.c_int,
        ctypes.c_double,
        ctypes.c_double,
        ctypes.POINTER(ctypes.c_int),
        ctypes.POINTER(ctypes.c_double),
    ]
    return library


def names(library: ctypes.CDLL) -> list[str]:
    """The kinds of calls, by number."""
    table = (ctypes.c_char_p * 64).in_dll(library, "call_names")
    found = []
    for name in table:
        if name is None:
            break
        found.append(name.decode())
    return found


def make(library: ctypes.CDLL, kind: int, times: int) -> tuple[int, int, float]:
    """So many calls of a kind: (EINTR, early, latest in seconds)."""
    early, latest = ctypes.c_int(), ctypes.c_double()
    cut = library.make_calls(kind, times, WORK_S, WAIT_S, ctypes.byref(early), ctypes.byref(latest))
    return cut, early.value, latest.value


def make_all(library: ctypes.CDLL, times: int) -> list[tuple[int, int, float]]:
    """All kinds at once, a thread each: none of them holds the GIL."""
    kinds = names(library)
    results = [(0, 0, 0.0)] * len(kinds)

    def run(kind: int) -> None:
        results[kind] = make(library, kind, times)

    threads = [
        threading.Thread(target=run, args=(kind,), name=kinds[kind]) for kind in range(len(kinds))
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return results


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--times", type=int, default=10_000)
    parser.add_argument("--intervals", default="10,1,0.1")
    parser.add_argument("--modes", default="cpu,wall")
    options = parser.parse_args()
    total = 0
    with tempfile.TemporaryDirectory() as directory:
        library = build(Path(directory))
        print(f"| {'mode':4} | {'interval':8} | {'call':22} | EINTR | early | latest, ms |")
        print(f"|{'-' * 6}|{'-' * 10}|{'-' * 24}|-------|-------|------------|")
        for mode in options.modes.split(","):
            for interval in options.intervals.split(","):
                with spprof.Profiler(float(interval), mode=mode) as profiler:
                    results = make_all(library, options.times)
                for name, (cut, early, latest) in zip(names(library), results):
                    total += cut + early
                    print(
                        f"| {mode:4} | {interval + ' ms':8} | {name:22} | {cut:5} | {early:5} "
                        f"| {latest * 1e3:10.2f} |"
                    )
                assert profiler.profile is not None
                for note in profiler.profile.notes:
                    print(f"  {note}")
    print(f"{total} of all calls were disturbed")
    return 1 if total else 0


if __name__ == "__main__":
    sys.exit(main())
