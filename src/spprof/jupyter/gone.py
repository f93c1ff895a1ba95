"""Closing widgets whose outputs are gone: those that magics showed below a cell that runs again.

Must not know what a widget shows. Widgets that were handed to the user are the user's.
"""

from __future__ import annotations

from typing import Any

from .host import shell

_shown: dict[str, list[Any]] = {}


def close_with_cell(widget: Any) -> None:
    """Close a widget when the cell that runs now runs again; of what is no widget, nothing."""
    running = shell()
    cell = running_cell()
    if cell is None or not hasattr(widget, "close"):
        return
    if not _shown:
        running.events.register("pre_run_cell", _cell_begins)
    _shown.setdefault(cell, []).append(widget)


def _cell_begins(info: Any) -> None:
    for widget in _shown.pop(getattr(info, "cell_id", None) or "", ()):
        widget.layout.close()
        widget.close()
    if not _shown:
        shell().events.unregister("pre_run_cell", _cell_begins)


def running_cell() -> str | None:
    """How the front end calls the cell that runs; None where it does not tell."""
    running = shell()
    parent = running.get_parent() if hasattr(running, "get_parent") else {}
    cell = parent.get("metadata", {}).get("cellId")
    return cell if isinstance(cell, str) else None
