"""Times, places and names as people read them, and as a terminal may be sent them.

Must not know what they belong to.
"""

from __future__ import annotations

import re

# What a terminal obeys instead of showing it: control characters, marks that turn the direction
# of writing, and halves of characters, which it cannot even be sent. And what nobody sees, so that
# two names look alike; not the joiners, which words and pictures are made with.
_OBEYED = re.compile(
    "[\x00-\x1f\x7f-\x9f"  # C0 and C1
    "\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069"
    "\xad\u180e\u200b\u2060-\u2065\u206a-\u206f\ufeff\ufff9-\ufffb\U000e0000-\U000e007f"
    "\ud800-\udfff]"
)

LONGEST = 200


def shown(text: str, longest: int = LONGEST) -> str:
    """A name from anywhere, safe to print: control characters escaped, the middle left out."""
    if len(text) > longest:
        text = f"{text[: longest * 2 // 3]}…{text[-longest // 3 :]}"
    return _OBEYED.sub(lambda found: found[0].encode("unicode_escape").decode("ascii"), text)


def format_ns(ns: float) -> str:
    """Nanoseconds as people write them: ``1.53 s``, ``12.0 ms``, ``340 µs``."""
    if ns >= 1e9:
        return f"{ns / 1e9:.2f} s"
    if ns >= 1e6:
        return f"{ns / 1e6:.1f} ms"
    return f"{ns / 1e3:.0f} µs"


def short_place(filename: str, lineno: int) -> str:
    """The end of a path, with its line where known."""
    parts = filename.replace("\\", "/").split("/")
    short = shown("/".join(parts[-2:]) if len(parts) > 2 else filename)
    return f"{short}:{lineno}" if lineno else short
