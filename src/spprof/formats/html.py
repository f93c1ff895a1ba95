"""A self-contained page: the front end's own script and style with the profile inside.

Must not know any other format but the container that it embeds. The page asks the network for
nothing, and says so to the browser (Content-Security-Policy).
"""

from __future__ import annotations

import base64
import json
import zlib
from collections.abc import Iterator
from html import escape
from typing import TYPE_CHECKING, BinaryIO

from .._profile import findings
from .._profile import sources as texts_of
from .._profile.queries import top
from . import container
from ._front_end import asset

if TYPE_CHECKING:
    from .._profile.tables import Tables

_POLICY = (
    "default-src 'none'; script-src 'unsafe-inline' 'wasm-unsafe-eval' blob:; "
    "style-src 'unsafe-inline' blob:; img-src data: blob:; font-src data: blob:; "
    "frame-src blob:; child-src blob:; worker-src blob:; connect-src blob: data:{connect}"
)


def dump(
    tables: Tables,
    file: BinaryIO,
    *,
    title: str | None = None,
    speedscope: bool = True,
    sources: bool = False,
) -> None:
    """Write the page.

    Parameters
    ----------
    tables : Tables
    file : binary file
    title : str, optional
    speedscope : bool, optional
        Whether the page carries the bundled Speedscope as well, which adds some 270 kB.
    sources : bool, optional
        Whether it carries the source files of its functions too, for the source view. They are
        left out unless asked for: a page is made to be passed on.

    Raises
    ------
    FileNotFoundError
        The front end was not built, as in a source tree that was never installed.
    """
    for part in page(tables, title=title, speedscope=speedscope, sources=sources):
        file.write(part)


def check_ready() -> None:
    """Verify that the front end is there; raises FileNotFoundError."""
    for name in ("standalone.js", "standalone.css", "speedscope/index.html"):
        asset(name)


def page(
    tables: Tables,
    *,
    title: str | None = None,
    speedscope: bool = True,
    sources: bool = False,
    script: str = "",
    connect: str = "",
) -> Iterator[bytes]:
    """Yield the page in pieces.

    Parameters
    ----------
    tables : Tables
    title : str, optional
    speedscope : bool
        Whether the page carries the bundled Speedscope as well.
    sources : bool
        Whether it carries the source files of its functions.
    script : str
        A further script, for a server that wants to know whether the page is still open.
    connect : str
        A further source that scripts may connect to, such as ``'self'``.
    """
    front_end, style = asset("standalone.js"), asset("standalone.css")
    heading = title or f"Profile of {tables.meta.start:%Y-%m-%d %H:%M:%S}"
    policy = _POLICY.format(connect=f" {connect}" if connect else "")
    # Level 1: columns shrink little more at higher ones, at several times the time.
    said = findings.texts_of(tables)
    packed = zlib.compress(container.encode(tables, for_display=True, findings=said), 1)
    yield (
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{escape(policy)}">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{escape(heading)}</title>\n<style>"
    ).encode("utf-8", "replace")
    yield style.replace(b"</style", b"<\\/style")
    yield (
        b'</style>\n</head>\n<body>\n<div id="spprof-root"></div>\n'
        b"<noscript>This page draws its flame graph with JavaScript, which is off. The same "
        b"profile saved as .svg needs none.</noscript>\n"
    )
    yield from _embedded("spprof-profile", packed)
    if speedscope:
        yield from _embedded("spprof-speedscope", zlib.compress(asset("speedscope/index.html")))
    if sources:
        texts = json.dumps(_sources(tables)).encode("ascii")
        yield from _embedded("spprof-sources", zlib.compress(texts))
    for source in filter(None, (front_end, script.encode("utf-8"))):
        # The HTML parser ends a script at this text wherever it stands, even in a string.
        yield b"<script>"
        yield source.replace(b"</script", b"<\\/script").replace(b"<!--", b"<\\!--")
        yield b"</script>\n"
    yield b"</body>\n</html>\n"


def _embedded(name: str, packed: bytes) -> Iterator[bytes]:
    kind = 'type="application/octet-stream;base64" data-encoding="deflate"'
    yield f'<script id="{name}" {kind}>'.encode("ascii")
    yield base64.b64encode(packed)
    yield b"</script>\n"


# Enough for what a profile's reader looks at, and bounded where a profile spans a whole framework.
_SOURCES_BYTES = 4_000_000


def _sources(tables: Tables) -> dict[str, str]:
    """Text of the Python files where most time was spent, by path."""
    texts: dict[str, str] = {}
    room = _SOURCES_BYTES
    for entry in top(tables, None, "total", lines=False):
        if entry.is_native or entry.filename in texts:
            continue
        text = texts_of.text_of(tables.meta, entry.filename, asked=True)
        if text and len(text) <= room:
            texts[entry.filename] = text
            room -= len(text)
    return texts
