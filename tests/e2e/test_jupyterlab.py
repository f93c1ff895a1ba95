"""The quickstart, run in JupyterLab by a person with a browser."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest
from pages import (
    AXE,
    NARROW,
    WIDE,
    cell_with,
    click_frame,
    eventually,
    expect_accessible,
    frames,
    graph_below,
    kernel_value,
    lightness,
    notebook_page,
    open_speedscope,
    run_all_cells,
    run_in_kernel,
    screenshot,
)
from playwright.sync_api import Browser, Locator, Page, expect

DARK, LIGHT = "JupyterLab Dark", "JupyterLab Light"
VIEWS = ("Flame", "Tree", "Timeline", "Table", "Sandwich", "Source", "Icicle")


@pytest.fixture(scope="module")
def quickstart(browser: Browser, lab) -> Iterator[Page]:
    """The quickstart with all its cells run, once for all tests of this file."""
    with notebook_page(browser, lab, "quickstart.ipynb", "lab/tree") as page:
        run_all_cells(page)
        yield page


@pytest.fixture
def group_by(quickstart) -> Locator:
    return graph_below(quickstart, "--name grouped")


@pytest.fixture
def fit(quickstart) -> Locator:
    return graph_below(quickstart, "--name fitted")


@pytest.fixture
def displayed(quickstart) -> Iterator[Locator]:
    """The graph of `spprof.display`, whose widget the kernel has in `Out`; reset afterwards."""
    graph = graph_below(quickstart, "spprof.display(")
    yield graph
    graph.get_by_role("button", name="Reset").click()


def share(frame: Locator) -> float:
    """The share that a frame's accessible text ends in, in percent."""
    text = frame.get_attribute("aria-label") or frame.inner_text()
    match = re.search(r"([\d.]+) %", text)
    assert match, text
    return float(match[1])


def test_fit_and_its_callees_are_found_by_their_accessible_text(fit):
    for name in ("BaseGradientBoosting.fit", "BaseGradientBoosting._fit_stage,"):
        assert share(frames(fit, name).first) > 90
    assert share(frames(fit, "DecisionTreeRegressor.fit").first) > 80
    screenshot(fit, "lab-fit-light")


def test_group_by_and_the_cells_function_are_found(group_by):
    assert share(frames(group_by, "GroupBy.apply").first) > 90
    assert share(frames(group_by, re.compile(r"^speed_spread, In \[3\]:\d+")).first) > 50
    screenshot(group_by, "lab-groupby-light")


def test_the_cell_is_the_root_and_nothing_of_ipython_is_above_it(group_by):
    second = group_by.locator('[role="treeitem"][aria-level="2"]')
    expect(second).to_have_count(1)
    expect(second).to_have_accessible_name(re.compile(r"In \[3\]"))
    assert frames(group_by, re.compile("ipykernel|interactiveshell")).count() == 0


def test_values_of_cells_are_shown_as_without_the_magic(quickstart):
    cell = cell_with(quickstart, "--name fitted")
    expect(cell.locator(".jp-OutputArea-executeResult")).to_contain_text(re.compile(r"0\.9\d"))


def test_static_twin_gives_way_to_the_widget(quickstart, group_by):
    picture = cell_with(quickstart, "--name grouped").locator('img[alt^="Flame graph"]')
    expect(picture).to_have_count(1)
    expect(picture).to_be_hidden()


def test_click_zooms_and_breadcrumbs_go_back(displayed, quickstart):
    crumbs = displayed.get_by_role("navigation", name="Zoomed into")
    expect(crumbs).to_be_hidden()
    frame = frames(displayed, "Series.quantile").first
    narrow = frame.bounding_box()["width"]
    click_frame(frame)
    expect(crumbs.locator('[aria-current="true"]')).to_have_text("Series.quantile")
    wide = displayed.get_by_role("tree").bounding_box()["width"]
    zoomed = frames(displayed, "Series.quantile").first
    eventually(
        quickstart,
        lambda: zoomed.bounding_box()["width"] == pytest.approx(wide, rel=0.02),
        "the clicked frame is as wide as the graph",
    )
    assert narrow < wide * 0.95
    screenshot(displayed, "lab-zoomed")
    crumbs.get_by_role("button", name="All").click()
    expect(crumbs).to_be_hidden()


def test_search_tells_the_matched_share(displayed):
    box = displayed.get_by_role("searchbox")
    box.fill("quantile")
    matched = displayed.get_by_role("status").filter(has_text=re.compile(r"in \d+ functions"))
    expect(matched).to_be_visible()
    found = float(re.match(r"([\d.]+) %", matched.inner_text())[1])
    total = share(frames(displayed, "Series.quantile").first)
    assert total - 1 <= found <= 100
    screenshot(displayed, "lab-search")
    box.fill("/^no such function$/")
    expect(displayed.get_by_text(re.compile("0 functions"))).to_be_visible()


def test_keyboard_walks_the_tree(displayed, quickstart):
    tree = displayed.get_by_role("tree")
    tree.focus()
    quickstart.keyboard.press("Home")
    for _ in range(3):
        quickstart.keyboard.press("ArrowDown")
    active = tree.get_attribute("aria-activedescendant")
    assert "GroupBy" in displayed.locator(f"#{active}").get_attribute("aria-label")


def test_selection_and_search_are_seen_from_python(displayed, quickstart):
    number = kernel_value(quickstart, "max(Out)")
    click_frame(frames(displayed, re.compile("^speed_spread")).first)
    displayed.get_by_role("searchbox").fill("numpy")
    quickstart.wait_for_timeout(500)
    selected = kernel_value(quickstart, f"Out[{number}].selected")
    assert selected["function"] == "speed_spread"
    assert selected["file"] == "In [3]"
    assert 0.5 < selected["share"] <= 1
    assert kernel_value(quickstart, f"Out[{number}].search") == "numpy"


def test_traits_set_in_python_change_the_view(displayed, quickstart):
    number = kernel_value(quickstart, "max(Out)")
    run_in_kernel(quickstart, f"Out[{number}].search = 'pandas'")
    expect(displayed.get_by_role("searchbox")).to_have_value("pandas")
    run_in_kernel(quickstart, f"Out[{number}].view = 'flame'")
    expect(displayed.get_by_role("button", name="Flame")).to_have_attribute("aria-pressed", "true")
    screenshot(displayed, "lab-flame")
    run_in_kernel(quickstart, f"Out[{number}].view = 'icicle'; Out[{number}].search = ''")
    expect(displayed.get_by_role("button", name="Icicle")).to_have_attribute("aria-pressed", "true")


def pixels(graph: Locator) -> str:
    return graph.locator("canvas").first.evaluate("(canvas) => canvas.toDataURL()")


def set_theme(page: Page, theme: str) -> None:
    page.evaluate(
        "(theme) => window.jupyterapp.commands.execute('apputils:change-theme', {theme})", theme
    )


def test_theme_follows_jupyterlab(quickstart, group_by):
    assert lightness(group_by) > 200
    light = pixels(group_by)
    set_theme(quickstart, DARK)
    expect(quickstart.locator("body")).to_have_attribute("data-jp-theme-light", "false")
    group_by.scroll_into_view_if_needed()
    quickstart.wait_for_timeout(500)
    try:
        assert lightness(group_by) < 60
        assert pixels(group_by) != light
        screenshot(group_by, "lab-groupby-dark")
        screenshot(quickstart, "lab-page-dark")
    finally:
        set_theme(quickstart, LIGHT)
        expect(quickstart.locator("body")).to_have_attribute("data-jp-theme-light", "true")


@pytest.mark.parametrize("theme", [LIGHT, DARK])
def test_every_view_is_accessible_in_the_notebook(displayed, quickstart, theme):
    if not AXE.is_file():
        pytest.skip("axe-core is not installed: run `npm ci` in js/")
    set_theme(quickstart, theme)
    try:
        is_light = str(theme == LIGHT).lower()
        expect(quickstart.locator("body")).to_have_attribute("data-jp-theme-light", is_light)
        click_frame(frames(displayed, re.compile("^speed_spread")).first)
        for view in VIEWS:
            displayed.get_by_role("button", name=view, exact=True).click()
            quickstart.wait_for_timeout(200)
            expect_accessible(displayed)
            screenshot(
                displayed, f"lab-view-{view.lower()}-{'light' if theme == LIGHT else 'dark'}"
            )
    finally:
        set_theme(quickstart, LIGHT)
        expect(quickstart.locator("body")).to_have_attribute("data-jp-theme-light", "true")
        displayed.get_by_role("button", name="Icicle", exact=True).click()


def test_resize_redraws_to_the_new_width(quickstart, group_by):
    canvas = group_by.locator("canvas").first
    wide = canvas.bounding_box()["width"]
    quickstart.set_viewport_size(NARROW)
    try:
        quickstart.wait_for_timeout(500)
        group_by.scroll_into_view_if_needed()
        narrow = canvas.bounding_box()["width"]
        assert narrow < wide - 200
        ratio = canvas.evaluate("(c) => c.width / c.clientWidth / window.devicePixelRatio")
        assert ratio == pytest.approx(1, abs=0.02)
        screenshot(group_by, "lab-groupby-narrow")
    finally:
        quickstart.set_viewport_size(WIDE)


def test_every_view_shows_the_fit(displayed):
    for view in VIEWS:
        displayed.get_by_role("button", name=view, exact=True).click()
        expect(displayed).to_contain_text("speed_spread" if view == "Table" else view)
        screenshot(displayed, f"lab-view-{view.lower()}")


def test_source_view_shows_the_cells_own_code(displayed):
    click_frame(frames(displayed, re.compile("^speed_spread")).first)
    displayed.get_by_role("button", name="Source", exact=True).click()
    row = displayed.get_by_role("row", name=re.compile("speed.quantile"))
    expect(row).to_contain_text("return speed.quantile(0.9) - speed.quantile(0.1)")
    screenshot(displayed, "lab-source")
    displayed.get_by_role("button", name="Icicle", exact=True).click()


def test_speedscope_opens_from_jupyterlab(displayed, quickstart):
    speedscope = open_speedscope(quickstart, displayed)
    expect(speedscope.get_by_text("MainThread").first).to_be_visible()
    speedscope.keyboard.press("3")
    expect(speedscope.get_by_text("speed_spread").first).to_be_visible()
    speedscope.close()


def test_speedscope_can_be_shown_in_place(displayed, quickstart):
    number = kernel_value(quickstart, "max(Out)")
    run_in_kernel(quickstart, f"Out[{number}].view = 'speedscope'")
    inside = displayed.frame_locator("iframe")
    expect(inside.get_by_text("Left Heavy")).to_be_visible()
    screenshot(displayed, "lab-speedscope")
    run_in_kernel(quickstart, f"Out[{number}].view = 'icicle'")
    expect(frames(displayed).first).to_be_visible()
