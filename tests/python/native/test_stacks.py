"""Native frames where they belong: what is between a caller and its callback, in order, by name."""

from __future__ import annotations

import asyncio
import ctypes
import functools
import importlib.util
import os
import re
import shutil
import subprocess
import sys
import sysconfig
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Callable

import pytest

import spprof

pytestmark = pytest.mark.skipif(
    not spprof.native_unwinding_available(), reason="no native unwinding on this system"
)

SECONDS = 0.6
# In a stripped interpreter static functions have no symbol: builtins keep their Python names.
SORTED = ("builtin_sorted", "sorted")
REDUCE = ("functools_reduce", "_functools_reduce", "_functools.reduce")
SUB = (
    "pattern_subx",
    "_sre_SRE_Pattern_sub",
    "re.Pattern.sub",
    "re.Pattern.sub / re.Pattern.subn",  # both jump to one function without a name
)


def spin(n: int = 150) -> int:
    """Where the callbacks spend their time."""
    total = 0
    for i in range(n):
        total += i * i
    return total


def profiled(
    work: Callable[[], object], seconds: float = SECONDS, **options: Any
) -> spprof.Profile:
    """`work`, over and over, under a profile with native frames."""
    work()
    spprof.start(interval_ms=1, native=True, **options)
    try:
        deadline = time.process_time() + seconds
        while time.process_time() < deadline:
            work()
        figures = spprof.stats()
    finally:
        profile = spprof.stop()
    assert figures is not None
    assert figures.mismatched_samples <= 0.002 * figures.collected_samples
    return profile


def chains(profile: spprof.Profile, outer: str, inner: str) -> list[list[spprof.Frame]]:
    """For each sample with the Python function `inner`: what is between it and `outer`, outermost
    first."""
    found = []
    for sample in profile.samples:
        frames = list(reversed(sample.frames))
        names = [None if f.is_native else f.function_name.split(".")[-1] for f in frames]
        if inner in names:
            last = len(names) - 1 - names[::-1].index(inner)
            first = max(i for i in range(last) if names[i] == outer)
            found.append(frames[first + 1 : last])
    return found


def assert_between(
    profile: spprof.Profile, outer: str, inner: str, *expected: tuple[str, ...]
) -> None:
    """Every sample in `inner` has the expected native functions, in this order, below `outer`."""
    found = chains(profile, outer, inner)
    assert len(found) > 50
    for chain in found:
        names = [frame.function_name for frame in chain if frame.is_native]
        at = 0
        for alternatives in expected:
            while at < len(names) and names[at] not in alternatives:
                at += 1
            assert at < len(names), f"{alternatives} is missing or out of order in {names}"


def test_sorted_with_a_key() -> None:
    def key(x: int) -> int:
        return -spin(20) * x

    def caller() -> None:
        sorted(range(200), key=key)

    profile = profiled(caller)
    assert_between(profile, "caller", "key", SORTED)
    # Nothing else of the interpreter's own shows.
    names = {f.function_name for chain in chains(profile, "caller", "key") for f in chain}
    assert names <= {*SORTED, "list_sort", "list_sort_impl", "list.sort"}


def test_reduce() -> None:
    def add(a: int, b: int) -> int:
        return spin(20) + a + b

    def caller() -> None:
        functools.reduce(add, range(100))

    assert_between(profiled(caller), "caller", "add", REDUCE)


def test_re_sub_with_a_callable() -> None:
    def replacement(match: re.Match[str]) -> str:
        return str(spin(20))

    pattern = re.compile("a")

    def caller() -> None:
        pattern.sub(replacement, "banana" * 20)

    assert_between(profiled(caller), "caller", "replacement", SUB)


def test_list_of_map() -> None:
    def mapped(x: int) -> int:
        return spin(20) + x

    def caller() -> None:
        list(map(mapped, range(100)))

    profile = profiled(caller)
    assert_between(profile, "caller", "mapped", ("map_next", "map.__next__"))


@pytest.mark.parametrize("consume", [list, sum])
def test_a_generator_driven_from_c(consume: Callable[[Iterator[int]], object]) -> None:
    def generator() -> Iterator[int]:
        for _ in range(100):
            yield spin(20)

    def caller() -> None:
        consume(generator())

    profile = profiled(caller)
    found = chains(profile, "caller", "generator")
    assert len(found) > 50
    if consume is sum:
        assert_between(profile, "caller", "generator", ("builtin_sum", "builtin_sum_impl", "sum"))
    for chain in found:
        assert not any("gen_" in frame.function_name for frame in chain)


def test_qsort_through_ctypes() -> None:
    values = (ctypes.c_int * 60)(*[(i * 7919) % 60 for i in range(60)])
    kind = ctypes.CFUNCTYPE(
        ctypes.c_int, ctypes.POINTER(ctypes.c_int), ctypes.POINTER(ctypes.c_int)
    )

    def compare(a: Any, b: Any) -> int:
        return spin(20) * 0 + a[0] - b[0]

    callback = kind(compare)
    qsort = ctypes.CDLL(None).qsort

    def caller() -> None:
        qsort(values, 60, ctypes.sizeof(ctypes.c_int), callback)

    assert_between(profiled(caller), "caller", "compare", ("qsort_r", "qsort"))


def test_numpy_apply_along_axis() -> None:
    np = pytest.importorskip("numpy")
    data = np.ones((40, 5))

    def caller() -> None:
        np.apply_along_axis(lambda row: in_row(row), 1, data)

    def in_row(row: Any) -> int:
        return spin(60)

    found = chains(profiled(caller), "caller", "in_row")
    assert len(found) > 50
    python = [[f.function_name for f in chain if not f.is_native][-1] for chain in found]
    assert all("<lambda>" in name for name in python)
    names = {f.function_name for chain in found for f in chain}
    assert any("apply_along_axis" in name for name in names)


def test_asyncio_with_its_accelerator() -> None:
    async def task() -> int:
        total = 0
        for _ in range(20):
            total += spin(60)
            await asyncio.sleep(0)
        return total

    async def gather() -> None:
        await asyncio.gather(*[task() for _ in range(5)])

    def caller() -> None:
        asyncio.run(gather())

    profile = profiled(caller)
    found = chains(profile, "caller", "task")
    assert len(found) > 50
    for chain in found:
        python = [f.function_name.split(".")[-1] for f in chain if not f.is_native]
        assert python[-3:] == ["run_forever", "_run_once", "_run"]
        native = [f.function_name for f in chain if f.is_native]
        assert any(
            re.search("task_step|TaskStep|task_wakeup|TaskWakeup|[Cc]ontext", name)
            for name in native
        ), native


NANOBIND = r"""
#include <nanobind/nanobind.h>
namespace nb = nanobind;

// Three functions that only call what they are given.
__attribute__((noinline)) nb::object first_level(nb::callable f) { return f(1); }
__attribute__((noinline)) nb::object second_level(nb::callable f) { return f(2); }
__attribute__((noinline)) nb::object third_level(nb::callable f) { return f(3); }

NB_MODULE(levels_by_nanobind, module) {
    module.def("first", [](nb::callable f) { nb::object r = first_level(f); return r; });
    module.def("second", [](nb::callable f) { nb::object r = second_level(f); return r; });
    module.def("third", [](nb::callable f) { nb::object r = third_level(f); return r; });
}
"""
PYBIND11 = r"""
#include <pybind11/pybind11.h>
namespace py = pybind11;

__attribute__((noinline)) py::object first_level(py::function f) { return f(1); }
__attribute__((noinline)) py::object second_level(py::function f) { return f(2); }
__attribute__((noinline)) py::object third_level(py::function f) { return f(3); }

PYBIND11_MODULE(levels_by_pybind11, module, py::mod_gil_not_used()) {
    module.def("first", [](py::function f) { py::object r = first_level(f); return r; });
    module.def("second", [](py::function f) { py::object r = second_level(f); return r; });
    module.def("third", [](py::function f) { py::object r = third_level(f); return r; });
}
"""
# A function, a method and a generator.
CYTHON = r"""# cython: freethreading_compatible=True
cdef class Levels:
    def second_level(self, f):
        return f(2)

def first_level(f):
    return f(1)

def generator(f):
    yield f(3)

def third_level(f):
    return next(generator(f))

first, second, third = first_level, Levels().second_level, third_level
"""


def library(directory: Path, name: str, source: str, include: list[Path], *more: Path) -> Any:
    """Compile an extension, and import it."""
    if shutil.which("c++") is None:
        pytest.skip("the extension needs a C++ compiler")
    file = directory / f"{name}.cpp"
    file.write_text(source)
    flags = ["-std=c++17", "-O1", "-fPIC", "-shared", "-fvisibility=hidden", "-fno-strict-aliasing"]
    flags += ["-DNB_FREE_THREADED"] if sysconfig.get_config_var("Py_GIL_DISABLED") else []
    flags += [f"-I{path}" for path in [*include, Path(sysconfig.get_path("include"))]]
    target = directory / f"{name}.so"
    subprocess.run(["c++", *flags, str(file), *map(str, more), "-o", str(target)], check=True)
    spec = importlib.util.spec_from_file_location(name, target)
    assert spec is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    assert spec.loader is not None
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def by_nanobind(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """A nanobind extension whose three functions call back."""
    root = Path(pytest.importorskip("nanobind").__file__).parent
    include = [root / "include", root / "ext" / "robin_map" / "include"]
    directory = tmp_path_factory.mktemp("nanobind")
    return library(
        directory, "levels_by_nanobind", NANOBIND, include, root / "src" / "nb_combined.cpp"
    )


@pytest.fixture(scope="module")
def by_pybind11(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """The same, by pybind11."""
    include = [Path(pytest.importorskip("pybind11").get_include())]
    return library(tmp_path_factory.mktemp("pybind11"), "levels_by_pybind11", PYBIND11, include)


@pytest.fixture(scope="module")
def by_cython(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """The same, by Cython."""
    pytest.importorskip("Cython")
    directory = tmp_path_factory.mktemp("cython")
    source = directory / "levels_by_cython.pyx"
    source.write_text(CYTHON)
    target = directory / "translated.cpp"
    subprocess.run(
        [sys.executable, "-m", "cython", "-3", "--cplus", str(source), "-o", str(target)],
        check=True,
    )
    return library(directory, "levels_by_cython", target.read_text(), [])


@pytest.mark.parametrize("extension", ["by_nanobind", "by_pybind11", "by_cython"])
@pytest.mark.slow
def test_an_extension_calling_back_three_levels_deep(
    extension: str, request: pytest.FixtureRequest
) -> None:
    levels = request.getfixturevalue(extension)

    def innermost(x: int) -> int:
        return spin(100)

    def inner(x: int) -> int:
        return int(levels.third(innermost))

    def middle(x: int) -> int:
        return int(levels.second(inner))

    def caller() -> None:
        levels.first(middle)

    profile = profiled(caller)
    found = chains(profile, "caller", "innermost")
    assert len(found) > 50
    for chain in found:
        own = []
        for frame in chain:
            level = re.search(r"(first|second|third)_level(?=\(|$)", frame.function_name)
            if not frame.is_native:
                own.append(frame.function_name.split(".")[-1])
            elif level is not None:
                own.append(level.group())
        assert own == ["first_level", "middle", "second_level", "inner", "third_level"], chain
        if extension == "by_cython":
            names = [frame.function_name for frame in chain if frame.is_native]
            assert any(re.match(r"__pyx_gb_\w+generator", name) for name in names)


def test_a_library_loaded_meanwhile(tmp_path: Path) -> None:
    if shutil.which("cc") is None:
        pytest.skip("the library needs a C compiler")
    source = tmp_path / "late.c"
    source.write_text(
        "int late_function(int (*f)(int)) { int s = 0;"
        " for (int i = 0; i < 50; ++i) s += f(i); return s; }"
    )
    library = tmp_path / "liblate.so"
    subprocess.run(["cc", "-O1", "-fPIC", "-shared", str(source), "-o", str(library)], check=True)

    def called(x: int) -> int:
        return spin(20)

    callback = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_int)(called)

    def caller(function: Any) -> None:
        function(callback)

    spprof.start(interval_ms=1, native=True)
    try:
        function = ctypes.CDLL(str(library)).late_function
        time.sleep(0.3)  # a few periods of the collector
        deadline = time.process_time() + SECONDS
        while time.process_time() < deadline:
            caller(function)
    finally:
        profile = spprof.stop()
    assert_between(profile, "caller", "called", ("late_function",))
    files = {
        frame.filename
        for chain in chains(profile, "caller", "called")
        for frame in chain
        if frame.function_name == "late_function"
    }
    assert files == {str(library)}


def test_blas_and_its_threads() -> None:
    np = pytest.importorskip("numpy")
    size = 500
    a = np.random.default_rng(0).random((size, size))

    def caller() -> None:
        a @ a

    profile = profiled(caller, seconds=1.5)
    kernels = [
        [frame.function_name for frame in reversed(sample.frames)]
        for sample in profile.samples
        if re.search("gemm", sample.frames[0].function_name)
    ]
    assert len(kernels) > 100
    main = [names for names in kernels if any(n.split(".")[-1] == "caller" for n in names)]
    assert main, "no kernel below the Python line that asked for it"
    for names in main:
        caller_at = max(i for i, n in enumerate(names) if n.split(".")[-1] == "caller")
        assert any("matmul" in name.lower() for name in names[caller_at:])
    if len(kernels) > len(main):
        threads = {s.thread_id for s in profile.samples if "gemm" in s.frames[0].function_name}
        assert len(threads) > 1


ASSEMBLY = """
import os, sys, time
import numpy as np
import spprof

a = np.ones((400, 400))

def caller():
    a @ a

caller()
if "alone" in sys.argv:
    sys.exit()
kernel = "dgemm_kernel_" + os.environ["OPENBLAS_CORETYPE"].upper()
spprof.start(interval_ms=1, native=True)
deadline = time.process_time() + 1.5
while time.process_time() < deadline:
    caller()
figures = spprof.stats()
profile = spprof.stop()
kernels = 0
for sample in profile.samples:
    names = [frame.function_name for frame in reversed(sample.frames)]
    if kernel in names and "caller" in names:
        kernels += 1
        between = names[names.index("caller") : names.index(kernel)]
        assert any("matmul" in name.lower() for name in between), names
        assert any("dgemm" in name for name in between), names
print(kernels, figures.mismatched_samples)
"""


@pytest.mark.slow
def test_a_blas_kernel_in_assembly_without_unwind_information() -> None:
    np = pytest.importorskip("numpy")
    features = Path("/proc/cpuinfo").read_text()
    if "avx2" not in features or "openblas" not in str(np.show_config(mode="dicts")).lower():
        pytest.skip("needs OpenBLAS on a processor with AVX2")

    def run(core: str, *arguments: str) -> subprocess.CompletedProcess[str]:
        environment = {**os.environ, "OPENBLAS_CORETYPE": core, "OPENBLAS_NUM_THREADS": "1"}
        command = [sys.executable, "-c", ASSEMBLY, *arguments]
        return subprocess.run(command, env=environment, capture_output=True, text=True, check=False)

    # OpenBLAS crashes in kernels for a processor that this one is not; which, depends on the build.
    able = [core for core in ("Haswell", "Sandybridge") if run(core, "alone").returncode == 0]
    if not able:
        pytest.skip("no kernel in assembly runs here, with or without a profiler")
    result = run(able[0])
    assert result.returncode == 0, result.stderr
    kernels, mismatched = map(int, result.stdout.split())
    assert kernels > 100
    assert mismatched <= kernels // 100


def test_a_thread_that_never_heard_of_python(tmp_path: Path) -> None:
    if shutil.which("cc") is None:
        pytest.skip("the library needs a C compiler")
    source = tmp_path / "worker.c"
    source.write_text(
        """
        #include <pthread.h>
        static volatile int stop;
        static pthread_t thread;
        __attribute__((noinline)) void burn_alone(void) { while (!stop) { } }
        static void* run_alone(void* unused) { burn_alone(); return unused; }
        void begin_alone(void) { stop = 0; pthread_create(&thread, 0, run_alone, 0); }
        void end_alone(void) { stop = 1; pthread_join(thread, 0); }
        """
    )
    library = tmp_path / "libalone.so"
    subprocess.run(
        ["cc", "-O1", "-fPIC", "-shared", "-pthread", str(source), "-o", str(library)], check=True
    )
    alone = ctypes.CDLL(str(library))
    spprof.start(interval_ms=2, native=True)
    try:
        alone.begin_alone()
        time.sleep(1.5)
        alone.end_alone()
    finally:
        profile = spprof.stop()
    own = [s for s in profile.samples if any(f.function_name == "burn_alone" for f in s.frames)]
    assert len(own) > 50
    assert len({s.thread_id for s in own}) == 1
    assert own[0].thread_id != threading.get_native_id()
    for sample in own:
        # Its start-up code in libc is hidden.
        assert [f.function_name for f in sample.frames] == ["burn_alone", "run_alone"]
        assert all(f.is_native for f in sample.frames)


def test_finalizers_and_deep_recursion_through_c() -> None:
    class Finalized:
        def __del__(self) -> None:
            spin(40)

    def holder() -> None:
        _kept = Finalized()

    def down(depth: int) -> int:
        return spin(10) if depth == 0 else max([depth], key=lambda _: down(depth - 1))

    def caller() -> None:
        for _ in range(20):
            holder()
        down(12)

    profile = profiled(caller)
    found = chains(profile, "caller", "__del__")
    assert len(found) > 20
    for chain in chains(profile, "caller", "spin"):
        names = [f.function_name.split(".")[-1] for f in chain if not f.is_native]
        if "down" in names:
            assert names[0] == "down"
            assert all(a != b for a, b in zip(names, names[1:])), names


def test_capture_native_stack() -> None:
    def key(x: int) -> int:
        captured.append(spprof.capture_native_stack())
        return x

    captured: list[list[spprof.NativeFrame]] = []
    sorted([1], key=key)
    frames = captured[0]
    assert all(isinstance(frame, spprof.NativeFrame) for frame in frames)
    resolved = [frame.symbol for frame in frames if frame.resolved]
    assert any(name in SORTED for name in resolved)
    assert "_PyEval_EvalFrameDefault" in resolved
    for frame in frames:
        if not frame.resolved and frame.filename:
            assert re.fullmatch(r".*\+0x[0-9a-f]+", frame.symbol)
            assert frame.symbol.startswith(Path(frame.filename).name)
    with pytest.raises(AttributeError):
        frames[0].symbol = "x"  # type: ignore[misc]
