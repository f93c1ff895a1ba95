"""A self-contained page: the front end's own script and style with the profile inside.

Must not know any other format but the container that it embeds. The page asks the network for
nothing, and says so to the browser (Content-Security-Policy).
"""

from __future__ import annotations

import base64
import zlib
from collections.abc import Iterator
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from . import container

if TYPE_CHECKING:
    from .._model import Profile

_STATIC = Path(__file__).resolve().parent.parent / "static"

_POLICY = (
    "default-src 'none'; script-src 'unsafe-inline' blob:; style-src 'unsafe-inline' blob:; "
    "img-src data: blob:; font-src data: blob:; frame-src blob:; child-src blob:; "
    "worker-src blob:; connect-src blob: data:{connect}"
)


def dump(
    profile: Profile, file: BinaryIO, *, title: str | None = None, speedscope: bool = True
) -> None:
    """Write the page.

    Parameters
    ----------
    profile : Profile
    file : binary file
    title : str, optional
    speedscope : bool, optional
        Whether the page carries the bundled Speedscope as well, which adds some 270 kB.

    Raises
    ------
    FileNotFoundError
        The front end was not built, as in a source tree that was never installed.
    """
    for part in page(profile, title=title, speedscope=speedscope):
        file.write(part)


def page(
    profile: Profile,
    *,
    title: str | None = None,
    speedscope: bool = True,
    script: str = "",
    connect: str = "",
) -> Iterator[bytes]:
    """Yield the page in pieces.

    Parameters
    ----------
    profile : Profile
    title : str, optional
    speedscope : bool
        Whether the page carries the bundled Speedscope as well.
    script : str
        A further script, for a server that wants to know whether the page is still open.
    connect : str
        A further source that scripts may connect to, such as ``'self'``.
    """
    front_end, style = _asset("standalone.js"), _asset("standalone.css")
    heading = title or f"Profile of {profile.start_time:%Y-%m-%d %H:%M:%S}"
    policy = _POLICY.format(connect=f" {connect}" if connect else "")
    # Level 1: columns shrink little more at higher ones, at several times the time.
    packed = zlib.compress(container.encode(profile, for_display=True), 1)
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
        b'<script id="spprof-profile" type="application/octet-stream;base64" '
        b'data-encoding="deflate">'
    )
    yield base64.b64encode(packed)
    if speedscope:
        yield (
            b'</script>\n<script id="spprof-speedscope" type="text/html;base64" '
            b'data-encoding="deflate">'
        )
        yield base64.b64encode(zlib.compress(_asset("speedscope/index.html")))
    for source in (front_end, script.encode("utf-8")):
        # The HTML parser ends a script at this text wherever it stands, even in a string.
        yield b"</script>\n<script>"
        yield source.replace(b"</script", b"<\\/script").replace(b"<!--", b"<\\!--")
    yield b"</script>\n</body>\n</html>\n"


def _asset(name: str) -> bytes:
    try:
        return (_STATIC / name).read_bytes()
    except FileNotFoundError:
        raise FileNotFoundError(
            f"the front end is not built: {_STATIC / name} is missing. An installed spprof has "
            "it; in a source tree run `npm ci && npm run build` in js/, or `pip install .`"
        ) from None
