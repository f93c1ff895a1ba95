"""Graphs inside other widgets, without a kernel, and by keyboard alone, in JupyterLab."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator

import pytest
from pages import (
    WIDE,
    cell_with,
    eventually,
    frames,
    graph_below,
    open_notebook,
    run_all_cells,
    screenshot,
)
from playwright.sync_api import Browser, Page, expect

PREPARE = """
import time
import ipywidgets
import spprof
%load_ext spprof

def burn(seconds):
    end = time.thread_time() + seconds
    while time.thread_time() < end:
        pass

def taken():
    with spprof.Profiler(1) as profiler:
        burn(0.1)
    return profiler.profile
"""
CELLS = [
    PREPARE,
    """
# in an Output
out = ipywidgets.Output()
display(out)
with out:
    print("before the graph")
    spprof.display(taken())
""",
    """
# in a Tab
pages = [ipywidgets.Output(), ipywidgets.Output()]
display(ipywidgets.Tab(pages, titles=["first", "second"]))
for page in pages:
    with page:
        spprof.display(taken())
""",
    """
# in interact
@ipywidgets.interact(seconds=(1, 3))
def show(seconds=1):
    print("shown for", seconds)
    spprof.display(taken())
""",
    "# plain\nspprof.display(taken());",
]


@pytest.fixture(scope="module")
def page(browser: Browser, lab) -> Iterator[Page]:
    """The cells above, run once for all tests of this file."""
    cells = [
        {"cell_type": "code", "id": f"c{i}", "metadata": {}, "source": cell, "outputs": []}
        | {"execution_count": None}
        for i, cell in enumerate(CELLS)
    ]
    kernel = {"name": "python3", "display_name": "Python 3", "language": "python"}
    content = {"cells": cells, "metadata": {"kernelspec": kernel}, "nbformat": 4}
    (lab.folder / "corners.ipynb").write_text(json.dumps({**content, "nbformat_minor": 5}))
    context = browser.new_context(viewport=WIDE)
    page = context.new_page()
    open_notebook(page, lab, "corners.ipynb", prefix="lab/workspaces/corners/tree")
    run_all_cells(page)
    yield page
    context.close()


@pytest.mark.parametrize("source", ["# in an Output", "# in a Tab", "# in interact"])
def test_graph_inside_another_widget_is_shown_and_its_picture_is_not(page, source) -> None:
    cell = cell_with(page, source)
    graph = cell.locator("section.spprof").first
    graph.scroll_into_view_if_needed()
    expect(frames(graph, re.compile("^burn")).first).to_be_visible()
    for picture in cell.locator('img[alt^="Flame graph"]').all():
        expect(picture).to_be_hidden()
    screenshot(cell, f"lab-corner-{source.split()[-1].lower()}")


def test_what_else_is_in_the_same_widget_is_shown(page) -> None:
    for source, text in (
        ("# in an Output", "before the graph"),
        ("# in interact", "shown for 1"),
    ):
        expect(cell_with(page, source).get_by_text(text, exact=True)).to_be_visible()


@pytest.mark.parametrize("keys", ["s", "o", "f", "h", "i", "r", "3", "so", "os", "sf", "3s"])
def test_no_key_loses_the_keyboards_focus(page, keys) -> None:
    graph = graph_below(page, "# plain")
    try:
        tree = graph.get_by_role("tree")
        tree.focus()
        for key in ("Home", "ArrowDown", "ArrowDown", "Enter", *keys):
            page.keyboard.press(key)
        inside = "(graph) => graph.contains(document.activeElement)"
        assert graph.evaluate(inside)
        shown = "() => document.activeElement.checkVisibility()"
        assert page.evaluate(shown)
        # And the keys still arrive.
        page.keyboard.press("1")
        expect(graph.get_by_role("button", name="Icicle")).to_have_attribute("aria-pressed", "true")
    finally:
        graph.get_by_role("button", name="Reset").click()


@pytest.mark.parametrize("name", ["Callers, callees", "Lines", "Focus"])
def test_no_button_loses_the_keyboards_focus(page, name) -> None:
    graph = graph_below(page, "# plain")
    try:
        graph.get_by_role("tree").focus()
        for key in ("Home", "ArrowDown", "ArrowDown", "Enter"):
            page.keyboard.press(key)
        graph.get_by_role("button", name=name, exact=True).focus()
        page.keyboard.press("Enter")
        page.keyboard.press("1")
        expect(graph.get_by_role("button", name="Icicle")).to_have_attribute("aria-pressed", "true")
        assert graph.evaluate("(graph) => graph.contains(document.activeElement)")
    finally:
        graph.get_by_role("button", name="Reset").click()


def restart_kernel(page: Page) -> None:
    page.evaluate(
        """async () => {
            const {sessionContext} = window.jupyterapp.shell.currentWidget;
            await sessionContext.session.kernel.restart();
        }"""
    )
    page.wait_for_function(
        """() => window.jupyterapp.shell.currentWidget
            .sessionContext.session.kernel.status === 'idle'""",
        timeout=60_000,
    )


def test_after_a_restart_speedscope_says_why_it_is_not_there(page) -> None:
    graph = graph_below(page, "# plain")
    restart_kernel(page)
    graph.get_by_role("button", name="Speedscope", exact=True).click()
    said = graph.get_by_text("Speedscope cannot be shown: the kernel that made this graph is gone")
    expect(said).to_be_visible(timeout=5_000)
    screenshot(graph, "lab-speedscope-restarted")
    graph.get_by_role("button", name="Export", exact=True).click()
    graph.get_by_role("button", name=re.compile("Open in Speedscope")).click()
    expect(graph.get_by_text("Speedscope was not opened: the kernel that made")).to_be_visible()
    eventually(page, lambda: len(page.context.pages) == 1, "no blank tab is left")


def test_after_a_restart_speedscope_that_was_seen_before_still_opens(page) -> None:
    run_all_cells(page)
    graph = graph_below(page, "# plain")
    graph.get_by_role("button", name="Speedscope", exact=True).click()
    inside = graph.frame_locator("iframe")
    expect(inside.get_by_text("Left Heavy")).to_be_visible()
    restart_kernel(page)
    other = cell_with(page, "# in an Output").locator("section.spprof")
    other.get_by_role("button", name="Speedscope", exact=True).click()
    expect(other.frame_locator("iframe").get_by_text("Left Heavy")).to_be_visible()
