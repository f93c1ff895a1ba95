"""Profiles of a few samples, for the tests of single formats."""

from __future__ import annotations

from datetime import datetime, timezone
from pathlib import Path

import pytest

import spprof
from spprof import Frame, Profile, Sample

START = datetime(2026, 5, 1, tzinfo=timezone.utc)


MAIN, WORK = Frame("main", "app.py", 3), Frame("work", "app.py", 10)


def plain(*samples: Sample, **more: object) -> Profile:
    return Profile(START, START, 10, samples, **more)


def one(*frames: Frame) -> Profile:
    return plain(Sample(0, 1, "t", frames))


def names_in(folder: Path) -> list[str]:
    return [path.name for path in folder.iterdir()]


needs_front_end = pytest.mark.skipif(
    not (Path(spprof.__file__).parent / "static" / "standalone.js").exists(),
    reason="the front end is not built",
)
