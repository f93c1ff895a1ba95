"""The page of its own and a notebook in JupyterLab, in Firefox."""

from __future__ import annotations

import json
import sys
import warnings
from collections.abc import Iterator
from pathlib import Path

import pytest
from firefox import (
    DOWN,
    END,
    ENTER,
    ESCAPE,
    HOME,
    PAGE_UP,
    SHIFT,
    TAB,
    Tab,
    executable,
    running_firefox,
)
from pages import AXE

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
FRAMES = "[...document.querySelectorAll('.sp-stage > :not([hidden]) [role=treeitem]')]"


def named(start: str) -> str:
    """An expression: the frame of which a screen reader says something that starts so."""
    return f"{FRAMES}.find((e) => e.getAttribute('aria-label')?.startsWith('{start}'))"


@pytest.fixture
def demo(firefox: Tab, tmp_path) -> Tab:
    """The page of its own, of the profile that the other browser's tests have."""
    path = tmp_path / "demo.html"
    with path.open("wb") as file:
        html.dump(container.decode(frontend_profiles.demo()), file)
    firefox.open(path.as_uri())
    firefox.until(f"!!{named('RandomForestRegressor.fit')}")
    return firefox


def box_of(tab: Tab, element: str) -> list[float]:
    return tab.evaluate(
        f"(({{x, y, width, height}}) => [x, y, width, height])({element}.getBoundingClientRect())"
    )


def accessible(tab: Tab, within: str = ".spprof") -> None:
    """Nothing that axe-core knows is wrong with what is on screen."""
    if not AXE.is_file():
        pytest.skip("axe-core is not installed: run `npm ci` in js/")
    if not tab.evaluate("'axe' in window"):
        tab.evaluate(f"(eval({json.dumps(AXE.read_text(encoding='utf-8'))}), 1)")
    found = tab.evaluate(
        f"axe.run({json.dumps(within)}).then(({{violations}}) => "
        "violations.map(({id, nodes}) => [id, nodes.map(({html}) => html.slice(0, 200))]))"
    )
    assert found == []


def test_the_page_of_its_own_zooms_searches_and_shows_every_view(demo: Tab) -> None:
    firefox = demo
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
        accessible(firefox)
    assert firefox.evaluate("document.documentElement.scrollWidth - innerWidth") <= 0


WINDOW = (
    "['from', 'to'].map((end) => Math.round("
    "document.querySelector(`.sp-window-${end}`).getAttribute('aria-valuenow') / 1000))"
)


def test_overview_and_folding_lanes(demo: Tab) -> None:
    demo.press("4")
    demo.until("document.querySelector('.sp-overview')?.clientWidth > 100")
    assert demo.evaluate(WINDOW) == [0, 2760]
    x, y, width, _ = box_of(demo, "document.querySelector('.sp-overview')")
    demo.drag((x + width / 4, y + 15), (x + width / 2, y + 15))
    assert demo.evaluate(WINDOW) == pytest.approx([690, 1380], abs=5)
    demo.until(f"!{named('load_orders')}")
    demo.evaluate("document.querySelector('.sp-window-from').focus()")
    demo.press(HOME, PAGE_UP)
    assert demo.evaluate(WINDOW)[0] == 276
    demo.press(HOME)
    demo.evaluate("document.querySelector('.sp-window-to').focus()")
    demo.press(END)
    assert demo.evaluate(WINDOW) == [0, 2760]
    demo.until(f"!!{named('load_orders')}")
    x, y, _, height = box_of(demo, "document.querySelector('.sp-head')")
    demo.click(x + 20, y + height / 2)
    demo.until(f"!{named('load_orders')} && !!{named('upload_worker')}")
    demo.press("1", "4")
    demo.until(f"!{named('load_orders')} && !!{named('upload_worker')}")


FOCUSED = "document.activeElement"


def tab_until(tab: Tab, holds: str, *, back: bool = False) -> None:
    """Press Tab until something holds; the focus stays within the page."""
    for _ in range(60):
        if tab.evaluate(holds):
            assert tab.evaluate("document.hasFocus()")
            return
        tab.press_together(*([SHIFT, TAB] if back else [TAB]))
    raise AssertionError(f"the keyboard does not come to {holds}")


def test_a_whole_task_by_keyboard_alone(demo: Tab) -> None:
    """From the page to the line that burns, what it costs, and the menu that saves it."""
    demo.press("/", *"fib")
    position = "document.querySelector('.sp-position').textContent"
    demo.until(f"{position}.includes('frames')")
    demo.press(ENTER)
    demo.until(f"{position}.startsWith('1 of ')")
    demo.until(f"{FRAMES}.some((e) => e.getAttribute('aria-selected') === 'true')")
    tab_until(demo, f"{FOCUSED}.getAttribute('role') === 'tree'")
    demo.press("n")
    demo.until(f"{position}.startsWith('2 of ')")
    demo.press(DOWN, ENTER, "o")
    demo.until("document.querySelector('.spprof').dataset.view === 'source'")
    demo.until("document.querySelectorAll('.sp-stage > :not([hidden]) tr').length > 1")
    demo.press("1")
    tab_until(demo, f"{FOCUSED}.textContent.startsWith('Export')", back=True)
    demo.press(ENTER)
    demo.until("!!document.querySelector('.sp-panel:not([hidden])')")
    tab_until(demo, f"{FOCUSED}.textContent.startsWith('Profile (.spprof)')")
    demo.evaluate("(URL.createObjectURL = (blob) => (window.saved = blob, 'blob:none'), 1)")
    demo.press(ENTER)
    demo.until("window.saved?.size > 1000")
    demo.until("!document.querySelector('.sp-panel:not([hidden])')")


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
    accessible(firefox)
