"""Programs that embed Python, and code that tells little of itself: frames are right, or marked."""

from __future__ import annotations

import ast
import os
import shlex
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest

import spprof

pytestmark = [
    pytest.mark.skipif(
        not spprof.native_unwinding_available(), reason="no native unwinding on this system"
    ),
    pytest.mark.skipif(shutil.which("cc") is None, reason="needs a C compiler"),
]

EMBEDDING = r"""
#include <Python.h>
#include <pthread.h>
static const char* program;
#define HIDDEN __attribute__((noinline, visibility("hidden")))
HIDDEN int embedded_job(void) {
    int failed = PyRun_SimpleString(program);
    __asm__ volatile("" ::: "memory");
    return failed;
}
HIDDEN void* whole_life(void* unused) {
    (void)unused;
    Py_Initialize();
    int failed = embedded_job();
    if (Py_FinalizeEx() != 0) failed = 1;
    return (void*)(long)failed;
}
int main(int count, char** arguments) {
    program = arguments[2];
    void* failed = 0;
    pthread_t thread;
    switch (arguments[1][0]) {
        case 't':
            if (pthread_create(&thread, 0, whole_life, 0) != 0) return 2;
            pthread_join(thread, &failed);
            return (int)(long)failed;
        case 'p': {
            char* as_python[] = {arguments[0], (char*)"-c", arguments[2]};
            return Py_BytesMain(3, as_python);
        }
    }
    return (int)(long)whole_life(0);
}
"""
PROGRAM = """
import sys, time, spprof
def key(x):
    return sum(i * i for i in range(50)) - x
def caller():
    sorted(range(50), key=key)
spprof.start(1, native=True)
end = time.thread_time() + 0.4
while time.thread_time() < end:
    caller()
figures = spprof.stats()
profile = spprof.stop()
above = {}
whole = 0
for sample in profile.samples:
    frames = list(reversed(sample.frames))
    names = [f.function_name for f in frames]
    if "caller" in names:
        outer = tuple(names[: names.index("<module>")])
        above[outer] = above.get(outer, 0) + 1
        whole += "key" not in names or "sorted" in names[names.index("caller") + 1]
print((figures.mismatched_samples, whole, above))
"""


@pytest.fixture(scope="module")
def embedding(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A program that runs Python in its main function, in a thread, or as `python` does."""
    library = sysconfig.get_config_var("LIBDIR")
    version = sysconfig.get_config_var("LDVERSION")
    directory = tmp_path_factory.mktemp("embedding")
    (directory / "embedding.c").write_text(EMBEDDING)
    command = ["cc", "-O1", str(directory / "embedding.c"), "-o", str(directory / "embedding")]
    command += [f"-I{sysconfig.get_path('include')}", f"-L{library}", f"-Wl,-rpath,{library}"]
    command += [f"-lpython{version}", "-pthread", "-lm", "-ldl", "-lutil", "-rdynamic"]
    command += shlex.split(sysconfig.get_config_var("LIBS") or "")
    built = subprocess.run(command, capture_output=True, text=True, check=False)
    if built.returncode != 0:
        if "Python.h" in built.stderr or "-lpython" in built.stderr:
            pytest.skip("this Python has no headers or no library to embed")
        raise AssertionError(built.stderr)
    return directory / "embedding"


def run(program: Path, how: str) -> tuple[int, int, dict[tuple[str, ...], int]]:
    """Mismatched samples; those that are whole below the embedding; what is above Python's."""
    paths = [str(Path(spprof.__file__).parents[1]), *filter(None, sys.path)]
    environment = {
        **os.environ,
        "PYTHONHOME": sys.base_prefix,
        "PYTHONPATH": os.pathsep.join(paths),
    }
    ran = subprocess.run(
        [str(program), how, PROGRAM],
        env=environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert ran.returncode == 0, ran.stderr
    result: tuple[int, int, dict[tuple[str, ...], int]] = ast.literal_eval(ran.stdout)
    return result


@pytest.mark.parametrize(
    ("how", "expected"),
    [
        ("thread", ("whole_life", "embedded_job")),
        ("inline", ("main", "whole_life", "embedded_job")),
        ("python", ("main",)),
    ],
)
@pytest.mark.slow_unless(how="thread")
def test_what_embeds_python_is_below_it(
    embedding: Path, how: str, expected: tuple[str, ...]
) -> None:
    mismatched, whole, above = run(embedding, how)
    assert mismatched == 0
    total = sum(above.values())
    assert total > 100
    assert whole == total
    assert set(above) == {expected}


def test_a_stripped_program_shows_places(embedding: Path, tmp_path: Path) -> None:
    stripped = tmp_path / "stripped"
    subprocess.run(["strip", "-o", str(stripped), str(embedding)], check=True)
    mismatched, whole, above = run(stripped, "thread")
    assert mismatched == 0
    assert sum(above.values()) == whole > 100
    for names in above:
        assert len(names) == 2
        assert all(name.startswith("stripped+0x") for name in names)


def static_python() -> str | None:
    """A Python of this version as distributions build it: no libpython, and stripped."""
    program = f"/usr/bin/python3.{sys.version_info.minor}"
    if not os.path.exists(program) or sysconfig.get_config_var("Py_GIL_DISABLED"):
        return None
    linked = subprocess.run(["ldd", program], capture_output=True, text=True, check=False).stdout
    asked = "import sysconfig; print(sysconfig.get_config_var('EXT_SUFFIX'))"
    suffix = subprocess.run([program, "-c", asked], capture_output=True, text=True, check=False)
    own = sysconfig.get_config_var("EXT_SUFFIX")
    return program if "libpython" not in linked and suffix.stdout.strip() == own else None


def test_a_static_python_without_symbols_shows_no_places_of_its_own() -> None:
    """Its functions are named by its method tables; what they do not know is not shown."""
    program = static_python()
    if program is None:
        pytest.skip("needs a static Python of this version in /usr/bin")
    ran = subprocess.run(
        [program, "-c", PROGRAM],
        env={**os.environ, "PYTHONPATH": str(Path(spprof.__file__).parents[1])},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert ran.returncode == 0, ran.stderr
    mismatched, whole, above = ast.literal_eval(ran.stdout)
    assert mismatched == 0
    assert sum(above.values()) == whole > 100
    assert set(above) == {()}


# Calls back, from a frame that only unwind information leads out of.
CALLING_BACK = """
int call_back(int (*function)(int), int times);
int call_back(int (*function)(int), int times) {
    volatile int room[40];
    room[3] = 0;
    for (int i = 0; i < times; ++i) room[3] += function(i);
    return room[3];
}
"""
CALLER = """
import ctypes, sys, time, spprof
kind = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_int)
library = ctypes.CDLL(sys.argv[1])
def inner(i):
    return sum(k * k for k in range(100)) & 7
function = kind(inner)
def caller():
    library.call_back(function, 20)
spprof.start(1, native=True)
end = time.thread_time() + 0.5
while time.thread_time() < end:
    caller()
figures = spprof.stats()
profile = spprof.stop()
right = wrong = without = 0
for sample in profile.samples:
    names = [f.function_name for f in reversed(sample.frames)]
    if "inner" not in names:
        continue
    between = names[names.index("caller") + 1 : names.index("inner")]
    right += "call_back" in between
    without += "call_back" not in between
print((right, without, figures.mismatched_samples))
"""


@pytest.mark.parametrize(
    "flags",
    [
        ("-Wl,--no-eh-frame-hdr",),
        ("-fno-asynchronous-unwind-tables",),
        ("-fno-asynchronous-unwind-tables", "-fno-omit-frame-pointer"),
    ],
)
@pytest.mark.slow_unless(flags=("-fno-asynchronous-unwind-tables",))
def test_code_without_a_way_out_is_right_or_marked(flags: tuple[str, ...], tmp_path: Path) -> None:
    source, library = tmp_path / "back.c", tmp_path / "libback.so"
    source.write_text(CALLING_BACK)
    command = ["cc", "-O1", "-fPIC", "-shared", "-fomit-frame-pointer", "-fno-stack-protector"]
    subprocess.run([*command, *flags, str(source), "-o", str(library)], check=True)
    ran = subprocess.run(
        [sys.executable, "-c", CALLER, str(library)],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert ran.returncode == 0, ran.stderr
    right, without, mismatched = ast.literal_eval(ran.stdout)
    print(flags, right, without, mismatched)
    assert right + without > 100
    # Where the function is missing, the sample is said not to fit. Once it was seen, its first
    # instructions tell how to leave it.
    assert mismatched >= without
    assert right > 0.9 * (right + without)
    assert mismatched <= 0.1 * (right + without)
