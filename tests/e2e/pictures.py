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

from pages import cell_with, click_frame, frames, graph_below, open_notebook, run_all_cells
from playwright.sync_api import Locator, Page, expect, sync_playwright
from servers import ROOT, jupyter

SIZE = {"width": 1180, "height": 860}
GROUPED = "--name grouped"
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
    """The graph of the group-by below its cell, at the upper edge of the page."""
    page.evaluate("() => window.jupyterapp.shell.collapseLeft()")
    graph = graph_below(page, GROUPED)
    cell_with(page, GROUPED).evaluate("(cell) => cell.scrollIntoView({block: 'start'})")
    # Marks of the notebook that say where its keyboard is.
    page.evaluate("() => document.activeElement?.blur()")
    page.wait_for_timeout(700)
    return graph


def hover(frame: Locator) -> None:
    """Put the pointer on a frame, past its name, so that what is said of it covers no names."""
    box = frame.bounding_box()
    assert box is not None
    frame.page.mouse.move(box["x"] + box["width"] * 0.75, box["y"] + 12)
    frame.page.wait_for_timeout(400)


def zooming(page: Page, graph: Locator) -> Iterator[tuple[bytes, float]]:
    """What a reader sees who zooms into a call, goes back, searches, and looks at when it was."""
    box = graph.bounding_box()
    assert box is not None
    clip = {**box, "height": min(box["height"], SIZE["height"] - box["y"] - 30)}

    def seen() -> bytes:
        return page.screenshot(clip=clip)

    yield seen(), 1.5
    frame = frames(graph, re.compile(r"^BlockManager\.quantile,")).first
    hover(frame)
    yield seen(), 1.5
    click_frame(frame)
    page.mouse.move(0, 0)
    page.wait_for_timeout(500)
    yield seen(), 1.8
    page.keyboard.press("0")
    page.keyboard.press("Escape")
    search = graph.get_by_role("searchbox")
    for typed in ("qu", "quantile"):
        search.fill(typed)
        expect(graph.get_by_text(re.compile("% in .* function"))).to_be_visible()
        page.wait_for_timeout(400)
        yield seen(), 0.5
    yield seen(), 1.5
    graph.get_by_role("button", name="Timeline", exact=True).click()
    page.wait_for_timeout(500)
    yield seen(), 2.2
    graph.get_by_role("button", name="Icicle", exact=True).click()
    graph.get_by_role("button", name="Reset").click()
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
        graph = prepared(page)
        hover(frames(graph, re.compile(r"^BlockManager\.quantile,")).first)
        (target / "jupyterlab-light.png").write_bytes(page.screenshot())
        set_theme(page, "JupyterLab Dark")
        graph = prepared(page)
        graph.get_by_role("searchbox").fill("quantile")
        page.evaluate("() => document.activeElement?.blur()")
        page.wait_for_timeout(500)
        (target / "jupyterlab-dark.png").write_bytes(page.screenshot())
        browser.close()
    for made in ("jupyterlab-light", "jupyterlab-dark", "zoom-and-search"):
        file = target / f"{made}.png"
        print(f"{file}: {file.stat().st_size / 1000:.0f} kB")


if __name__ == "__main__":
    main()
