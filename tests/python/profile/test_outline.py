"""Call trees and function lists as they show themselves: text and HTML, bounded and escaped."""

from __future__ import annotations

import pickle
from dataclasses import replace
from html.parser import HTMLParser

import pytest

from spprof import CallNode, FunctionStats
from spprof._profile import names, outline, words
from spprof._profile.queries import FunctionList


class Nesting(HTMLParser):
    """Checks that elements nest, and notes how the rows of a tree do."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.deepest = 0
        self.rows: list[tuple[int, bool]] = []  # depth of <details>, and whether it is open
        self.texts: list[str] = []
        self.feed(html)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.open.append(tag)
        self.deepest = max(self.deepest, len(self.open))
        if tag == "details":
            self.rows.append((self.open.count("details"), ("open", None) in attrs))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open[-1:] != ["style"]:
            self.texts.append(data)

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.texts).split())


def node(name: str, total: int, *children: CallNode) -> CallNode:
    own = total - sum(child.total_ns for child in children)
    return CallNode(name, "app/main.py", 7, False, own, total, own, total, list(children))


def entries(n: int) -> list[FunctionStats]:
    return [FunctionStats(f"f{i}", "app.py", i, False, 5, 9, 5, 9, 0.05, 0.09) for i in range(n)]


class TestTree:
    def test_rows_are_nested_as_the_calls_are_most_time_first(self) -> None:
        root = node("all", 100, node("main", 90, node("fit", 60), node("read", 30)), node("x", 10))
        html = Nesting(root._repr_html_())
        assert html.rows == [(1, True), (2, True)]
        assert html.text == (
            "total self time function 100.0% 0.0% 0 µs all app/main.py:7 "
            "90.0% 0.0% 0 µs main app/main.py:7 60.0% 60.0% 0 µs fit app/main.py:7 "
            "30.0% 30.0% 0 µs read app/main.py:7 10.0% 10.0% 0 µs x app/main.py:7"
        )

    def test_only_the_way_of_most_time_is_open_at_first(self) -> None:
        wide = [node(f"w{i}", 900 - i, node("v", 500), node("u", 300)) for i in range(10)]
        html = Nesting(node("all", 10_000, node("small", 400, node("x", 400)), *wide)._repr_html_())
        assert html.rows[0] == (1, True)
        # 12 rows are there; the next six have room for two more each.
        assert [is_open for _, is_open in html.rows[1:]] == [False] + [True] * 6 + [False] * 4

    def test_what_only_leads_somewhere_takes_no_room_of_what_branches(self) -> None:
        inner = node("cell", 100, node("fit", 60, node("step", 60)), node("read", 40))
        for _ in range(30):
            inner = node("kernel", 100, inner)
        assert all(is_open for _, is_open in Nesting(inner._repr_html_()).rows)

    def test_large_tree_is_cut_and_says_so_after_what_is_shown(self) -> None:
        root = node("all", 10_000, *(node(f"f{i}", 10) for i in range(1_000)))
        html = root._repr_html_()
        assert len(html) < 150_000
        assert Nesting(html).text.endswith("60.1% 6 µs … and 601 more calls")
        text = outline.tree_text(root).splitlines()
        assert len(text) == 62
        assert text[-1].split() == ["94.1%", "…", "and", "941", "more", "calls"]

    def test_what_takes_next_to_no_time_is_no_row(self) -> None:
        root = node("all", 100_000, node("much", 99_999), node("little", 1))
        assert Nesting(root._repr_html_()).text.endswith("0.0% 0 µs … and 1 more call")

    def test_deep_recursion_ends_before_parsers_do(self) -> None:
        deep = node("leaf", 10)
        for _ in range(3_000):
            deep = node("again", 10, deep)
        assert Nesting(deep._repr_html_()).deepest < 300

    def test_names_are_text_whatever_they_hold(self) -> None:
        html = node("<script>\x1b[31m&" + "x" * 100_000, 10)._repr_html_()
        assert "<script>" not in html
        assert "\x1b" not in html
        assert "&lt;script&gt;\\x1b[31m&amp;xxx" in html
        assert len(html) < 5_000

    def test_empty_profile_has_a_tree_of_one_row(self, make_profile) -> None:
        tree = make_profile(rows=0).tree()
        assert Nesting(tree._repr_html_()).text.endswith("0.0% 0.0% 0 µs all")


class TestFunctions:
    def test_top_is_a_list_in_every_way(self, make_profile) -> None:
        profile = make_profile()
        top = profile.top(5)
        plain = list(top)
        assert isinstance(top, list)
        assert top == plain
        assert plain == top
        assert len(top) == 5
        assert top[0] is plain[0]
        assert top[-1] is plain[-1]
        assert [each.self_ns for each in top] == sorted((e.self_ns for e in plain), reverse=True)
        assert pickle.loads(pickle.dumps(top)) == plain
        assert repr(top) == repr(plain)

    def test_a_part_of_it_shows_itself_too(self, make_profile) -> None:
        top = make_profile().top(5)
        assert top[1:3] == list(top)[1:3]
        assert str(top[1:3]).splitlines()[1:3] == str(top).splitlines()[2:4]

    def test_uncertain_shares_are_said_and_only_they(self) -> None:
        few = FunctionStats("f", "app.py", 1, False, 3, 3, 3, 3, 0.3, 1.0, (0.11, 0.6), (0.7, 1.0))
        many = FunctionStats(
            "g", "app.py", 9, False, 7, 7, 7, 7, 0.7, 0.7, (0.69, 0.71), (0.69, 0.71)
        )
        text = str(FunctionList([few, many])).splitlines()
        assert text[1].split() == ["30.0%", "11-60%", "100.0%", "f", "app.py:1"]
        assert text[2].split() == ["70.0%", "70.0%", "g", "app.py:9"]
        assert "95%" in text[3]
        html = Nesting(FunctionList([few, many])._repr_html_()).text
        assert "11-60%" in html
        assert "69-71%" not in html
        assert str(FunctionList([many])).splitlines()[1:] == ["  70.0%   70.0%  g  app.py:9"]

    def test_table_has_what_the_summary_has(self, make_profile) -> None:
        profile = make_profile()
        text = str(profile.top(10))
        assert text in str(profile)
        html = Nesting(profile.top(10)._repr_html_()).text
        for entry in profile.top(10):
            assert f"{entry.self_share:.1%} {words.format_ns(entry.self_ns)}" in html
            assert names.short(entry.function_name, entry.is_native) in html

    def test_a_whole_name_is_in_the_tooltip(self) -> None:
        entry = replace(entries(1)[0], function_name="f<int>(int)", is_native=True)
        html = outline.functions_html([entry])
        assert '<tt title="f&lt;int&gt;(int)">f</tt>' in html

    def test_long_table_is_cut_and_says_so(self) -> None:
        html = outline.functions_html(entries(250))
        assert html.count("<tr>") == 201
        assert Nesting(html).text.endswith("… and 50 more functions")


@pytest.mark.parametrize("ask", [lambda p: p.top(3), lambda p: p.tree()])
def test_one_of_many_in_a_list_is_short(make_profile, ask) -> None:
    pretty = pytest.importorskip("IPython.lib.pretty").pretty
    shown = ask(make_profile())
    assert pretty(shown).splitlines()[0].split()[-1] == "function"
    assert repr(shown) in pretty([shown])


def test_types_that_users_meet_are_the_packages(make_profile) -> None:
    import spprof
    from spprof.formats import FormatError

    profile = make_profile()
    difference = spprof.diff(profile, profile)
    assert isinstance(profile.top(1)[0], spprof.FunctionStats)
    assert isinstance(profile.tree(), spprof.CallNode)
    assert isinstance(difference, spprof.ProfileDiff)
    assert isinstance(difference.functions[0], spprof.StackDiff)
    assert spprof.FormatError is FormatError
    names = {"FunctionStats", "CallNode", "ProfileDiff", "StackDiff", "FormatError"}
    assert names <= set(spprof.__all__)
