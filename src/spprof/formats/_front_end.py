"""The built front end: scripts, styles and the bundled Speedscope beside this package.

Must not know what is done with them.
"""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

STATIC = Path(__file__).resolve().parent.parent / "static"


def asset(name: str) -> bytes:
    """Return the content of a built file, such as ``widget.js``.

    Raises
    ------
    FileNotFoundError
        The front end was not built, as in a source tree that was never installed.
    """
    try:
        return _content(STATIC / name)
    except FileNotFoundError:
        raise FileNotFoundError(
            f"the front end is not built: {STATIC / name} is missing. An installed spprof has "
            "it; in a source tree run `npm ci && npm run build` in js/, or `pip install .`"
        ) from None


@lru_cache(maxsize=8)
def _content(path: Path) -> bytes:
    # Kept: where a program changed its root, nothing could be read any more.
    return path.read_bytes()
