"""A notebook's history as HTML: which cell cost what, and why.

Must not know IPython, nor how profiles are taken. The page has no script and asks the network for
nothing.
"""

from __future__ import annotations

import base64
import io
from html import escape

from .._profile.outline import functions_html
from .._profile.text import headline, notes
from .._profile.words import format_ns, shown
from ..formats import files, svg
from .history import History, Run, change_in_words

# Cells that are told about in detail: those that took most, and how much at least.
_DETAILED, _DETAILED_SHARE = 25, 0.002
_PICTURE_BYTES, _PICTURE_SHARE = 110_000, 0.003
_FUNCTIONS = 12

# The class is said twice to outweigh what a notebook's page has for the tables of its texts.
_STYLE = """<style>
.spprof-cells.spprof-cells{border-collapse:collapse;font-size:13px;max-width:100%;\
font-variant-numeric:tabular-nums}
.spprof-cells.spprof-cells :is(th,td){padding:.15em .7em;text-align:right;white-space:nowrap;\
border:0}
.spprof-cells.spprof-cells th{font-weight:normal;opacity:.7;\
border-bottom:1px solid rgba(128,128,128,.4)}
.spprof-cells.spprof-cells .text{text-align:left}
.spprof-cells.spprof-cells code{background:none;padding:0;color:inherit}
.spprof-cells.spprof-cells .bar{\
background:linear-gradient(90deg,rgba(237,125,49,.4),rgba(237,125,49,.4)) \
no-repeat 0 50%/calc(var(--share)*1%) 86%}
.spprof-cells.spprof-cells a{color:inherit}
</style>"""

_PAGE_STYLE = """<style>
:root{color-scheme:light dark}
body{font:15px/1.5 system-ui,sans-serif;margin:2rem auto;max-width:76rem;padding:0 1.2rem}
h1{font-size:1.5rem;margin:0}
h2{font-size:1.1rem;margin:2.4rem 0 .3rem;border-top:1px solid rgba(128,128,128,.4);\
padding-top:1rem}
p{margin:.3rem 0}
pre{background:rgba(128,128,128,.12);padding:.7rem 1rem;border-radius:6px;overflow:auto;\
max-height:22rem;font-size:13px}
img{max-width:100%}
.facts{opacity:.75}
.wide{overflow-x:auto}
</style>"""

_POLICY = "default-src 'none'; style-src 'unsafe-inline'; img-src data:"


def history_html(history: History, *, links: bool = False) -> str:
    """The lines of a history as a table; with `links` to what `page` has in detail."""
    whole = sum(run.wall_ns for run in history) or 1
    detailed = {id(run): at for at, run in enumerate(_detailed(history))} if links else {}
    parts = [
        _STYLE,
        '<table class="spprof-cells"><thead><tr>',
        *(f'<th scope="col">{title}</th>' for title in ("cell", "wall", "CPU", "change")),
        '<th scope="col">samples</th><th scope="col" class="text">top function</th>'
        '<th scope="col" class="text">code</th></tr></thead><tbody>',
    ]
    for run in history:
        top = "" if run.top is None else f"<code>{escape(run.top.function)}</code>"
        share = "" if run.top is None else f" {run.top.share:.0%}"
        failure = f" <b>{escape(shown(run.failure))}</b>" if run.failure else ""
        title = escape(run.title)
        if id(run) in detailed:
            title = f'<a href="#run-{detailed[id(run)]}">{title}</a>'
        parts.append(
            f'<tr><td>{title}</td><td class="bar" style="--share:{run.wall_ns / whole * 100:.1f}">'
            f"{format_ns(run.wall_ns)}</td><td>{format_ns(run.cpu_ns)}</td>"
            f"<td>{change_in_words(history.change(run))}</td>"
            f"<td>{'' if run.samples is None else run.samples}</td>"
            f'<td class="text">{top}{share}{failure}</td>'
            f'<td class="text"><code>{escape(shown(run.first_line, 60))}</code></td></tr>'
        )
    parts.append("</tbody></table>")
    return "".join(parts)


def page(history: History) -> str:
    """The whole notebook in one page: every cell's line, the expensive ones with their reasons."""
    runs = list(history)
    wall, cpu = sum(run.wall_ns for run in runs), sum(run.cpu_ns for run in runs)
    parts = [
        '<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8">',
        f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}">',
        '<meta name="viewport" content="width=device-width, initial-scale=1">',
        f"<title>Notebook profile: {format_ns(wall)}</title>{_PAGE_STYLE}</head><body>",
        f"<h1>{len(runs)} cells took {format_ns(wall)}, {format_ns(cpu)} of CPU time</h1>",
        f'<p class="facts">{_most_expensive(runs, wall)}</p>',
        f'<div class="wide">{history_html(history, links=True)}</div>',
    ]
    for at, run in enumerate(_detailed(history)):
        parts += _details(at, run, wall or 1)
    parts.append("</body></html>\n")
    return "\n".join(parts)


def write(history: History, path: str) -> None:
    """Write the page, whole or not at all; raises OSError."""
    with files.replacing(path) as file:
        file.write(page(history).encode("utf-8", "replace"))


def _detailed(history: History) -> list[Run]:
    whole = sum(run.wall_ns for run in history)
    telling = [run for run in history if run.wall_ns >= whole * _DETAILED_SHARE]
    return sorted(telling, key=lambda run: -run.wall_ns)[:_DETAILED]


def _most_expensive(runs: list[Run], wall: int) -> str:
    if not wall:
        return ""
    most = max(runs, key=lambda run: run.wall_ns)
    said = f"Most of all {most.title}: {most.wall_ns / wall:.0%} of the time"
    if most.top is not None:
        function, share, measured = most.top
        said += f"; of its {measured} {share:.0%} in {function}"
    return escape(f"{said}.")


def _details(at: int, run: Run, whole: int) -> list[str]:
    parts = [
        f'<h2 id="run-{at}">{escape(run.title)}: {run.wall_ns / whole:.0%}, '
        f"{format_ns(run.wall_ns)}</h2>",
        f"<pre>{escape(run.text.strip())}</pre>",
    ]
    if run.failure:
        parts.append(f"<p>It ended with <b>{escape(shown(run.failure))}</b>.</p>")
    profile = run.profile
    if profile is None:
        said = "No profile of it is kept."
        if run.top is not None:
            said += f" Most was spent in {run.top.function} ({run.top.share:.0%})."
        parts.append(f'<p class="facts">{escape(said)}</p>')
        return parts
    tables = profile._tables
    facts = [headline(tables), *notes(tables)]
    parts += [f'<p class="facts">{escape(fact)}</p>' for fact in facts]
    if tables.rows:
        picture = io.BytesIO()
        svg.dump(tables, picture, max_bytes=_PICTURE_BYTES, min_share=_PICTURE_SHARE)
        data = base64.b64encode(picture.getvalue()).decode("ascii")
        alt = f"Flame graph of {escape(run.title)}"
        parts.append(f'<img alt="{alt}" src="data:image/svg+xml;base64,{data}">')
        parts.append(functions_html(profile.top(_FUNCTIONS, by="self")))
    return parts
