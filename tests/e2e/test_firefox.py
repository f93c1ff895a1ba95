"""The page of its own and a notebook in JupyterLab, in Firefox."""

from __future__ import annotations

import json
import sys
import warnings
from collections.abc import Iterator
from pathlib import Path

import pytest
from firefox import ENTER, ESCAPE, Tab, executable, running_firefox

from spprof.formats import container, html

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "bench"))
import frontend_profiles

VIEWS = ("icicle", "flame", "tree", "timeline", "table", "sandwich", "source")


@pytest.fixture(scope="module")
def firefox(tmp_path_factory) -> Iterator[Tab]:
    if executable() is None:
        why = "NO FIREFOX HERE: nothing was tested in it (Debian: firefox-esr; SPPROF_FIREFOX)"
        warnings.warn(why, stacklevel=1)
        pytest.skip(why)
    with running_firefox(tmp_path_factory.mktemp("firefox")) as tab:
        yield tab


# JupyterLab has trees of its own, whose items have no such names.
FRAMES = "[...document.querySelectorAll('.spprof [role=treeitem]')]"


def named(start: str) -> str:
    """An expression: the frame of which a screen reader says something that starts so."""
    return f"{FRAMES}.find((e) => e.getAttribute('aria-label')?.startsWith('{start}'))"


def test_the_page_of_its_own_zooms_searches_and_shows_every_view(firefox: Tab, tmp_path) -> None:
    path = tmp_path / "demo.html"
    with path.open("wb") as file:
        html.dump(container.decode(frontend_profiles.demo()), file)
    firefox.open(path.as_uri())
    firefox.until(f"!!{named('RandomForestRegressor.fit')}")
    place = firefox.evaluate(
        "(({x, y, width, height}) => [x + width / 2, y + height / 2])"
        f"({named('load_orders')}.getBoundingClientRect())"
    )
    firefox.click(*place)
    crumb = "document.querySelector('.sp-crumbs [aria-current=true]')?.textContent"
    firefox.until(f"{crumb} === 'load_orders'")
    firefox.press(ESCAPE)
    firefox.press("0", "/", *"fib")
    firefox.until("document.querySelector('.sp-matched').textContent === '3.8 % in 1 function'")
    firefox.press(ENTER)
    firefox.until("document.querySelector('.sp-position').textContent.startsWith('1 of ')")
    firefox.press(ESCAPE)
    for key, view in enumerate(VIEWS, 1):
        firefox.press(str(key))
        firefox.until(f"document.querySelector('.spprof').dataset.view === '{view}'")
        firefox.until("document.querySelector('.sp-stage > :not([hidden])').clientHeight > 100")
    assert firefox.evaluate("document.documentElement.scrollWidth - innerWidth") <= 0


def test_a_cells_graph_in_jupyterlab(firefox: Tab, lab) -> None:
    source = (
        "%load_ext spprof\nimport time\ndef burn(seconds):\n"
        "    end = time.thread_time() + seconds\n    while time.thread_time() < end:\n        pass",
        "%%spprof -i 1\nburn(0.2)",
    )
    cells = [
        {"cell_type": "code", "id": f"c{i}", "metadata": {}, "source": cell, "outputs": []}
        | {"execution_count": None}
        for i, cell in enumerate(source)
    ]
    kernel = {"name": "python3", "display_name": "Python 3", "language": "python"}
    content = {"cells": cells, "metadata": {"kernelspec": kernel}, "nbformat": 4}
    (lab.folder / "firefox.ipynb").write_text(json.dumps({**content, "nbformat_minor": 5}))
    firefox.open(f"{lab.url}/lab/workspaces/firefox/tree/firefox.ipynb?token={lab.token}")
    firefox.until("!!window.jupyterapp", 90)
    firefox.evaluate("window.jupyterapp.restored.then(() => 1)")
    # In a window that nobody sees nothing has the focus, and no widget is the shell's current one.
    panel = (
        "[...window.jupyterapp.shell.widgets('main')]"
        ".find((widget) => widget.context?.path === 'firefox.ipynb')"
    )
    firefox.until(f"{panel}?.sessionContext?.session?.kernel?.status === 'idle'", 90)
    firefox.evaluate("window.jupyterapp.commands.execute('notebook:run-all-cells').then(() => 1)")
    firefox.until(f"!!{named('burn')}", 60)
    firefox.until(
        "[...document.querySelectorAll('img.spprof-picture')].every((e) => e.offsetHeight === 0)"
    )
