"""Owns the anywidget that shows a profile; imports anywidget, so import it only when one is shown.

Must not import the native module: the widget knows a profile as container bytes only.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import anywidget
import traitlets
from ipywidgets import Widget, widget_serialization

from .._profile import sources
from ..formats._front_end import asset
from ..formats.container import decode
from . import front_end
from .host import THEMES, VIEWS, in_notebook, shell


class FrontEnd(Widget):
    """Script and style of all graphs of a kernel; with each of them, they would be most of it."""

    script = traitlets.Bytes(b"").tag(sync=True)
    style = traitlets.Bytes(b"").tag(sync=True)


_shared: FrontEnd | None = None


def _shared_front_end() -> FrontEnd:
    """The one of this kernel; made anew where somebody closed it."""
    global _shared
    if _shared is None or _shared.comm is None:
        script, style = front_end.packed()
        _shared = FrontEnd(script=script, style=style)
    return _shared


class FlameGraphWidget(anywidget.AnyWidget):
    """Interactive flame graph of one profile.

    Parameters
    ----------
    container : bytes
        The profile in the binary form of `.spprof` files.
    whole : callable, optional
        Returns the profile in the same form, where `container` is only a coarser copy of it.
    ask : callable, optional
        Returns the profile in the same form when the graph is first asked for: see `folded`. May
        raise LookupError, whose message the reader is told.
    **traits
        Initial values of `search`, `view`, `theme`, `selected`.

    Attributes
    ----------
    data : bytes
        The profile shown. Assigning another one (a live profile) refreshes the view in place;
        zoom, search and selection stay where the functions are still there.
    view : str
        `"icicle"`, `"flame"`, `"tree"`, `"timeline"`, `"table"`, `"sandwich"`, `"source"` or
        `"speedscope"`.
    search : str
        Text in any case, or a regular expression between slashes; the switch beside the field.
    selected : dict
        Empty, or `function`, `file`, `line` (first line of the function), `stack` (list of
        `"function (file:line)"`, outermost call first) and `share` (0 to 1, of the time shown).
        Assigning a dict with `function`, and optionally `file`, selects that function.
    theme : str
        `"auto"` (as the notebook has it), `"light"` or `"dark"`.
    all_frames : bool
        Whether calls between calls, and what imports do, are shown: folded otherwise.
    name : str
        What files that are saved from the graph are called; empty: after the cell.
    caption : str
        A line above the graph.
    folded : bool
        Whether the graph is shown only to whoever asks for it, by a button behind the caption.
    sources : dict
        Path to source text, of the files that the source view has asked for; an empty text where
        there is none.

    Raises
    ------
    FileNotFoundError
        This spprof was built without its front end.
    """

    # In a notebook no more than the way to the front end: see FrontEnd. Elsewhere all of it.
    _esm = traitlets.Unicode("").tag(sync=True)
    _css = traitlets.Unicode("").tag(sync=True)
    front_end = traitlets.Instance(FrontEnd, allow_none=True).tag(sync=True, **widget_serialization)
    version = traitlets.Unicode("").tag(sync=True)

    data = traitlets.Bytes(b"").tag(sync=True)
    selected = traitlets.Dict().tag(sync=True)
    search = traitlets.Unicode("").tag(sync=True)
    view = traitlets.Enum(VIEWS, VIEWS[0]).tag(sync=True)
    theme = traitlets.Enum(THEMES, THEMES[0]).tag(sync=True)
    all_frames = traitlets.Bool(False).tag(sync=True)
    name = traitlets.Unicode("").tag(sync=True)
    caption = traitlets.Unicode("").tag(sync=True)
    folded = traitlets.Bool(False).tag(sync=True)
    sources = traitlets.Dict().tag(sync=True)

    def __init__(
        self,
        container: bytes = b"",
        *,
        whole: Callable[[], bytes] | None = None,
        ask: Callable[[], bytes] | None = None,
        **traits: Any,
    ) -> None:
        super().__init__(data=container, **_brought(), **traits)
        self._ask = ask
        self.keep_whole(container, whole)
        self.on_msg(self._answer)
        self._fallback = ""
        self._published_in: int | None = None

    def keep_whole(self, container: bytes, whole: Callable[[], bytes] | None) -> None:
        """Say what `container`, once it is what is shown, is a coarser copy of."""
        self._shown, self._whole = container, whole

    def publish(self, fallback: str) -> None:
        """Show the widget as an output of the running cell.

        Parameters
        ----------
        fallback : str
            What stands in its place where only text is shown.
        """
        from IPython.display import publish_display_data

        bundle = self._repr_mimebundle_()
        data, metadata = bundle if isinstance(bundle, tuple) else (bundle or {}, {})
        publish_display_data({**data, "text/plain": fallback}, metadata)
        self._fallback = fallback
        self._published_in = _running_cell()

    def _ipython_display_(self) -> None:
        # `display` shows the widget and returns it: where that is a cell's last expression, the
        # shell must not show it a second time.
        if self._published_in is None or self._published_in != _running_cell():
            self.publish(self._fallback or repr(self))

    def __repr__(self) -> str:
        # The inherited one would print every byte of the profile.
        return f"<FlameGraphWidget: {len(self.data)} bytes>"

    def _answer(self, _widget: Any, content: Any, _buffers: Any) -> None:
        kind = content.get("type") if isinstance(content, dict) else None
        if kind == "source":
            file = content.get("file")
            if isinstance(file, str) and file not in self.sources:
                self.sources = {**self.sources, file: self._source_of(file)}
        elif kind == "speedscope":
            # Speedscope travels over the kernel's own connection: no server of ours, no network,
            # and the same on a remote hub.
            page = asset("speedscope/index.html")
            self.send({"type": "speedscope"}, [page])

        elif kind == "profile":
            # For saving: what is shown may be coarser than what was taken.
            whole = self._whole if self.data is self._shown else None
            self.send({"type": "profile"}, [whole() if whole is not None else self.data])

        elif kind == "front end":
            # A host that knows no widgets but the one it shows.
            self.send({"type": "front end"}, list(front_end.packed()))

        elif kind == "open" and self._ask is not None:
            try:
                self.data = self._ask()
            except LookupError as error:
                self.send({"type": "refused", "reason": str(error.args[0])})

    def _source_of(self, file: str) -> str:
        # Only what the profile names is read: a page must not browse files through a widget.
        if not self.data or file not in decode(self.data).strings:
            return ""
        return sources.text_of(decode(self.data).meta, file, asked=False)


def _brought() -> dict[str, Any]:
    """The traits that bring the front end to where this runs."""
    if in_notebook():
        script = asset("loader.js").decode("utf-8")
        return {"_esm": script, "front_end": _shared_front_end(), "version": front_end.version()}
    script, style = (asset(name).decode("utf-8") for name in ("widget.js", "widget.css"))
    return {"_esm": script, "_css": style}


def _running_cell() -> int | None:
    return getattr(shell(), "execution_count", None)
