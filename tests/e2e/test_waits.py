"""What threads wait for and the regions of a program, on the page: colours, filters, lanes."""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from pages import screenshot
from playwright.sync_api import Browser, Locator, Page, expect

import spprof

AXE = Path(__file__).resolve().parents[2] / "js" / "node_modules" / "axe-core" / "axe.min.js"


def burn(seconds: float) -> None:
    end = time.perf_counter() + seconds
    while time.perf_counter() < end:
        pass


def program() -> None:
    """Two halves in regions of a name: one runs, one sleeps; and a thread at a lock."""
    held = threading.Lock()

    def locked() -> None:
        with spprof.region("locked"), held:
            pass

    with held:
        other = threading.Thread(target=locked, name="other")
        other.start()
        with spprof.region("load", dataset="a"):
            burn(0.15)
        with spprof.region("load", dataset="b"):
            time.sleep(0.15)
    other.join()


@pytest.fixture(scope="module")
def saved(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("pages") / "waits.html"
    with spprof.Profiler(interval_ms=5, mode="wall") as profiler:
        program()
    profiler.profile.save(path, "html")
    return path


@pytest.fixture(params=["light", "dark"])
def page(browser: Browser, saved: Path, request: pytest.FixtureRequest) -> Iterator[Page]:
    options = {"color_scheme": request.param, "reduced_motion": "reduce"}
    context = browser.new_context(viewport={"width": 1200, "height": 640}, **options)
    page = context.new_page()
    page.goto(saved.as_uri())
    expect(frames(page).first).to_be_visible()
    yield page
    context.close()


def frames(page: Page, name: str | re.Pattern[str] = "") -> Locator:
    return page.get_by_role("treeitem", name=name)


def total(page: Page) -> float:
    """Milliseconds of the whole tree, as it says itself."""
    label = frames(page, re.compile("^all, ")).first.get_attribute("aria-label") or ""
    number, unit = label.split(", ")[1].split()
    return float(number) * {"ms": 1, "s": 1000}[unit]


def test_what_threads_did_is_a_row_that_filters(page: Page) -> None:
    row = page.get_by_role("group", name="What threads did")
    whole = total(page)
    # A legend of colours only where they are the graph's.
    expect(row.locator(".sp-swatch").first).to_be_hidden()
    row.get_by_role("button", name="sleep").click()
    expect(frames(page, re.compile("^burn"))).to_have_count(0)
    assert 100 < total(page) < 0.7 * whole
    expect(row.get_by_role("button", name="sleep")).to_have_attribute("aria-pressed", "true")
    row.get_by_role("button", name="lock").click()
    expect(frames(page, re.compile("locked")).first).to_be_visible()
    page.get_by_role("button", name="Remove filter: only waiting for a lock").click()
    expect(frames(page, re.compile("burn")).first).to_be_visible()
    assert total(page) == whole


def test_colours_say_what_is_waited_for(page: Page, request: pytest.FixtureRequest) -> None:
    page.get_by_role("button", name="Options").click()
    page.get_by_label("Colour", exact=True).select_option(label="Colour: what it waits for")
    page.keyboard.press("Escape")
    row = page.get_by_role("group", name="What threads did")
    swatches = row.locator(".sp-swatch")
    expect(swatches.first).to_be_visible()
    colors = swatches.evaluate_all("all => all.map(one => one.style.background)")
    assert len(set(colors)) == len(colors) >= 3
    screenshot(page, request.node.name)
    page.add_script_tag(path=AXE)
    broken = page.evaluate("axe.run().then(found => found.violations)")
    assert [rule["id"] for rule in broken] == []


def test_a_region_is_chosen(page: Page) -> None:
    choice = page.get_by_label("Region")
    texts = choice.locator("option").all_text_contents()
    named = [text.strip().partition(" · ")[0] for text in texts]
    assert named[0] == "All regions"
    assert sorted(named[1:]) == ["load", "load dataset=a", "load dataset=b", "locked"]
    whole = total(page)
    option = next(text for text in texts if "dataset=b" in text)
    choice.select_option(label=option)
    expect(frames(page, re.compile("^burn"))).to_have_count(0)
    assert 100 < total(page) < 0.7 * whole
    page.get_by_role("button", name="Remove filter: in load dataset=b").click()
    expect(frames(page, re.compile("burn")).first).to_be_visible()


def test_regions_are_lanes_of_the_timeline(page: Page, request: pytest.FixtureRequest) -> None:
    page.get_by_role("button", name="Timeline").click()
    first = frames(page).first
    expect(first).to_be_visible()
    screenshot(page, request.node.name)
    # Above the first call of its thread; the main thread has most time.
    canvas = page.locator("canvas:visible:not(.sp-overview-canvas)").bounding_box()
    call = first.bounding_box()
    assert canvas is not None
    assert call is not None
    page.mouse.click(canvas["x"] + canvas["width"] / 4, call["y"] - 8)
    expect(page.get_by_role("button", name="Remove filter: in load dataset=a")).to_be_visible()
