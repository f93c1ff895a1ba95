"""Shared examples: profiles, and what Python makes of them. Run it to write them anew.

`tests/examples/*.spprof` are profiles, `*.json` beside them what everybody must make of them.
Python's tests and the front end's (`js/test/examples.test.ts`) compare with the same files, so that
what exists in both languages is one truth. Write them anew after a change that is meant, and look
at the difference before committing it.
"""

from __future__ import annotations

import json
import random
import re
import sys
import tempfile
import xml.etree.ElementTree as ET
from pathlib import Path
from typing import Any

import spprof
from spprof._profile import confidence
from spprof._profile import names as naming
from spprof._profile.folding import folded
from spprof._profile.own_code import only_own
from spprof._profile.tables import Tables
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


LIBPYTHON = "/usr/lib/x86_64-linux-gnu/libpython3.11.so.1.0"
LIBC = "/usr/lib/x86_64-linux-gnu/libc.so.6"
LOADER = "/lib64/ld-linux-x86-64.so.2"
BOOTSTRAP = "<frozen importlib._bootstrap>"
EXTERNAL = "<frozen importlib._bootstrap_external>"


def importing(native: bool) -> list[tuple[Function, int]]:
    """What stands between a line that imports and the code of the module."""

    def machine(*names: str) -> list[tuple[Function, int]]:
        return [((name, LIBPYTHON, 0, True), 0) for name in names] if native else []

    return [
        *machine("PyImport_ImportModuleLevelObject", "PyObject_CallMethodObjArgs"),
        (("_find_and_load", BOOTSTRAP, 1165, False), 1176),
        (("_find_and_load_unlocked", BOOTSTRAP, 1120, False), 1147),
        (("_load_unlocked", BOOTSTRAP, 666, False), 690),
        (("_LoaderBasics.exec_module", EXTERNAL, 933, False), 940),
        (("_call_with_frames_removed", BOOTSTRAP, 233, False), 241),
        *machine("builtin_exec", "PyEval_EvalCode"),
    ]


def folding() -> ProfileBuilder:
    """Imports of every kind, calls between calls, and samples of nothing else."""
    b = ProfileBuilder(interval_ns=MS)
    at, weight = 0, 10

    def add(*calls: tuple[Function, int]) -> None:
        nonlocal at, weight
        b.sample("MainThread", calls, at * MS, weight * MS)
        # Never the same, as ties are free to come in any order.
        at, weight = at + weight, weight + 3

    def body(file: str) -> Function:
        return ("<module>", file, 1, False)

    def native(name: str, file: str = LIBPYTHON) -> tuple[Function, int]:
        return ((name, file, 0, True), 0)

    pandas, api = (SITE + f"pandas/{file}" for file in ("__init__.py", "core/api.py"))
    lib = SITE + "pandas/_libs/lib.cpython-311-x86_64-linux-gnu.so"
    read = (("SourceLoader.get_code", EXTERNAL, 1000, False), 1069)
    for with_native in (False, True):
        start = (CELL, 1)
        into = [start, *importing(with_native), (body(pandas), 4)]
        add(*into)
        # Of one line, so the reading is of the same module.
        add(start, *importing(with_native)[:-1], read, native("marshal_loads"), native("r_object"))
        # A package on the way to a module, and code of it that runs.
        line = (body(pandas), 20)
        inner = [start, *importing(with_native), line, *importing(with_native)]
        add(*inner, (body(SITE + "pandas/core/__init__.py"), 1))
        add(*inner, (body(api), 7), (("register", api, 40, False), 41))
        add(*inner, read)
        # Two that have nothing in common: the reading may be of either.
        two = [(CELL, 3), *importing(with_native)]
        add(*two, (body(STDLIB + "json/__init__.py"), 5))
        add(*two, (body("/home/ada/project/shop/__init__.py"), 2))
        add(*two, (body("/home/ada/project/shop/stock.py"), 2))
        add(*two, read)
        # Nothing below it, or a finder of somebody's own.
        add((CELL, 4), *importing(with_native)[:-3])
        add(
            (CELL, 5),
            *importing(with_native)[:-3],
            (("find_spec", SITE + "six.py", 190, False), 192),
        )
    # Machine code that is imported, what the system does for it, and what its own beginning calls.
    create = [
        (CELL, 6),
        *importing(True)[:-2],
        native("_imp_create_dynamic"),
        native("dlopen", LIBC),
    ]
    add(*create, native("_dl_relocate_object", LOADER))
    add(*create, native("_dl_init", LOADER), native("_GLOBAL__sub_I_lib.cpp", lib))
    executed = [(CELL, 6), *importing(True)[:-2], native("PyModule_ExecDef")]
    executed.append(native("__pyx_pymod_exec_lib", lib))
    add(*executed)
    add(*executed, native("__Pyx_Import", lib), *importing(True), (body(STDLIB + "decimal.py"), 3))
    # Calls between calls.
    call = native("_PyObject_Vectorcall"), native("cfunction_vectorcall_FASTCALL")
    add((CELL, 7), *call, native("builtin_sorted"), native("list_sort_impl"), (FIB, 13))
    add((CELL, 7), *call, native("builtin_sorted"))
    add((CELL, 7), *call)
    add((CELL, 7), native("slot_tp_call"), native("_PyObject_Call.cold"), (FIB, 13))
    add((CELL, 7), native("_PyObject_Vectorcall", "/opt/other/libspam.so"))
    add(
        (CELL, 8),
        *[
            native(name, "/usr/lib/python3.11/Objects/call.c")
            for name in ("_PyObject_MakeTpCall", "PyObject_Calloc")
        ],
    )
    rust = SITE + "rpds/rpds.cpython-311-x86_64-linux-gnu.so"
    trampoline = "pyo3::impl_::trampoline::trampoline::<pyo3::impl_::{closure#0}, *mut PyObject>"
    add(
        (CELL, 9),
        native(trampoline, rust),
        native("std::panic::catch_unwind", rust),
        native("<rpds::HashTrieMapPy>::__pymethod_insert__", rust),
    )
    bound = "pybind11::cpp_function::dispatcher(_object*, _object*, _object*)"
    add((CELL, 10), native(bound, "/opt/fast.so"), native("fast::run(int)", "/opt/fast.so"))
    # What Cython makes of one function is one, however often it calls itself.
    way = "7sklearn_4tree_5_tree_4Tree_"
    outer, middle, own = (f"__pyx_pw_{way}3fit", f"__pyx_pf_{way}2fit", f"__pyx_f_{way}fit")
    tree = SITE + "sklearn/tree/_tree.cpython-311-x86_64-linux-gnu.so"
    fit = [native(name, tree) for name in (outer, middle, own)]
    add((CELL, 11), *fit)
    add((CELL, 11), *fit, native(own, tree), native("__Pyx_PyObject_FastCallDict", tree), *fit)
    add((CELL, 11), *fit, native(f"__pyx_f_{way}_resize", tree))
    # Nothing but that: its innermost frame is left.
    add(native("_start"), native("Py_BytesMain"))
    add(native("_start"), native("Py_BytesMain"), (CELL, 12))
    add(*importing(True), (body("/home/ada/project/pricing.py"), 2))
    return b


EXAMPLES = {
    "session": session,
    "processes": processes,
    "empty": empty,
    "names": names,
    "folding": folding,
}
DIFFERENCE = "difference"
CONFIDENCE = "confidence"


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
            "title": naming.title(name, path, native),
            "module": naming.module(name, path, native),
            "group": naming.place(path, native).group,
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


def folded_stacks(tables: Tables) -> list[dict[str, Any]]:
    """Each run of samples: calls from the outermost on."""
    strings, runs = tables.strings, []
    for stack, weight in zip(tables.sample_stack, tables.sample_weight):
        calls: list[str] = []
        while stack >= 0:
            frame = tables.stack_frame[stack]
            func = tables.frame_func[frame]
            name, file = strings[tables.func_name[func]], strings[tables.func_file[func]]
            calls.insert(0, f"{name} ({file}:{tables.frame_line[frame]})")
            stack = tables.stack_parent[stack]
        runs.append({"weight_ns": weight, "calls": calls})
    return runs


def truths(profile: spprof.Profile) -> dict[str, Any]:
    """What Python makes of a profile."""
    return {
        "speedscope": {**profile.to_speedscope("An example"), "exporter": ""},
        "functions": functions(profile),
        "picture": picture(profile),
        "folded": folded_stacks(folded(profile._tables)),
        "own": folded_stacks(only_own(folded(profile._tables))),
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


def trusted() -> dict[str, Any]:
    """How far shares can be trusted, by `confidence`: intervals, and effects of orders."""
    rng = random.Random(7)
    met = [[0], [1, 0], [2, 0], [2, 1, 0], []]

    def runs(length: int, lasts: float) -> dict[str, list[int]]:
        return {
            "runs": [rng.randrange(len(met)) for _ in range(length)],
            "counts": [1 + int(rng.expovariate(1 / lasts)) for _ in range(length)],
        }

    orders = {
        "nothing": [],
        "one sample": [{"runs": [1], "counts": [1]}],
        "short": [runs(30, 0.5)],
        "calls that last": [runs(300, 6)],
        "threads": [runs(100, 2) for _ in range(5)],
        "more than is looked at": [runs(3000, 1) for _ in range(4)],
        "one long call": [{"runs": [0, 1, 0], "counts": [1000, 500, 1000]}],
    }
    return {
        "members": met,
        "wilson": [
            {"share": share, "effective": n, "interval": confidence.wilson(share, n)}
            for share in (0.0, 0.03, 0.5, 1.0)
            for n in (0, 0.7, 12, 1000)
        ],
        "effects": [
            {
                "name": name,
                "sequences": sequences,
                "effects": confidence.design_effects(
                    [(each["runs"], each["counts"]) for each in sequences], met.__getitem__
                ),
            }
            for name, sequences in orders.items()
        ],
    }


def expected(name: str) -> dict[str, Any]:
    """What is written of an example."""
    truth = json.loads((HERE / f"{name}.json").read_text(encoding="utf-8"))
    return dict(truth)


def told(name: str) -> dict[str, Any]:
    """What Python makes of an example now."""
    if name == CONFIDENCE:
        return dict(json.loads(json.dumps(trusted())))
    if name == DIFFERENCE:
        return {"picture": picture(difference())}
    return truths(spprof.load(HERE / f"{name}.spprof"))


def main() -> None:
    for name, build in EXAMPLES.items():
        (HERE / f"{name}.spprof").write_bytes(build().encode())
    difference().save(HERE / f"{DIFFERENCE}.spprof")
    for name in (*EXAMPLES, DIFFERENCE, CONFIDENCE):
        text = json.dumps(told(name), ensure_ascii=False)
        # A line for each row of a list, for the sake of whoever reads the difference.
        text = text.replace("}, {", "},\n {").replace("], [", "],\n [")
        (HERE / f"{name}.json").write_text(text + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
