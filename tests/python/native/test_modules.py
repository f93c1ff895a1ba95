"""Libraries that come, go, and change under our feet while native stacks are sampled."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import spprof

pytestmark = [
    pytest.mark.skipif(
        not spprof.native_unwinding_available(), reason="no native unwinding on this system"
    ),
    pytest.mark.skipif(shutil.which("cc") is None, reason="the library needs a C compiler"),
]

SOURCE = """
#include <stdint.h>
__attribute__((noinline)) uint64_t inner_NAME(uint64_t n) {
    volatile uint64_t sum = 0;
    for (uint64_t i = 0; i < n; ++i) sum += i;
    return sum;
}
uint64_t work(uint64_t n) { return inner_NAME(n) + 1; }
"""


def build(directory: Path, name: str) -> Path:
    source = directory / f"{name}.c"
    source.write_text(SOURCE.replace("NAME", name))
    path = directory / f"lib{name}.so"
    subprocess.run(["cc", "-O1", "-shared", "-fPIC", str(source), "-o", str(path)], check=True)
    return path


def run(program: str, *arguments: object) -> str:
    command = [sys.executable, "-c", program, *map(str, arguments)]
    ran = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert ran.returncode == 0, f"{ran.returncode}: {ran.stdout}{ran.stderr}"
    return ran.stdout


TRUNCATED = """
import ctypes, os, sys, time, spprof
path, size = sys.argv[1], int(sys.argv[2])
spprof.start(0.5, native=True)
library = ctypes.CDLL(path)
library.work(ctypes.c_uint64(3000000))
with open(path, "r+b") as file:
    file.truncate(size)
import decimal  # another library comes in: all are looked at again
end = time.process_time() + 0.3
while time.process_time() < end:
    sorted(range(1000))
frames = spprof.capture_native_stack()
profile = spprof.stop()
assert profile.sample_count > 100 and frames
print("done", flush=True)
os._exit(0)  # the C library reads the headers of what it unloads
"""


@pytest.mark.parametrize("size", [0, 4096])
@pytest.mark.slow_unless(size=0)
def test_a_library_whose_file_was_cut_short(tmp_path: Path, size: int) -> None:
    assert run(TRUNCATED, build(tmp_path, "cut"), size) == "done\n"


TURNS = """
import ctypes, sys, time, _ctypes, spprof
paths = sys.argv[1:]
spprof.start(0.5, native=True)
end = time.monotonic() + 4
rounds = 0
def call_x(library): library.work(ctypes.c_uint64(2000000))
def call_y(library): library.work(ctypes.c_uint64(2000000))
places = set()
while time.monotonic() < end:
    for path, call in zip(paths, (call_x, call_y)):
        library = ctypes.CDLL(path)
        places.add(ctypes.cast(library.work, ctypes.c_void_p).value)
        library.work.argtypes = [ctypes.c_uint64]
        for _ in range(1 + rounds % 12):
            call(library)
        handle = library._handle
        del library
        _ctypes.dlclose(handle)
    rounds += 1
profile = spprof.stop()
right = wrong = unknown = 0
for sample in profile.samples:
    names = [frame.function_name for frame in sample.frames]
    for caller, own, other in (("call_x", "inner_x", "inner_y"), ("call_y", "inner_y", "inner_x")):
        if any(name.endswith(caller) for name in names):
            right += own in names
            wrong += other in names
            unknown += own not in names and other not in names
print(len(places), rounds, right, wrong, unknown)
"""


@pytest.mark.slow
def test_two_libraries_in_turn_at_one_address(tmp_path: Path) -> None:
    """What was sampled around a change has the right name or none, never the other's."""
    first, second = build(tmp_path, "x"), build(tmp_path, "y")
    places, rounds, right, wrong, unknown = map(int, run(TURNS, first, second).split())
    assert rounds > 10
    if places > 1:
        pytest.skip("the loader put them at different addresses")
    assert wrong == 0, (right, wrong, unknown)
    assert right + unknown > 1000


FRESH = """
import spprof, time
spprof.start(1, native=True)
import ctypes
def compare(left, right):
    sum(range(300))
    return left[0] & 1023
function = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.POINTER(ctypes.c_int), ctypes.c_void_p)
callback, qsort = function(compare), ctypes.CDLL(None).qsort
end = time.thread_time() + 0.06
while time.thread_time() < end:
    qsort((ctypes.c_int * 64)(*range(64)), 64, 4, callback)
profile = spprof.stop()
inside = [[f.function_name for f in s.frames] for s in profile.samples]
inside = [names for names in inside if "compare" in names]
print(len(inside), sum(any("sort" in name for name in names) for names in inside))
"""


def test_code_is_known_from_the_first_moment_after_it_was_loaded() -> None:
    """It took up to 50 ms until the handler knew of libffi, and stacks ended there."""
    samples = known = 0
    for _ in range(3):
        of, right = map(int, run(FRESH).split())
        samples += of
        known += right
    assert samples > 60
    assert known > 0.9 * samples
