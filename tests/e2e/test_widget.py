"""The widget's module against a stand-in for the notebook's model: what they tell one another.

A real notebook is `test_jupyterlab.py`'s business; here every message can be seen and sent.
"""

from __future__ import annotations

import base64
import json
import re
import sys
from pathlib import Path

import pytest
from playwright.sync_api import Download, Locator, Page, expect

import spprof

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests" / "bench"))
import frontend_profiles  # noqa: E402

STATIC = Path(spprof.__file__).parent / "static"

# What anywidget gives to `render`: traits with change events, messages with buffers.
MODEL = """
window.started = (async () => {
  const bytes = (text) => new DataView(Uint8Array.from(atob(text), (c) => c.charCodeAt(0)).buffer);
  const {default: {render}} = await import(URL.createObjectURL(
    new Blob([MODULE], {type: 'text/javascript'})
  ));
  const handlers = {};
  const model = {
    traits: {
      data: bytes(DATA), selected: {}, search: '', view: 'icicle', theme: 'light', sources: {},
    },
    saved: [], sent: [],
    get(name) { return this.traits[name]; },
    set(name, value) { this.traits[name] = value; this.saved.push([name, value]); },
    save_changes() {},
    on(event, handler) { (handlers[event] ??= []).push(handler); },
    off(event, handler) { handlers[event] = (handlers[event] ?? []).filter((h) => h !== handler); },
    send(content) { this.sent.push(content); },
    arrive(name, value) {
      this.traits[name] = value;
      for (const handler of handlers[`change:${name}`] ?? []) handler();
    },
    message(content, texts) {
      const buffers = texts.map((text) => bytes(text));
      for (const handler of handlers['msg:custom'] ?? []) handler(content, buffers);
    },
    listeners() { return Object.values(handlers).flat().length; },
  };
  window.model = model;
  window.bytes = bytes;
  window.dispose = render({model, el: document.getElementById('output')});
})();
"""


@pytest.fixture
def widget(page: Page) -> Page:
    module = (STATIC / "widget.js").read_text(encoding="utf-8")
    style = (STATIC / "widget.css").read_text(encoding="utf-8")
    page.emulate_media(reduced_motion="reduce")
    page.set_content(f'<style>{style}</style><div id="output"></div>')
    page.evaluate(
        f"const MODULE = {json.dumps(module)}, DATA = {json.dumps(encoded())}; {MODEL}; started"
    )
    expect(frames(page).first).to_be_visible()
    return page


def encoded(data: bytes | None = None) -> str:
    return base64.b64encode(frontend_profiles.demo() if data is None else data).decode("ascii")


def frames(page: Page, name: str | re.Pattern[str] = "") -> Locator:
    return page.get_by_role("treeitem", name=name)


def saved(page: Page, name: str) -> list[object]:
    return [value for trait, value in page.evaluate("model.saved") if trait == name]


def arrive(page: Page, name: str, value: object) -> None:
    page.evaluate("([name, value]) => model.arrive(name, value)", [name, value])


def click_frame(page: Page, name: str) -> None:
    box = frames(page, name).first.bounding_box()
    page.mouse.click(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)


def test_selection_search_and_view_reach_python(widget: Page):
    click_frame(widget, "load_orders, In [2]")
    assert saved(widget, "selected") == [
        {
            "function": "load_orders",
            "file": "In [2]",
            "line": 4,
            "stack": ["<module> (In [3]:1)", "load_orders (In [2]:4)"],
            "share": pytest.approx(59 / 547),
        }
    ]
    widget.get_by_role("searchbox").fill("pandas")
    widget.get_by_role("button", name="Table").click()
    assert saved(widget, "search") == ["pandas"]
    assert saved(widget, "view") == ["table"]


def test_python_sets_selection_search_view_and_theme(widget: Page):
    arrive(widget, "selected", {"function": "fib"})
    expect(widget.get_by_role("treeitem", selected=True)).to_have_attribute(
        "aria-label", re.compile("^fib, ")
    )
    arrive(widget, "search", "sklearn")
    expect(widget.get_by_role("searchbox")).to_have_value("sklearn")
    expect(widget.get_by_text(re.compile(r"^27 % in \d+ functions"))).to_be_visible()
    arrive(widget, "view", "sandwich")
    callers = widget.get_by_role("tree", name="Callers")
    expect(callers.get_by_role("treeitem", name=re.compile("^price_all"))).to_have_count(1)
    arrive(widget, "theme", "dark")
    expect(widget.locator("section.spprof")).to_have_attribute("data-theme", "dark")
    # What Python said is not said back to it; the selection is completed, once.
    assert saved(widget, "search") == saved(widget, "view") == []
    assert [value["line"] for value in saved(widget, "selected")] == [11]
    arrive(widget, "selected", {})
    expect(widget.get_by_role("group", name="Selected frame")).not_to_contain_text("fib")


def test_live_profile_grows_in_place(widget: Page):
    click_frame(widget, "load_orders, In [2]")
    widget.get_by_role("searchbox").fill("pandas")
    builder = frontend_profiles.ProfileBuilder()
    cell, load = ("<module>", "In [3]", 1, False), ("load_orders", "In [2]", 4, False)
    builder.sample("MainThread", [(("earlier", "/x/a.py", 1, False), 1)], 10, 50_000_000)
    builder.sample("MainThread", [(cell, 2), (load, 6)], 20, 150_000_000)
    widget.evaluate("(data) => model.arrive('data', bytes(data))", encoded(builder.encode()))
    expect(frames(widget, "load_orders, In [2]:6, 150 ms, 75 %")).to_have_attribute(
        "aria-selected", "true"
    )
    crumbs = widget.get_by_role("navigation", name="Zoomed into").get_by_role("button")
    assert crumbs.all_inner_texts() == ["All", "In [3]", "load_orders"]
    expect(widget.get_by_role("searchbox")).to_have_value("pandas")


def test_chosen_thread_stays_chosen_when_threads_are_numbered_anew(widget: Page):
    threads = widget.get_by_role("combobox", name="Threads")
    threads.select_option(label="upload-0 · 2.76 s")
    builder = frontend_profiles.ProfileBuilder()
    for i, name in enumerate(["watch", "MainThread", "upload-0"]):
        call = (f"in_{name}", "/x/a.py", 1, False)
        builder.sample(name, [(call, 1)], 10 + i, (i + 1) * 100_000_000)
    widget.evaluate("(data) => model.arrive('data', bytes(data))", encoded(builder.encode()))
    expect(frames(widget, re.compile("^in_upload-0, .*, 300 ms, 100 %"))).to_have_count(1)
    chosen = threads.locator("option:checked")
    expect(chosen).to_have_text("upload-0 · 300 ms")


def test_source_is_asked_for_once_and_shown_beside_its_times(widget: Page):
    arrive(widget, "selected", {"function": "load_orders"})
    arrive(widget, "view", "source")
    expect(widget.get_by_text("The source that ran is not available")).to_be_visible()
    assert widget.evaluate("model.sent") == [{"type": "source", "file": "In [2]"}]
    text = "".join(f"line_{number} = {number}\n" for number in range(1, 31))
    arrive(widget, "sources", {"In [2]": text})
    line = widget.get_by_role("row").filter(has_text="line_6 = 6")
    expect(line).to_contain_text("590 ms")
    arrive(widget, "selected", {"function": "fib"})
    arrive(widget, "selected", {"function": "load_orders"})
    expect(line).to_contain_text("590 ms")
    files = [message["file"] for message in widget.evaluate("model.sent")]
    assert files == ["In [2]", "/home/ada/project/pricing.py"]


def test_speedscope_comes_by_message(widget: Page):
    arrive(widget, "view", "speedscope")
    expect(widget.get_by_text("Loading Speedscope")).to_be_visible()
    assert widget.evaluate("model.sent") == [{"type": "speedscope"}]
    page = (STATIC / "speedscope" / "index.html").read_bytes()
    widget.evaluate("(text) => model.message({type: 'speedscope'}, [text])", encoded(page))
    speedscope = widget.frame_locator("iframe[title=Speedscope]")
    expect(speedscope.get_by_text("upload-0 (101) (2/2)")).to_be_visible()


def open_in_a_tab(page: Page) -> Page:
    page.get_by_role("button", name="Export").click()
    with page.expect_popup() as popup:
        page.get_by_role("button", name="Open in Speedscope").click()
    return popup.value


def check_that_the_file_is_offered(where: Locator) -> None:
    with where.page.expect_download() as download:
        where.get_by_role("button", name="Save the Speedscope file").click()
    document = json.loads(Path(download.value.path()).read_bytes())
    assert [p["thread"]["name"] for p in document["profiles"]] == ["MainThread", "upload-0"]


def test_failing_speedscope_says_why_and_offers_the_file(widget: Page):
    # What a model does whose kernel is gone.
    widget.evaluate("void (model.send = () => { throw new Error('Comm is closed') })")
    arrive(widget, "view", "speedscope")
    view = widget.locator(".sp-speedscope")
    expect(view).to_contain_text(
        "Speedscope cannot be shown: the kernel that made this graph is gone"
    )
    check_that_the_file_is_offered(view)
    # Once the kernel is back, so is Speedscope.
    widget.evaluate("void (model.send = function (content) { this.sent.push(content) })")
    view.get_by_role("button", name="Try again").click()
    expect(view).to_contain_text("Loading Speedscope")
    page = (STATIC / "speedscope" / "index.html").read_bytes()
    widget.evaluate("(text) => model.message({type: 'speedscope'}, [text])", encoded(page))
    expect(view.locator("iframe[title=Speedscope]")).to_be_visible()


def test_failing_speedscope_leaves_no_blank_tab(widget: Page):
    widget.evaluate("void (model.send = () => { throw new Error('Comm is closed') })")
    tab = open_in_a_tab(widget)
    alert = widget.get_by_role("alert")
    expect(alert).to_contain_text(
        "Speedscope was not opened: the kernel that made this graph is gone"
    )
    check_that_the_file_is_offered(alert)
    assert tab.is_closed()
    alert.get_by_role("button", name="Dismiss").click()
    expect(alert).to_have_count(0)


def test_speedscope_does_not_wait_for_ever_for_a_kernel(widget: Page):
    widget.clock.install()
    arrive(widget, "view", "speedscope")
    tab = open_in_a_tab(widget)
    # The reader sees that the tab waits for something.
    expect(tab.get_by_text("Loading Speedscope")).to_be_visible()
    widget.clock.fast_forward(21_000)
    expect(widget.locator(".sp-speedscope")).to_contain_text(
        "the kernel did not answer within 20 s"
    )
    expect(widget.get_by_role("alert")).to_contain_text("the kernel did not answer within 20 s")
    assert tab.is_closed()


def test_page_that_speedscope_cannot_use_is_said_to_be_so(widget: Page):
    arrive(widget, "view", "speedscope")
    tab = open_in_a_tab(widget)
    page = encoded(b"<html>something else</html>")
    widget.evaluate("(text) => model.message({type: 'speedscope'}, [text])", page)
    expect(widget.locator(".sp-speedscope")).to_contain_text("no place for the profile")
    expect(widget.get_by_role("alert")).to_contain_text("no place for the profile")
    assert tab.is_closed()


def thinned() -> bytes:
    """The demo as if it had been merged from more rows for display."""
    builder = frontend_profiles.demo_builder()
    builder.header["thinned_from"] = 1_000_000
    return builder.encode()


def save_profile(page: Page) -> Download:
    page.get_by_role("button", name="Export").click()
    with page.expect_download() as download:
        page.get_by_role("button", name="Profile (.spprof)").click()
    return download.value


def test_saves_what_it_shows_where_that_is_the_whole(widget: Page):
    download = save_profile(widget)
    assert Path(download.path()).read_bytes() == frontend_profiles.demo()
    assert widget.evaluate("model.sent") == []


def test_saves_the_whole_profile_where_it_shows_a_coarser_copy(widget: Page):
    widget.evaluate("(data) => model.arrive('data', bytes(data))", encoded(thinned()))
    widget.evaluate(
        "(whole) => void (model.send = (content) => { model.sent.push(content);"
        " model.message({type: 'profile'}, [whole]) })",
        encoded(),
    )
    download = save_profile(widget)
    assert download.suggested_filename == "profile.spprof"
    assert Path(download.path()).read_bytes() == frontend_profiles.demo()
    assert widget.evaluate("model.sent") == [{"type": "profile"}]


def test_says_so_where_only_the_coarser_copy_can_be_saved(widget: Page):
    widget.evaluate("(data) => model.arrive('data', bytes(data))", encoded(thinned()))
    widget.evaluate("void (model.send = () => { throw new Error('Comm is closed') })")
    widget.get_by_role("button", name="Export").click()
    widget.get_by_role("button", name="Profile (.spprof)").click()
    alert = widget.get_by_role("alert")
    expect(alert).to_contain_text(
        "The whole profile cannot be had: the kernel that made this graph is gone"
    )
    with widget.expect_download() as download:
        alert.get_by_role("button", name="Save it coarser in time").click()
    assert download.value.suggested_filename == "profile-coarser.spprof"
    assert Path(download.value.path()).read_bytes() == thinned()


def test_keys_of_the_view_do_not_reach_the_notebook(widget: Page):
    # JupyterLab takes no shortcut from an element marked so, nor from what is in it.
    suppressing = widget.locator("section.spprof")
    expect(suppressing).to_have_attribute("data-lm-suppress-shortcuts", "true")
    # On a page that is not ours, keys pressed elsewhere are not ours either.
    widget.locator("body").press("/")
    expect(widget.get_by_role("searchbox")).not_to_be_focused()


def test_leaves_nothing_behind(widget: Page):
    for view in ["tree", "timeline", "table", "sandwich", "source"]:
        arrive(widget, "view", view)
    widget.evaluate("dispose()")
    expect(widget.locator("section.spprof")).to_have_count(0)
    assert widget.evaluate("model.listeners()") == 0
    arrive(widget, "search", "anything")


def test_works_within_a_shadow_tree(page: Page):
    # Where marimo puts widgets: focus and selection look different from outside.
    module = (STATIC / "widget.js").read_text(encoding="utf-8")
    style = (STATIC / "widget.css").read_text(encoding="utf-8")
    page.set_content('<div id="host"></div>')
    page.evaluate(
        "(style) => { const shadow = host.attachShadow({mode: 'open'});"
        " shadow.innerHTML = `<style>${style}</style><div id=output></div>`; }",
        style,
    )
    model = MODEL.replace("document.getElementById", "host.shadowRoot.getElementById")
    page.evaluate(
        f"const MODULE = {json.dumps(module)}, DATA = {json.dumps(encoded())}; {model}; started"
    )
    page.get_by_role("searchbox").press_sequentially("sklearn", delay=90)
    expect(page.get_by_role("searchbox")).to_have_value("sklearn")
    expect(page.get_by_text(re.compile(r"^27 % in \d+ functions"))).to_be_visible()
    page.keyboard.press("Enter")
    page.keyboard.press("ArrowDown")
    expect(page.get_by_role("treeitem", selected=True)).to_have_count(1)


# What a host gives to the loader: a model of the front end where it has one, a kernel that answers.
LOADER = """
window.started = (async () => {
  const packed = async (text) => new DataView(await new Response(
    new Blob([text]).stream().pipeThrough(new CompressionStream('deflate'))
  ).arrayBuffer());
  const front = {script: await packed(MODULE), style: await packed(STYLE)};
  const {default: {render}} = await import(URL.createObjectURL(
    new Blob([LOADER], {type: 'text/javascript'})
  ));
  window.asked = 0;
  window.sent = [];
  window.made = async (version, withModel) => {
    const el = document.body.appendChild(document.createElement('div'));
    const handlers = new Set();
    const traits = {
      data: new DataView(Uint8Array.from(atob(DATA), (c) => c.charCodeAt(0)).buffer),
      selected: {}, sources: {}, view: 'icicle', theme: 'light', version,
      front_end: 'IPY_MODEL_front',
    };
    const model = {
      get: (name) => traits[name], set() {}, save_changes() {},
      on(event, handler) { if (event === 'msg:custom') handlers.add(handler); },
      off(event, handler) { handlers.delete(handler); },
      send(content) {
        sent.push(content);
        setTimeout(() => handlers.forEach((h) => h({type: 'front end'}, Object.values(front))));
      },
      widget_manager: {
        async get_model(id) {
          asked++;
          if (!withModel || id !== 'front') throw new Error('no such model');
          return {get: (name) => front[name]};
        },
      },
    };
    return render({model, el});
  };
})();
"""


@pytest.fixture
def loader(page: Page) -> Page:
    module, style, loads = (
        (STATIC / name).read_text(encoding="utf-8")
        for name in ("widget.js", "widget.css", "loader.js")
    )
    page.set_content("")
    values = {"MODULE": module, "STYLE": style, "LOADER": loads, "DATA": encoded()}
    named = ", ".join(f"{name} = {json.dumps(value)}" for name, value in values.items())
    page.evaluate(f"const {named}; {LOADER}; started")
    return page


def test_graphs_of_a_page_share_one_front_end(loader: Page):
    loader.evaluate("Promise.all([made('1', true), made('1', true)])")
    loader.evaluate("made('1', false)")
    expect(loader.locator("section.spprof")).to_have_count(3)
    assert loader.evaluate("[asked, sent.length, document.head.childElementCount]") == [1, 0, 1]
    loader.evaluate("made('2', true)")
    assert loader.evaluate("[asked, sent.length, document.head.childElementCount]") == [2, 0, 2]


def test_where_the_host_knows_no_other_widgets_the_kernel_brings_the_front_end(loader: Page):
    loader.evaluate("made('1', false)")
    expect(loader.locator("section.spprof")).to_have_count(1)
    assert loader.evaluate("[asked, sent]") == [1, [{"type": "front end"}]]
