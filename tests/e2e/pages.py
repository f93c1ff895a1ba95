"""What a person does with a notebook and a flame graph, and what they find there."""

from __future__ import annotations

import ast
import contextlib
import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path

from playwright.sync_api import Browser, Locator, Page, expect
from servers import Server

SCREENSHOTS = Path(__file__).parent / "screenshots"
WIDE = {"width": 1360, "height": 900}
NARROW = {"width": 640, "height": 900}

# In js/: `npm ci` brings it.
AXE = Path(__file__).resolve().parents[2] / "js" / "node_modules" / "axe-core" / "axe.min.js"

expect.set_options(timeout=20_000)


def screenshot(page: Page | Locator, name: str) -> None:
    SCREENSHOTS.mkdir(exist_ok=True)
    page.screenshot(path=SCREENSHOTS / f"{name}.png")


def open_notebook(page: Page, server: Server, path: str, prefix: str = "lab/tree") -> None:
    """Open a notebook and wait until its kernel is ready to run cells."""
    page.goto(f"{server.url}/{prefix}/{path}?token={server.token}")
    page.wait_for_function("() => window.jupyterapp")
    page.evaluate("() => window.jupyterapp.restored")
    if prefix == "lab/tree":
        # Of the notebooks that a layout brings back another one may be in front.
        page.evaluate(
            "(path) => window.jupyterapp.commands.execute('docmanager:open', {path})", path
        )
    page.locator(".jp-Notebook .jp-Cell").first.wait_for()
    page.wait_for_function(
        """(path) => {
            const panel = window.jupyterapp.shell.currentWidget;
            return (
                panel?.context?.path === path && panel.context.isReady &&
                panel.sessionContext?.session?.kernel?.status === 'idle'
            );
        }""",
        arg=path,
        timeout=60_000,
    )


def notebook_of(cells: list[str], path: Path) -> None:
    made = [
        {"cell_type": "code", "id": f"c{i}", "metadata": {}, "source": source, "outputs": []}
        | {"execution_count": None}
        for i, source in enumerate(cells)
    ]
    kernel = {"name": "python3", "display_name": "Python 3", "language": "python"}
    path.write_text(
        json.dumps(
            {"cells": made, "metadata": {"kernelspec": kernel}, "nbformat": 4, "nbformat_minor": 5}
        )
    )


@contextlib.contextmanager
def notebook_page(browser: Browser, server: Server, path: str, prefix: str) -> Iterator[Page]:
    """A notebook in a page whose uncaught errors of ours fail whoever has it."""
    context = browser.new_context(viewport=WIDE)
    page = context.new_page()
    errors: list[str] = []
    page.on("pageerror", lambda error: errors.append(f"{error}\n{error.stack}"))
    open_notebook(page, server, path, prefix)
    yield page
    context.close()
    assert [each for each in errors if "spprof" in each] == []


def run_all_cells(page: Page) -> None:
    """Run every cell and wait for the last one; fails with what a failing cell printed."""
    failures = page.evaluate(
        """async () => {
            await window.jupyterapp.commands.execute('notebook:run-all-cells');
            const outputs = window.jupyterapp.shell.currentWidget.content.widgets.flatMap(
                (cell) => cell.model.outputs?.toJSON() ?? []
            );
            return outputs.filter((output) => output.output_type === 'error');
        }"""
    )
    assert ["".join(failure["traceback"]) for failure in failures] == []


def cell_with(page: Page, source: str) -> Locator:
    """The notebook's code cell with this text in its source, scrolled to.

    Notebooks keep only the cells near the visible ones in the page.
    """
    index, panel = page.evaluate(
        """async (source) => {
            const panel = window.jupyterapp.shell.currentWidget;
            const notebook = panel.content;
            const index = notebook.widgets.findIndex(
                ({model}) => model.type === 'code' && model.sharedModel.getSource().includes(source)
            );
            if (index >= 0) await notebook.scrollToItem(index, 'start');
            return [index, panel.id];
        }""",
        source,
    )
    assert index >= 0, f"no cell with {source!r}"
    # Notebooks of earlier pages may be open beside it.
    cell = page.locator(f'[id="{panel}"] .jp-Cell[data-windowed-list-index="{index}"]')
    cell.wait_for()
    return cell


def graph_below(page: Page, source: str) -> Locator:
    """The flame graph below the cell with this text, ready to be used."""
    graph = cell_with(page, source).locator("section.spprof")
    expect(graph).to_have_count(1)
    graph.scroll_into_view_if_needed()
    expect(frames(graph).first).to_be_visible()
    return graph


def flame_graphs(page: Page) -> Locator:
    """The flame graphs that the page holds now."""
    return page.locator("section.spprof")


def frames(graph: Locator, name: str | re.Pattern[str] = "") -> Locator:
    """Frames of a flame graph by what a screen reader says of them."""
    return graph.get_by_role("treeitem", name=name)


def kernel_value(page: Page, expression: str) -> object:
    """Evaluate an expression in the notebook's kernel; its value comes back as JSON."""
    answer = page.evaluate(
        """async (code) => {
            const panel = window.jupyterapp.shell.currentWidget;
            const kernel = panel.sessionContext.session.kernel;
            const future = kernel.requestExecute(
                {code: '', silent: true, user_expressions: {value: code}}
            );
            return (await future.done).content.user_expressions.value;
        }""",
        f"__import__('json').dumps({expression})",
    )
    assert answer["status"] == "ok", answer
    text = answer["data"]["text/plain"]
    return json.loads(ast.literal_eval(text))


def run_in_kernel(page: Page, code: str) -> None:
    """Run code in the notebook's kernel, beside its cells."""
    status = page.evaluate(
        """async (code) => {
            const panel = window.jupyterapp.shell.currentWidget;
            const kernel = panel.sessionContext.session.kernel;
            const reply = await kernel.requestExecute({code, store_history: false}).done;
            return reply.content;
        }""",
        code,
    )
    assert status["status"] == "ok", status


def expect_accessible(graph: Locator) -> None:
    """Nothing that axe-core knows is wrong with a graph as it is on screen."""
    page = graph.page
    if not page.evaluate("'axe' in window"):
        # Not as a script of the page: some look there for a module system of their own.
        page.evaluate(f"(eval({json.dumps(AXE.read_text(encoding='utf-8'))}), 1)")
    found = graph.evaluate(
        """(graph) => axe.run(graph).then(({violations}) => violations.map(
            ({id, nodes}) => [id, nodes.map(({html}) => html.slice(0, 200))]
        ))"""
    )
    assert found == []


def click_frame(frame: Locator) -> None:
    """Click where a frame is drawn; the accessible frames above it take no clicks."""
    box = frame.bounding_box()
    assert box is not None
    frame.page.mouse.click(box["x"] + 5, box["y"] + 5)


def eventually(page: Page, holds: Callable[[], bool], what: str, seconds: float = 5) -> None:
    """Wait until something holds that no locator can express."""
    for _ in range(round(seconds * 20)):
        if holds():
            return
        page.wait_for_timeout(50)
    raise AssertionError(f"not within {seconds} s: {what}")


def lightness(graph: Locator) -> float:
    """Lightness of a graph's background, 0 (black) to 255."""
    color = graph.evaluate(
        """(element) => {
            for (let e = element; e; e = e.parentElement) {
                const color = getComputedStyle(e).backgroundColor;
                if (color !== 'rgba(0, 0, 0, 0)') return color;
            }
        }"""
    )
    red, green, blue = (float(part) for part in re.findall(r"[\d.]+", color)[:3])
    return (red + green + blue) / 3


def open_speedscope(page: Page, graph: Locator) -> Page:
    """Hand the profile to Speedscope; return its tab once it shows a profile."""
    graph.get_by_role("button", name="Export", exact=True).click()
    with page.expect_popup() as popup:
        graph.get_by_role("button", name=re.compile("Open in Speedscope")).click()
    speedscope = popup.value
    expect(speedscope.get_by_text("Left Heavy")).to_be_visible()
    return speedscope
