"""Where a profile asks to be shown: a place that the package fills with `spprof.display`.

So that a profile can show itself, and this room need not know the one that shows. Imported with
the package, so it imports nothing.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

# Takes what is to be shown; returns a widget where the host shows what it is given, else None.
display: Callable[[Any], Any] | None = None


class Shown:
    """What shows itself as the last expression of a notebook's cell."""

    def _ipython_display_(self) -> None:
        # Not `_repr_mimebundle_`: two outputs are shown, a widget and a picture in its place.
        self._display_()

    def _display_(self) -> Any:
        """Marimo's name for it; what is returned is the cell's output there."""
        return display(self) if display is not None else str(self)
