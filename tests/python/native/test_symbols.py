"""Source lines and inlined functions of native frames, read from DWARF."""

from __future__ import annotations

import builtins
import ctypes
import shutil
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest

import spprof
from spprof import Profile
from spprof._profile import tables as columns
from spprof._session import symbols

pytestmark = [
    pytest.mark.skipif(
        not spprof.native_unwinding_available(), reason="no native unwinding on this system"
    ),
    pytest.mark.skipif(shutil.which("c++") is None, reason="the library needs a C++ compiler"),
]

SOURCE = """\
namespace geometry {
template <class T> struct Point {
    T x;
    inline __attribute__((always_inline)) T burn() const {
        volatile T sum = 0;
        for (int i = 0; i < 2000; ++i) sum = sum + x * i;
        return sum;
    }
};
}
extern "C" __attribute__((noinline)) long outer_function(long n) {
    geometry::Point<long> point{n};
    long result = point.burn();
    return result + 1;
}
"""


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("inlined")
    (directory / "inlined.cpp").write_text(SOURCE)
    path = directory / "libinlined.so"
    subprocess.run(
        ["c++", "-O2", "-g", "-fPIC", "-shared", str(directory / "inlined.cpp"), "-o", str(path)],
        check=True,
    )
    return path


def profile_of(library: Path) -> Profile:
    function = ctypes.CDLL(str(library)).outer_function

    def caller() -> None:
        function(3)

    spprof.start(interval_ms=1, native=True)
    deadline = time.process_time() + 0.7
    while time.process_time() < deadline:
        caller()
    return spprof.stop()


@pytest.fixture(scope="module")
def tables(library: Path) -> columns.Tables:
    """What a session delivers before source lines are looked up."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(symbols, "with_source_lines", lambda tables: tables)
        return profile_of(library)._tables


def test_a_session_ends_with_source_lines(library: Path) -> None:
    pytest.importorskip("symbolic")
    source = str(library.with_name("inlined.cpp"))
    found = stacks(profile_of(library)._tables)
    assert len(found) > 100
    assert all(any(frame.filename == source for frame in frames) for frames in found)


def test_source_lines_are_looked_up_when_they_are_asked_for(
    library: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []

    def count(tables: columns.Tables) -> columns.Tables:
        asked.append(tables)
        return tables

    monkeypatch.setattr(symbols, "with_source_lines", count)
    profile = profile_of(library)
    assert not asked
    assert profile.sample_count > 0
    assert profile.samples
    assert len(asked) == 1


def test_lines_that_cannot_be_had_cost_no_profile(
    library: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(tables: columns.Tables) -> columns.Tables:
        raise ValueError("strange file")

    monkeypatch.setattr(symbols, "with_source_lines", fail)
    with pytest.warns(RuntimeWarning, match="strange file"):
        assert len(stacks(profile_of(library)._tables)) > 100


def stacks(tables: columns.Tables) -> list[list[spprof.Frame]]:
    """Outermost first, those with a frame of the library."""
    return [
        list(reversed(sample.frames))
        for sample in Profile._of(tables).samples
        if any(frame.function_name == "outer_function" for frame in sample.frames)
    ]


def test_inlined_functions_with_their_lines(tables: columns.Tables, library: Path) -> None:
    pytest.importorskip("symbolic")
    resolved = symbols.with_source_lines(tables)
    columns.check(resolved)
    found = stacks(resolved)
    assert len(found) > 100
    source = str(library.with_name("inlined.cpp"))
    lines = SOURCE.splitlines()
    inlined = 0
    for frames in found:
        at = [f.function_name for f in frames].index("outer_function")
        assert "caller" in frames[at - 1].function_name or frames[at - 1].is_native
        assert frames[at].filename == source
        assert 11 <= frames[at].lineno <= 15
        if len(frames) > at + 1:
            assert frames[at + 1].function_name == "geometry::Point<long>::burn() const"
            assert frames[at + 1].is_native
            assert frames[at + 1].filename == source
            assert 4 <= frames[at + 1].lineno <= 8
            assert "point.burn()" in lines[frames[at].lineno - 1]
            inlined += 1
    assert inlined > 0.9 * len(found)


def test_nothing_is_lost_or_counted_twice(tables: columns.Tables) -> None:
    pytest.importorskip("symbolic")
    resolved = symbols.with_source_lines(tables)
    for name in ("sample.count", "sample.weight", "sample.time", "sample.thread"):
        assert list(resolved.column(name)) == list(tables.column(name))
    assert resolved.threads == tables.threads
    # Once more changes nothing.
    again = symbols.with_source_lines(resolved)
    assert [stack_names(s) for s in stacks(again)] == [stack_names(s) for s in stacks(resolved)]


def stack_names(frames: list[spprof.Frame]) -> list[str]:
    return [frame.function_name for frame in frames]


def test_a_replaced_library_gives_no_lines(tables: columns.Tables, library: Path) -> None:
    pytest.importorskip("symbolic")
    wrong = ({"path": str(library), "build_id": "00" * 20},)
    other = tables.same_stacks(meta=tables.meta.but(modules=wrong))
    for frames in stacks(symbols.with_source_lines(other)):
        assert "geometry::Point<long>::burn() const" not in stack_names(frames)


def test_too_large_debug_information_is_said(
    tables: columns.Tables, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("symbolic")
    monkeypatch.setattr(symbols, "LARGEST_DEBUG_FILE", 100)
    monkeypatch.setattr(symbols, "_symcaches", {})
    monkeypatch.setattr(symbols, "_places", {})
    unresolved = symbols.with_source_lines(tables)
    assert any("libinlined.so" in note for note in unresolved.meta.notes)


def test_without_the_package_nothing_changes(
    tables: columns.Tables, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = builtins.__import__

    def without(name: str, *rest: Any, **more: Any) -> Any:
        if name.split(".")[0] == "symbolic":
            raise ImportError(name)
        return real(name, *rest, **more)

    monkeypatch.setattr(builtins, "__import__", without)
    assert not symbols.available()
    assert symbols.with_source_lines(tables) is tables
