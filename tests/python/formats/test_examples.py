"""The shared examples: what Python makes of them is what the front end must make of them."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

import spprof

EXAMPLES = next(p for p in Path(__file__).parents if p.name == "tests") / "examples"
sys.path.insert(0, str(EXAMPLES))
import shared_examples  # noqa: E402

NAMES = [*shared_examples.EXAMPLES, shared_examples.DIFFERENCE]


@pytest.mark.parametrize("name", [*NAMES, shared_examples.CONFIDENCE])
def test_is_what_is_written(name: str) -> None:
    # js/test/examples.test.ts compares with the same file.
    assert shared_examples.told(name) == shared_examples.expected(name)


def test_all_are_there_and_as_they_were_built() -> None:
    assert sorted(path.stem for path in EXAMPLES.glob("*.spprof")) == sorted(NAMES)
    for name, build in shared_examples.EXAMPLES.items():
        assert build().encode() == (EXAMPLES / f"{name}.spprof").read_bytes()


def test_a_speedscope_document_brings_back_all_that_it_holds(tmp_path: Path) -> None:
    profile = spprof.load(EXAMPLES / "session.spprof")
    truth = shared_examples.expected("session")
    path = tmp_path / "session.speedscope.json"
    path.write_text(json.dumps(truth["speedscope"]), encoding="utf-8")
    read = spprof.load(path)
    assert read.mode == profile.mode
    assert read.notes == profile.notes
    assert read.sample_count == profile.sample_count
    assert [(t.thread_id, t.samples) for t in read.threads] == [
        (t.thread_id, t.samples) for t in profile.threads
    ]
    assert {f.is_native for sample in read.samples for f in sample.frames} == {False, True}
