"""A flame graph as one SVG file: readable as a picture, searchable and zoomable in a browser.

Must not know any other format. With scripts off, or inside an <img>, the graph and its tooltips
(<title>) are still there; the script only adds search and zoom.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from .._profile import names
from .._profile.folding import folded
from .._profile.queries import CallNode, sample_count, wide_tree
from .._profile.tables import measure
from .._profile.text import notes as notes_of
from .._profile.words import format_ns
from . import _labels as labels
from . import _look as look

if TYPE_CHECKING:
    from .._profile.compare import Difference
    from .._profile.tables import Tables

WIDTH = 1200
_ROW = 21
_TOP = 48
_MARGIN = 8
_PAD = 5  # between a frame's edge and its label, in px
# Of 12 px sans-serif, in px. Rather too much: a label that is cut beats one that runs over.
_CHARACTER = 7
_FIRST_CHARACTERS = 3  # a label shorter than this is left out
_FIRST_MODULE = 4
_HATCHED = 6  # px; narrower native frames are not

# Frames narrower than this share are folded into one box beside their siblings.
_MIN_SHARE = 0.001
_LARGEST_MIN_SHARE = 0.05
_NAMED = 5  # of those that are folded, in the title of their box

_FOLDED: look.Tone = (look.LIGHT.rest, look.DARK.rest)
_ROOT: look.Tone = (look.LIGHT.root, look.DARK.root)


@dataclass
class Box:
    """One frame of the graph; `value` in ns decides its width.

    Of children too narrow to be seen only those with most time are there; of the others it is known
    how many they are (`left_out`) and their value.
    """

    label: str
    title: str
    tone: look.Tone
    value: int
    module: str = ""
    native: bool = False
    children: list[Box] = field(default_factory=list)
    left_out: int = 0
    left_out_value: int = 0


def dump(
    tables: Tables,
    file: BinaryIO,
    *,
    title: str | None = None,
    max_bytes: int | None = None,
    min_share: float = _MIN_SHARE,
) -> None:
    """Write a flame graph of all threads together, callers above callees, folded as on screen.

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
    tables = folded(tables)
    root, left_out = wide_tree(tables, min_share, _NAMED)
    colors = look.ModuleColors(labels.function_files(tables))
    boxes = _boxes(root, left_out, colors)
    _write(file, boxes, title or heading(tables), notes_of(tables), max_bytes, min_share)


def heading(tables: Tables) -> str:
    """What stands above a graph of these tables unless it has another title."""
    time = f"{format_ns(sum(tables.sample_weight))} of {measure(tables.meta.mode)}"
    return f"{time}, {sample_count(tables)} samples"


def dump_diff(
    difference: Difference,
    file: BinaryIO,
    *,
    title: str | None = None,
    max_bytes: int | None = None,
    min_share: float = _MIN_SHARE,
) -> None:
    """Write the flame graph of both: warm where more time is spent than before, cold where less.

    A frame is as wide as the larger of its two times, so that what is gone can be seen as well.
    """
    root = _diff_boxes(difference.folded())
    before, after = difference.before_ns, difference.after_ns
    heading = title or f"{format_ns(before)} before, {format_ns(after)} after"
    notes = ["warm: more time than before; cold: less, or none any more; grey: the same"]
    _write(file, root, heading, notes, max_bytes, min_share)


def _place(node: CallNode) -> str:
    if not node.filename:
        return ""
    return f" ({node.filename}:{node.lineno})" if node.lineno else f" ({node.filename})"


def _boxes(root: CallNode, left_out: dict[int, tuple[int, int]], colors: look.ModuleColors) -> Box:
    whole = root.total_ns or 1
    made: dict[int, Box] = {}
    for _, node in root.walk():
        named = node.function_name, node.filename, node.is_native
        box = Box(
            names.title(*named),
            f"{node.function_name}{_place(node)}{' native' if node.is_native else ''}\n"
            f"{node.total_ns / whole:.2%}, {format_ns(node.total_ns)}, "
            f"{node.total_samples} samples; self {node.self_ns / whole:.2%}",
            colors.tone(*named),
            node.total_ns,
            names.module(*named),
            node.is_native,
        )
        box.left_out, box.left_out_value = left_out.get(id(node), (0, 0))
        made[id(node)] = box
    for _, node in root.walk():
        made[id(node)].children = [made[id(child)] for child in node.children]
    return _as_root(made[id(root)], root.total_ns)


def _as_root(box: Box, ns: int) -> Box:
    box.label, box.module, box.tone = f"All · {look.duration(ns)}", "", _ROOT
    return box


@dataclass
class _DiffNode:
    name: str
    place: str
    before: int = 0
    after: int = 0
    width: int = 0
    children: dict[tuple[str, str], _DiffNode] = field(default_factory=dict)


def _diff_boxes(difference: Difference) -> Box:
    root = _DiffNode("all", "")
    for entry in difference.stacks:
        path = [root]
        for key in zip(reversed(entry.functions), reversed(entry.filenames)):
            path.append(path[-1].children.setdefault(key, _DiffNode(*key)))
        for node in path:
            node.before += entry.before_ns
            node.after += entry.after_ns
            # What is gone keeps its width, or nobody would see it.
            node.width += max(entry.before_ns, entry.after_ns)
    whole_before, whole_after = root.before or 1, root.after or 1

    def box(node: _DiffNode) -> Box:
        before, after = node.before / whole_before, node.after / whole_after
        change = after - before
        place = f" ({node.place})" if node.place else ""
        title = f"{node.name}{place}\n{before:.2%} before, {after:.2%} after ({change * 100:+.2f}%)"
        named = node.name, node.place, bool(node.place) and labels.looks_native(node.place, False)
        return Box(
            names.title(*named),
            title,
            look.change_tone(node.before, node.after),
            node.width,
            f"{look.change(node.after - node.before)}  {names.module(*named)}".rstrip(),
            named[2],
        )

    top = box(root)
    pending = [(root, top)]
    while pending:
        node, made = pending.pop()
        for child in sorted(node.children.values(), key=lambda c: (-c.width, c.name)):
            below = box(child)
            made.children.append(below)
            pending.append((child, below))
    return _as_root(top, root.after)


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
    tones: dict[look.Tone, int] = {}
    deepest = 0
    pending = [(root, _MARGIN * 1.0, 0)]
    while pending:
        box, left, depth = pending.pop()
        deepest = max(deepest, depth)
        style = tones.setdefault(box.tone, len(tones))
        parts.append(_frame(box, style, left, depth, box.value * scale))
        if depth + 1 >= max_depth:
            continue
        folded: list[Box] = []
        for child in box.children:
            if child.value / whole < min_share:
                folded.append(child)
                continue
            pending.append((child, left, depth + 1))
            left += child.value * scale
        value = sum(child.value for child in folded) + box.left_out_value
        if folded and value / whole >= min_share:
            some = ", ".join(child.label for child in folded[:_NAMED])
            number = len(folded) + box.left_out
            more = ", ..." if number > _NAMED else ""
            title = f"{number} narrow frames: {some}{more}\n{value / whole:.2%}"
            pending.append((Box("", title, _FOLDED, value), left, depth + 1))
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
        f"<title>Flame graph: {_xml(heading)}</title>\n<style>{_css(tones)}</style>\n{_HATCHING}"
        f'<rect class="page" width="{WIDTH}" height="{height}" rx="4"/>\n'
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


def _frame(box: Box, style: int, left: float, depth: int, width: float) -> str:
    y = _TOP + depth * _ROW
    label, module = _fitting(box.label, box.module, width)
    behind = f'<tspan dx="7" class="o">{_xml(module)}</tspan>' if module else ""
    text = f'<text x="{left + _PAD:.1f}" y="{y + 14}">{_xml(label)}{behind}</text>' if label else ""
    # What the script needs to lay the label out anew after zooming.
    kept = f' data-n="{_xml(box.label)}"' if label != box.label else ""
    kept += f' data-m="{_xml(box.module)}"' if module != box.module else ""
    at = f'x="{left:.2f}" y="{y}" width="{max(width, 0.1):.2f}" height="{_ROW - 1}"'
    hatching = f'<rect class="x" {at}/>' if box.native and width > _HATCHED else ""
    return (
        f'<g class="c{style}{" n" if box.native else ""}"{kept}>'
        f"<title>{_xml(box.title)}</title><rect {at}/>{hatching}{text}</g>\n"
    )


def _fitting(label: str, module: str, width: float) -> tuple[str, str]:
    """What of a label fits, and of the module behind it if all of the label does."""
    # Widths are sums of fractions: what fits to a thousandth of a letter fits.
    room = int((width - 2 * _PAD) / _CHARACTER + 0.001)
    if len(label) > room:
        return (label[: room - 1] + "…" if room >= _FIRST_CHARACTERS else ""), ""
    room -= len(label) + 1
    if not label or len(module) <= room:
        return label, module if label else ""
    return label, module[: room - 1] + "…" if room >= _FIRST_MODULE else ""


# Native frames are told apart without colour: hatched, and set in italics.
_HATCHING = (
    '<defs><pattern id="spprof-native" width="6" height="6" patternUnits="userSpaceOnUse" '
    'patternTransform="rotate(45)"><rect class="l" width="1.2" height="6"/></pattern></defs>\n'
)


def _hex(color: look.Rgb) -> str:
    return "#{:02x}{:02x}{:02x}".format(*color)


def _css(tones: dict[look.Tone, int]) -> str:
    rules = [
        "text{font:12px system-ui,-apple-system,'Segoe UI',Roboto,'Helvetica Neue',Arial,"
        "sans-serif;pointer-events:none}",
        ".t{font-weight:bold;font-size:14px}",
        ".frames g{cursor:pointer}",
        ".frames g:hover rect{stroke-width:2}",
        ".n text{font-style:italic}",
        ".x{fill:url(#spprof-native)!important;pointer-events:none}",
        *_scheme_rules(tones, look.LIGHT, 0),
        # Last, to win over the frame's own colour.
        ".frames g.hit rect{fill:#d43bd4}",
        ".frames g.hit text,.spprof .frames g.hit .o{fill:#fff}",
        ".frames g.up{opacity:.6}",
    ]
    dark = _scheme_rules(tones, look.DARK, 1)
    # Prefixed, as the picture may stand in a page that has classes of its own.
    light = "".join(f".spprof {rule}" for rule in rules)
    return f"{light}@media(prefers-color-scheme:dark){{{''.join(f'.spprof {r}' for r in dark)}}}"


def _scheme_rules(tones: dict[look.Tone, int], scheme: look.Scheme, index: int) -> list[str]:
    page, text, dim = _hex(scheme.page), _hex(scheme.text), _hex(scheme.dim_text)
    hatching = "#fff;fill-opacity:.13" if scheme is look.DARK else "#000;fill-opacity:.11"
    return [
        f".page{{fill:{page}}}",
        f"text{{fill:{text}}}",
        f".o,.spprof .h{{fill:{dim}}}",
        f".l{{fill:{hatching}}}",
        f".frames rect{{stroke:{page}}}",
        f".frames g:hover rect{{stroke:{text}}}",
        *[f".c{row}{{fill:{_hex(tone[index])}}}" for tone, row in tones.items()],
    ]
