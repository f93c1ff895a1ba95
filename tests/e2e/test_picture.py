"""The static picture of a notebook's output, in the colours of the page that it stands in."""

from __future__ import annotations

import base64
import re
import sys
from datetime import datetime, timezone
from pathlib import Path

import pytest
from pages import screenshot
from playwright.sync_api import Browser, Page, expect

from spprof import Frame, Profile, Sample
from spprof._profile.model import loads
from spprof.jupyter import output

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "bench"))
import frontend_profiles

LIGHT, DARK = [255, 255, 255], [23, 24, 28]


def picture() -> str:
    place = next(path for path in sys.path if path.endswith("site-packages"))
    frames = [
        Frame("load", f"{place}/pandas/io/common.py", 3),
        Frame("<module>", "In [1]", 1),
    ]
    start = datetime(2026, 1, 1, tzinfo=timezone.utc)
    sample = Sample(0, 1, "MainThread", frames)
    profile = Profile(start, start, 10.0, [sample], 0, "3.11.7", "Linux")
    return output._static_html(profile, "key", with_graph=False)


def pixel(page: Page, x: int, y: int) -> list[int]:
    """Colour of a place of the page as it is seen."""
    seen = base64.b64encode(page.screenshot()).decode("ascii")
    return page.evaluate(
        """async ([seen, x, y]) => {
            const image = new Image();
            image.src = `data:image/png;base64,${seen}`;
            await image.decode();
            const pen = new OffscreenCanvas(image.width, image.height).getContext('2d');
            pen.drawImage(image, 0, 0);
            return Array.from(pen.getImageData(x, y, 1, 1).data.slice(0, 3));
        }""",
        [seen, x, y],
    )


@pytest.mark.parametrize("preferred", ["light", "dark"])
@pytest.mark.parametrize(
    ("body", "page_color"),
    [
        ("<body>", LIGHT),
        ('<body data-jp-theme-light="true">', LIGHT),
        ('<body data-jp-theme-light="false">', DARK),
        ('<body class="vscode-dark">', DARK),
        ('<body class="vscode-light">', LIGHT),
    ],
)
def test_is_light_or_dark_as_the_page_is(
    browser: Browser, body: str, page_color: list[int], preferred: str
):
    context = browser.new_context(color_scheme=preferred, viewport={"width": 1300, "height": 400})
    page = context.new_page()
    page.set_content(f"{body}{picture()}")
    page.locator("img").evaluate("(image) => image.decode()")
    box = page.locator("img").bounding_box()
    left, top = round(box["x"]), round(box["y"])
    assert pixel(page, left + 600, top + 30) == page_color
    # The package's frame, below the root and the cell: a hue of its own, not the amber of files.
    red, _, blue = pixel(page, left + 1000, top + 48 + 21 * 2 + 3)
    assert blue > red - 20
    screenshot(page, f"picture-{'dark' if page_color is DARK else 'light'}")
    context.close()


def test_a_saved_picture_zooms_and_searches(page: Page, tmp_path):
    path = tmp_path / "demo.svg"
    loads(frontend_profiles.demo()).save(path)
    page.goto(path.as_uri())
    frame = page.locator("g.frames > g", has=page.locator("title", has_text="load_orders (In [2]"))
    # All of the name, and as much of its module as there is room for.
    expect(frame.locator("text")).to_have_text(re.compile("^load_orders"))
    frame.click()
    expect(frame.locator("rect")).to_have_attribute("width", "1184")
    expect(frame.locator("text")).to_have_text("load_ordersIn [2]")
    native = page.locator("g.n", has=page.locator("title", has_text="tokenize_bytes"))
    widths = native.locator("rect").evaluate_all("(all) => all.map((e) => e.getAttribute('width'))")
    assert len(set(widths)) == 1
    page.get_by_role("searchbox").fill("pandas")
    expect(page.locator("text.m")).to_have_text(
        re.compile(r"^\d+ frames match, 14\.\d% of the time")
    )
    page.get_by_role("searchbox").press("Escape")
    page.keyboard.press("Escape")
    expect(frame.locator("rect")).not_to_have_attribute("width", "1184")
