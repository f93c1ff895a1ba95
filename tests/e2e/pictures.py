"""Makes the pictures of the README anew: a JupyterLab, the quickstart, what a reader does in it.

    python tests/e2e/pictures.py [FOLDER]

Writes `jupyterlab-light.png`, `jupyterlab-dark.png` and `zoom-and-search.png`, an animated PNG,
to docs/images unless told otherwise. Needs a Chromium, as the browser tests do.
"""

from __future__ import annotations

import os
import re
import shutil
import struct
import sys
import tempfile
import zlib
from collections.abc import Iterable, Iterator
from pathlib import Path

from pages import click_frame, frames, graph_below, open_notebook, run_all_cells
from playwright.sync_api import Locator, Page, expect, sync_playwright
from servers import ROOT, jupyter

SIZE = {"width": 1000, "height": 640}
FIT = "--name fitted"
SIGNATURE = b"\x89PNG\r\n\x1a\n"


def _chunks(png: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Kind and content of each part of a PNG file."""
    at = len(SIGNATURE)
    while at < len(png):
        (length,) = struct.unpack_from(">I", png, at)
        yield png[at + 4 : at + 8], png[at + 8 : at + 8 + length]
        at += length + 12


def animation(pictures: Iterable[tuple[bytes, float]]) -> bytes:
    """An animated PNG of PNG files of one size, each with the seconds that it stays.

    Viewers that know no animation show the first.
    """
    shown = list(pictures)
    head = {content for png, _ in shown for kind, content in _chunks(png) if kind == b"IHDR"}
    if len(head) != 1:
        raise ValueError(f"pictures of {len(head)} sizes or kinds cannot be one animation")
    (header,) = head
    size = struct.unpack_from(">II", header)
    parts = [(b"IHDR", header), (b"acTL", struct.pack(">II", len(shown), 0))]
    number = 0
    for index, (png, seconds) in enumerate(shown):
        control = struct.pack(">IIIIIHHBB", number, *size, 0, 0, round(seconds * 1000), 1000, 0, 0)
        parts.append((b"fcTL", control))
        number += 1
        for kind, content in _chunks(png):
            if kind != b"IDAT":
                continue
            if index == 0:
                parts.append((b"IDAT", content))
            else:
                parts.append((b"fdAT", struct.pack(">I", number) + content))
                number += 1
    parts.append((b"IEND", b""))
    return SIGNATURE + b"".join(map(_packed, parts))


def _packed(part: tuple[bytes, bytes]) -> bytes:
    kind, content = part
    check = struct.pack(">I", zlib.crc32(kind + content))
    return struct.pack(">I", len(content)) + kind + content + check


def set_theme(page: Page, name: str) -> None:
    """Switch JupyterLab to a theme of its own."""
    page.evaluate(
        "(theme) => window.jupyterapp.commands.execute('apputils:change-theme', {theme})", name
    )
    page.wait_for_timeout(1500)


def prepared(page: Page) -> Locator:
    """The graph of the fit with its cell above it, and nothing around the notebook."""
    page.evaluate("() => window.jupyterapp.shell.collapseLeft()")
    graph = graph_below(page, FIT)
    page.evaluate(
        """(source) => {
            const {content} = window.jupyterapp.shell.currentWidget;
            const index = content.widgets.findIndex(
                ({model}) => model.sharedModel.getSource().includes(source)
            );
            return content.scrollToItem(index, 'start');
        }""",
        FIT,
    )
    page.wait_for_timeout(500)
    return graph


def zooming(page: Page, graph: Locator) -> Iterator[tuple[bytes, float]]:
    """What a reader sees who zooms into a call, goes back and searches."""

    def during(seconds: float, count: int) -> Iterator[tuple[bytes, float]]:
        for _ in range(count):
            yield page.screenshot(), seconds

    yield page.screenshot(), 1.5
    click_frame(frames(graph, re.compile(r"^BaseGradientBoosting\._fit_stages,")).first)
    yield from during(0.12, 3)
    page.wait_for_timeout(400)
    yield page.screenshot(), 1.8
    page.keyboard.press("Escape")
    page.keyboard.press("0")
    page.wait_for_timeout(400)
    yield page.screenshot(), 0.8
    search = graph.get_by_role("searchbox")
    for typed in ("tr", "tree"):
        search.fill(typed)
        expect(graph.get_by_text(re.compile("% in .* function"))).to_be_visible()
        page.wait_for_timeout(200)
        yield page.screenshot(), 0.4
    page.wait_for_timeout(300)
    yield page.screenshot(), 2.2
    search.fill("")
    page.wait_for_timeout(300)


def main() -> None:
    """Make all pictures."""
    target = Path(sys.argv[1]) if len(sys.argv) > 1 else ROOT / "docs" / "images"
    path = os.environ.get("SPPROF_CHROMIUM") or shutil.which("chromium")
    unsandboxed = ["--no-sandbox"] if hasattr(os, "geteuid") and os.geteuid() == 0 else []
    with (
        tempfile.TemporaryDirectory() as folder,
        jupyter("jupyterlab", "LabApp", Path(folder)) as server,
        sync_playwright() as playwright,
    ):
        browser = playwright.chromium.launch(executable_path=path, args=unsandboxed)
        page = browser.new_page(viewport=SIZE)
        open_notebook(page, server, "quickstart.ipynb")
        run_all_cells(page)
        set_theme(page, "JupyterLab Light")
        graph = prepared(page)
        (target / "zoom-and-search.png").write_bytes(animation(zooming(page, graph)))
        (target / "jupyterlab-light.png").write_bytes(page.screenshot())
        set_theme(page, "JupyterLab Dark")
        graph = prepared(page)
        graph.get_by_role("searchbox").fill("tree")
        page.wait_for_timeout(500)
        (target / "jupyterlab-dark.png").write_bytes(page.screenshot())
        browser.close()
    for made in ("jupyterlab-light", "jupyterlab-dark", "zoom-and-search"):
        file = target / f"{made}.png"
        print(f"{file}: {file.stat().st_size / 1000:.0f} kB")


if __name__ == "__main__":
    main()
