"""``%spprof`` and ``%%spprof``: what IPython knows of spprof.

Owns how a cell that begins with the magic comes to be run; running it is `running`'s business.
"""

from __future__ import annotations

import ast
import re
import shlex
import sys
from argparse import Namespace
from collections.abc import Sequence
from types import FrameType
from typing import Any

from IPython.core.error import UsageError
from IPython.core.inputtransformer2 import (
    cell_magic,
    classic_prompt,
    ipython_prompt,
    leading_indent,
)
from IPython.core.magic import (
    Magics,
    line_cell_magic,
    magics_class,
    needs_local_scope,
    no_var_expand,
)
from traitlets import Bool, Enum, Float, Unicode

from .._profile import MODES
from . import cells, commands, options, texts
from .host import VIEWS
from .kept import KeptNotebook
from .running import RunningCell, Shell, run_now
from .statements import prepared, repeated

# Traits that options left out stand for.
_DEFAULTS = (
    "interval",
    "mode",
    "native",
    "memory_limit",
    "view",
    "live",
    "threshold",
    "all_frames",
)

_CELL_MAGIC = re.compile(r"%%spprof(?=\s|$)(?P<options>.*)")

_HELP = re.compile(r"(?:^|\s)(?:-h|--h\w*)(?:\s|$)")


@magics_class
class SpprofMagics(Magics):
    """The magics of spprof, registered by ``%load_ext spprof``."""

    interval = Float(10.0, help="milliseconds between samples, 0.1 to 1000").tag(config=True)
    mode = Enum(tuple(MODES), "cpu", help="the time to measure").tag(config=True)
    native = Bool(
        None, allow_none=True, help="sample C and C++ frames; None: as set_native_unwinding says"
    ).tag(config=True)
    memory_limit = Float(100.0, help="memory for a profile in MiB").tag(config=True)
    view = Enum(VIEWS, None, allow_none=True, help="the view to open with").tag(config=True)

    all_frames = Bool(False, help="open with nothing folded").tag(config=True)
    live = Bool(True, help="show the graph of a cell that takes long while it runs").tag(
        config=True
    )
    always = Bool(False, help="profile every cell, as %spprof on does").tag(config=True)
    threshold = Float(
        2.0, help="with always: the seconds from which on a cell offers its graph"
    ).tag(config=True)
    report = Unicode(
        "", help="with always: the HTML file that the report is written to when the kernel ends"
    ).tag(config=True)

    def __init__(self, shell: Shell) -> None:
        super().__init__(shell)
        self._shell = shell
        self._parser = options.parser()
        self._cell: RunningCell | None = None
        self._kept = KeptNotebook(shell)
        if self.always:
            report = f"--report {shlex.quote(self.report)}" if self.report else ""
            self._kept.run("on", report, self._defaults())

    @no_var_expand
    @needs_local_scope
    @line_cell_magic
    def spprof(
        self, line: str, cell: str | None = None, local_ns: dict[str, Any] | None = None
    ) -> Any:
        __tracebackhide__ = True  # known to IPython: what failed is the user's code
        command = commands.split(line) if cell is None else None
        if command is not None:
            return self._kept.run(*command, defaults=self._defaults())
        argv, statement = options.split_options(line)
        names = {**self._shell.user_ns, **(local_ns or {})}
        chosen = self._parser.parse_args(options.with_values(argv, names))
        if chosen.help:
            print(self._parser.format_help())
            if cell is not None or chosen.begin_cell:
                raise UsageError("with --help the cell is not run")
            return None
        options.check(chosen)
        for name, value in self._defaults().items():
            if getattr(chosen, name, value) is None:
                setattr(chosen, name, value)
        if statement and (cell is not None or chosen.begin_cell):
            raise UsageError(f"%%spprof takes only options on its line, not {statement!r}")
        if chosen.begin_cell:
            self._begin_cell(chosen)
            return None
        if cell is None and not statement:
            raise UsageError("%spprof needs a statement to profile; see %spprof?")
        return self._run(chosen, cell if cell is not None else statement, cell is None, local_ns)

    spprof.__doc__ = options.DOC + commands.DOC + options.parser().format_help()

    def _defaults(self) -> dict[str, Any]:
        return {name: getattr(self, name) for name in _DEFAULTS}

    def _begin_cell(self, chosen: Namespace) -> None:
        caller = _calling_cell(self._shell)
        if caller is not None:
            # The transformed cell is what tracebacks show; `%%spprof` is what the user wrote.
            raw = self._shell.displayhook.exec_result.info.raw_cell or ""
            written = (text for text in raw.splitlines() if _CELL_MAGIC.match(text.strip()))
            texts.show_as_written(caller.f_code.co_filename, next(written, "%%spprof"))
        # Last: what runs from here on is the cell's time.
        self._cell = RunningCell(self._shell, chosen, self._forget_cell)

    def _forget_cell(self) -> None:
        self._cell = None

    def _run(
        self, chosen: Namespace, source: str, inline: bool, local_ns: dict[str, Any] | None
    ) -> Any:
        """Run source here and now: a statement, or the text of a cell from who knows where."""
        __tracebackhide__ = True
        shell = self._shell
        code = shell.transform_cell(source)
        caller = _calling_cell(shell)
        offset = 0
        if inline and caller is not None:
            filename, offset = caller.f_code.co_filename, caller.f_lineno - 1
        else:
            # The last lines of the cell that runs keep their numbers.
            result = shell.displayhook.exec_result
            raw = getattr(getattr(result, "info", None), "raw_cell", None) or ""
            code = "\n" * texts.body_offset(raw, source) + code
            filename = shell.compile.cache(code, shell.execution_count, raw_code=code)
        tree = ast.increment_lineno(shell.compile.ast_parse(code, filename), offset)
        namespace = shell.user_global_ns if caller is None else caller.f_globals
        scope = shell.user_ns if local_ns is None else local_ns
        run = prepared(tree, filename, shell.compile, namespace, scope)
        value = run_now(
            shell, chosen, run if chosen.repeat is None else repeated(run, chosen.repeat)
        )
        return None if source.rstrip().endswith(";") else value

    def unload(self) -> None:
        """Stop a profile of a cell that is still being run."""
        if self._cell is not None:
            self._cell.abandon()
        self._kept.unload()
        if self in self._shell.configurables:
            self._shell.configurables.remove(self)


def run_cell_in_place(lines: list[str]) -> list[str]:
    """Replace a leading ``%%spprof`` by a statement that starts the profiler (input transformer).

    Line numbers stay as they are. What follows is read as a cell of its own: it may be indented,
    have prompts, or begin with another cell magic. One that repeats is left to the cell magic.
    """
    match = _CELL_MAGIC.match(lines[0]) if lines else None
    first = next((at for at, line in enumerate(lines[1:], 1) if line.strip()), None)
    if match is not None and first is None and _HELP.search(match["options"]):
        # The shell refuses a cell magic without a body.
        return ["get_ipython().run_line_magic('spprof', '--help')\n", *lines[1:]]
    if match is None or first is None or options.are_repeating(match["options"]):
        return lines
    body = lines[first:]
    for transform in (leading_indent, classic_prompt, ipython_prompt, cell_magic):
        body = transform(body)
    arguments = f"{options.BEGIN} {match['options'].strip()}".rstrip()
    begin = f"get_ipython().run_line_magic('spprof', {arguments!r})\n"
    return [begin, *lines[1:first], *body]


# A terminal asks the transformers whether the input is complete; a cell magic is complete at the
# first empty line, and this tells it to leave the magic as it stands.
run_cell_in_place.has_side_effects = True  # type: ignore[attr-defined]


def _calling_cell(shell: Shell) -> FrameType | None:
    frame: FrameType | None = sys._getframe(1)
    while frame is not None:
        if cells.cell_label(frame.f_code.co_filename, shell.compile.format_code_name) is not None:
            return frame
        frame = frame.f_back
    return None


def load_ipython_extension(shell: Shell) -> None:
    """Make the magics known to a shell; loading twice is harmless."""
    unload_ipython_extension(shell)
    shell.register_magics(SpprofMagics)
    shell.input_transformers_cleanup.append(run_cell_in_place)


def unload_ipython_extension(shell: Shell) -> None:
    """Take the magics away again."""
    magics = shell.magics_manager.registry.pop(SpprofMagics.__name__, None)
    if magics is not None:
        magics.unload()
    for kind in ("line", "cell"):
        shell.magics_manager.magics[kind].pop("spprof", None)
    transformers: Sequence[Any] = shell.input_transformers_cleanup
    shell.input_transformers_cleanup[:] = [
        each for each in transformers if each is not run_cell_in_place
    ]
