"""Real notebook servers and a real browser, each started once."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator

import pytest
from pages import WIDE
from playwright.sync_api import Browser, Page, sync_playwright
from servers import Server, jupyter


@pytest.fixture(scope="session")
def lab(tmp_path_factory) -> Iterator[Server]:
    with jupyter("jupyterlab", "LabApp", tmp_path_factory.mktemp("lab")) as server:
        yield server


@pytest.fixture(scope="session")
def notebook7(tmp_path_factory) -> Iterator[Server]:
    folder = tmp_path_factory.mktemp("notebook")
    with jupyter("notebook", "JupyterNotebookApp", folder) as server:
        yield server


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    """A Chromium: of SPPROF_CHROMIUM, or on PATH, or as `playwright install chromium` left it."""
    path = os.environ.get("SPPROF_CHROMIUM") or shutil.which("chromium")
    # Chromium's sandbox refuses to run as root, which containers are.
    unsandboxed = ["--no-sandbox"] if hasattr(os, "geteuid") and os.geteuid() == 0 else []
    with sync_playwright() as playwright:
        launched = playwright.chromium.launch(executable_path=path, args=unsandboxed)
        yield launched
        launched.close()


@pytest.fixture
def page(browser: Browser) -> Iterator[Page]:
    """A page whose uncaught errors fail the test."""
    context = browser.new_context(viewport=WIDE, device_scale_factor=1)
    page = context.new_page()
    errors: list[str] = []
    page.on("pageerror", lambda error: errors.append(str(error)))
    yield page
    context.close()
    assert [error for error in errors if "spprof" in error] == []
