"""What a person does with a notebook and a flame graph, and what they find there."""

from __future__ import annotations

import ast
import json
import re
from pathlib import Path

from playwright.sync_api import Locator, Page, expect
from servers import Server

SCREENSHOTS = Path(__file__).parent / "screenshots"
WIDE = {"width": 1360, "height": 900}
NARROW = {"width": 640, "height": 900}

expect.set_options(timeout=20_000)


def screenshot(page: Page | Locator, name: str) -> None:
    SCREENSHOTS.mkdir(exist_ok=True)
    page.screenshot(path=SCREENSHOTS / f"{name}.png")


def open_notebook(page: Page, server: Server, path: str, prefix: str = "lab/tree") -> None:
    """Open a notebook and wait until its kernel is ready to run cells."""
    page.goto(f"{server.url}/{prefix}/{path}?token={server.token}")
    page.wait_for_function("() => window.jupyterapp")
    page.evaluate("() => window.jupyterapp.restored")
    page.locator(".jp-Notebook .jp-Cell").first.wait_for()
    page.wait_for_function(
        """() => {
            const shell = window.jupyterapp.shell;
            const panel = shell.currentWidget;
            return panel?.sessionContext?.session?.kernel?.status === 'idle';
        }""",
        timeout=60_000,
    )


def run_all_cells(page: Page) -> None:
    """Run every cell and wait for the last one; fails with what a failing cell printed."""
    page.evaluate("() => window.jupyterapp.commands.execute('notebook:run-all-cells')")
    errors = page.locator('.jp-OutputArea-output[data-mime-type="application/vnd.jupyter.error"]')
    assert errors.all_inner_texts() == []


def flame_graphs(page: Page) -> Locator:
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
