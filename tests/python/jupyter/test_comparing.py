"""`%%spprof --compare`: with what, refused early, and what is shown of it."""

from __future__ import annotations

import re
from html.parser import HTMLParser

import pytest

pytest.importorskip("IPython")

import shells
from IPython.utils.capture import capture_output

import spprof
from spprof import Frame, Profile, Sample
from spprof.jupyter import comparing, output

CELL = """
%%spprof -i 0.5 {options}
import time
def parse(seconds):
    end = time.thread_time() + seconds
    while time.thread_time() < end: pass
def order(seconds):
    end = time.thread_time() + seconds
    while time.thread_time() < end: pass
parse({parse}); order(0.1)
"""


class Notebook(shells.Notebook):
    def profile(self, options: str = "", parse: float = 0.1):
        return self.run(CELL.format(options=options, parse=parse))


@pytest.fixture
def notebook(capsys):
    notebook = Notebook(capsys)
    yield notebook
    assert not spprof.is_active()
    notebook.end()


def line_of(text: str, function: str) -> str:
    (line,) = (line for line in text.splitlines() if re.search(rf"  {function}\b", line))
    return line


def test_a_cell_run_again_is_compared_with_its_last_run(notebook) -> None:
    notebook.profile()
    _, text = notebook.profile("--compare last", parse=0.5)
    # The cell has another number now, and its functions are the same ones all the same.
    line = line_of(text, "parse")
    before, after = (float(share) for share in re.findall(r"([\d.]+)%", line)[:2])
    assert 35 < before < 65
    assert after > 70
    # On a busy machine times are believed less, and stand in brackets; the share does not.
    assert re.search(r" \+[\d.]+%  ", line)
    assert "order" in text.split("within noise:")[0]
    assert text.count("  parse") == 1


def test_with_a_variable_or_a_file(notebook, tmp_path) -> None:
    notebook.profile("--name first")
    notebook.profile()
    first = notebook.shell.user_ns["first"]
    first.save(tmp_path / "first.spprof")
    for what in ("first", str(tmp_path / "first.spprof")):
        _, text = notebook.profile(f"--compare {what} --name now")
        before = sum(first._tables.sample_weight) / 1e6
        assert text.startswith(f"{before:.1f} ms before, ")
    # The profile itself is kept as ever.
    assert notebook.shell.user_ns["now"] is notebook.shell.user_ns["_spprof"]
    assert not isinstance(notebook.shell.user_ns["now"], spprof.ProfileDiff)


@pytest.mark.parametrize(
    ("what", "said"),
    [
        ("last", "no cell was profiled before"),
        ("number", "holds no Profile but a int"),
        ("nowhere.spprof", "there is no variable and no file 'nowhere.spprof'"),
        ("waited", "the cell would be of CPU time: add --mode wall"),
    ],
)
def test_refused_before_the_cell_runs(notebook, what, said) -> None:
    names = notebook.shell.user_ns
    names["number"] = 3
    names["waited"] = profile_of([("f", "a.py")], mode="wall")
    result, text = notebook.run(f"%%spprof --compare {what}\nran = True")
    assert said in text
    assert not result.success
    assert "ran" not in names


def test_a_broken_file_is_said(notebook, tmp_path) -> None:
    path = tmp_path / "broken.spprof"
    path.write_bytes(b"SPPROF\r\nnothing")
    _, text = notebook.run(f"%%spprof --compare {path}\nran = True")
    assert "UsageError" in text
    assert "ran" not in notebook.shell.user_ns


def test_nothing_to_compare_with_is_no_difference(notebook) -> None:
    notebook.run("%%spprof\npass")
    result, text = notebook.profile("--compare last")
    assert result.success
    assert "before" not in text
    assert "parse" in text


class Rows(HTMLParser):
    """The rows of a table: class, and text of the cells."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.rows: list[tuple[str, list[str]]] = []
        self.text = ""
        self._in_cell = False
        self.feed(html)

    def handle_starttag(self, tag, attrs) -> None:
        if tag == "tr":
            self.rows.append((dict(attrs).get("class") or "", []))
        elif tag in ("td", "th"):
            self.rows[-1][1].append("")
            self._in_cell = True

    def handle_endtag(self, tag) -> None:
        if tag in ("td", "th"):
            self._in_cell = False

    def handle_data(self, data) -> None:
        self.text += data
        if self._in_cell:
            self.rows[-1][1][-1] += data


def test_a_notebook_gets_graph_and_table(notebook, monkeypatch) -> None:
    monkeypatch.setattr(output, "in_notebook", lambda: True)
    monkeypatch.setattr(output, "has_widgets", lambda: False)
    monkeypatch.setattr(comparing, "in_notebook", lambda: True)
    with capture_output() as captured:
        notebook.profile()
    with capture_output() as captured:
        notebook.profile("--compare last", parse=0.5)
    graph, table = (each.data["text/html"] for each in captured.outputs)
    assert "data:image/svg+xml" in graph
    rows = Rows(table)
    kinds = {cells[-1].split()[0]: kind for kind, cells in rows.rows[1:]}
    assert kinds["parse"] == "more"
    assert kinds["order"] == "less"
    (parse,) = (cells for _, cells in rows.rows if cells[-1].startswith("parse"))
    assert re.fullmatch(r"\+\d+\.\d% \+\d+ to \+\d+", parse[2])
    assert "within noise" in rows.text


def profile_of(calls: list[tuple[str, str]], mode: str = "cpu") -> Profile:
    from datetime import datetime, timezone

    now = datetime(2026, 1, 1, tzinfo=timezone.utc)
    samples = [Sample(0, 1, "t", [Frame(name, file, 1)]) for name, file in calls]
    return Profile(now, now, 10, samples, mode=mode)


class TestSameCells:
    def files(self, before: Profile, after: Profile) -> list[str]:
        renamed = comparing.same_cells(before._tables, after._tables)
        return [renamed.strings[file] for file in renamed.func_file]

    def test_by_the_functions_that_they_have(self) -> None:
        before = profile_of([("In [1]", "In [1]"), ("f", "In [1]"), ("g", "In [2]")])
        after = profile_of([("g", "In [7]"), ("In [8]", "In [8]"), ("f", "In [8]")])
        assert self.files(before, after) == ["In [8]", "In [8]", "In [7]"]

    def test_cells_that_both_have_stay(self) -> None:
        before = profile_of([("f", "In [1]"), ("In [2]", "In [2]")])
        after = profile_of([("f", "In [1]"), ("In [3]", "In [3]"), ("f", "In [3]")])
        assert self.files(before, after) == ["In [1]", "In [3]"]

    def test_nothing_in_common(self) -> None:
        before = profile_of([("f", "In [1]"), ("main", "app.py")])
        assert self.files(before, profile_of([("g", "In [2]"), ("main", "a.py")])) == [
            "In [1]",
            "app.py",
        ]
