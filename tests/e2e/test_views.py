"""Every view on a profile with known answers, in the self-contained HTML page."""

from __future__ import annotations

import json
import re
import xml.etree.ElementTree as ET
from collections.abc import Iterator
from datetime import datetime, timedelta, timezone
from pathlib import Path

import pytest
from pages import (
    NARROW,
    WIDE,
    click_frame,
    eventually,
    flame_graphs,
    frames,
    lightness,
    open_speedscope,
    screenshot,
)
from playwright.sync_api import Browser, Locator, Page, expect
from servers import ROOT

import spprof
from spprof import Frame, Profile, Sample

VIEWS = ("Icicle", "Flame", "Timeline", "Table", "Sandwich", "Source")
AXE = ROOT / "js" / "node_modules" / "axe-core" / "axe.min.js"

MAIN = Frame("main", "/app/main.py", 3)
FIT = Frame("Model.fit", "/app/model.py", 20)
SOLVE = Frame("solve", "/app/model.py", 41)
DOT = Frame("cblas_dgemm", "/usr/lib/libopenblas.so", 0, is_native=True)
LOAD = Frame("load", "/app/data.py", 7)
WORK = Frame("work", "/app/worker.py", 5)


@pytest.fixture(scope="module")
def profile() -> Profile:
    """1 s of the main thread (50 % dgemm below solve, 20 % solve itself, 30 % load), 0.5 s of a
    worker, at 10 ms."""
    begin = datetime(2025, 1, 2, tzinfo=timezone.utc)
    samples = []
    for i in range(100):
        stack = (
            (LOAD, MAIN) if i < 30 else (SOLVE, FIT, MAIN) if i < 50 else (DOT, SOLVE, FIT, MAIN)
        )
        samples.append(Sample(i * 10_000_000, 1, "MainThread", stack))
        if i % 2:
            samples.append(Sample(i * 10_000_000, 2, "worker", (WORK,)))
    return Profile(begin, begin + timedelta(seconds=1), 10, samples)


@pytest.fixture(scope="module")
def html(profile, tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("page") / "profile.html"
    profile.save(path)
    return path


@pytest.fixture
def viewer(browser: Browser, html, request) -> Iterator[Page]:
    """The page, opened by a browser in which nothing but the file can be had."""
    scheme = getattr(request, "param", "light")
    context = browser.new_context(viewport=WIDE, color_scheme=scheme, accept_downloads=True)
    page = context.new_page()
    errors: list[str] = []
    asked: list[str] = []
    page.on("pageerror", lambda error: errors.append(str(error)))
    page.on("request", lambda request: asked.append(request.url))
    page.goto(html.as_uri())
    expect(frames(flame_graphs(page)).first).to_be_visible()
    yield page
    context.close()
    assert errors == []
    assert [url for url in asked if not url.startswith(("file:", "data:", "blob:"))] == []


@pytest.fixture
def graph(viewer) -> Locator:
    return flame_graphs(viewer)


def choose(graph: Locator, view: str) -> None:
    graph.get_by_role("button", name=view, exact=True).click()
    expect(graph.get_by_role("button", name=view, exact=True)).to_have_attribute(
        "aria-pressed", "true"
    )


def share_of(graph: Locator, name: str) -> float:
    text = frames(graph, re.compile(f"^{re.escape(name)},")).first.get_attribute("aria-label")
    return float(re.search(r"([\d.]+) %", text)[1])


def test_icicle_has_callees_below_callers_as_wide_as_their_time(graph):
    # Of both threads together: 1.5 s.
    assert share_of(graph, "Model.fit") == pytest.approx(70 / 150 * 100, abs=0.6)
    assert share_of(graph, "cblas_dgemm") == pytest.approx(50 / 150 * 100, abs=0.6)
    assert share_of(graph, "work") == pytest.approx(50 / 150 * 100, abs=0.6)
    whole = frames(graph, re.compile("^all")).first.bounding_box()
    main = frames(graph, re.compile("^main,")).first.bounding_box()
    load = frames(graph, re.compile("^load,")).first.bounding_box()
    assert main["width"] / whole["width"] == pytest.approx(2 / 3, abs=0.01)
    assert load["width"] / main["width"] == pytest.approx(0.3, abs=0.01)
    assert load["y"] > main["y"] > whole["y"]
    assert "native" in frames(graph, re.compile("^cblas_dgemm")).first.get_attribute("aria-label")


def test_flame_has_callees_above_callers(graph):
    choose(graph, "Flame")
    main = frames(graph, re.compile("^main,")).first
    expect(main).to_be_visible()
    assert frames(graph, re.compile("^load,")).first.bounding_box()["y"] < main.bounding_box()["y"]


def test_timeline_has_a_lane_a_thread_in_the_order_of_time(graph):
    choose(graph, "Timeline")
    load = frames(graph, re.compile(r"^load,.*MainThread")).first
    solve = frames(graph, re.compile(r"^solve,.*MainThread")).first
    expect(load).to_be_visible()
    expect(frames(graph, re.compile(r"^work,.*worker")).first).to_be_visible()
    assert load.bounding_box()["x"] + load.bounding_box()["width"] == pytest.approx(
        solve.bounding_box()["x"], abs=5
    )


def first_cells(graph: Locator) -> list[str]:
    return graph.locator("tbody tr td:first-child").all_inner_texts()


def test_table_lists_self_and_total_and_sorts(graph):
    choose(graph, "Table")
    grid = graph.get_by_role("grid")
    dgemm = grid.get_by_role("row", name=re.compile("^cblas_dgemm"))
    expect(dgemm).to_contain_text("500 ms")
    main = grid.get_by_role("row", name=re.compile("^main"))
    expect(main).to_contain_text("1 s")
    expect(main).to_contain_text("0 s")
    assert first_cells(graph)[-1].startswith(("main", "Model.fit"))
    grid.get_by_role("button", name="Total").click()
    expect(grid.locator("tbody tr").first).to_contain_text("main")


def test_sandwich_shows_callers_and_callees_of_the_selected_function(graph):
    choose(graph, "Sandwich")
    graph.get_by_role("grid").get_by_role("row", name=re.compile("^solve")).click()
    expect(frames(graph, re.compile("^Model.fit,")).first).to_be_visible()
    expect(frames(graph, re.compile("^cblas_dgemm,")).first).to_be_visible()
    assert frames(graph, re.compile("^load,")).count() == 0


def test_source_view_weighs_lines(graph):
    click_frame(frames(graph, re.compile("^solve,")).first)
    choose(graph, "Source")
    row = graph.get_by_role("row", name=re.compile(r"^41\b"))
    expect(row).to_contain_text("700 ms")
    expect(row).to_contain_text("200 ms")


def test_selection_is_shared_by_the_views(graph):
    click_frame(frames(graph, re.compile("^solve,")).first)
    choose(graph, "Table")
    row = graph.get_by_role("grid").get_by_role("row", name=re.compile("^solve"))
    expect(row).to_have_attribute("aria-selected", "true")


def test_search_marks_the_share_in_every_view(graph):
    graph.get_by_role("searchbox").fill("/dgemm|^load$/")
    expect(graph.get_by_text("53 % in 2 functions")).to_be_visible()
    for view in VIEWS:
        choose(graph, view)
        expect(graph.get_by_text("53 % in 2 functions")).to_be_visible()


def test_hide_and_focus_filter_the_tree(viewer, graph):
    click_frame(frames(graph, re.compile("^load,")).first)
    graph.get_by_role("button", name="Hide", exact=True).click()
    expect(frames(graph, re.compile("^load,"))).to_have_count(0)
    graph.get_by_role("button", name=re.compile("Remove filter")).click()
    expect(frames(graph, re.compile("^load,")).first).to_be_visible()
    click_frame(frames(graph, re.compile("^solve,")).first)
    graph.get_by_role("button", name="Focus", exact=True).click()
    expect(frames(graph, re.compile("^load,"))).to_have_count(0)
    expect(frames(graph, re.compile("^cblas_dgemm,")).first).to_be_visible()


def test_threads_can_be_chosen_and_split(graph):
    threads = graph.get_by_role("combobox", name="Threads")
    threads.select_option(label="Each thread apart")
    expect(frames(graph, re.compile("^worker, 500 ms")).first).to_be_visible()
    threads.select_option(index=3)
    expect(frames(graph, re.compile("^work,")).first).to_be_visible()
    expect(frames(graph, re.compile("^main,"))).to_have_count(0)


def test_speedscope_opens_with_this_profile(viewer, graph):
    speedscope = open_speedscope(viewer, graph)
    expect(speedscope.get_by_text("MainThread").first).to_be_visible()
    # The sandwich view lists functions as text; the others are drawn.
    speedscope.keyboard.press("3")
    for name in ("Model.fit", "solve", "cblas_dgemm", "load"):
        expect(speedscope.get_by_text(name).first).to_be_visible()
    screenshot(speedscope, "speedscope")


def exported(viewer: Page, graph: Locator, item: str, folder: Path) -> Path:
    menu = graph.get_by_role("button", name="Export", exact=True)
    if menu.get_attribute("aria-expanded") == "false":
        menu.click()
    with viewer.expect_download() as download:
        graph.get_by_role("button", name=item).click()
    path = folder / download.value.suggested_filename
    download.value.save_as(path)
    return path


def test_exports_hold_the_profile(viewer, graph, profile, tmp_path):
    svg = exported(viewer, graph, "Picture (SVG)", tmp_path)
    assert ET.parse(svg).getroot().tag.endswith("svg")
    assert "Model.fit" in svg.read_text()
    png = exported(viewer, graph, "Picture (PNG)", tmp_path).read_bytes()
    assert png.startswith(b"\x89PNG")
    own = spprof.load(exported(viewer, graph, "Profile (.spprof)", tmp_path))
    assert own == profile
    speedscope = exported(viewer, graph, "Speedscope file (JSON)", tmp_path)
    totals = {
        each["name"]: sum(each["weights"])
        for each in json.loads(speedscope.read_text())["profiles"]
    }
    assert sorted(totals.values()) == [500_000_000, 1_000_000_000]
    assert spprof.load(speedscope).total_weight_ns == profile.total_weight_ns


@pytest.mark.parametrize("viewer", ["light", "dark"], indirect=True)
def test_no_view_has_an_accessibility_violation(viewer, graph):
    if not AXE.exists():
        pytest.skip("axe-core is not installed: run `npm ci` in js/")
    viewer.add_script_tag(path=AXE)
    for view in VIEWS:
        choose(graph, view)
        viewer.wait_for_timeout(300)
        violations = viewer.evaluate("async () => (await axe.run(document)).violations")
        assert [(view, each["id"], each["nodes"][0]["html"]) for each in violations] == []


@pytest.mark.parametrize("viewer", ["light", "dark"], indirect=True)
def test_each_view_is_drawn_wide_and_narrow_in_the_hosts_scheme(viewer, graph, request):
    scheme = request.node.callspec.params["viewer"]
    assert lightness(graph) > 200 if scheme == "light" else lightness(graph) < 60
    for size, label in ((WIDE, "wide"), (NARROW, "narrow")):
        viewer.set_viewport_size(size)
        for view in VIEWS:
            choose(graph, view)
            viewer.wait_for_timeout(300)
            assert graph.bounding_box()["width"] <= size["width"]
            overflow = viewer.evaluate(
                "() => document.documentElement.scrollWidth - document.documentElement.clientWidth"
            )
            assert overflow <= 0, f"{view} is wider than the page"
            screenshot(viewer, f"view-{view.lower()}-{scheme}-{label}")


def test_zoom_by_wheel_and_drag_pans(viewer, graph):
    main = frames(graph, re.compile("^main,")).first
    before = main.bounding_box()
    viewer.mouse.move(before["x"] + 20, before["y"] + 5)
    viewer.keyboard.down("Control")
    viewer.mouse.wheel(0, -200)
    viewer.keyboard.up("Control")
    solve = frames(graph, re.compile("^load,")).first
    eventually(
        viewer,
        lambda: solve.is_visible() and solve.bounding_box()["width"] > 0.3 * before["width"] * 1.1,
        "the wheel zooms in",
    )
