"""Runs the Python of docs/USAGE.md as a reader would: from top to bottom."""

from __future__ import annotations

import re
from pathlib import Path

import spprof

USAGE = Path(__file__).resolve().parents[3] / "docs" / "USAGE.md"


def test_blocks_run_one_after_the_other(tmp_path, monkeypatch, capsys) -> None:
    monkeypatch.chdir(tmp_path)
    text = USAGE.read_text(encoding="utf-8")
    # Line numbers in an error are those of the page.
    source = ""
    for match in re.finditer(r"```python\n(.*?)```", text, re.DOTALL):
        first_line = text.count("\n", 0, match.start(1))
        source += "\n" * (first_line - source.count("\n")) + match[1]
    assert source.count("import spprof") >= 1
    names: dict[str, object] = {"__name__": "usage"}
    exec(compile(source, str(USAGE), "exec"), names)

    profile = names["profile"]
    assert isinstance(profile, spprof.Profile)
    assert profile.top(1, by="total")[0].total_share > 0.9
    node = names["node"]
    assert node.total_ns > 0.8 * profile.total_weight_ns
    assert "load_records" in capsys.readouterr().out
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "change.svg",
        "work.cpuprofile",
        "work.folded",
        "work.gecko.json",
        "work.pb.gz",
        "work.speedscope.json",
        "work.spprof",
        "work.svg",
    ]
