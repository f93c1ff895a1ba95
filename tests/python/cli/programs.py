"""Programs to profile, and running them under `spprof run`."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
from pathlib import Path

import spprof

BURN = """
import time
def inner(n):
    return sum(i * i for i in range(n))
def burn(seconds):
    until = time.process_time() + seconds
    while time.process_time() < until:
        inner(500)
"""


def environment(**more: str) -> dict[str, str]:
    source = str(Path(spprof.__file__).parent.parent)
    path = os.pathsep.join(filter(None, [source, os.environ.get("PYTHONPATH", "")]))
    return {**os.environ, "PYTHONPATH": path, **more}


def write(path: Path, code: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(textwrap.dedent(code))
    return path


def python(*arguments: object, **more: object) -> subprocess.CompletedProcess[str]:
    options = {"capture_output": True, "text": True, "timeout": 60, "env": environment(), **more}
    return subprocess.run([sys.executable, *map(str, arguments)], **options)


def run(*arguments: object, **more: object) -> subprocess.CompletedProcess[str]:
    return python("-m", "spprof", "run", "-i", 1, *arguments, **more)


def shares(path: object) -> dict[str, float]:
    return {s.function_name: s.total_share for s in spprof.load(path).top(None)}


def assert_profiled(path: object, *functions: str) -> None:
    found = shares(path)
    for function in functions:
        assert found.get(function, 0) > 0.5, (function, found)
    assert not set(found) & {"_execute", "run", "main", "_run_module_as_main"}
