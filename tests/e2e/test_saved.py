"""Graphs of a notebook that was saved, opened where no kernel knows of them: still alive."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from pages import WIDE, cell_with, click_frame, frames, open_notebook, run_all_cells, screenshot
from playwright.sync_api import Browser, Locator, Page, expect

CELLS = [
    "import time\n%load_ext spprof",
    "def burn(seconds):\n    end = time.thread_time() + seconds\n"
    "    while time.thread_time() < end:\n        pass",
    *(f"%%spprof -i 1\nburn(0.1)  # run {run}\nburn(0.05)" for run in (1, 2, 3)),
]


def written(folder: Path, name: str) -> Path:
    cells = [
        {"cell_type": "code", "id": f"c{i}", "metadata": {}, "source": cell, "outputs": []}
        | {"execution_count": None}
        for i, cell in enumerate(CELLS)
    ]
    kernel = {"name": "python3", "display_name": "Python 3", "language": "python"}
    content = {"cells": cells, "metadata": {"kernelspec": kernel}, "nbformat": 4}
    path = folder / name
    path.write_text(json.dumps({**content, "nbformat_minor": 5}))
    return path


def works(graph: Locator, run: str) -> None:
    """It zooms, searches, and shows the source of cells."""
    click_frame(frames(graph, re.compile("^burn,")).first)
    expect(graph.get_by_role("navigation", name="Zoomed into")).to_contain_text("burn")
    graph.get_by_role("button", name="Source", exact=True).click()
    expect(graph).to_contain_text("while time.thread_time() < end:")
    graph.get_by_label("File", exact=True).select_option(index=1)
    expect(graph).to_contain_text(run)
    graph.get_by_role("button", name="Icicle", exact=True).click()
    graph.get_by_role("searchbox").fill("burn")
    expect(graph.get_by_text(re.compile(r"% in 1 function"))).to_be_visible()


@pytest.fixture(scope="module")
def executed(tmp_path_factory) -> Path:
    """As `jupyter nbconvert --execute` leaves it."""
    folder = tmp_path_factory.mktemp("saved")
    written(folder, "saved.ipynb")
    convert = [sys.executable, "-m", "nbconvert", "--execute", "--to", "notebook", "--inplace"]
    subprocess.run([*convert, "saved.ipynb"], cwd=folder, check=True, capture_output=True)
    return folder / "saved.ipynb"


def outputs(notebook: Path) -> list[str]:
    return [
        "".join(output["data"]["text/html"])
        for cell in json.loads(notebook.read_text())["cells"]
        for output in cell["outputs"]
        if "text/html" in output.get("data", {})
    ]


def test_script_and_style_are_there_once(executed: Path) -> None:
    found = outputs(executed)
    assert [html.count("data-script") for html in found] == [1, 0, 0]
    assert max(map(len, found)) <= 150_000
    assert str(Path.home()) not in "".join(found)


def test_what_widgets_save_has_script_and_style_once(executed: Path) -> None:
    saved = json.loads(executed.read_text())["metadata"]["widgets"]
    [kind] = saved.values()
    models = list(kind["state"].values())
    graphs = [model["state"] for model in models if model["model_name"] == "AnyModel"]
    assert len(graphs) == 3
    assert max(len(graph["_esm"]) + len(graph.get("_css", "")) for graph in graphs) < 3_000
    brought = [model for model in models if "script" in str(model.get("buffers"))]
    assert len(brought) == 1
    assert len(json.dumps(models)) <= 250_000


def test_saved_widgets_find_their_front_end(page: Page, lab, executed: Path) -> None:
    """Where the widgets' state was saved with the notebook, no kernel has to know of them."""
    path = lab.folder / "saved-state.ipynb"
    content = json.loads(executed.read_text())
    for cell in content["cells"]:
        # Nothing but the widgets.
        cell["outputs"] = [
            output
            for output in cell["outputs"]
            if "application/vnd.jupyter.widget-view+json" in output.get("data", {})
        ]
    path.write_text(json.dumps(content))
    open_notebook(page, lab, path.name, prefix="lab/workspaces/state/tree")
    page.evaluate(
        """() => {
            const {model} = window.jupyterapp.shell.currentWidget.content;
            for (const cell of model.cells) cell.trusted = true;
        }"""
    )
    graphs = page.locator("section.spprof")
    graphs.first.scroll_into_view_if_needed()
    expect(frames(graphs.first).first).to_be_visible()
    works(graphs.first, "run 1")


def test_exported_page_is_alive_without_a_network(browser: Browser, executed: Path) -> None:
    convert = [sys.executable, "-m", "nbconvert", "--to", "html", executed.name]
    subprocess.run(convert, cwd=executed.parent, check=True, capture_output=True)
    context = browser.new_context(viewport=WIDE, offline=True)
    page = context.new_page()
    page.goto(executed.with_suffix(".html").as_uri())
    graphs = page.locator("section.spprof")
    for index in range(3):
        page.locator(".spprof-saved").nth(index).scroll_into_view_if_needed()
        expect(graphs.nth(index)).to_be_visible()
    works(graphs.nth(2), "run 3")
    expect(page.locator("img.spprof-picture:visible")).to_have_count(0)
    screenshot(page, "saved-exported")
    context.close()


@pytest.mark.parametrize("host", ["lab", "notebook7"])
def test_reopened_notebook_is_alive_without_its_kernel(host: str, request, page: Page) -> None:
    server = request.getfixturevalue(host)
    written(server.folder, "saved.ipynb")
    prefix = "lab/workspaces/saved/tree" if host == "lab" else "notebooks"
    open_notebook(page, server, "saved.ipynb", prefix=prefix)
    run_all_cells(page)
    page.evaluate(
        """async () => {
            await window.jupyterapp.commands.execute('docmanager:save');
            await window.jupyterapp.shell.currentWidget.sessionContext.shutdown();
        }"""
    )
    page.reload()
    open_notebook(page, server, "saved.ipynb", prefix=prefix)
    first = cell_with(page, "run 1").locator("section.spprof")
    expect(frames(first).first).to_be_visible()
    cell = cell_with(page, "run 2")
    graph = cell.locator("section.spprof")
    graph.scroll_into_view_if_needed()
    works(graph, "run 2")
    # Neither the picture nor the widget that nobody knows any more.
    expect(cell.locator("img.spprof-picture")).to_be_hidden()
    expect(cell.get_by_text("Error displaying widget")).to_be_hidden()
    screenshot(page, f"saved-{host}")


def test_untrusted_notebook_shows_the_picture(page: Page, lab, executed: Path) -> None:
    shutil.copy(executed, lab.folder / "untrusted.ipynb")
    open_notebook(page, lab, "untrusted.ipynb", prefix="lab/workspaces/untrusted/tree")
    picture = cell_with(page, "run 1").locator("img.spprof-picture")
    picture.scroll_into_view_if_needed()
    expect(picture).to_be_visible()
    expect(page.locator("section.spprof")).to_have_count(0)
