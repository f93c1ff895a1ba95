"""What a widget or a page gets of a profile that is too long to be shown row by row."""

from __future__ import annotations

import json
from datetime import datetime, timedelta, timezone
from typing import Any

import pytest

from spprof import Frame, Profile, Sample
from spprof._profile.model import loads
from spprof.formats import container

LIMIT = container.DISPLAY_ROWS


def alternating(rows: int) -> Profile:
    """Two functions that take turns: no row can be merged with the one before it."""
    frames = [(Frame(name, "a.py", 1),) for name in ("f", "g")]
    samples = [Sample(row * 1000, 1, "MainThread", frames[row % 2]) for row in range(rows)]
    start = datetime(2026, 1, 1, tzinfo=timezone.utc)
    return Profile(start, start + timedelta(seconds=1), 0.1, samples, 0, "3.11.7", "Linux")


def header_of(data: bytes) -> dict[str, Any]:
    return json.loads(data[16 : 16 + int.from_bytes(data[12:16], "little")])


@pytest.mark.slow
def test_a_profile_that_is_a_little_too_long_keeps_most_of_its_rows() -> None:
    # 8,078 of 200,000 were left.
    profile = alternating(210_000)
    shown = container.encode(profile._tables, for_display=True)
    rows = next(
        column["length"]
        for column in header_of(shown)["columns"]
        if column["name"] == "sample.time"
    )
    assert LIMIT / 2 <= rows <= LIMIT
    assert loads(shown).tree() == profile.tree()


def test_what_is_merged_for_display_says_so(monkeypatch) -> None:
    monkeypatch.setattr(container, "DISPLAY_ROWS", 700)
    profile = alternating(1000)
    shown = container.encode(profile._tables, for_display=True)
    assert header_of(shown)["thinned_from"] == 1000
    [note] = loads(shown).notes
    assert note.startswith("shown coarser in time than it was taken: 1,000 rows merged into ")
    for whole in (
        container.encode(profile._tables),
        container.encode(alternating(600)._tables, for_display=True),
    ):
        assert "thinned_from" not in header_of(whole)
        assert not loads(whole).notes
