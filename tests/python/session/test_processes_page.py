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
    (program,) = re.findall(r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    file = tmp_path / "work.py"
    file.write_text(program)
    done = subprocess.run(
        [sys.executable, str(file)], capture_output=True, text=True, timeout=60, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")
    listed = done.stdout.partition("processes:\n")[2].partition("threads:")[0].splitlines()
    assert len(listed) == 3
    assert "ForkPoolWorker-" in listed[0]
    assert "of CPU time here" in listed[0]
    assert "work.py (" in listed[2]
