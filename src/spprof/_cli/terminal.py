"""The terminal: colours, and saying what takes long.

Must not know what is printed.
"""

from __future__ import annotations

import os
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TextIO

# What a terminal without Unicode is sent instead.
_PLAIN = str.maketrans({"µ": "u", "…": "..."})

_SHOWN_AFTER = 1.0  # seconds


def write(text: str = "") -> None:
    """Print to standard output; what it cannot show is escaped."""
    encoding = sys.stdout.encoding or "ascii"
    try:
        text.encode(encoding)
    except UnicodeEncodeError:
        plain = text.translate(_PLAIN).encode(encoding, "backslashreplace")
        text = plain.decode(encoding)
    print(text)


class Style:
    """Colours, where the output is a terminal that wants them (https://no-color.org)."""

    def __init__(self, wish: str) -> None:
        self.terminal = sys.stdout.isatty()
        automatic = self.terminal and not os.environ.get("NO_COLOR") and _is_capable()
        self._on = wish == "always" or (wish == "auto" and automatic)

    def _paint(self, code: str, text: str) -> str:
        return f"\x1b[{code}m{text}\x1b[0m" if self._on and text else text

    def bold(self, text: str) -> str:
        return self._paint("1", text)

    def dim(self, text: str) -> str:
        return self._paint("2", text)

    def native(self, text: str) -> str:
        return self._paint("36", text)

    def warn(self, text: str) -> str:
        return self._paint("33", text)

    def bad(self, text: str) -> str:
        return self._paint("31", text)

    def good(self, text: str) -> str:
        return self._paint("34", text)

    def heat(self, text: str, share: float) -> str:
        if share >= 0.2:
            return self._paint("31", text)
        return self._paint("33", text) if share >= 0.05 else text


def _is_capable() -> bool:
    return os.environ.get("TERM", "") not in ("", "dumb")


@contextmanager
def progress(what: str, stream: TextIO | None = None) -> Iterator[None]:
    """Say on a terminal what is being done, once it has taken a second."""
    stream = stream or sys.stderr
    try:
        shown = stream.isatty()
    except ValueError:
        shown = False
    if not shown:
        yield
        return
    done = threading.Event()
    began = time.monotonic()

    def show() -> None:
        if done.wait(_SHOWN_AFTER):
            return
        while not done.wait(0.5):
            stream.write(f"\rspprof: {what} ... {time.monotonic() - began:.0f} s")
            stream.flush()
        stream.write("\r\x1b[K")
        stream.flush()

    shower = threading.Thread(target=show, name="spprof progress", daemon=True)
    try:
        shower.start()
    except RuntimeError:
        # From 3.12 on no thread starts once the interpreter is ending.
        yield
        return
    try:
        yield
    finally:
        done.set()
        shower.join()
