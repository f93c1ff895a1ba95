"""Notebooks that were shared: exported, with JavaScript off, or opened without their kernel."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from pages import NARROW, WIDE, cell_with, open_notebook, screenshot
from playwright.sync_api import Browser, expect
from servers import ROOT

PICTURES = 'img[alt^="Flame graph"]'


@pytest.fixture(scope="module")
def exported(tmp_path_factory) -> Path:
    """The quickstart as `jupyter nbconvert --execute --to html` makes it, widget state included."""
    folder = tmp_path_factory.mktemp("exported")
    shutil.copy(ROOT / "notebooks" / "quickstart.ipynb", folder)
    subprocess.run(
        [
            *(sys.executable, "-m", "nbconvert", "--execute", "--to", "html"),
            "--ExecutePreprocessor.timeout=180",
            "quickstart.ipynb",
        ],
        cwd=folder,
        env={**os.environ, "IPYTHONDIR": str(folder / "ipython")},
        check=True,
        capture_output=True,
        text=True,
    )
    return folder / "quickstart.html"


def test_exported_notebook_shows_its_flame_graphs_with_javascript_off(browser: Browser, exported):
    context = browser.new_context(java_script_enabled=False, viewport=WIDE)
    page = context.new_page()
    page.goto(exported.as_uri())
    pictures = page.locator(PICTURES)
    expect(pictures).to_have_count(3)
    for index in range(3):
        expect(pictures.nth(index)).to_be_visible()
        box = pictures.nth(index).bounding_box()
        assert box["width"] > 500
        assert box["height"] > 100
    pictures.nth(1).scroll_into_view_if_needed()
    screenshot(page, "nbconvert-without-javascript")
    page.set_viewport_size(NARROW)
    assert pictures.first.bounding_box()["width"] <= NARROW["width"]
    context.close()


def test_picture_is_drawn_and_names_the_functions(browser: Browser, exported):
    context = browser.new_context(viewport=WIDE)
    page = context.new_page()
    page.goto(exported.as_uri())
    picture = page.locator(PICTURES).nth(1)
    assert picture.evaluate("(image) => image.decode().then(() => image.naturalWidth)") > 500
    page.goto(picture.get_attribute("src"))
    assert "BaseGradientBoosting.fit" in page.locator("svg").inner_html()
    context.close()


def test_untrusted_notebook_shows_its_last_run_as_a_picture(page, lab):
    # Nothing of it has run on this machine: JupyterLab renders only what it takes for safe.
    open_notebook(page, lab, "quickstart.ipynb")
    picture = cell_with(page, "--name fitted").locator(PICTURES)
    picture.scroll_into_view_if_needed()
    expect(picture).to_be_visible()
    assert picture.evaluate("(image) => image.decode().then(() => image.naturalWidth)") > 500
    screenshot(page, "lab-untrusted")


def test_outputs_of_a_notebook_stay_small(exported, tmp_path):
    subprocess.run(
        [
            *(sys.executable, "-m", "nbconvert", "--execute", "--to", "notebook"),
            "--output-dir=" + str(tmp_path),
            str(ROOT / "notebooks" / "quickstart.ipynb"),
        ],
        check=True,
        capture_output=True,
    )
    notebook = json.loads((tmp_path / "quickstart.ipynb").read_text())
    pages = [
        "".join(output["data"]["text/html"])
        for cell in notebook["cells"]
        for output in cell.get("outputs", [])
        if "text/html" in output.get("data", {})
    ]
    assert len(pages) == 3
    assert max(len(page) for page in pages) <= 150_000
