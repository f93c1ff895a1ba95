"""The quickstart in Notebook 7: the same kernel, a page of its own."""

from __future__ import annotations

import re

from pages import (
    cell_with,
    click_frame,
    frames,
    graph_below,
    open_notebook,
    run_all_cells,
    screenshot,
)
from playwright.sync_api import expect


def test_flame_graph_works_in_notebook_7(page, notebook7):
    open_notebook(page, notebook7, "quickstart.ipynb", prefix="notebooks")
    run_all_cells(page)
    graph = graph_below(page, "--name fitted")
    expect(frames(graph, "BaseGradientBoosting.fit").first).to_be_visible()
    expect(frames(graph, re.compile(r"In \[5\]")).first).to_be_visible()
    click_frame(frames(graph, "BaseGradientBoosting._fit_stage,").first)
    crumbs = graph.get_by_role("navigation", name="Zoomed into")
    expect(crumbs.locator('[aria-current="true"]')).to_have_text("BaseGradientBoosting._fit_stage")
    graph.get_by_role("searchbox").fill("tree")
    expect(graph.get_by_text(re.compile(r"% in \d+ functions"))).to_be_visible()
    picture = cell_with(page, "--name fitted").locator('img[alt^="Flame graph"]')
    expect(picture).to_be_hidden()
    screenshot(page, "notebook7")
