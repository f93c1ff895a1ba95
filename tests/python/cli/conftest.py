"""A directory of its own for each test of the command line."""

from __future__ import annotations

import pytest
from programs import BURN


@pytest.fixture
def here(tmp_path, monkeypatch):
    """An empty current directory with burn.py in it."""
    (tmp_path / "burn.py").write_text(BURN)
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def saved(make_profile, here):
    profile = make_profile()
    profile.save("p.spprof")
    return profile
