"""What people are shown of a profile: nothing of it is lost, and imports are one frame."""

from __future__ import annotations

import random
import sys
from collections import Counter
from datetime import datetime
from pathlib import Path

import pytest

import spprof
from spprof._profile import queries
from spprof._profile.folding import folded, imported_module, packages
from spprof._profile.tables import Tables, check

LIBPYTHON = "/usr/lib/libpython3.12.so.1.0"
BOOTSTRAP = "<frozen importlib._bootstrap>"
SITE = "/venv/lib/python3.12/site-packages"

# Of every kind: shown, noise, import machinery by Python and by machine code, modules, Cython.
FUNCTIONS = [
    ("main", "/home/ada/app.py", False),
    ("<module>", "/home/ada/app.py", False),
    ("<module>", f"{SITE}/pandas/__init__.py", False),
    ("<module>", f"{SITE}/pandas/core/api.py", False),
    ("_find_and_load", BOOTSTRAP, False),
    ("_call_with_frames_removed", BOOTSTRAP, False),
    ("PyImport_ImportModuleLevelObject", LIBPYTHON, True),
    ("builtin_exec", LIBPYTHON, True),
    ("_PyObject_Vectorcall", LIBPYTHON, True),
    ("dlopen", "/lib/x86_64-linux-gnu/libc.so.6", True),
    ("PyInit_lib", f"{SITE}/pandas/_libs/lib.cpython-312-x86_64-linux-gnu.so", True),
    ("__pyx_pw_6pandas_5_libs_3lib_1f", f"{SITE}/pandas/_libs/lib.so", True),
    ("__pyx_pf_6pandas_5_libs_3lib_f", f"{SITE}/pandas/_libs/lib.so", True),
    ("pyo3::impl_::trampoline::trampoline::<f>", f"{SITE}/rpds/rpds.so", True),
]


def profile_of(*stacks: list[tuple[str, str, bool]]) -> spprof.Profile:
    """A profile of one sample for each stack, outermost call first; no weight twice."""
    now = datetime.now()
    samples = [
        spprof.Sample(
            i * 10**6,
            i % 2,
            f"thread {i % 2}",
            [spprof.Frame(name, file, i % 3 + 1, native) for name, file, native in reversed(calls)],
            weight_ns=2**i if i < 40 else i,
        )
        for i, calls in enumerate(stacks)
    ]
    return spprof.Profile(now, now, 1, samples)


def random_profile(seed: int) -> spprof.Profile:
    """Deep stacks of every kind of function, as no program makes them."""
    choose = random.Random(seed)
    stacks = [
        [choose.choice(FUNCTIONS) for _ in range(choose.randrange(1, 30))] for _ in range(120)
    ]
    return profile_of(*stacks)


def names_of(tables: Tables) -> list[list[str]]:
    """Names of each sample's stack, outermost call first."""
    samples = spprof.Profile._of(tables).samples
    return [[frame.function_name for frame in reversed(sample.frames)] for sample in samples]


def is_part_of(part: list[str], whole: list[str]) -> bool:
    rest = iter(whole)
    return all(name in rest for name in part)


class TestNothingIsLost:
    @pytest.mark.parametrize("seed", range(20))
    def test_every_sample_stays_with_its_time_and_thread(self, seed: int) -> None:
        tables = random_profile(seed)._tables
        shown = folded(tables)
        check(shown)
        for name in ("thread", "time", "last", "count", "weight", "state"):
            column = f"sample.{name}"
            assert list(shown.column(column)) == list(tables.column(column))
        # What was there is still where it was, so that choices about functions hold in both.
        functions = len(tables.func_name)
        assert list(shown.func_name[:functions]) == list(tables.func_name)
        assert shown.strings[: len(tables.strings)] == tables.strings

    @pytest.mark.parametrize("seed", range(20))
    def test_totals_stay_the_same(self, seed: int) -> None:
        profile = random_profile(seed)
        whole = profile.total_weight_ns
        for all_frames in (False, True):
            root = profile.tree(all_frames=all_frames)
            assert root.total_ns == sum(node.self_ns for _, node in root.walk()) == whole
            assert sum(entry.self_ns for entry in profile.top(None, all_frames=all_frames)) == whole

    @pytest.mark.parametrize("seed", range(20))
    def test_what_is_shown_was_there_in_that_order(self, seed: int) -> None:
        tables = random_profile(seed)._tables
        for before, after in zip(names_of(tables), names_of(folded(tables))):
            assert after
            real = [name for name in after if name.split()[0] != "import"]
            assert is_part_of(real, before)
            # What people wrote themselves is never left out.
            assert real.count("main") == before.count("main")
            assert real.count("<module>") == before.count("<module>")

    def test_a_profile_without_any_is_the_same_object(self, make_profile) -> None:
        tables = make_profile()._tables
        assert folded(tables) is tables

    def test_all_frames_is_the_profile_itself(self) -> None:
        profile = random_profile(1)
        names = {node.function_name for _, node in profile.tree(all_frames=True).walk()}
        assert names == {"all", *(name for name, _, _ in FUNCTIONS)}
        assert profile.top(None, all_frames=True) == queries.top(
            profile._tables, None, "self", lines=False
        )

    def test_files_keep_everything(self, tmp_path: Path) -> None:
        profile = random_profile(2)
        for name in ("p.collapsed", "p.speedscope.json", "p.pprof", "p.spprof"):
            profile.save(tmp_path / name)
            read = spprof.load(tmp_path / name)
            found = Counter(frame.function_name for s in read.samples for frame in s.frames)
            assert {name for name, _, _ in FUNCTIONS} <= set(found), name


class TestDifference:
    def test_is_shown_folded_and_keeps_what_it_found(self) -> None:
        before = profile_of([FUNCTIONS[0], FUNCTIONS[4], FUNCTIONS[2]])
        after = profile_of([FUNCTIONS[0], FUNCTIONS[4]], [FUNCTIONS[0], FUNCTIONS[8]])
        difference = spprof.diff(before, after)
        assert {d.functions for d in difference.functions if d.delta_ns} == {
            ("_PyObject_Vectorcall",),
            ("_find_and_load",),
            ("<module>",),
        }
        # The reading is of the module that was met on the other side.
        assert {d.functions for d in difference._found.folded().functions if d.delta_ns} == {
            ("main",),
            ("import pandas",),
            ("<module>",),
        }
        assert "import pandas" in str(difference)
        assert "_find_and_load" not in str(difference)


class TestImportedModule:
    @pytest.mark.parametrize(
        ("file", "native", "name"),
        [
            (f"{SITE}/pandas/core/api.py", False, "pandas.core.api"),
            (f"{SITE}/pandas/__init__.py", False, "pandas"),
            ("/usr/lib/python3.12/json/__init__.py", False, "json"),
            ("<frozen os>", False, "os"),
            ("/home/ada/shop/__init__.py", False, "shop"),
            ("/home/ada/pricing.py", False, "pricing"),
            ("C:\\Users\\ada\\shop\\__init__.py", False, "shop"),
            ("__init__.py", False, "__init__"),
            (f"{SITE}/pandas/_libs/lib.cpython-312-x86_64-linux-gnu.so", True, "pandas._libs.lib"),
        ],
    )
    def test_is_told_by_the_file(self, file: str, native: bool, name: str) -> None:
        assert imported_module(file, native) == name

    def test_packages_that_were_met_are_part_of_the_name(self) -> None:
        known = packages(["/home/ada/shop/__init__.py", "/home/ada/shop/till/__init__.py", "a.py"])
        for file, name in {
            "/home/ada/shop/stock.py": "shop.stock",
            "/home/ada/shop/till/__init__.py": "shop.till",
            "/home/ada/shop/till/coins.py": "shop.till.coins",
            "/home/ada/other/coins.py": "coins",
        }.items():
            assert imported_module(file, False, known) == name


def test_a_real_import_is_one_frame(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of this interpreter's own importlib, whatever its version calls its parts."""
    package = tmp_path / "spam_folding"
    package.mkdir()
    (package / "__init__.py").write_text("from . import eggs\n")
    (package / "eggs.py").write_text(
        "import time\nend = time.process_time() + 0.3\nwhile time.process_time() < end: pass\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    spprof.start(interval_ms=1)
    try:
        import spam_folding  # type: ignore[import-not-found]  # noqa: F401
    finally:
        profile = spprof.stop()
    node = profile.tree().find("import spam_folding")
    assert node is not None
    way = []
    while node.children:
        way.append(node.function_name)
        node = node.children[0]
    way.append(node.function_name)
    assert way[:4] == ["import spam_folding", "<module>", "import spam_folding.eggs", "<module>"]
    assert profile.tree(all_frames=True).find("import spam_folding") is None
    assert profile.tree(all_frames=True).find("_find_and_load") is not None
