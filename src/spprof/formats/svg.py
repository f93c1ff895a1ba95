"""A flame graph as one SVG file: readable as a picture, searchable and zoomable in a browser.

Must not know any other format. With scripts off, or inside an <img>, the graph and its tooltips
(<title>) are still there; the script only adds search and zoom.
"""

from __future__ import annotations

import re
import zlib
from collections.abc import Iterable
from dataclasses import dataclass, field
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from .._profile.queries import CallNode, sample_count, tree
from .._profile.tables import measure
from .._profile.text import notes as notes_of
from .._profile.words import format_ns

if TYPE_CHECKING:
    from .._profile.compare import Difference
    from .._profile.tables import Tables

WIDTH = 1200
_ROW = 17
_TOP = 44
_MARGIN = 8
_CHARACTER = 6.6  # width of a character of the 11 px monospace font, in px

# Frames narrower than this share are folded into one box beside their siblings.
_MIN_SHARE = 0.001
_LARGEST_MIN_SHARE = 0.05

_SHADES = 8  # each for Python (warm) and native (cool) frames


@dataclass
class Box:
    """One frame of the graph; `value` in ns decides its width."""

    label: str
    title: str
    style: str
    value: int
    children: list[Box] = field(default_factory=list)


def dump(
    tables: Tables,
    file: BinaryIO,
    *,
    title: str | None = None,
    max_bytes: int | None = None,
    min_share: float = _MIN_SHARE,
) -> None:
    """Write a flame graph of all threads together, callers above callees.

    Parameters
    ----------
    tables : Tables
    file : binary file
    title : str, optional
    max_bytes : int, optional
        Upper bound of the file's size: more and more narrow frames are folded, then the deepest
        left out, until it is met.
    min_share : float
        Frames under this share of the total (0 to 1) are folded.
    """
    root = tree(tables, lines=False)
    samples = f"{sample_count(tables)} samples"
    heading = title or f"{format_ns(root.total_ns)} of {measure(tables.meta.mode)}, {samples}"
    _write(file, _boxes(root), heading, notes_of(tables), max_bytes, min_share)


def dump_diff(
    difference: Difference,
    file: BinaryIO,
    *,
    title: str | None = None,
    max_bytes: int | None = None,
    min_share: float = _MIN_SHARE,
) -> None:
    """Write the flame graph of "after": red where a larger share of time is spent, blue where less.

    What occurs only in "before" has no width; compare the other way around to see it.
    """
    root = _diff_boxes(difference)
    before, after = difference.before_ns, difference.after_ns
    heading = title or f"{format_ns(before)} before, {format_ns(after)} after"
    notes = ["red: a larger share of the time than before; blue: a smaller one"]
    _write(file, root, heading, notes, max_bytes, min_share)


def _place(node: CallNode) -> str:
    if not node.filename:
        return ""
    return f" ({node.filename}:{node.lineno})" if node.lineno else f" ({node.filename})"


def _style(node: CallNode) -> str:
    # Colour goes by module, so that neighbouring modules are told apart at a glance.
    shade = zlib.crc32(node.filename.encode("utf-8", "surrogatepass")) % _SHADES
    return f"n{shade}" if node.is_native else f"p{shade}"


def _boxes(root: CallNode) -> Box:
    whole = root.total_ns or 1
    made: dict[int, Box] = {}
    for _, node in root.walk():
        box = Box(
            node.function_name,
            f"{node.function_name}{_place(node)}{' native' if node.is_native else ''}\n"
            f"{node.total_ns / whole:.2%}, {format_ns(node.total_ns)}, "
            f"{node.total_samples} samples; self {node.self_ns / whole:.2%}",
            _style(node) if node is not root else "r",
            node.total_ns,
        )
        made[id(node)] = box
    for _, node in root.walk():
        made[id(node)].children = [made[id(child)] for child in node.children]
    return made[id(root)]


@dataclass
class _DiffNode:
    name: str
    place: str
    before: int = 0
    after: int = 0
    children: dict[tuple[str, str], _DiffNode] = field(default_factory=dict)


def _diff_boxes(difference: Difference) -> Box:
    root = _DiffNode("all", "")
    for entry in difference.stacks:
        node = root
        node.before += entry.before_ns
        node.after += entry.after_ns
        for key in zip(reversed(entry.functions), reversed(entry.filenames)):
            node = node.children.setdefault(key, _DiffNode(*key))
            node.before += entry.before_ns
            node.after += entry.after_ns
    whole_before, whole_after = root.before or 1, root.after or 1

    def box(node: _DiffNode) -> Box:
        before, after = node.before / whole_before, node.after / whole_after
        change = after - before
        # Ten steps; a change of a fifth of the whole time is as strong as colour gets.
        step = min(5, round(abs(change) * 25 + 0.49)) if abs(change) >= 0.0005 else 0
        style = "d0" if not step else f"{'u' if change > 0 else 'l'}{step}"
        place = f" ({node.place})" if node.place else ""
        title = f"{node.name}{place}\n{before:.2%} before, {after:.2%} after ({change * 100:+.2f}%)"
        return Box(node.name, title, style, node.after)

    top = box(root)
    pending = [(root, top)]
    while pending:
        node, made = pending.pop()
        for child in sorted(node.children.values(), key=lambda c: (-c.after, c.name)):
            if child.after:
                below = box(child)
                made.children.append(below)
                pending.append((child, below))
    return top


def _write(
    file: BinaryIO,
    root: Box,
    heading: str,
    notes: list[str],
    max_bytes: int | None,
    min_share: float,
) -> None:
    max_depth = 10_000
    while True:
        data = _render(root, heading, notes, min_share, max_depth)
        if max_bytes is None or len(data) <= max_bytes:
            break
        if min_share < _LARGEST_MIN_SHARE:
            min_share = min(_LARGEST_MIN_SHARE, max(min_share, 0.0005) * 1.5)
        elif max_depth > 1:
            # From here on depth is what is left to give up; its first cut is at what there is.
            max_depth = min(max_depth, _depth(root)) // 2
        else:
            raise ValueError(f"max_bytes={max_bytes} is too small for any graph")
    file.write(data)


def _depth(root: Box) -> int:
    deepest, pending = 0, [(root, 1)]
    while pending:
        box, depth = pending.pop()
        deepest = max(deepest, depth)
        pending.extend((child, depth + 1) for child in box.children)
    return deepest


def _render(
    root: Box, heading: str, notes: Iterable[str], min_share: float, max_depth: int
) -> bytes:
    whole = root.value or 1
    scale = (WIDTH - 2 * _MARGIN) / whole
    parts: list[str] = []
    deepest = 0
    pending = [(root, _MARGIN * 1.0, 0)]
    while pending:
        box, left, depth = pending.pop()
        deepest = max(deepest, depth)
        parts.append(_frame(box, left, depth, box.value * scale))
        if depth + 1 >= max_depth:
            continue
        folded: list[Box] = []
        for child in box.children:
            if child.value / whole < min_share:
                folded.append(child)
                continue
            pending.append((child, left, depth + 1))
            left += child.value * scale
        value = sum(child.value for child in folded)
        if folded and value / whole >= min_share:
            names = ", ".join(child.label for child in folded[:5])
            more = ", ..." if len(folded) > 5 else ""
            title = f"{len(folded)} narrow frames: {names}{more}\n{value / whole:.2%}"
            pending.append((Box(f"({len(folded)} more)", title, "f", value), left, depth + 1))
    lines = [f"note: {note}" for note in notes]
    foot = _TOP + (deepest + 1) * _ROW + 10
    height = foot + len(lines) * 14 + 6
    texts = "".join(
        f'<text class="h" x="{_MARGIN}" y="{foot + 10 + i * 14}">{_xml(line)}</text>'
        for i, line in enumerate(lines)
    )
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" class="spprof" role="img" width="{WIDTH}" '
        f'height="{height}" viewBox="0 0 {WIDTH} {height}" style="max-width:100%" '
        f'data-margin="{_MARGIN}" data-character="{_CHARACTER}">\n'
        f"<title>Flame graph: {_xml(heading)}</title>\n<style>{_CSS}</style>\n"
        f'<rect width="{WIDTH}" height="{height}" rx="4" fill="#fff"/>\n'
        f'<text class="t" x="{_MARGIN}" y="20">{_xml(heading)}</text>'
        f'<text class="h m" x="{_MARGIN}" y="37"></text>{texts}\n'
        f'<g class="frames">\n{"".join(parts)}</g>\n'
        f"<script><![CDATA[\n{_SCRIPT}]]></script>\n</svg>\n"
    ).encode("utf-8", "xmlcharrefreplace")


# Read now: a program may change its root before it saves.
_SCRIPT = Path(__file__).with_name("svg.js").read_text(encoding="utf-8")

# Not allowed in XML, not even escaped.
_FORBIDDEN = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\ud800-\udfff\ufffe\uffff]")


def _xml(text: str) -> str:
    return escape(_FORBIDDEN.sub("\ufffd", text))


def _frame(box: Box, left: float, depth: int, width: float) -> str:
    y = _TOP + depth * _ROW
    fits = int((width - 4) / _CHARACTER)
    label = box.label if len(box.label) <= fits else box.label[: fits - 1] + "…"
    text = (
        f'<text x="{left + 3:.1f}" y="{y + 12}">{_xml(label)}</text>' if fits >= 3 and label else ""
    )
    # What the script needs to lay the label out anew after zooming.
    full = f' data-n="{_xml(box.label)}"' if label != box.label or not text else ""
    return (
        f'<g class="{box.style}"{full}><title>{_xml(box.title)}</title>'
        f'<rect x="{left:.2f}" y="{y}" width="{max(width, 0.1):.2f}" height="{_ROW - 1}"/>'
        f"{text}</g>\n"
    )


def _css() -> str:
    shades = range(_SHADES)
    steps = range(1, 6)
    rules = [
        "text{font:11px Menlo,Consolas,'DejaVu Sans Mono',monospace;fill:#111;pointer-events:none}",
        ".t{font:bold 14px system-ui,sans-serif}",
        ".h{font:11px system-ui,sans-serif;fill:#555}",
        ".frames g{cursor:pointer}",
        ".frames rect{stroke:#fff;stroke-width:.5}",
        ".frames g:hover rect{stroke:#000}",
        ".r rect{fill:#ddd}",
        ".f rect{fill:#eee}",
        ".f text{fill:#555}",
        *[f".p{i} rect{{fill:hsl({20 + i * 5} 85% {66 + i * 2}%)}}" for i in shades],
        *[f".n{i} rect{{fill:hsl({190 + i * 6} 55% {70 + i * 2}%)}}" for i in shades],
        # Not by colour alone: native frames are set in italics.
        *[f".n{i} text{{font-style:italic}}" for i in shades],
        ".d0 rect{fill:#f0f0f0}",
        *[f".u{i} rect{{fill:hsl(8 85% {92 - i * 6}%)}}" for i in steps],
        *[f".l{i} rect{{fill:hsl(215 80% {92 - i * 6}%)}}" for i in steps],
        # Last, to win over the frame's own colour.
        ".frames g.hit rect{fill:#d43bd4}",
        ".frames g.hit text{fill:#fff}",
        ".frames g.up{opacity:.6}",
    ]
    # Prefixed, as the picture may stand in a page that has classes of its own.
    return "".join(f".spprof {rule}" for rule in rules)


_CSS = _css()
