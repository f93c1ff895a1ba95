"""Runs the program of docs/PROCESSES.md."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

PAGE = Path(__file__).resolve().parents[3] / "docs" / "PROCESSES.md"


@pytest.mark.skipif(sys.platform == "win32", reason="needs fork")
def test_the_program_shows_what_the_page_says(tmp_path: Path) -> None:
    program, _ = re.findall(r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    file = tmp_path / "work.py"
    file.write_text(program)
    done = subprocess.run(
        [sys.executable, str(file)], capture_output=True, text=True, timeout=60, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")
    listed = done.stdout.partition("processes:\n")[2].partition("threads:")[0].splitlines()
    own, *workers = [line for line in listed if re.search(r"% ", line)]
    assert re.match(r" *[0-9.]+%  work\.py \(", own)
    assert len(workers) == 2
    for worker in workers:
        assert re.match(r" *[0-9.]+%    ForkPoolWorker-[12] \(.* of CPU time here", worker)


def test_the_smallest_engine_works(capsys) -> None:
    """The block on workers, after the first one."""
    first, cluster = re.findall(r"```python\n(.*?)```", PAGE.read_text("utf-8"), re.DOTALL)
    names: dict[str, object] = {"__name__": "page"}
    exec(compile(first, "work.py", "exec"), names)
    exec(compile(cluster, str(PAGE), "exec"), names)
    assert "in work()" in capsys.readouterr().out
