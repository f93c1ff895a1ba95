"""Our return addresses against those of gdb, an unwinder that shares no line with ours."""

from __future__ import annotations

import json
import os
import platform
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from native_sources import sources as sources_of

HERE = Path(__file__).parent
ROOT = HERE.parents[2]
STOPS = int(os.environ.get("SPPROF_GDB_STOPS", "200"))
COMPLETE = 0  # spprof::native::End

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(300 + STOPS),
    pytest.mark.skipif(sys.platform != "linux", reason="gdb and the probe are for Linux"),
    pytest.mark.skipif(
        platform.machine() not in ("x86_64", "aarch64"), reason="no tables for this machine"
    ),
    pytest.mark.skipif(
        shutil.which("gdb") is None, reason="GDB IS MISSING: native unwinding is not cross-checked"
    ),
    pytest.mark.skipif(shutil.which("c++") is None, reason="the probe needs a C++ compiler"),
]


@pytest.fixture(scope="module")
def probe(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The unwinder as a library of its own, with a function for gdb to stop on."""
    path = tmp_path_factory.mktemp("probe") / "probe.so"
    sources = [
        *sources_of("native", "platform"),
        ROOT / "tests" / "cpp" / "native_probe" / "probe.cpp",
    ]
    flags = ["-std=c++17", "-O1", "-g", "-fPIC", "-shared", "-fno-omit-frame-pointer"]
    subprocess.run(
        [
            "c++",
            *flags,
            f"-I{ROOT / 'cpp'}",
            *map(str, sources),
            "-o",
            str(path),
            "-pthread",
            "-ldl",
        ],
        check=True,
    )
    return path


@pytest.fixture(scope="module")
def stops(probe: Path) -> list[dict[str, Any]]:
    program = [sys.executable, str(HERE / "workloads.py"), str(probe), "60"]
    # One BLAS thread: idle helpers would take most of the stops.
    environment = {**os.environ, "SPPROF_STOPS": str(STOPS), "OPENBLAS_NUM_THREADS": "1"}
    result = subprocess.run(
        ["gdb", "-q", "-batch", "-x", str(HERE / "gdb_script.py"), "--args", *program],
        env=environment,
        capture_output=True,
        text=True,
        timeout=100 + STOPS,
        check=False,
    )
    if "ptrace: Operation not permitted" in result.stdout + result.stderr:
        pytest.skip("GDB MAY NOT TRACE HERE: native unwinding is not cross-checked")
    found = [json.loads(line[5:]) for line in result.stdout.splitlines() if line[:5] == "STOP "]
    assert len(found) == STOPS, result.stdout[-2000:] + result.stderr[-2000:]
    return found


def test_return_addresses_are_those_of_gdb(stops: list[dict[str, Any]]) -> None:
    """Except in assembly without unwind information, where gdb takes numbers for addresses."""
    comparable = [stop for stop in stops if not stop["lost"]]
    assert len(comparable) >= 0.97 * STOPS
    different = [
        {"names": [name for _, name in stop["gdb"]], **stop}
        for stop in comparable
        if [address for address, _ in stop["gdb"]] != stop["ours"]
    ]
    assert not different, f"{len(different)} of {len(stops)}, first: {different[0]}"


def test_every_walk_reached_the_end(stops: list[dict[str, Any]]) -> None:
    """Also where gdb was lost."""
    assert [stop for stop in stops if stop["end"] != COMPLETE] == []


def test_the_stops_are_spread(stops: list[dict[str, Any]]) -> None:
    """Otherwise the comparison would say little."""
    assert len({stop["ours"][0] for stop in stops}) > STOPS // 4
    assert len({tuple(stop["ours"][1:]) for stop in stops}) > STOPS // 4
    assert max(len(stop["ours"]) for stop in stops) > 20
