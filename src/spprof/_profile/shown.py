"""Where a profile asks to be shown: two places that the package fills.

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
# Takes a profile and the options of `open`.
browse: Callable[..., None] | None = None


class Shown:
    """What shows itself: as the last expression of a notebook's cell, or in the browser."""

    def open(self, *, speedscope: bool = False) -> None:
        """Show it in the browser: every view, from this machine alone.

        Returns once the page is there; it stays as it is when the program ends. Where there is no
        browser the address is printed.

        Parameters
        ----------
        speedscope : bool
            In the bundled Speedscope instead of the views of spprof.

        Raises
        ------
        FileNotFoundError
            This spprof was built without its front end.
        """
        if browse is not None:
            browse(self, speedscope=speedscope)

    def _ipython_display_(self) -> None:
        # Not `_repr_mimebundle_`: two outputs are shown, a widget and a picture in its place.
        self._display_()

    def _display_(self) -> Any:
        """Marimo's name for it; what is returned is the cell's output there."""
        return display(self) if display is not None else str(self)
