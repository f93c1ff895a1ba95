"""Broken ELF and PE files, fed for some seconds to everything that reads them, under sanitizers."""

from __future__ import annotations

import os
import random
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from native_sources import sources as sources_of

ROOT = Path(__file__).parents[3]
SECONDS = int(os.environ.get("SPPROF_FUZZ_SECONDS", "20"))

pytestmark = pytest.mark.skipif(
    sys.platform != "linux" or shutil.which("c++") is None, reason="needs Linux and a C++ compiler"
)


@pytest.mark.slow
def test_no_file_makes_a_reader_leave_its_bytes(tmp_path: Path) -> None:
    target = tmp_path / "fuzz_elf"
    sources = [
        *sources_of("native", "platform"),
        ROOT / "tests" / "cpp" / "native_fuzz" / "fuzz_elf.cpp",
    ]
    built = subprocess.run(
        [
            "c++",
            "-std=c++17",
            "-O1",
            "-g",
            "-fsanitize=address,undefined",
            "-fno-sanitize-recover=all",
            "-D_GLIBCXX_ASSERTIONS",
            f"-I{ROOT / 'cpp'}",
            *map(str, sources),
            "-o",
            str(target),
            "-pthread",
            "-ldl",
        ],
        capture_output=True,
        text=True,
        check=False,
    )
    if "cannot find -lasan" in built.stderr or "libasan" in built.stderr:
        pytest.skip("NO SANITIZER LIBRARIES HERE: the ELF readers are not fuzzed")
    assert built.returncode == 0, built.stderr
    data = ROOT / "tests" / "cpp" / "data"
    files = [*sorted(data.glob("*.elf")), *sorted(data.glob("*.pe"))]
    assert {file.suffix for file in files} == {".elf", ".pe"}
    # A new seed each time covers more; it is printed, and repeats the run.
    seed = random.randrange(2**32)
    ran = subprocess.run(
        [str(target), str(SECONDS), str(seed), *map(str, files)],
        capture_output=True,
        text=True,
        timeout=SECONDS * 4 + 60,
        check=False,
    )
    assert ran.returncode == 0, f"seed {seed}: {ran.stdout}{ran.stderr}"
    runs = int(ran.stdout.split()[0])
    print(ran.stdout)
    assert runs > 100
