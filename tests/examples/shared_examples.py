"""Shared examples: profiles, and what Python makes of them. Run it to write them anew.

`tests/examples/*.spprof` are profiles, `*.json` beside them what everybody must make of them.
Python's tests and the front end's (`js/test/examples.test.ts`) compare with the same files, so that
what exists in both languages is one truth. Write them anew after a change that is meant, and look
at the difference before committing it.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import spprof

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent / "bench"))
from frontend_profiles import SITE, STDLIB, Function, ProfileBuilder  # noqa: E402

MS = 1_000_000
WAITING, NOT_HELD, HELD = 1, 1 << 2, 2 << 2

CELL: Function = ("<module>", "In [3]", 1, False)
LOAD: Function = ("load_orders", "In [2]", 4, False)
READ: Function = ("read_csv", SITE + "pandas/io/parsers/readers.py", 868, False)
TOKENISE: Function = (
    "void tokenize<char>(parser_t*, int)",
    SITE + "pandas/_libs/parsers.cpython-311-x86_64-linux-gnu.so",
    0,
    True,
)
FIT: Function = ("Forest.fit", SITE + "sklearn/ensemble/_forest.py", 345, False)
DOT: Function = ("cblas_ddot", SITE + "numpy.libs/libopenblas64_p-r0.3.23.so", 0, True)
FIB: Function = ("fib", "/home/ada/project/pricing.py", 11, False)
LOADS: Function = ("loads", STDLIB + "json/__init__.py", 299, False)
MEMCPY: Function = ("memcpy", "/usr/lib/x86_64-linux-gnu/libc.so.6", 0, True)
WAIT: Function = ("Condition.wait", STDLIB + "threading.py", 288, False)
IMPORT: Function = ("_find_and_load", "<frozen importlib._bootstrap>", 1165, False)
NAMELESS: Function = ("", "", 0, False)


def session() -> ProfileBuilder:
    """A notebook's cell in CPU time: packages, native code, recursion, runs of equal samples."""
    b = ProfileBuilder(interval_ns=10 * MS, notes=["2 samples came late"], dropped=2)
    read = [(CELL, 1), (LOAD, 5), (READ, 912)]
    b.sample(
        "MainThread",
        [*read, (TOKENISE, 0)],
        10 * MS,
        250 * MS,
        count=25,
        last_ns=260 * MS,
        state=HELD,
    )
    b.sample("MainThread", [*read, (TOKENISE, 40)], 270 * MS, 10 * MS, state=NOT_HELD)
    b.sample("MainThread", [(CELL, 2), (LOAD, 7)], 280 * MS, 12 * MS, state=HELD)
    fit = [(CELL, 4), (FIT, 401)]
    b.sample(
        "MainThread",
        [*fit, (DOT, 0)],
        290 * MS,
        400 * MS,
        count=40,
        last_ns=680 * MS,
        state=NOT_HELD,
    )
    b.sample(
        "MainThread", [*fit, (DOT, 0), (MEMCPY, 0)], 690 * MS, 30 * MS, count=3, last_ns=720 * MS
    )
    fib = [(CELL, 6), *[(FIB, 13)] * 4]
    b.sample("MainThread", fib, 730 * MS, 90 * MS, count=9, last_ns=810 * MS, state=HELD)
    b.sample(
        "MainThread",
        [(CELL, 7), (LOADS, 346)],
        820 * MS,
        40 * MS,
        count=4,
        last_ns=850 * MS,
        state=HELD,
    )
    b.sample("MainThread", [(CELL, 8), (IMPORT, 1178)], 860 * MS, 7 * MS)
    # One sample in a burst: it stands for 3 ms, and ran 40 ms after the one before it.
    b.sample("upload", [(WAIT, 320), (MEMCPY, 0)], 300 * MS, 3 * MS, state=NOT_HELD)
    b.sample("upload", [(WAIT, 320)], 340 * MS, 9 * MS, state=HELD)
    return b


def processes() -> ProfileBuilder:
    """Wall time of two processes on two machines, threads of one name, times that were not kept."""
    b = ProfileBuilder(interval_ns=5 * MS, mode="wall")
    b.thread_details = {
        "a": {"tid": 100, "name": "MainThread", "pid": 41},
        "b": {"tid": 100, "name": "MainThread", "pid": 42, "host": "node7"},
        "c": {"tid": 107, "name": "", "pid": 42, "host": "node7"},
    }
    b.sample("a", [(FIB, 13)], 5 * MS, 15 * MS, count=3, last_ns=15 * MS, state=HELD)
    b.sample(
        "a",
        [(FIB, 13), (WAIT, 320)],
        20 * MS,
        60 * MS,
        count=2,
        last_ns=75 * MS,
        state=WAITING | NOT_HELD,
    )
    b.sample("b", [(NAMELESS, 3)], 10 * MS, 5 * MS)
    b.sample("b", [(NAMELESS, 0), (LOADS, 346)], 15 * MS, 5 * MS, state=WAITING)
    b.sample("c", [(MEMCPY, 77)], -1, 20 * MS, count=4, last_ns=-1, state=HELD)
    return b


def empty() -> ProfileBuilder:
    """A run that was too short to be met."""
    return ProfileBuilder()


EXAMPLES = {"session": session, "processes": processes, "empty": empty}


def truths(profile: spprof.Profile) -> dict[str, Any]:
    """What Python makes of a profile."""
    return {
        "speedscope": {**profile.to_speedscope("An example"), "exporter": ""},
        "threads": [
            {"name": thread.name, "weight_ns": thread.weight_ns, "gil_share": thread.gil_share}
            for thread in profile.threads
        ],
    }


def examples() -> Iterator[tuple[str, spprof.Profile, dict[str, Any]]]:
    """Name, profile and expected truths of each example, as the files have them."""
    for path in sorted(HERE.glob("*.spprof")):
        truth = json.loads(path.with_suffix(".json").read_text(encoding="utf-8"))
        yield path.stem, spprof.load(path), truth


def main() -> None:
    for name, build in EXAMPLES.items():
        path = HERE / f"{name}.spprof"
        path.write_bytes(build().encode())
        text = json.dumps(truths(spprof.load(path)), indent=1, ensure_ascii=False)
        path.with_suffix(".json").write_text(text + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
