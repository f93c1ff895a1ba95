"""A graph that grows while its cell runs, and one that a slow cell offers, in JupyterLab."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest
from pages import cell_with, eventually, frames, notebook_of, notebook_page, screenshot
from playwright.sync_api import Browser, Locator, Page, expect

CELLS = [
    "%load_ext spprof\n"
    "import os, time\n"
    "def early(seconds):\n"
    "    until = time.thread_time() + seconds\n"
    "    while time.thread_time() < until and not os.path.exists('go'): sum(range(1000))\n"
    "def late():\n"
    "    until = time.thread_time() + 0.3\n"
    "    while time.thread_time() < until: sum(range(1000))",
    "%%spprof\nearly(600)\nlate()",
    "%spprof on --threshold 0.3",
    "early(0.5)",
    "%spprof history",
    "%%spprof\nearly(601)",
]


def start(page: Page, source: str) -> Locator:
    """Run a cell, without waiting for its end."""
    cell = cell_with(page, source)
    page.evaluate(
        """(source) => {
            const {content: notebook} = window.jupyterapp.shell.currentWidget;
            notebook.activeCellIndex = notebook.widgets.findIndex(
                ({model}) => model.sharedModel.getSource().includes(source)
            );
            window.ran = window.jupyterapp.commands.execute('notebook:run-cell');
        }""",
        source,
    )
    return cell


def ended(page: Page) -> None:
    page.evaluate("() => window.ran")


@pytest.fixture(scope="module")
def notebook(browser: Browser, lab) -> Iterator[Page]:
    notebook_of(CELLS, lab.folder / "live.ipynb")
    with notebook_page(browser, lab, "live.ipynb", "lab/workspaces/live/tree") as page:
        start(page, "%load_ext spprof")
        ended(page)
        yield page


def samples(facts: str) -> int:
    found = re.search(r"([\d,]+) samples", facts)
    assert found, facts
    return int(found[1].replace(",", ""))


def test_the_graph_grows_while_the_cell_runs_and_keeps_what_was_chosen(notebook, lab):
    cell = start(notebook, "early(600)")
    caption = cell.locator(".spprof-caption")
    graph = cell.locator(".spprof")
    expect(caption).to_contain_text("running for ")
    expect(cell.locator(".jp-InputPrompt")).to_contain_text("[*]")
    facts = graph.locator(".sp-facts")
    before = samples(facts.inner_text())
    names = lambda name: frames(graph, re.compile(rf"^{name}, "))  # noqa: E731
    expect(names("early").first).to_be_attached()
    expect(names("late")).to_have_count(0)
    graph.get_by_role("searchbox").fill("late")
    # In time, not at the end of the cell only.
    eventually(notebook, lambda: samples(facts.inner_text()) > before, "more samples")
    screenshot(notebook, "lab-live")
    expect(cell.locator(".jp-InputPrompt")).to_contain_text("[*]")
    (lab.folder / "go").touch()
    ended(notebook)
    (lab.folder / "go").unlink()
    expect(caption).to_be_hidden()
    expect(names("late").first).to_be_attached()
    expect(graph.get_by_role("searchbox")).to_have_value("late")
    expect(cell.locator(".spprof")).to_have_count(1)
    expect(cell.locator('img[alt^="Flame graph"]')).to_be_hidden()


def test_a_slow_cell_has_one_line_whose_button_opens_its_graph(notebook):
    start(notebook, "%spprof on")
    ended(notebook)
    cell = start(notebook, "early(0.5)")
    ended(notebook)
    expect(cell.locator(".spprof-caption")).to_contain_text(re.compile(r"spprof: .* in early"))
    expect(cell.locator(".spprof")).to_be_hidden()
    cell.get_by_role("button", name="Show the graph").click()
    expect(cell.locator(".spprof")).to_be_visible()
    expect(frames(cell, re.compile("^early, ")).first).to_be_attached()
    screenshot(notebook, "lab-offered")
    cell.get_by_role("button", name="Hide the graph").click()
    expect(cell.locator(".spprof")).to_be_hidden()
    start(notebook, "%spprof history")
    ended(notebook)
    table = cell_with(notebook, "%spprof history").locator(".spprof-cells")
    expect(table).to_contain_text("early(0.5)")


def test_after_a_restart_in_the_middle_it_says_that_this_is_as_far_as_it_came(notebook):
    cell = start(notebook, "early(601)")
    expect(cell.locator(".spprof-caption")).to_contain_text("running for")
    notebook.evaluate(
        "() => window.jupyterapp.shell.currentWidget.sessionContext.session.kernel.restart()"
    )
    expect(cell.locator(".spprof-caption")).to_contain_text("the kernel is gone")
    expect(frames(cell, re.compile("^early, ")).first).to_be_attached()
