"""A cell that awaits a gather and a group of tasks, in JupyterLab: its tree of tasks."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator

import pytest
from pages import (
    cell_with,
    frames,
    graph_below,
    notebook_of,
    notebook_page,
    run_all_cells,
    screenshot,
)
from playwright.sync_api import Browser, Page, expect

CELLS = [
    "%load_ext spprof\n"
    "import asyncio, time\n"
    "async def query(seconds):\n"
    "    await asyncio.sleep(seconds)\n"
    "async def user():\n"
    "    await query(0.3)\n"
    "async def orders():\n"
    "    async with asyncio.TaskGroup() as group:\n"
    "        group.create_task(query(0.5), name='first')\n"
    "        group.create_task(query(0.5), name='second')",
    "%%spprof --mode wall\nawait asyncio.gather(user(), orders())",
]

pytestmark = pytest.mark.skipif(sys.version_info < (3, 11), reason="there are no groups of tasks")


@pytest.fixture(scope="module")
def notebook(browser: Browser, lab) -> Iterator[Page]:
    notebook_of(CELLS, lab.folder / "tasks.ipynb")
    with notebook_page(browser, lab, "tasks.ipynb", "lab/workspaces/tasks/tree") as page:
        run_all_cells(page)
        yield page


def test_tasks_of_gather_and_of_a_group_are_below_the_cell(notebook: Page) -> None:
    graph = graph_below(notebook, "asyncio.gather")
    expect(frames(graph, re.compile(r"^orders, ")).first).to_be_visible()
    screenshot(cell_with(notebook, "asyncio.gather"), "lab-tasks")
    levels = {
        name: int(frames(graph, re.compile(rf"^{name}, ")).first.get_attribute("aria-level") or 0)
        for name in ("orders", "user", "query", "sleep")
    }
    roots = graph.locator('[role="treeitem"][aria-level="2"]')
    names = roots.evaluate_all("all => all.map(one => one.getAttribute('aria-label'))")
    # Nothing of the kernel's: what is not the cell's code has been cut off.
    assert all(re.search(r"In \[2\]", name) for name in names), names
    # gather is awaited by the cell itself, the group's tasks by the block that made them.
    assert levels["orders"] == levels["user"] > 2
    assert levels["query"] > levels["user"]
    both = frames(graph, re.compile(r"^orders, ")).first.get_attribute("aria-label") or ""
    assert 0.85 < float(re.search(r"([\d.]+) s", both)[1]) < 1.3, both


def test_what_it_waits_for_is_said(notebook: Page) -> None:
    graph = graph_below(notebook, "asyncio.gather")
    row = graph.get_by_role("group", name="What threads did")
    row.get_by_role("button", name="sleep").click()
    expect(graph.get_by_role("button", name="Remove filter: only sleeping")).to_be_visible()
    expect(frames(graph, re.compile(r"^sleep, ")).first).to_be_visible()
    graph.get_by_role("button", name="Remove filter: only sleeping").click()
