"""The self-contained page in a real browser: every view, and that nothing leaves it."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from pages import AXE, screenshot
from playwright.sync_api import Browser, FrameLocator, Locator, Page, expect

import spprof
from spprof._profile.model import loads
from spprof.formats import container, html

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests" / "bench"))
import frontend_profiles  # noqa: E402

VIEWS = ["Icicle", "Flame", "Tree", "Timeline", "Table", "Sandwich", "Source"]
WIDE = {"width": 1200, "height": 640}
NARROW = {"width": 480, "height": 700}

# Totals of frontend_profiles.demo(), which samples every 10 ms: its plan, added up by hand.
WHOLE = "all, 5.47 s, 100 %"
FIB = "fib, pricing.py:13, 210 ms, 3.8 %"


@pytest.fixture(scope="module")
def demo(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("pages") / "demo.html"
    with path.open("wb") as file:
        html.dump(container.decode(frontend_profiles.demo()), file)
    return path


@pytest.fixture
def open_page(browser: Browser) -> Iterator[Callable[..., Page]]:
    """Opens pages; in the end none may have had an error or asked for anything from outside."""
    contexts = []
    problems: list[str] = []

    def opened(path: Path, **options: object) -> Page:
        context = browser.new_context(**{"viewport": WIDE, "reduced_motion": "reduce", **options})
        contexts.append(context)
        context.on("weberror", lambda error: problems.append(str(error.error)))
        context.on(
            "request",
            lambda request: (
                problems.append(request.url)
                if not request.url.startswith(("data:", "blob:", path.parent.as_uri()))
                else None
            ),
        )
        page = context.new_page()
        page.goto(path.as_uri())
        return page

    yield opened
    for context in contexts:
        context.close()
    assert problems == []


@pytest.fixture
def page(open_page, demo) -> Page:
    page = open_page(demo)
    expect(frames(page).first).to_be_visible()
    return page


def frames(page: Page | Locator, name: str | re.Pattern[str] = "") -> Locator:
    return page.get_by_role("treeitem", name=name)


def click_frame(page: Page, name: str | re.Pattern[str]) -> None:
    """Click where a frame is drawn; the elements that name frames take no clicks themselves."""
    box = frames(page, name).first.bounding_box()
    page.mouse.click(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)


def show(page: Page, view: str) -> None:
    page.get_by_role("button", name=view, exact=True).click()


def test_names_every_wide_frame_with_its_place_time_and_share(page: Page):
    expect(frames(page, WHOLE)).to_have_count(1)
    expect(frames(page, "<module>, In [3]:7, 2.71 s, 50 %")).to_have_count(1)
    expect(frames(page, "load_orders, In [2]:6, 590 ms, 11 %")).to_have_count(1)
    expect(frames(page, "compress, libz.so.1.2.13, 350 ms, 6.4 %, native")).to_have_count(1)
    # Every one of its stacks calls it at least twice.
    expect(frames(page, FIB)).to_have_count(2)


def test_click_zooms_and_the_way_back_is_shown(page: Page):
    click_frame(page, re.compile("^load_orders"))
    width = page.get_by_role("tree").bounding_box()["width"]
    expect(frames(page, re.compile("^load_orders"))).to_have_css("width", f"{width:g}px")
    expect(frames(page, re.compile("RandomForest"))).to_have_count(0)
    crumbs = page.get_by_role("navigation", name="Zoomed into")
    assert crumbs.get_by_role("button").all_inner_texts() == ["All", "In [3]", "load_orders"]
    page.keyboard.press("Escape")
    expect(crumbs.locator('[aria-current="true"]')).to_have_text("In [3]")
    crumbs.get_by_role("button", name="All").click()
    expect(frames(page, re.compile("RandomForest"))).to_have_count(1)


def test_wheel_zooms_around_the_pointer_and_drag_pans(page: Page):
    tree = page.get_by_role("tree").bounding_box()
    fit = frames(page, re.compile("^RandomForestRegressor.fit"))
    before = fit.bounding_box()
    pointer = before["x"] + before["width"] / 2
    page.mouse.move(pointer, tree["y"] + 30)
    page.keyboard.down("Control")
    page.mouse.wheel(0, -200)
    page.keyboard.up("Control")
    factor = 1.0025**200
    expect(fit).to_have_css("width", re.compile(f"^{before['width'] * factor:.0f}"[:3]))
    after = fit.bounding_box()
    # What was under the pointer still is.
    assert after["x"] + after["width"] / 2 == pytest.approx(pointer, abs=2)
    page.mouse.down()
    page.mouse.move(pointer - 100, tree["y"] + 30, steps=4)
    page.mouse.up()
    page.wait_for_timeout(300)
    assert fit.bounding_box()["x"] == pytest.approx(after["x"] - 100, abs=2)
    # A drag is no click.
    expect(page.get_by_role("navigation", name="Zoomed into")).to_be_hidden()


def test_search_tells_the_matched_share_counting_nested_matches_once(page: Page):
    page.keyboard.press("/")
    box = page.get_by_role("searchbox")
    expect(box).to_be_focused()
    box.fill("fib")
    matched = page.get_by_role("status").filter(has_text="function")
    expect(matched).to_have_text("3.8 % in 1 function")
    box.fill("^(dumps|fib|price_all)$")
    expect(matched).to_have_text("0 % in 0 functions")
    pattern = page.get_by_role("button", name="Search by pattern")
    pattern.click()
    expect(pattern).to_have_attribute("aria-pressed", "true")
    expect(matched).to_have_text("5.3 % in 3 functions")
    box.fill("(")
    expect(page.get_by_text("Invalid regular expression")).to_be_visible()
    expect(page.get_by_role("group", name="Matches")).to_be_hidden()
    page.keyboard.press("Escape")
    expect(box).to_have_value("")


def test_a_whole_task_by_keyboard_alone(page: Page):
    """From the page to the line that burns, what it costs, and a file of it."""
    steps = page.get_by_role("group", name="Matches")
    page.keyboard.press("/")
    page.keyboard.type("fib")
    expect(steps).to_contain_text("frames")
    page.keyboard.press("Enter")
    expect(steps).to_contain_text(re.compile("^.?1 of [2-9]"))
    crumbs = page.get_by_role("navigation", name="Zoomed into")
    expect(crumbs.locator('[aria-current="true"]')).to_have_text("fib")
    page.keyboard.press("Shift+Enter")
    expect(steps).to_contain_text(re.compile(r"(\d) of \1"))
    page.keyboard.press("Enter")
    page.keyboard.press("Tab")
    for _ in range(30):
        if page.evaluate("document.activeElement.getAttribute('role')") == "tree":
            break
        page.keyboard.press("Tab")
    expect(page.get_by_role("tree")).to_be_focused()
    page.keyboard.press("n")
    expect(steps).to_contain_text(re.compile("^.?2 of "))
    page.keyboard.press("o")
    expect(page.locator("section.spprof")).to_have_attribute("data-view", "source")
    expect(page.get_by_role("row").nth(1)).to_be_visible()
    page.keyboard.press("1")
    for _ in range(30):
        if page.evaluate("document.activeElement.textContent").startswith("Export"):
            break
        page.keyboard.press("Shift+Tab")
    page.keyboard.press("Enter")
    with page.expect_download() as download:
        page.get_by_role("button", name="Profile (.spprof)").focus()
        page.keyboard.press("Enter")
    assert download.value.suggested_filename.endswith(".spprof")


def test_threads_are_merged_apart_or_chosen(page: Page):
    threads = page.get_by_role("combobox", name="Threads")
    threads.select_option("each")
    expect(frames(page, "upload-0, 2.76 s, 50 %")).to_have_count(1)
    threads.select_option(label="MainThread · 2.71 s")
    expect(frames(page, "all, 2.71 s, 100 %")).to_have_count(1)
    expect(frames(page, re.compile("upload_worker"))).to_have_count(0)


def test_filters_hide_focus_and_fold(page: Page):
    click_frame(page, FIB)
    page.keyboard.press("h")
    expect(frames(page, re.compile("^fib"))).to_have_count(0)
    expect(frames(page, "price_all, pricing.py:47, 210 ms, 3.8 %")).to_have_count(1)
    page.get_by_role("button", name="Remove filter: without fib").click()
    expect(frames(page, re.compile("^fib")).first).to_be_attached()
    page.keyboard.press("f")
    expect(frames(page, "all, 210 ms, 100 %")).to_have_count(1)
    assert frames(page, re.compile("^fib")).count() == 8
    page.get_by_role("tree").focus()
    page.keyboard.press("r")
    expect(frames(page, re.compile("^fib"))).to_have_count(1)
    page.get_by_role("button", name="Reset").click()
    expect(frames(page, WHOLE)).to_have_count(1)


def test_imports_and_calls_between_calls_are_folded_until_all_frames_are_wanted(
    open_page, tmp_path
):
    page_path = tmp_path / "folding.html"
    spprof.load(ROOT / "tests" / "examples" / "folding.spprof").save(page_path)
    page = open_page(page_path)
    imported, machinery = re.compile("^import pandas, "), re.compile("^_find_and_load, ")
    switch = page.get_by_role("button", name="All frames")
    expect(frames(page, imported).first).to_be_attached()
    expect(frames(page, machinery)).to_have_count(0)
    screenshot(page, "folded")
    switch.click()
    expect(switch).to_have_attribute("aria-pressed", "true")
    expect(frames(page, machinery).first).to_be_attached()
    expect(frames(page, imported)).to_have_count(0)
    page.get_by_role("tree").focus()
    page.keyboard.press("a")
    expect(frames(page, imported).first).to_be_attached()
    # Short in the picture, whole where one asks.
    show(page, "Table")
    page.get_by_role("searchbox").fill("fast::run")
    rows = page.get_by_role("grid", name="Functions").locator("tbody tr[data-row]")
    expect(rows).to_have_count(1)
    rows.get_by_text("fast::run", exact=True).click()
    expect(page.get_by_role("group", name="Selected frame")).to_contain_text("fast::run(int)")


def test_no_switch_where_nothing_is_folded(open_page, tmp_path):
    page_path = tmp_path / "plain.html"
    spprof.load(ROOT / "tests" / "examples" / "processes.spprof").save(page_path)
    page = open_page(page_path)
    expect(frames(page).first).to_be_attached()
    expect(page.get_by_role("button", name="All frames")).to_be_hidden()


def test_modules_are_listed_by_self_time_and_can_be_seen_alone(page: Page):
    page.get_by_role("button", name="Options").click()
    modules = page.get_by_role("group", name="Modules by self time").get_by_role("button")
    # 50 + 73 + 21 + 5 of 547 samples are sklearn's own.
    assert [" ".join(text.split()) for text in modules.all_inner_texts()][:3] == [
        "threading 44 %",
        "sklearn 27 %",
        "pandas 14 %",
    ]
    modules.nth(1).click()
    expect(frames(page, "all, 1.49 s, 100 %")).to_have_count(1)
    expect(frames(page, re.compile("^RandomForestRegressor.fit"))).to_have_attribute(
        "aria-level", "2"
    )


def test_inverted_starts_from_what_burns_the_time(page: Page):
    page.get_by_role("button", name="Inverted").click()
    expect(frames(page, re.compile("^Condition.wait, .*, 2.41 s, 44 %"))).to_have_attribute(
        "aria-level", "2"
    )
    expect(frames(page, re.compile("^Queue.get"))).to_have_attribute("aria-level", "3")


def test_keyboard_walks_the_frames(page: Page):
    tree = page.get_by_role("tree")
    tree.focus()
    for key, name in [
        ("ArrowDown", "Thread._bootstrap"),
        ("ArrowRight", "<module>, In [3]"),
        ("ArrowDown", "RandomForestRegressor.fit"),
        ("ArrowRight", "load_orders"),
        ("ArrowUp", "<module>, In [3]"),
    ]:
        page.keyboard.press(key)
        selected = page.get_by_role("treeitem", selected=True)
        expect(selected).to_have_attribute("aria-label", re.compile("^" + re.escape(name)))
        assert tree.get_attribute("aria-activedescendant") == selected.get_attribute("id")
    page.keyboard.press("Enter")
    expect(frames(page, re.compile("upload_worker"))).to_have_count(0)
    page.keyboard.press("0")
    expect(frames(page, re.compile("upload_worker"))).to_have_count(1)


def test_copies_the_selected_stack(open_page, demo):
    page = open_page(demo, permissions=["clipboard-read", "clipboard-write"])
    expect(frames(page).first).to_be_visible()
    click_frame(page, "load_orders, In [2]")
    page.keyboard.press("c")
    expect(page.get_by_text("Stack copied")).to_be_attached()
    assert page.evaluate("navigator.clipboard.readText()") == (
        "<module> (In [3]:1)\nload_orders (In [2]:4)"
    )


def test_table_sorts_filters_and_selects(page: Page):
    show(page, "Table")
    rows = page.get_by_role("grid", name="Functions").locator("tbody tr[data-row]")
    expect(rows.first).to_contain_text("Condition.wait")
    assert re.sub(r"\s+", " ", rows.first.inner_text()) == (
        "Condition.wait 2.41 s44 %37–51 % 2.41 s44 %37–51 % 241 threading.py:288"
    )
    page.get_by_role("button", name="Total").click()
    expect(page.locator("th[aria-sort=descending]")).to_have_text("Total")
    expect(rows.first).to_contain_text("2.76 s")
    page.get_by_role("searchbox").fill("sklearn")
    expect(rows).to_have_count(8)
    rows.filter(has_text="introsort").click()
    expect(page.get_by_role("group", name="Selected frame")).to_contain_text("introsort native")


def test_sandwich_shows_callers_and_callees_of_the_selection(page: Page):
    click_frame(page, FIB)
    show(page, "Sandwich")
    callers = page.get_by_role("tree", name="Callers")
    callees = page.get_by_role("tree", name="Callees")
    expect(frames(callers, "price_all, pricing.py:42, 210 ms, 100 %")).to_have_count(1)
    # The function stands once: below its callers, and above what it calls, itself for one.
    expect(frames(callers, re.compile("^fib, .*, 210 ms, 100 %"))).to_have_count(1)
    expect(frames(callees, re.compile("^fib, .*, 210 ms, 100 %"))).to_have_count(1)
    page.get_by_role("grid").get_by_text("upload_worker").click()
    expect(frames(callees, re.compile("^compress, .*, 350 ms, 13 %, native"))).to_have_count(1)


def test_tree_opens_by_mouse_and_keyboard_and_search_opens_the_way(page: Page):
    show(page, "Tree")
    calls = page.get_by_role("treegrid", name="Calls").locator("tbody tr[data-row]")
    heavy = calls.filter(has_text="RandomForestRegressor.fit").first
    expect(heavy).to_have_attribute("aria-expanded", "true")
    rows = calls.count()
    heavy.locator(".sp-twisty").click()
    expect(heavy).to_have_attribute("aria-expanded", "false")
    assert calls.count() < rows
    page.keyboard.press("ArrowRight")
    expect(heavy).to_have_attribute("aria-expanded", "true")
    assert calls.count() == rows
    page.keyboard.press("ArrowRight")
    expect(calls.locator("xpath=self::*[@aria-selected='true']")).to_have_attribute(
        "aria-level", str(int(heavy.get_attribute("aria-level")) + 1)
    )
    page.keyboard.press("/")
    page.keyboard.type("fib")
    page.keyboard.press("Enter")
    expect(calls.filter(has_text="fib").first).to_be_visible()
    assert page.evaluate("!!document.activeElement.closest('.spprof')")


def test_colours_are_explained_below_the_graph(page: Page):
    key = page.get_by_role("group", name="What colours mean")
    expect(key).to_contain_text("sklearn")
    expect(key).to_contain_text("native")
    page.get_by_role("button", name="Options").click()
    page.get_by_label("Colour", exact=True).select_option("kind")
    expect(key).to_have_text("Pythonnative")
    page.keyboard.press("Escape")
    show(page, "Table")
    expect(key).to_be_hidden()


def test_a_zoomed_graph_is_as_high_as_what_it_shows(page: Page):
    stage = page.locator(".sp-stage .sp-spacer").first
    whole = stage.bounding_box()["height"]
    click_frame(page, re.compile("^load_orders"))
    page.wait_for_timeout(400)
    assert stage.bounding_box()["height"] < whole
    page.keyboard.press("Escape")
    page.wait_for_timeout(400)
    assert stage.bounding_box()["height"] == whole


def test_timeline_tells_when(page: Page):
    show(page, "Timeline")
    expect(frames(page, "load_orders, In [2]:6, 590 ms from 0 s, MainThread")).to_have_count(1)
    click_frame(page, "DataFrameGroupBy.agg")
    expect(frames(page, re.compile("load_orders"))).to_have_count(0)
    page.get_by_role("button", name="Call tree of this time").click()
    expect(frames(page, re.compile("^DataFrameGroupBy.agg, .*, 340 ms"))).to_have_count(1)
    expect(frames(page, re.compile("RandomForest"))).to_have_count(0)
    page.get_by_role("button", name=re.compile("^Remove filter: 590 ms")).click()
    expect(frames(page, WHOLE)).to_have_count(1)


def window(page: Page) -> list[int]:
    """Start and end of the time that the overview says is shown, in milliseconds."""
    ends = [page.get_by_role("slider", name=f"{end} of the time shown") for end in ("Start", "End")]
    return [round(int(end.get_attribute("aria-valuenow")) / 1000) for end in ends]


def test_overview_moves_the_window_by_mouse_and_by_keyboard(page: Page):
    show(page, "Timeline")
    overview = page.get_by_role("group", name="Overview")
    box = overview.bounding_box()
    assert window(page) == [0, 2760]

    def drag(begin: float, end: float) -> None:
        for at in (begin, end):
            page.mouse.move(box["x"] + at * box["width"], box["y"] + 15, steps=3)
            (page.mouse.down if at == begin else page.mouse.up)()

    drag(0.25, 0.5)
    assert window(page) == pytest.approx([690, 1380], abs=5)
    expect(frames(page, re.compile("^load_orders"))).to_have_count(0)
    expect(frames(page, re.compile("^RandomForestRegressor.fit")).first).to_be_attached()
    # All of it, as long as it was; then an end of it.
    drag(0.4, 0.5)
    assert window(page) == pytest.approx([966, 1656], abs=8)
    end = window(page)[1] / 2760
    drag(end - 4 / box["width"], 0.9)
    assert window(page) == pytest.approx([966, 2490], abs=15)
    page.get_by_role("slider", name="Start of the time shown").focus()
    page.keyboard.press("Home")
    page.keyboard.press("PageUp")
    page.keyboard.press("ArrowLeft")
    start = page.get_by_role("slider", name="Start of the time shown")
    expect(start).to_have_attribute("aria-valuetext", "248 ms")
    expect(page.get_by_role("navigation", name="Zoomed into")).to_contain_text("248 ms – ")
    page.keyboard.press("Tab")
    page.keyboard.press("End")
    assert window(page)[1] == 2760
    overview.dblclick(position={"x": 9, "y": 15})
    assert window(page) == [0, 2760]
    # What the lanes show, however they came to, the overview shows.
    expect(frames(page, re.compile("^load_orders"))).to_have_count(1)
    click_frame(page, re.compile("^load_orders"))
    assert window(page) == [0, 590]


def test_lanes_fold_and_stay_folded(page: Page):
    show(page, "Timeline")
    lanes = page.get_by_role("group", name="Lanes")
    main = lanes.get_by_role("button", name=re.compile("^.?MainThread"))
    upload = lanes.get_by_role("button", name=re.compile("upload-0"))
    height = "document.querySelector('.sp-lanes .sp-spacer').clientHeight"
    high = page.evaluate(height)
    expect(frames(page, re.compile("^load_orders"))).to_have_count(1)
    main.click()
    expect(main).to_have_attribute("aria-expanded", "false")
    expect(frames(page, re.compile("^load_orders"))).to_have_count(0)
    expect(frames(page, re.compile("^upload_worker")).first).to_be_attached()
    assert page.evaluate(height) < high - 100
    # The keyboard goes from what is above the folded lane to what is below it.
    page.get_by_role("tree").focus()
    page.keyboard.press("ArrowDown")
    expect(page.get_by_role("treeitem", selected=True)).to_have_attribute(
        "aria-label", re.compile("^Thread._bootstrap, ")
    )
    # Another view and back: what was folded is folded.
    show(page, "Table")
    show(page, "Timeline")
    expect(frames(page, re.compile("^load_orders"))).to_have_count(0)
    page.get_by_role("button", name="Fold all").click()
    expect(frames(page)).to_have_count(0)
    upload.focus()
    page.keyboard.press("Enter")
    expect(upload).to_be_focused()
    expect(frames(page, re.compile("^upload_worker")).first).to_be_attached()
    page.get_by_role("button", name="Fold all").click()
    page.get_by_role("button", name="Open all").click()
    expect(frames(page, re.compile("^load_orders"))).to_have_count(1)


def test_source_counts_lines_even_without_their_text(page: Page):
    click_frame(page, FIB)
    show(page, "Source")
    lines = page.get_by_role("grid", name="Lines").locator("tbody tr")
    texts = [re.sub(r"\s+", " ", text) for text in lines.all_inner_texts()]
    assert texts == ["13 210 ms3.8 % 210 ms3.8 % ", "47 210 ms3.8 % "]


def test_speedscope_opens_in_a_tab_and_inline_with_this_profile(page: Page):
    page.get_by_role("button", name="Export").click()
    with page.context.expect_page() as opened:
        page.get_by_role("button", name="Open in Speedscope").click()
    tab = opened.value
    check_speedscope(tab)
    screenshot(tab, "standalone-speedscope-tab")
    # A page behind another one is not drawn.
    tab.close()
    show(page, "Speedscope")
    check_speedscope(page.frame_locator("iframe[title=Speedscope]"))
    screenshot(page, "standalone-speedscope-inline")


def check_speedscope(speedscope: Page | FrameLocator) -> None:
    # The thread with the most time is the one it opens.
    expect(speedscope.get_by_text("upload-0 (101) (2/2)")).to_be_visible()
    speedscope.get_by_text("Sandwich").click()
    wait = speedscope.locator("tr").filter(has_text="Condition.wait")
    # 2.41 of this thread's 2.76 s.
    expect(wait).to_contain_text("2.41s")
    expect(wait).to_contain_text("87%")


def test_exports_are_what_they_say(page: Page):
    def saved(item: str) -> bytes:
        page.get_by_role("button", name="Export").click()
        with page.expect_download() as download:
            page.get_by_role("button", name=item).click()
        return Path(download.value.path()).read_bytes()

    assert loads(saved("Profile (.spprof)")) == loads(frontend_profiles.demo())
    speedscope = json.loads(saved("Speedscope file"))
    assert [(p["name"], p["endValue"]) for p in speedscope["profiles"]] == [
        ("MainThread (100)", 2_710_000_000),
        ("upload-0 (101)", 2_760_000_000),
    ]
    assert b"RandomForestRegressor.fit, sklearn/ensemble/_forest.py:456" in saved("Picture (SVG)")
    assert saved("Picture (PNG)").startswith(b"\x89PNG\r\n\x1a\n")


def test_page_without_speedscope_offers_the_file(open_page, tmp_path):
    path = tmp_path / "small.html"
    with path.open("wb") as file:
        html.dump(container.decode(frontend_profiles.demo()), file, speedscope=False)
    page = open_page(path)
    show(page, "Speedscope")
    view = page.locator(".sp-speedscope")
    expect(view).to_contain_text("Speedscope is not part of this page")
    with page.expect_download() as download:
        view.get_by_role("button", name="Save the Speedscope file").click()
    assert download.value.suggested_filename == "small.speedscope.json"


def test_page_with_a_coarser_copy_says_so_when_it_is_saved(open_page, tmp_path, monkeypatch):
    monkeypatch.setattr(container, "DISPLAY_ROWS", 20)
    path = tmp_path / "coarser.html"
    with path.open("wb") as file:
        html.dump(container.decode(frontend_profiles.demo()), file)
    page = open_page(path)
    expect(page.get_by_text("shown coarser in time than it was taken")).to_be_visible()
    page.get_by_role("button", name="Export").click()
    with page.expect_download() as download:
        page.get_by_role("button", name="Profile (.spprof)").click()
    assert download.value.suggested_filename == "coarser-coarser.spprof"
    expect(page.get_by_role("alert")).to_contain_text("This page holds no more than is shown")


def test_difference_colours_what_changed(open_page, tmp_path):
    before, after = frontend_profiles.ProfileBuilder(), frontend_profiles.ProfileBuilder()
    main = ("main", "/home/ada/job.py", 1, False)
    parse = ("parse", "/home/ada/job.py", 10, False)
    write = ("write", "/home/ada/job.py", 20, False)
    before.sample("MainThread", [(main, 2), (parse, 11)], 10, 300_000_000)
    after.sample("MainThread", [(main, 2), (parse, 11)], 10, 100_000_000)
    after.sample("MainThread", [(main, 3), (write, 21)], 20, 50_000_000)
    profiles = [loads(builder.encode()) for builder in (before, after)]
    path = tmp_path / "difference.html"
    spprof.diff(*profiles).save(path)
    page = open_page(path)
    expect(frames(page, re.compile("^parse, .*, −200 ms"))).to_have_count(1)
    expect(frames(page, re.compile("^write, .*, \\+50 ms"))).to_have_count(1)
    screenshot(page, "standalone-difference")


def test_damaged_profile_is_said_to_be_so(open_page, demo, tmp_path):
    whole = demo.read_text(encoding="utf-8")
    start = whole.index('id="spprof-profile"')
    data = re.compile(r'data-encoding="deflate">[^<]*')
    broken = data.sub('data-encoding="">U1BQUk9GDQoBAAAAAgAAAHt9AAAAAAAA', whole[start:], count=1)
    path = tmp_path / "damaged.html"
    path.write_text(whole[:start] + broken, encoding="utf-8")
    alert = open_page(path).get_by_role("alert")
    expect(alert).to_contain_text("This profile cannot be shown: profile is damaged")


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("size", ["wide", "narrow"])
def test_every_view_fits_and_is_accessible(open_page, demo, scheme: str, size: str):
    if not AXE.is_file():
        pytest.skip("axe-core is not installed: run `npm ci` in js/")
    page = open_page(demo, viewport=WIDE if size == "wide" else NARROW, color_scheme=scheme)
    expect(frames(page).first).to_be_attached()
    page.evaluate(AXE.read_text(encoding="utf-8"))
    background = page.locator("section.spprof").evaluate(
        "(e) => getComputedStyle(e).backgroundColor"
    )
    assert background == {"light": "rgb(255, 255, 255)", "dark": "rgb(23, 24, 28)"}[scheme]
    click_frame(page, re.compile("^load_orders"))
    for view in VIEWS:
        show(page, view)
        page.wait_for_timeout(250)
        violations = page.evaluate("axe.run().then(({violations}) => violations)")
        found = [(v["id"], [node["html"][:200] for node in v["nodes"]]) for v in violations]
        assert found == [], view
        overflow = page.evaluate("document.documentElement.scrollWidth - innerWidth")
        assert overflow <= 0, view
        screenshot(page, f"standalone-{view.lower()}-{size}-{scheme}")
    for menu in ("Options", "Export", "Keyboard"):
        page.get_by_role("button", name=menu).click()
        panel = page.get_by_role("group", name=menu, exact=True)
        box = panel.bounding_box()
        assert box["x"] >= 0
        assert box["x"] + box["width"] <= page.viewport_size["width"]
        violations = page.evaluate("axe.run('.sp-panel').then(({violations}) => violations)")
        assert [v["id"] for v in violations] == [], menu
        page.keyboard.press("Escape")
        expect(panel).to_be_hidden()


def test_resize_keeps_what_is_shown(page: Page):
    click_frame(page, re.compile("^load_orders"))
    page.set_viewport_size(NARROW)
    expect(frames(page, re.compile("^load_orders"))).to_have_css("width", "480px")
    page.set_viewport_size(WIDE)
    expect(frames(page, re.compile("^load_orders"))).to_have_css("width", "1200px")
