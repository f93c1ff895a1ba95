"""Shared examples: profiles, and what Python makes of them. Run it to write them anew.

`tests/examples/*.spprof` are profiles, `*.json` beside them what everybody must make of them.
Python's tests and the front end's (`js/test/examples.test.ts`) compare with the same files, so that
what exists in both languages is one truth. Write them anew after a change that is meant, and look
at the difference before committing it.
"""

from __future__ import annotations

import json
import re
import sys
import tempfile
import xml.etree.ElementTree as ET
from pathlib import Path
from typing import Any

import spprof
from spprof.formats import _look

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent / "bench"))
from frontend_profiles import SITE, STDLIB, Function, ProfileBuilder  # noqa: E402

MS = 1_000_000
SVG = "{http://www.w3.org/2000/svg}"
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


# Where functions can be from, and how they can be called.
PYTHON_FILES = [
    "/usr/lib/python3/dist-packages/yaml/__init__.py",
    "C:\\Python313\\Lib\\json\\encoder.py",
    "C:\\proj\\.venv\\Lib\\site-packages\\attr\\_make.py",
    "lib/python3.11/json/decoder.py",
    "site-packages/requests/api.py",
    "/home/ada/lib/pricing.py",
    "<ipython-input-12-abcdef012345>",
    "<string>",
    "köln/straße.py",
    *[f"{SITE}package_{i}/core.pyc" for i in range(20)],
]
NATIVE_NAMES = [
    "PyEval_EvalFrameDefault",
    "void np::qsort_simd::ArgQSort_X86_V4<double>(double*, unsigned long*, int)",
    "std::vector<int, std::allocator<int> >::push_back(int&&)",
    "(anonymous namespace)::Pool::run(std::function<void (int)>)",
    "spam::work(int)::{lambda(int)#1}::operator()(int) const",
    "core::ptr::drop_in_place<alloc::vec::Vec<u8>>",
    "<alloc::vec::Vec<T> as core::ops::Drop>::drop",
    "algos.cpython-311-x86_64-linux-gnu.so+0x29470",
    "foo(int) [clone .cold]",
    "operator delete(void*)",
    "a > b",
]
NATIVE_FILES = [
    "/usr/lib/python3.11/lib-dynload/_json.cpython-311-x86_64-linux-gnu.so",
    "C:\\Python313\\python313.dll",
    "/usr/bin/python3.11",
    SITE + "package_3/_speed.abi3.so",
]


def names() -> ProfileBuilder:
    """Every kind of file and name, many packages, and frames too narrow to be drawn."""
    b = ProfileBuilder(interval_ns=MS)
    python = [(f"work_{i}", file, 7, False) for i, file in enumerate(PYTHON_FILES)]
    native = [
        (name, NATIVE_FILES[i % len(NATIVE_FILES)], 0, True) for i, name in enumerate(NATIVE_NAMES)
    ]
    for i, function in enumerate([*python, *native]):
        b.sample("MainThread", [(CELL, 1), (function, 0)], i * MS, (90 - i) * MS)
    for i in range(60):
        narrow = (f"narrow_{i}", "/home/ada/project/narrow.py", i + 1, False)
        b.sample("MainThread", [(CELL, 2), (narrow, 0)], (60 + i) * MS, MS)
    return b


def before_and_after() -> tuple[ProfileBuilder, ProfileBuilder]:
    """What grew, what shrank, what stayed, what is new and what is gone."""
    sides = ProfileBuilder(), ProfileBuilder()
    for b, grew, shrank, came, went in zip(sides, (100, 260), (300, 130), (0, 70), (90, 0)):
        read = [(CELL, 1), (LOAD, 5)]
        b.sample("MainThread", [*read, (READ, 912), (TOKENISE, 0)], 10 * MS, grew * MS)
        b.sample("MainThread", [*read, (LOADS, 346)], 20 * MS, shrank * MS)
        b.sample("MainThread", [*read, (FIB, 13)], 30 * MS, 50 * MS)
        if came:
            b.sample("MainThread", [(CELL, 4), (FIT, 401), (DOT, 0)], 40 * MS, came * MS)
        if went:
            b.sample("MainThread", [(CELL, 4), (IMPORT, 1178)], 40 * MS, went * MS)
    return sides


EXAMPLES = {"session": session, "processes": processes, "empty": empty, "names": names}
DIFFERENCE = "difference"


def functions(profile: spprof.Profile) -> list[dict[str, Any]]:
    """How each function is called and coloured, in the order in which they were first met."""
    met = dict.fromkeys(
        (frame.function_name, frame.filename, frame.is_native)
        for sample in profile.samples
        for frame in reversed(sample.frames)
    )
    colors = _look.ModuleColors((path, native) for _, path, native in met)
    return [
        {
            "name": name,
            "title": _look.title(name, path, native),
            "module": _look.module(name, path, native),
            "group": _look.place(path, native).group,
            "light": list(colors.tone(name, path, native)[0]),
            "dark": list(colors.tone(name, path, native)[1]),
        }
        for name, path, native in met
    ]


def picture(profile: Any) -> list[list[Any]]:
    """What each frame of the static graph looks like, from left to right and callers first.

    Depth; left edge and width as shares of the whole; label and module as far as they fit; colour
    on light and on dark pages; whether it is hatched.
    """
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "picture.svg"
        profile.save(path)
        root = ET.parse(path).getroot()
    style = "".join(root.find(f"{SVG}style").itertext())
    light, dark = (
        {name: [int(color[i : i + 2], 16) for i in (0, 2, 4)] for name, color in found}
        for found in (
            re.findall(r"\.(c\d+)\{fill:#(\w{6})\}", part)
            for part in style.split("@media(prefers-color-scheme:dark)")
        )
    )
    rows = []
    for group in root.iterfind(f"{SVG}g/{SVG}g"):
        box, *hatching = group.findall(f"{SVG}rect")
        text = group.find(f"{SVG}text")
        module = None if text is None else text.find(f"{SVG}tspan")
        tone, *_ = group.get("class").split()
        rows.append(
            [
                (int(box.get("y")) - 48) // 21,
                round((float(box.get("x")) - 8) / 1184, 3),
                round(float(box.get("width")) / 1184, 3),
                "" if text is None else text.text,
                "" if module is None else module.text,
                light[tone],
                dark[tone],
                bool(hatching),
            ]
        )
    return sorted(rows)


def truths(profile: spprof.Profile) -> dict[str, Any]:
    """What Python makes of a profile."""
    return {
        "speedscope": {**profile.to_speedscope("An example"), "exporter": ""},
        "functions": functions(profile),
        "picture": picture(profile),
        "threads": [
            {"name": thread.name, "weight_ns": thread.weight_ns, "gil_share": thread.gil_share}
            for thread in profile.threads
        ],
    }


def difference() -> Any:
    """The difference of `before_and_after`."""
    with tempfile.TemporaryDirectory() as folder:
        sides = []
        for number, builder in enumerate(before_and_after()):
            path = Path(folder) / f"{number}.spprof"
            path.write_bytes(builder.encode())
            sides.append(spprof.load(path))
        return spprof.diff(*sides)


def expected(name: str) -> dict[str, Any]:
    """What is written of an example."""
    truth = json.loads((HERE / f"{name}.json").read_text(encoding="utf-8"))
    return dict(truth)


def told(name: str) -> dict[str, Any]:
    """What Python makes of an example now."""
    if name == DIFFERENCE:
        return {"picture": picture(difference())}
    return truths(spprof.load(HERE / f"{name}.spprof"))


def main() -> None:
    for name, build in EXAMPLES.items():
        (HERE / f"{name}.spprof").write_bytes(build().encode())
    difference().save(HERE / f"{DIFFERENCE}.spprof")
    for name in (*EXAMPLES, DIFFERENCE):
        text = json.dumps(told(name), ensure_ascii=False)
        # A line for each row of a list, for the sake of whoever reads the difference.
        text = text.replace("}, {", "},\n {").replace("], [", "],\n [")
        (HERE / f"{name}.json").write_text(text + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
