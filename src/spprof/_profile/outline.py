"""Lists and trees of functions as people read them: lines of text, and HTML that needs no script.

Gets entries and nodes, and must not know the tables they come from. What is shown is bounded,
whatever a profile holds: notebooks are saved with their outputs.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterator, Sequence
from html import escape
from typing import TYPE_CHECKING

from .confidence import LEVEL, is_wide
from .names import short
from .words import format_ns, short_place, shown

if TYPE_CHECKING:
    from collections.abc import Container

    from .compare import StackDiff
    from .queries import CallNode, FunctionStats

# A saved row takes some 220 bytes.
_TREE_ROWS, _TABLE_ROWS, _TEXT_ROWS = 400, 200, 60
# Rows that a tree shows before anybody opens or closes any, besides those that are all of what
# their only caller called; and what a call must take to be opened.
_OPEN_ROWS, _OPEN_SHARE = 24, 0.05
_ONLY_ROWS = 40
_LEAST_SHARE = 0.001
# Parsers of HTML flatten what is nested deeper than some 500 elements, the page's own included.
_DEPTH = 200


def interval_text(share: float, interval: tuple[float, float]) -> str:
    """Between which shares the true one lies, ``16-33%``; nothing where that is near enough."""
    low, high = interval
    return f"{low * 100:.0f}-{high * 100:.0f}%" if is_wide(share, interval) else ""


def intervals(entries: Sequence[FunctionStats]) -> list[tuple[str, str]]:
    """For each function the intervals of its own share and of the total one, as text."""
    return [
        (
            interval_text(entry.self_share, entry.self_interval),
            interval_text(entry.total_share, entry.total_interval),
        )
        for entry in entries
    ]


# What the two numbers of an interval are.
INTERVALS = f"ranges: so far the samples tell where a share lies, in {LEVEL:.0%} of cases"


def function_lines(entries: Sequence[FunctionStats]) -> list[str]:
    """A heading, and a line for each function; what is uncertain is said."""
    ranges = intervals(entries)
    wide = any(map(any, ranges))
    gap = " " * 8 if wide else ""
    lines = [f"{'self':>7}{gap} {'total':>7}{gap}  function"]
    for entry, (own, total) in zip(entries, ranges):
        place = short_place(entry.filename, entry.lineno)
        shares = f"{entry.self_share:7.1%} {entry.total_share:7.1%}"
        if wide:
            shares = f"{entry.self_share:7.1%} {own:7} {entry.total_share:7.1%} {total:7}"
        lines.append(
            f"{shares}  "
            + shown(short(entry.function_name, entry.is_native))
            + (f"  {place}" if place else "")
        )
    return [*lines, f"({INTERVALS})"] if wide else lines


def tree_line(node: CallNode, depth: int, whole: int) -> str:
    """One call of a tree: shares of `whole`, total and self, and its name."""
    return (
        f"{node.total_ns / whole:7.1%} {node.self_ns / whole:7.1%}  {'  ' * depth}"
        f"{shown(short(node.function_name, node.is_native))}"
    )


def tree_text(root: CallNode) -> str:
    """The calls that took most time, a line each; what is left out is said."""
    whole = root.total_ns or 1
    lines = [f"{'total':>7} {'self':>7}  function"]
    for depth, node, rest in _Picked(root, _TEXT_ROWS).walk():
        if node is not None:
            lines.append(tree_line(node, depth, whole))
        else:
            share = sum(each.total_ns for each in rest) / whole
            lines.append(f"{share:7.1%} {'':7}  {'  ' * depth}{_more(len(rest), 'call')}")
    return "\n".join(lines)


class _Picked:
    """The nodes of a tree that took most time, each with its callers."""

    def __init__(self, root: CallNode, rows: int) -> None:
        self._root = root
        self._shown = {id(root)}
        self.open: set[int] = set()
        least = root.total_ns * _LEAST_SHARE
        pending: list[tuple[int, int, int, CallNode]] = [(-root.total_ns, 0, 0, root)]
        order, visible, only = 0, 1, 0
        while pending:
            _, _, depth, node = heapq.heappop(pending)
            children = [child for child in node.children if child.total_ns >= least]
            children = children[: rows - len(self._shown)] if depth < _DEPTH else []
            if not children:
                continue
            # Most time first, so this opens the way along which most of it was spent.
            if node.total_ns >= root.total_ns * _OPEN_SHARE:
                if len(node.children) == 1 and only < _ONLY_ROWS:
                    only += 1
                    self.open.add(id(node))
                elif visible + len(children) <= _OPEN_ROWS:
                    visible += len(children)
                    self.open.add(id(node))
            for child in children:
                self._shown.add(id(child))
                order += 1
                heapq.heappush(pending, (-child.total_ns, order, depth + 1, child))

    def walk(self) -> Iterator[tuple[int, CallNode | None, list[CallNode]]]:
        """Yield depth, node, and what it called; without a node, what is left out at a place."""
        pending: list[tuple[int, CallNode | None, list[CallNode]]]
        pending = [(0, self._root, self._root.children)]
        while pending:
            depth, node, children = pending.pop()
            yield depth, node, children
            if node is None:
                continue
            hidden = [child for child in children if id(child) not in self._shown]
            if hidden:
                pending.append((depth + 1, None, hidden))
            for child in reversed(children):
                if id(child) in self._shown:
                    pending.append((depth + 1, child, child.children))


# Colours are the page's own, with a bar that shows on light and on dark. The class is said twice to
# outweigh what a notebook's page has for the tables of its texts.
_STYLE = """<style>
.spprof-list{font-size:12px;line-height:1.65;max-width:100%;overflow-x:auto}
.spprof-list i{font-style:normal;font-variant-numeric:tabular-nums;white-space:nowrap}
.spprof-list tt{font-family:var(--jp-code-font-family,monospace);white-space:nowrap}
.spprof-list small{font-size:inherit;opacity:.65;white-space:nowrap;padding-left:.7em}
.spprof-list .bar{background:linear-gradient(90deg,rgba(237,125,49,.4),rgba(237,125,49,.4)) \
no-repeat 0 50%/calc(var(--share)*1%) 86%}
</style>"""

_TREE_STYLE = """<style>
.spprof-tree summary,.spprof-tree .row{display:flex;width:max-content;min-width:100%;\
list-style:none;margin:0;padding:0}
.spprof-tree summary{cursor:pointer}
.spprof-tree summary::-webkit-details-marker{display:none}
.spprof-tree summary:hover{background:rgba(128,128,128,.16)}
.spprof-tree i{flex:0 0 5em;padding-right:.6em;text-align:right}
.spprof-tree tt::before{display:inline-block;width:1.3em;content:"";opacity:.65}
.spprof-tree summary tt::before{content:"\\25B8"}
.spprof-tree details[open]>summary tt::before{content:"\\25BE"}
.spprof-tree .head{opacity:.65;border-bottom:1px solid rgba(128,128,128,.4)}
.spprof-tree .head span{padding-left:1.3em}
</style>"""

_TABLE_STYLE = """<style>
.spprof-top.spprof-top table{border-collapse:collapse;margin:0;font-size:inherit;border:0}
.spprof-top.spprof-top :is(th,td){text-align:right;padding:0 .6em;border:0;line-height:1.65}
.spprof-top.spprof-top th{font-weight:normal;opacity:.65;\
border-bottom:1px solid rgba(128,128,128,.4)}
.spprof-top.spprof-top .bar{min-width:4.4em}
.spprof-top.spprof-top .name{text-align:left;padding-left:1.3em}
.spprof-top tr:hover{background:rgba(128,128,128,.16)}
</style>"""

_DIFFERENCE_STYLE = """<style>
.spprof-diff .noise{opacity:.65}
.spprof-diff .noise small{opacity:1}
.spprof-diff .more td:nth-child(3)>i{background:rgba(237,125,49,.4)}
.spprof-diff .less td:nth-child(3)>i{background:rgba(80,140,255,.35)}
.spprof-diff td>i{padding:0 .3em;border-radius:2px}
.spprof-diff>small{white-space:normal;padding:0}
</style>"""


def tree_html(root: CallNode) -> str:
    """A call tree whose rows open and close, in any page that shows HTML."""
    whole = root.total_ns or 1
    picked = _Picked(root, _TREE_ROWS)
    parts = [
        _STYLE,
        _TREE_STYLE,
        '<div class="spprof-list spprof-tree"><div class="row head">'
        "<i>total</i> <i>self</i> <i>time</i> <span>function</span></div>",
    ]
    # Depth of each <details> that is still open: recursion would end at Python's own limit.
    opened: list[int] = []
    for depth, node, children in picked.walk():
        while opened and opened[-1] >= depth:
            opened.pop()
            parts.append("</details>")
        if node is None:
            text = f"<small>{_more(len(children), 'call')}</small>"
            share = _shares(sum(child.total_ns for child in children), None, whole)
            parts.append(f'<div class="row">{share}{_indented(text, depth)}</div>')
        elif not children:
            parts.append(f'<div class="row">{_tree_row(node, depth, whole)}</div>')
        else:
            mark = " open" if id(node) in picked.open else ""
            row = _tree_row(node, depth, whole)
            parts.append(f"<details{mark}><summary>{row}</summary>")
            opened.append(depth)
    parts.extend("</details>" for _ in opened)
    parts.append("</div>")
    return "".join(parts)


def _tree_row(node: CallNode, depth: int, whole: int) -> str:
    return _shares(node.total_ns, node.self_ns, whole) + _indented(_name(node), depth)


def _shares(total_ns: int, self_ns: int | None, whole: int) -> str:
    own = "" if self_ns is None else f"{self_ns / whole:.1%}"
    share = total_ns / whole
    return (
        f'<i class="bar" style="--share:{share * 100:.1f}">{share:.1%}</i> <i>{own}</i> '
        f"<i>{format_ns(total_ns)}</i> "
    )


def _indented(html: str, depth: int) -> str:
    return f'<span style="padding-left:{depth}em">{html}</span>'


def functions_html(entries: Sequence[FunctionStats]) -> str:
    """A table of functions."""
    parts = [
        _STYLE,
        _TABLE_STYLE,
        '<div class="spprof-list spprof-top"><table><thead><tr>'
        '<th colspan="2" scope="colgroup">self</th><th colspan="2" scope="colgroup">total</th>'
        '<th class="name" scope="col">function</th></tr></thead><tbody>',
    ]
    ranges = intervals(entries[:_TABLE_ROWS])
    for entry, (own, total) in zip(entries, ranges):
        cells = "".join(
            f'<td class="bar" style="--share:{share * 100:.1f}"><i>{share:.1%}</i></td>'
            f"<td><i>{format_ns(ns)}</i>{f' <small>{within}</small>' if within else ''}</td>"
            for share, ns, within in (
                (entry.self_share, entry.self_ns, own),
                (entry.total_share, entry.total_ns, total),
            )
        )
        name = _name(entry)
        parts.append(f'<tr>{cells}<td class="name" style="text-align:left">{name}</td></tr>')
    parts.append("</tbody></table>")
    if any(map(any, ranges)):
        parts.append(f"<small>{INTERVALS}</small> ")
    if len(entries) > _TABLE_ROWS:
        parts.append(f"<small>{_more(len(entries) - _TABLE_ROWS, 'function')}</small>")
    parts.append("</div>")
    return "".join(parts)


def differences_html(
    entries: Sequence[StackDiff], native: Container[tuple[str, str]], n: int, meaning: str
) -> str:
    """A table of what functions took before and after; what is within noise is grey, and last."""
    changed = [entry for entry in entries if entry.changed][:n]
    rest = [entry for entry in entries if not entry.changed][: n - len(changed)]
    parts = [
        _STYLE,
        _TABLE_STYLE,
        _DIFFERENCE_STYLE,
        '<div class="spprof-list spprof-top spprof-diff"><table><thead><tr>'
        '<th scope="col">before</th><th scope="col">after</th><th scope="col">change of share</th>'
        '<th scope="col">of self time</th><th class="name" scope="col">function</th></tr></thead>'
        "<tbody>",
    ]
    for entry in (*changed, *rest):
        low, high = entry.interval or (-1, 1)
        share = f"{entry.delta_share * 100:+.1f}%"
        within = f" <small>{low * 100:+.0f} to {high * 100:+.0f}</small>" if entry.changed else ""
        time = ("+" if entry.delta_ns >= 0 else "-") + format_ns(abs(entry.delta_ns))
        grew = entry.delta_share if entry.share_changed else entry.delta_ns
        kind = ("more" if grew > 0 else "less") if entry.changed else "noise"
        name = _named(
            entry.functions[0],
            entry.filenames[0],
            0,
            (entry.functions[0], entry.filenames[0]) in native,
        )
        parts.append(
            f'<tr class="{kind}"><td><i>{entry.before_share:.1%}</i></td>'
            f"<td><i>{entry.after_share:.1%}</i></td><td><i>{share}</i>{within}</td>"
            f'<td><i>{time}</i></td><td class="name" style="text-align:left">{name}</td></tr>'
        )
    said = "nothing changed beyond noise; " if not changed else ""
    explained = meaning.replace("in brackets", "grey")
    parts.append(f"</tbody></table><small>{said}{escape(explained)}</small></div>")
    return "".join(parts)


def _name(of: FunctionStats | CallNode) -> str:
    return _named(of.function_name, of.filename, of.lineno, of.is_native)


def _named(name: str, filename: str, lineno: int, native: bool) -> str:
    place = short_place(filename, lineno)
    called = short(name, native)
    whole = f' title="{escape(shown(name))}"' if called != name else ""
    name = f"<tt{whole}>{escape(shown(called))}</tt>"
    return name + (f" <small>{escape(place)}</small>" if place else "")


def _more(number: int, what: str) -> str:
    return f"… and {number} more {what}{'' if number == 1 else 's'}"
