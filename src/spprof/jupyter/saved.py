"""The graph as part of a saved notebook: in the output's own HTML, without a kernel or a widget.

Must not know how a picture is drawn, nor the widget. Scripts run where a notebook is trusted, in
JupyterLab, Notebook 7, exported pages and nbviewer; elsewhere the picture stays as it is.
"""

from __future__ import annotations

import base64
import json
import zlib
from functools import lru_cache
from typing import TYPE_CHECKING

from .._profile import findings, sources
from .._profile.names import place
from .._profile.rows import representative
from ..formats import container
from ..formats._front_end import asset
from . import front_end as brought
from . import gone
from .host import shell

if TYPE_CHECKING:
    from .._profile.tables import Tables

# The cell below which the front end was last put, and its run. None: nowhere yet.
_carrier: tuple[str | None, int | None] | None = None


def front_end() -> str:
    """Script and style, for the first graph of a notebook; "" where one before has them.

    They are there once more when the cell that had them runs again, which takes its output away.
    """
    global _carrier
    here = gone.running_cell(), getattr(shell(), "execution_count", None)
    if _carrier is not None and (_carrier == here or _carrier[0] is None or _carrier[0] != here[0]):
        return ""
    found = _front_end()
    if found:
        _carrier = here
    return found


@lru_cache(maxsize=1)
def _front_end() -> str:
    try:
        script, style = (base64.b64encode(part).decode("ascii") for part in brought.packed())
        key = brought.version()
    except FileNotFoundError:  # not built: the widget says so
        return ""
    return (
        f'<div hidden class="spprof-front-end" data-version="{key}" data-script="{script}" '
        f'data-style="{style}"></div><script>{_loader()}</script>'
    )


def graph(tables: Tables, shown: Tables, picture: str, room: int) -> str:
    """The picture, and the graph that takes its place where the front end is.

    Parameters
    ----------
    tables : Tables
    shown : Tables
        The same without the places of files, which stay on this machine.
    picture : str
        HTML.
    room : int
        Characters that the graph may take; the profile gets coarser to keep to that.
    """
    try:
        loader, key = _loader(), brought.version()
    except FileNotFoundError:
        return picture
    cells = _packed(json.dumps(cell_texts(tables)).encode("ascii"))
    profile = _fitting(shown, findings.texts_of(tables), room - len(loader) - len(cells))
    if profile is None:
        return picture
    return (
        f'<div class="spprof-saved" data-version="{key}" data-profile="{profile}" '
        f'data-sources="{cells}">{picture}</div><script>{loader}</script>'
    )


def cell_texts(tables: Tables) -> dict[str, str]:
    """The texts of a profile's cells by their names: of these there is no file to be asked for."""
    texts = {}
    for name in sorted({tables.strings[file] for file in tables.func_file}):
        if place(name, False).origin == "cell":
            text = sources.text_of(tables.meta, name, asked=False)
            if text:
                texts[name] = text
    return texts


def _fitting(tables: Tables, said: list[str], room: int) -> str | None:
    """The packed container, of fewer rows where all of them do not fit; None: not even few do."""
    rows = min(tables.rows, _MOST_ROWS)
    while rows >= _FEWEST_ROWS or rows == tables.rows:
        part = representative(tables, rows)
        if part is not tables:
            note = f"saved with the notebook: {rows:,} of {tables.rows:,} rows stand for all"
            part = part.same_stacks(meta=tables.meta.but(notes=(*tables.meta.notes, note)))
        packed = _packed(container.encode(part, for_display=True, findings=said))
        if len(packed) <= room:
            return packed
        rows = min(int(rows * 0.9 * room / len(packed)), rows // 2)
    return None


_MOST_ROWS, _FEWEST_ROWS = 20_000, 200


def _packed(data: bytes) -> str:
    return base64.b64encode(zlib.compress(data, 9)).decode("ascii")


@lru_cache(maxsize=1)
def _loader() -> str:
    return asset("saved.js").decode("utf-8").strip()
