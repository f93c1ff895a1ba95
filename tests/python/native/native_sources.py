"""Sources of the rooms that do not know Python, as the build chooses them for Linux."""

from __future__ import annotations

import re
from pathlib import Path

CPP = Path(__file__).resolve().parents[3] / "cpp"
# As in CMakeLists.txt.
OF_OTHER_SYSTEMS = re.compile(r"[/_](macos|windows)(/|\.cpp$)")


def sources(*rooms: str) -> list[Path]:
    """The files of rooms, such as ``"native"``."""
    found = [path for room in rooms for path in sorted((CPP / room).rglob("*.cpp"))]
    return [path for path in found if not OF_OTHER_SYSTEMS.search(path.relative_to(CPP).as_posix())]
