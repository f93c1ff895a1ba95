"""The flame graph in marimo, where a cell's last expression is its output."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from pages import click_frame, flame_graphs, frames, screenshot
from playwright.sync_api import expect
from servers import free_port, serving

pytest.importorskip("marimo")


def test_page_that_marimo_exports_holds_graph_and_front_end(tmp_path):
    # marimo's own front end is not in the page: what it makes of it needs a network.
    shutil.copy(Path(__file__).with_name("marimo_app.py"), tmp_path / "app.py")
    export = [*(sys.executable, "-m", "marimo", "export", "html", "app.py", "-o", "app.html")]
    env = {**os.environ, "HOME": str(tmp_path), "MARIMO_SKIP_UPDATE_CHECK": "1"}
    subprocess.run(export, cwd=tmp_path, env=env, check=True, capture_output=True, timeout=300)
    exported = (tmp_path / "app.html").read_text(encoding="utf-8")
    assert "marimo-anywidget" in exported
    assert "data:text/javascript;base64," in exported
    assert str(Path(__file__).parents[2]) not in exported


def test_flame_graph_works_in_marimo(page, tmp_path):
    shutil.copy(Path(__file__).with_name("marimo_app.py"), tmp_path / "app.py")
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    command = [
        *(sys.executable, "-m", "marimo", "run", "app.py", "--headless", "--no-token"),
        f"--port={port}",
    ]
    home = {
        "HOME": str(tmp_path),
        "XDG_CONFIG_HOME": str(tmp_path),
        "MARIMO_SKIP_UPDATE_CHECK": "1",
    }
    with serving(command, url, tmp_path, home):
        page.goto(url)
        graph = flame_graphs(page)
        expect(graph).to_have_count(1)
        burn = frames(graph, re.compile("^burn")).first
        expect(burn).to_be_visible()
        click_frame(burn)
        crumbs = graph.get_by_role("navigation", name="Zoomed into")
        expect(crumbs.locator('[aria-current="true"]')).to_have_text("burn")
        screenshot(page, "marimo")
        graph.get_by_role("button", name="Source", exact=True).click()
        row = graph.get_by_role("row", name=re.compile("while time.thread_time"))
        expect(row).to_contain_text("while time.thread_time() < end:")
        screenshot(page, "marimo-source")
