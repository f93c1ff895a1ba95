"""The widget's Python half: what it answers to the front end, and what it keeps to itself."""

from __future__ import annotations

import linecache
import sys
import zlib
from datetime import datetime, timezone
from types import SimpleNamespace

import pytest

pytest.importorskip("anywidget")

from spprof import Frame, Profile, Sample
from spprof._profile import sources
from spprof.formats import _front_end, container
from spprof.jupyter import output
from spprof.jupyter import widget as widget_module
from spprof.jupyter.widget import FlameGraphWidget


def profile_of(*files: str) -> bytes:
    frames = tuple(Frame("work", file, 1) for file in files)
    sample = Sample(timestamp_ns=0, thread_id=1, thread_name="MainThread", frames=frames)
    # Later than any file that a test writes: what was edited after a profile is not its source.
    start = datetime(2100, 1, 1, tzinfo=timezone.utc)
    profile = Profile(start, start, 10.0, [sample], 0, "3.11.7", "Linux")
    return container.encode(profile._tables, for_display=True)


def ask(widget: FlameGraphWidget, content: object) -> None:
    """Deliver a message as the kernel does when one comes from the front end."""
    widget._handle_custom_msg(content, [])


@pytest.fixture
def sent(monkeypatch) -> list[tuple[object, list[bytes]]]:
    messages: list[tuple[object, list[bytes]]] = []
    monkeypatch.setattr(
        FlameGraphWidget,
        "send",
        lambda self, content, buffers=None: messages.append((content, buffers)),
    )
    return messages


def test_holds_the_container_and_the_traits_it_was_given():
    data = profile_of("a.py")
    widget = FlameGraphWidget(data, view="table", search="fit")
    assert (widget.data, widget.view, widget.search) == (data, "table", "fit")
    assert (widget.selected, widget.theme, widget.sources) == ({}, "auto", {})


def test_refuses_views_and_themes_that_do_not_exist():
    for trait in ("view", "theme"):
        with pytest.raises(Exception, match=trait):
            FlameGraphWidget(b"", **{trait: "sideways"})


def test_answers_with_the_source_of_a_file_that_the_profile_names(tmp_path):
    file = tmp_path / "job.py"
    file.write_text("def work():\n    pass\n", encoding="utf-8")
    data = profile_of(str(file))
    # Of a profile from elsewhere no file is read unasked.
    sources.recorded_here(container.decode(data).meta)
    widget = FlameGraphWidget(data)
    ask(widget, {"type": "source", "file": str(file)})
    assert widget.sources == {str(file): "def work():\n    pass\n"}


def test_reads_no_file_that_the_profile_does_not_name(tmp_path):
    secret = tmp_path / "secret.txt"
    secret.write_text("secret", encoding="utf-8")
    widget = FlameGraphWidget(profile_of("a.py"))
    ask(widget, {"type": "source", "file": str(secret)})
    assert widget.sources == {str(secret): ""}


def test_a_part_of_a_named_path_is_no_named_file(tmp_path):
    inner = tmp_path / "job"
    inner.write_text("secret", encoding="utf-8")
    widget = FlameGraphWidget(profile_of(f"{inner}.py"))
    ask(widget, {"type": "source", "file": str(inner)})
    assert widget.sources == {str(inner): ""}


def test_a_cell_of_this_number_is_no_source_of_another_sessions_cell(monkeypatch):
    history = SimpleNamespace(input_hist_raw=["", "import numpy", "%%spprof\nwork()"])
    shell = SimpleNamespace(history_manager=history)
    core = SimpleNamespace(get_ipython=lambda: shell)
    monkeypatch.setitem(sys.modules, "IPython.core.getipython", core)
    widget = FlameGraphWidget(profile_of("In [2]"))
    ask(widget, {"type": "source", "file": "In [2]"})
    assert widget.sources == {"In [2]": ""}


def test_the_source_of_a_marimo_cell_is_what_was_compiled(monkeypatch):
    place, text = "/tmp/marimo_7/__marimo__cell_Hbol_.py", "def work():\n    pass\n\nwork()\n"
    entry = (len(text), None, text.splitlines(keepends=True), place)
    monkeypatch.setitem(linecache.cache, place, entry)
    frames = tuple(Frame(name, place, line) for name, line in (("work", 2), ("<module>", 4)))
    start = datetime(2026, 2, 2, tzinfo=timezone.utc)
    profile = Profile(start, start, 10.0, [Sample(0, 1, "MainThread", frames)])
    shown = output.from_cells_on(profile)
    widget = FlameGraphWidget(container.encode(shown._tables))
    ask(widget, {"type": "source", "file": "cell Hbol"})
    assert widget.sources == {"cell Hbol": text}


def test_answers_with_speedscope_as_one_page(sent):
    ask(FlameGraphWidget(b""), {"type": "speedscope"})
    [(content, [page])] = sent
    assert content == {"type": "speedscope"}
    assert page.startswith(b"<!DOCTYPE html>")
    # Where the front end puts the profile; and nothing to be loaded from elsewhere.
    assert page.count(b"</head><body>") == 1
    assert b'src="' not in page.split(b"<script>")[0]


def test_answers_with_script_and_style(sent):
    ask(FlameGraphWidget(b""), {"type": "front end"})
    [(content, parts)] = sent
    assert content == {"type": "front end"}
    found = [zlib.decompress(part) for part in parts]
    assert found == [_front_end.asset("widget.js"), _front_end.asset("widget.css")]


def test_in_a_notebook_graphs_have_one_front_end_between_them(monkeypatch):
    monkeypatch.setattr(widget_module, "in_notebook", lambda: True)
    one, other = FlameGraphWidget(b""), FlameGraphWidget(b"")
    assert one.front_end is other.front_end
    assert len(one._esm) < 3_000
    assert not one._css
    # `Widget.close_all()` takes it away as well.
    one.front_end.close()
    assert FlameGraphWidget(b"").front_end.script == zlib.compress(_front_end.asset("widget.js"), 9)


@pytest.mark.parametrize("content", [None, "source", {}, {"type": "source"}, {"type": "other"}])
def test_messages_it_does_not_know_change_nothing(sent, content):
    widget = FlameGraphWidget(profile_of("a.py"))
    ask(widget, content)
    assert sent == []
    assert widget.sources == {}


def test_says_what_to_do_when_the_front_end_was_not_built(monkeypatch, tmp_path):
    monkeypatch.setattr(_front_end, "STATIC", tmp_path)
    with pytest.raises(FileNotFoundError, match="npm run build"):
        _front_end.asset("widget.js")


def test_hands_out_the_whole_profile_of_which_it_shows_a_copy(sent):
    shown, whole = profile_of("a.py"), profile_of("a.py", "b.py")
    widget = FlameGraphWidget(shown, whole=lambda: whole)
    ask(widget, {"type": "profile"})
    # Another profile came: the whole of the first is not its.
    widget.data = profile_of("c.py")
    ask(widget, {"type": "profile"})
    assert sent == [({"type": "profile"}, [whole]), ({"type": "profile"}, [profile_of("c.py")])]
