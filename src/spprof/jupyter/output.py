"""How a profile becomes an output: widget, static picture or text, by what the host can show.

Must not know how the profile was taken. Imports anywidget only where it is used.
"""

from __future__ import annotations

import base64
import io
import os
import re
import secrets
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NoReturn, Union

from .._profile import compare, findings, text
from .._profile.model import ProfileDiff
from .._profile.rows import representative
from .._profile.words import format_ns
from ..formats import container, svg
from . import cells, gone, saved
from .host import THEMES, VIEWS, has_widgets, in_marimo, in_notebook, shell
from .texts import CellTexts

if TYPE_CHECKING:
    from .._profile.model import AggregatedProfile, Profile
    from .._profile.tables import Tables
    from .history import Run
    from .widget import FlameGraphWidget

    Displayable = Union[Profile, AggregatedProfile, ProfileDiff]

# Pictures and graphs live on in saved notebooks: so much for both, picture, graph, and what of
# the output is neither.
_OUTPUT_BYTES, _PICTURE_SHARE, _OVERHEAD = 150_000, 0.5, 2_000
_STATIC_SHARE = 0.003

MISSING_WIDGET = (
    "spprof: the interactive flame graph needs anywidget. In a cell of its own:\n"
    '    %pip install "spprof[jupyter]"\n'
    "then restart the kernel. The profile itself is complete."
)
BROKEN_WIDGET = "spprof: the interactive flame graph cannot be shown: {}"


class Picture:
    """A static picture as the value of a cell, for hosts that show nothing but values."""

    def __init__(self, html: str, text: str) -> None:
        self._html, self._text = html, text

    def _repr_html_(self) -> str:
        return self._html

    def __repr__(self) -> str:
        return self._text


def display(
    profile: Displayable,
    *,
    view: str | None = None,
    search: str | None = None,
    theme: str | None = None,
    all_frames: bool | None = None,
    **unknown: NoReturn,
) -> FlameGraphWidget | Picture | None:
    """Show a profile where it can be seen best; see `spprof.display`."""
    options = checked_options(
        view=view, search=search, theme=theme, all_frames=all_frames, **unknown
    )
    return _display(profile, options)


def _display(
    profile: Displayable, options: dict[str, Any], live: FlameGraphWidget | None = None
) -> FlameGraphWidget | Picture | None:
    options = {**options, "name": _variable_of(profile)}
    profile = from_cells_on(profile)
    shown = profile._for_output()
    if not shown.sample_count:
        print(_nothing_to_show(shown))
        return None
    if in_marimo():
        # A cell's last expression is its output there, and nothing else is.
        picture = _static_html(profile, key=None, with_graph=False)
        return _widget(shown, options) or Picture(picture, str(profile))
    if not in_notebook():
        folds = not options.get("all_frames") or isinstance(profile, ProfileDiff)
        print(profile if folds else text.summary(shown._tables, all_frames=True))
        return None
    if live is not None:
        live.name = options["name"]
        update(live, shown, "")
        html = _static_html(profile, _key_of(live), follows=False)
        _publish({"text/html": html, "text/plain": _in_words(profile)})
        return live
    widget = _widget(shown, options)
    if widget is None:
        _publish({"text/html": _static_html(profile, key=None), "text/plain": _in_words(profile)})
        return None
    key = _with_key(widget)
    widget.publish(fallback=_in_words(profile))
    _publish({"text/html": _static_html(profile, key), "text/plain": ""})
    return widget


def _variable_of(profile: Displayable) -> str:
    """The reader's variable that holds a profile, after which files of it are named; or nothing."""
    host = shell()
    names = list(host.user_ns.items()) if host is not None else []
    return next((name for name, value in names if value is profile and name[:1] != "_"), "")


# From this many stacks on a summary takes longer than the graph that it stands in for, and some
# rows stand for all in the picture, of which nobody sees the numbers.
_SUMMARISED, _DRAWN = 100_000, 15_000


def _in_words(profile: Displayable) -> str:
    """What stands beside a graph for those who cannot see it."""
    tables = profile._for_output()._tables
    if len(tables.stack_frame) <= _SUMMARISED:
        return str(profile)
    return text.headline(tables)


def _with_key(widget: FlameGraphWidget) -> str:
    """Give the widget's own element the class that tells the static twin that it is not needed."""
    key = f"spprof-{secrets.token_hex(8)}"
    widget.add_class(key)
    return key


def _key_of(widget: FlameGraphWidget) -> str:
    names: tuple[str, ...] = widget._dom_classes
    return next(name for name in names if name.startswith("spprof-"))


def show_live(profile: Profile, caption: str, **options: Any) -> FlameGraphWidget | None:
    """Show what is known of a running cell; None where no widget can be had."""
    widget = _widget(profile, {**checked_options(**options), "caption": caption})
    if widget is not None:
        _with_key(widget)
        widget.publish(fallback="spprof: the graph of this cell while it runs")
        gone.close_with_cell(widget)
    return widget


def update(widget: FlameGraphWidget, profile: Profile, caption: str) -> None:
    """Have a live graph show what is known by now."""
    data, whole = _encoded(profile, is_over=not caption)
    widget.keep_whole(data, whole)
    with widget.hold_sync():
        widget.caption, widget.data = caption, data
        if not caption:
            widget.sources = {**widget.sources, **saved.cell_texts(profile._tables)}


def replace(live: FlameGraphWidget, profile: Profile) -> None:
    """Have a live graph show all there is, with its picture for where no widget runs."""
    _display(profile, {}, live)


def offer(run: Run) -> None:
    """One line about a cell that took long, with a button that shows its graph where it can."""
    top = "" if run.top is None else f", {run.top.share:.0%} in {run.top.function}"
    of = f" {run.number}" if run.number is not None else ""
    said = f"spprof: {format_ns(run.wall_ns)}{top}"
    in_words = f"{said}; %spprof last{of} shows it"
    widget = None
    if in_notebook() and run.samples and has_widgets():
        widget = _made(b"", caption=said, folded=True, ask=lambda: _asked_for(run))
    if widget is None:
        print(in_words)
    else:
        widget.publish(fallback=in_words)
        gone.close_with_cell(widget)


def _asked_for(run: Run) -> bytes:
    if run.profile is None:
        raise LookupError("newer profiles took its place in memory")
    return _encoded(run.profile)[0]


def checked_options(
    *,
    view: str | None = None,
    search: str | None = None,
    theme: str | None = None,
    all_frames: bool | None = None,
    **unknown: object,
) -> dict[str, Any]:
    """The options of `display` that were given, as traits of the widget.

    Raises
    ------
    TypeError
        There is no such option; the message lists those there are.
    ValueError
        A view or theme that does not exist.
    """
    known: dict[str, object] = {"view": view, "search": search, "theme": theme}
    known["all_frames"] = all_frames
    if unknown:
        names = ", ".join(map(repr, unknown))
        raise TypeError(f"display has no option {names}: use {', '.join(known)}")
    for name, value, values in (("view", view, VIEWS), ("theme", theme, THEMES)):
        if value is not None and value not in values:
            raise ValueError(f"Unknown {name} {value!r}: use one of {', '.join(values)}")
    return {name: value for name, value in known.items() if value is not None}


def from_cells_on(profile: Displayable) -> Displayable:
    """The profile without what runs cells above them, where it is of this notebook."""
    if isinstance(profile, ProfileDiff):
        before, after = (
            [from_cells_on(run)._for_output() for run in side] for side in profile.runs
        )
        return ProfileDiff(before, after, noise=profile.noise)
    taken = profile._for_output()
    host = cells.HostCode.of_this_process()
    cell_of = CellTexts(shell())
    # A profile from a file, or one that a magic took, has no frame that only this process knows.
    if not cells.has_cells(taken, cell_of, host):
        return profile
    return cells.localise(taken, cell_of=cell_of, host=host, cell_threads=())


def _publish(bundle: dict[str, str]) -> None:
    from IPython.display import publish_display_data

    publish_display_data(bundle)


def _widget(profile: Profile, options: dict[str, Any]) -> FlameGraphWidget | None:
    """The widget; where it cannot be had, None and a word on standard error."""
    data, whole = _encoded(profile)
    return _made(data, whole=whole, sources=saved.cell_texts(profile._tables), **options)


def _encoded(profile: Profile, *, is_over: bool = True) -> tuple[bytes, Callable[[], bytes] | None]:
    """What a widget shows of a profile, and what gives the whole where that is coarser.

    What is found in a profile is said when it `is_over`: it takes longer than a look may.
    """
    said = findings.texts_of(profile._tables) if is_over else []
    data = container.encode(profile._tables, for_display=True, findings=said)
    # Kept alive only where it holds more than what is shown.
    thinned = profile._tables.rows > container.DISPLAY_ROWS
    return data, (lambda: container.encode(profile._tables)) if thinned else None


def _made(data: bytes, **options: Any) -> FlameGraphWidget | None:
    if not has_widgets():
        print(MISSING_WIDGET, file=sys.stderr)
        return None
    try:
        from .widget import FlameGraphWidget

        return FlameGraphWidget(data, **options)
    except (ImportError, FileNotFoundError) as error:  # half an installation, or no front end
        print(BROKEN_WIDGET.format(error), file=sys.stderr)
        return None


# The picture is drawn for light and for dark pages, and follows its own element's color-scheme: the
# page's, as hosts mark it, not what the reader prefers elsewhere.
_PICTURE_STYLE = (
    ".spprof-picture { color-scheme: light } "
    'body[data-jp-theme-light="false"] .spprof-picture, '
    "body.vscode-dark .spprof-picture, "
    "body.vscode-high-contrast:not(.vscode-high-contrast-light) .spprof-picture "
    "{ color-scheme: dark }"
)


def _static_html(
    profile: Displayable, key: str | None, *, with_graph: bool = True, follows: bool = True
) -> str:
    """Return the picture as HTML that gives way to the widget whose element has the class `key`.

    An image, not inline SVG: untrusted notebooks show it as well. A style, not a script or a
    second MIME type beside the widget's: hosts choose by type, whether or not that type then
    works, and the picture must also show with JavaScript off or when the kernel is long gone.
    Where scripts run, the graph behind the picture takes its place. `follows` says whether it is
    the next output after the widget.
    """
    front_end = saved.front_end() if with_graph else ""
    room = _OUTPUT_BYTES - len(front_end)
    data = base64.b64encode(_picture(profile, int(room * _PICTURE_SHARE * 3 / 4))).decode("ascii")
    said = f"Flame graph of {profile._for_output().sample_count} samples"
    image = (
        f'<img class="spprof-picture" alt="{said}" style="max-width: 100%" '
        f'src="data:image/svg+xml;base64,{data}">'
    )
    if with_graph:
        tables = profile._for_output()._tables
        shown = _without_places(tables)
        image = saved.graph(tables, shown, image, room - len(image) - _OVERHEAD) + front_end
    if key is None:
        return f"<style>{_PICTURE_STYLE}</style>{image}"
    # Where no widget is made of it, as without its kernel, its output says so to nobody's use.
    area = ".jp-OutputArea-child"
    dead = f"{area}:has(+ {area} > .jp-OutputArea-output > .{key}-static)" if follows else ""
    return (
        f"<style>{_PICTURE_STYLE}</style>"
        + (f"<style>html:not(:has(.{key})) {dead} {{ display: none }}</style>" if dead else "")
        + f"<style>html:has(.{key}) .{key}-static, "
        # Not an area around it: outputs may be within an output, as in ipywidgets.Output.
        f"html:has(.{key}) .jp-OutputArea-child:has(.{key}-static)"
        f":not(:has(.jp-OutputArea-child .{key}-static)) {{ display: none }}</style>"
        f'<div class="{key}-static">{image}</div>'
    )


def _picture(profile: Displayable, max_bytes: int) -> bytes:
    picture = io.BytesIO()
    if isinstance(profile, ProfileDiff):
        sides = [_without_places(side._tables) for side in (profile.before, profile.after)]
        svg.dump_diff(compare.difference(*sides), picture, max_bytes=max_bytes)
    else:
        whole = profile._for_output()._tables
        drawn = whole
        if len(whole.stack_frame) > _SUMMARISED:
            drawn = representative(whole, _DRAWN)
        svg.dump(
            _without_places(drawn),
            picture,
            title=svg.heading(whole),
            max_bytes=max_bytes,
            min_share=_STATIC_SHARE,
        )
    return picture.getvalue()


_LIBRARY_FOLDER = re.compile(
    r"(?:(?:site|dist)-packages|lib(?:64)?[/\\]python[\d.]+|Lib)[/\\](?:lib-dynload[/\\])?$"
)


def _without_places(t: Tables) -> Tables:
    """Name files by package instead of by place: notebooks are passed on with their outputs."""
    folders = sorted((os.path.abspath(entry) + os.sep for entry in sys.path), key=len, reverse=True)
    strings = list(t.strings)
    for index in set(t.func_file):
        path = strings[index]
        if os.path.isabs(path):
            folder = next((each for each in folders if path.startswith(each)), None)
            # What is imported from nowhere on the path keeps its last folder, to be told apart.
            # What says that a file is a package's or the standard library's decides its colour.
            library = _LIBRARY_FOLDER.search(folder) if folder else None
            strings[index] = (
                (library[0] if library else "") + path[len(folder) :]
                if folder
                else os.sep.join(path.split(os.sep)[-2:])
            )
    return t.same_stacks(strings=strings)


def _nothing_to_show(profile: Profile) -> str:
    if profile.mode == "wall":
        advice = "a shorter interval takes more"
    else:
        advice = 'a shorter interval takes more, and mode="wall" counts waiting as well'
    return (
        f"spprof: no samples in {profile.total_duration_ms:.0f} ms at "
        f"{profile.interval_ms:g} ms between samples; {advice}."
    )
