"""What shows itself as a cell's last expression, looked at in JupyterLab, light and dark."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator

import pytest
from pages import WIDE, cell_with, frames, graph_below, open_notebook, run_all_cells, screenshot
from playwright.sync_api import Browser, Locator, Page, expect

CELLS = [
    """import json, random, time, spprof

def parse(text):
    return json.loads(text)

def load_records(seconds):
    text = json.dumps([random.random() for _ in range(5000)])
    until = time.process_time() + seconds
    while time.process_time() < until:
        sorted(parse(text))

%load_ext spprof""",
    "%%spprof -i 1 -q --name p\nload_records(0.4)",
    "p",
    "spprof.diff(p, p)",
    "p.tree()",
    "p.top()",
]


@pytest.fixture(scope="module")
def page(browser: Browser, lab) -> Iterator[Page]:
    """A notebook with all its cells run, once for all tests of this file."""
    cells = [
        {"cell_type": "code", "id": f"c{i}", "metadata": {}, "source": cell, "outputs": []}
        | {"execution_count": None}
        for i, cell in enumerate(CELLS)
    ]
    kernel = {"name": "python3", "display_name": "Python 3", "language": "python"}
    content = {"cells": cells, "metadata": {"kernelspec": kernel}, "nbformat": 4}
    (lab.folder / "showing.ipynb").write_text(json.dumps({**content, "nbformat_minor": 5}))
    context = browser.new_context(viewport=WIDE)
    page = context.new_page()
    # In a workspace of its own: nothing that other tests had open is opened again.
    open_notebook(page, lab, "showing.ipynb", prefix="lab/workspaces/showing/tree")
    run_all_cells(page)
    yield page
    context.close()


@pytest.fixture(params=["Light", "Dark"])
def notebook(request, page) -> Iterator[tuple[Page, str]]:
    set_theme(page, request.param)
    yield page, request.param.lower()
    set_theme(page, "Light")


def set_theme(page: Page, theme: str) -> None:
    page.evaluate(
        "(theme) => window.jupyterapp.commands.execute('apputils:change-theme', {theme})",
        f"JupyterLab {theme}",
    )
    light = "true" if theme == "Light" else "false"
    expect(page.locator("body")).to_have_attribute("data-jp-theme-light", light)


def contrast(element: Locator) -> float:
    """Contrast of an element's text with what is behind it, as WCAG has it; 4.5 can be read."""
    ratio: float = element.evaluate(
        """(element) => {
            const parts = (color) => color.match(/[0-9.]+/g).map(Number);
            const light = (color) => {
                const [r, g, b] = parts(color).map((c) => {
                    c /= 255;
                    return c <= 0.03928 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4;
                });
                return 0.2126 * r + 0.7152 * g + 0.0722 * b;
            };
            let behind = element;
            while (parts(getComputedStyle(behind).backgroundColor)[3] === 0) {
                behind = behind.parentElement;
            }
            const pair = [
                light(getComputedStyle(element).color),
                light(getComputedStyle(behind).backgroundColor),
            ].sort();
            return (Math.max(...pair) + 0.05) / (Math.min(...pair) + 0.05);
        }"""
    )
    return ratio


def output_below(page: Page, source: str) -> Locator:
    output = cell_with(page, source).locator(".jp-OutputArea-output").last
    output.scroll_into_view_if_needed()
    return output


def row_of(tree: Locator, name: str) -> Locator:
    return tree.locator("summary").filter(has=tree.page.get_by_text(name, exact=True))


def test_profile_and_difference_are_graphs(notebook) -> None:
    page, theme = notebook
    graph = graph_below(page, "spprof.diff(p, p)")
    expect(frames(graph, re.compile("^load_records")).first).to_be_visible()
    screenshot(graph, f"lab-diff-{theme}")


def test_tree_opens_and_closes_by_mouse_and_keyboard(notebook) -> None:
    page, theme = notebook
    tree = output_below(page, "p.tree()")
    inner = tree.get_by_text("parse", exact=True)
    expect(inner).to_be_visible()
    screenshot(tree, f"lab-tree-{theme}")
    outer = tree.get_by_text("load_records", exact=True)
    outer.click()
    expect(inner).to_be_hidden()
    row = row_of(tree, "load_records")
    row.focus()
    row.press("Enter")
    expect(inner).to_be_visible()
    assert contrast(inner) > 4.5


def test_deeper_calls_stand_further_to_the_right_and_numbers_in_columns(notebook) -> None:
    page, _ = notebook
    tree = output_below(page, "p.tree()")
    names = [tree.get_by_text(name, exact=True) for name in ("all", "load_records", "parse")]
    lefts = [name.bounding_box()["x"] for name in names]
    assert lefts == sorted(set(lefts))
    rows = [row_of(tree, name) for name in ("all", "load_records", "parse")]
    assert len({row.locator("i").first.bounding_box()["x"] for row in rows}) == 1


def test_top_is_a_table(notebook) -> None:
    page, theme = notebook
    table = output_below(page, "p.top()")
    screenshot(table, f"lab-top-{theme}")
    # What is in it, a generator expression, may have been met once, too.
    row = table.get_by_role("row", name=re.compile("load_records")).first
    expect(row).to_contain_text(re.compile(r"[0-9.]+%.*[0-9.]+%"))
    name = row.get_by_text("load_records", exact=True)
    assert contrast(name) > 4.5
    # Names begin one below the other.
    starts = {each.bounding_box()["x"] for each in table.locator("tt").all()}
    assert len(starts) == 1
