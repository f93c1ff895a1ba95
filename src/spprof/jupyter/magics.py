"""``%spprof`` and ``%%spprof``: profile a statement or a cell, then show where its time went.

Owns how a cell is run under the profiler; what is shown is `output`'s business, what the frames
of a notebook mean is `cells`'.
"""

from __future__ import annotations

import ast
import re
import sys
import threading
from argparse import SUPPRESS, Namespace
from collections.abc import Sequence
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Any

from IPython.core.error import UsageError
from IPython.core.magic import (
    Magics,
    line_cell_magic,
    magics_class,
    needs_local_scope,
    no_var_expand,
)
from IPython.core.magic_arguments import MagicArgumentParser

from .._profile.tables import MODES
from .._session import session
from ..formats import files, registry
from . import cells, output
from .host import cell_source

if TYPE_CHECKING:
    from .._profile.model import Profile

# An IPython.core.interactiveshell.InteractiveShell; what its parts are declared as differs from
# version to version.
Shell = Any

_CELL_MAGIC = re.compile(r"%%spprof(?=\s|$)(?P<options>.*)")
# Marks, in the statement that takes the place of `%%spprof`, that the rest of the cell follows.
_BEGIN = "--begin-cell"
LAST_PROFILE = "_spprof"


def _parser() -> MagicArgumentParser:
    parser = MagicArgumentParser("%spprof", add_help=False)
    parser.add_argument(
        "-i",
        "--interval",
        type=float,
        default=10.0,
        metavar="MS",
        help="milliseconds between samples, 0.1 to 1000 (default: 10)",
    )
    parser.add_argument(
        "--mode",
        choices=list(MODES),
        default="cpu",
        help="the time to measure: of the processor, or on the clock, with waiting (default: cpu)",
    )
    parser.add_argument(
        "--native", action="store_true", help="sample C and C++ frames as well as Python's"
    )
    parser.add_argument(
        "--aggregate",
        action="store_true",
        help="keep counts only, without timestamps: constant memory for cells of any length",
    )
    parser.add_argument(
        "--memory-limit",
        type=float,
        default=100.0,
        metavar="MIB",
        help="memory for the profile (default: 100); over it timestamps are given up",
    )
    parser.add_argument("-o", "--output", metavar="FILE", help="save the profile to this file")
    parser.add_argument(
        "-f",
        "--format",
        metavar="NAME",
        help=f"format of the file (default: by its extension): {', '.join(registry.FORMATS)}",
    )
    parser.add_argument(
        "--name",
        metavar="VAR",
        help=f"keep the Profile in this variable as well as in {LAST_PROFILE}",
    )
    parser.add_argument(
        "--speedscope", action="store_true", help="show the profile in the bundled Speedscope"
    )
    parser.add_argument("-q", "--quiet", action="store_true", help="show nothing")
    parser.add_argument(_BEGIN, action="store_true", help=SUPPRESS)
    return parser


# Each option, and whether a value follows it.
_VALUED = {
    name: action.nargs != 0 for action in _parser()._actions for name in action.option_strings
}

_DOC = """Profile a statement (%spprof) or a cell (%%spprof) and show where its time went.

    %%spprof -i 1 --name fit
    model.fit(X, y)

    %spprof -o sorting.speedscope.json sorted(data, key=str.lower)

The cell runs as it would without the magic: its variables live on, its last expression is shown,
`await` works, and an exception or an interrupt shows its usual traceback, followed by the profile
up to that point. Of the statement the value is returned. Everything after the options of %spprof
is the statement; put -- between them if it begins with a minus sign.

Frames are labelled by cell ("In [3]"). The profile stays in the variable _spprof.

"""


@magics_class
class SpprofMagics(Magics):
    """The magics of spprof, registered by ``%load_ext spprof``."""

    def __init__(self, shell: Shell) -> None:
        super().__init__(shell)
        self._shell = shell
        self._parser = _parser()
        self._cell: _RunningCell | None = None

    @no_var_expand
    @needs_local_scope
    @line_cell_magic
    def spprof(
        self, line: str, cell: str | None = None, local_ns: dict[str, Any] | None = None
    ) -> Any:
        __tracebackhide__ = True  # known to IPython: what failed is the user's code
        argv, statement = split_options(line)
        options = self._parser.parse_args(argv)
        _check(options)
        if statement and (cell is not None or options.begin_cell):
            raise UsageError(f"%%spprof takes only options on its line, not {statement!r}")
        if options.begin_cell:
            self._begin_cell(options)
            return None
        if cell is None and not statement:
            raise UsageError("%spprof needs a statement to profile; see %spprof?")
        return self._run(options, cell if cell is not None else statement, cell is None, local_ns)

    spprof.__doc__ = _DOC + _parser().format_help()

    def _begin_cell(self, options: Namespace) -> None:
        _start(options)
        self._cell = _RunningCell(self, options)

    def _run(
        self, options: Namespace, source: str, inline: bool, local_ns: dict[str, Any] | None
    ) -> Any:
        """Run source here and now: a statement, or a cell that could not be run in its place."""
        __tracebackhide__ = True
        shell = self._shell
        code = shell.transform_cell(source)
        caller = _calling_cell(shell)
        if inline and caller is not None:
            filename, offset = caller.f_code.co_filename, caller.f_lineno - 1
        else:
            filename, offset = shell.compile.cache(code, shell.execution_count, raw_code=source), 0
        tree = ast.increment_lineno(shell.compile.ast_parse(code, filename), offset)
        value = None
        if tree.body and isinstance(tree.body[-1], ast.Expr):
            last = tree.body.pop()
            value = shell.compile(ast.Expression(last.value), filename, "eval")
        body = shell.compile(tree, filename, "exec")
        namespace = shell.user_ns
        scope = namespace if local_ns is None else local_ns
        _start(options)
        try:
            exec(body, namespace, scope)
            result = eval(value, namespace, scope) if value is not None else None
        finally:
            _finish(shell, options, session.stop())
        return None if source.rstrip().endswith(";") else result

    def unload(self) -> None:
        """Stop a profile of a cell that is still being run."""
        if self._cell is not None:
            self._cell.abandon()


class _RunningCell:
    """A cell being profiled: runs from its first statement to the end of its execution.

    The cell is not run by the magic but by the shell, as any other; the shell's events tell when
    it is over.
    """

    def __init__(self, magics: SpprofMagics, options: Namespace) -> None:
        self._magics = magics
        self._options = options
        self._thread = threading.get_ident()
        self._nested = 0
        self._profile: Profile | None = None
        events = magics._shell.events
        events.register("pre_execute", self._pre_execute)
        events.register("post_execute", self._stop)
        events.register("post_execute", self._show)
        # Figures are drawn after a cell too, and are not the cell's doing: stop before, and show
        # after them.
        callbacks = events.callbacks["post_execute"]
        callbacks.remove(self._stop)
        callbacks.insert(0, self._stop)

    def _pre_execute(self) -> None:
        if threading.get_ident() == self._thread:
            self._nested += 1

    def _stop(self) -> None:
        if threading.get_ident() == self._thread and not self._nested and session.is_active():
            self._profile = session.stop()

    def _show(self) -> None:
        if threading.get_ident() != self._thread:
            return
        if self._nested:
            self._nested -= 1
            return
        self._forget()
        if self._profile is not None:
            _finish(self._magics._shell, self._options, self._profile)

    def _forget(self) -> None:
        events = self._magics._shell.events
        events.unregister("pre_execute", self._pre_execute)
        events.unregister("post_execute", self._stop)
        events.unregister("post_execute", self._show)
        self._magics._cell = None

    def abandon(self) -> None:
        self._forget()
        if session.is_active():
            session.stop()


def run_cell_in_place(lines: list[str]) -> list[str]:
    """Replace a leading ``%%spprof`` by a statement that starts the profiler (input transformer).

    Line numbers stay as they are. Cells whose next line is a cell magic as well stay as they are:
    that magic must come first in what IPython sees, so `SpprofMagics.spprof` runs them.
    """
    match = _CELL_MAGIC.match(lines[0]) if lines else None
    if match is None:
        return lines
    body = next((line for line in lines[1:] if line.strip()), "%%")
    if body.startswith("%%"):
        return lines
    arguments = f"{_BEGIN} {match['options'].strip()}".rstrip()
    return [f"get_ipython().run_line_magic('spprof', {arguments!r})\n", *lines[1:]]


# A terminal asks the transformers whether the input is complete; a cell magic is complete at the
# first empty line, and this tells it to leave the magic as it stands.
run_cell_in_place.has_side_effects = True  # type: ignore[attr-defined]


def split_options(line: str) -> tuple[list[str], str]:
    """Split a magic's line into its options and the statement, which is not touched.

    Returns
    -------
    argv : list of str
    statement : str
        What follows the options, or ``--``.
    """
    argv: list[str] = []
    rest = line.strip()
    while rest.startswith("-"):
        token, rest = _next_token(rest)
        if token == "--":
            break
        argv.append(token)
        if rest and _takes_next(token):
            value, rest = _next_token(rest)
            argv.append(value)
    return argv, rest


def _takes_next(token: str) -> bool:
    """Whether an option, as argparse takes it (``--int``, ``-qi``), has its value behind it."""
    if token.startswith("--"):
        meant = [token] if token in _VALUED else [n for n in _VALUED if n.startswith(token)]
        return len(meant) == 1 and _VALUED[meant[0]]
    for at, letter in enumerate(token[1:], 2):
        if _VALUED.get(f"-{letter}", True):
            return f"-{letter}" in _VALUED and at == len(token)
    return False


def _next_token(text: str) -> tuple[str, str]:
    match = re.match(r"""(?:"([^"]*)"|'([^']*)'|(\S+))\s*""", text)
    if match is None:
        return "", ""
    return next(group for group in match.groups() if group is not None), text[match.end() :]


def _check(options: Namespace) -> None:
    """Refuse, before anything runs, what would only fail after it."""
    if options.name is not None and not options.name.isidentifier():
        raise UsageError(f"--name takes the name of a variable, not {options.name!r}")
    if options.format is not None and options.output is None:
        raise UsageError("--format says how --output is written; there is no --output")
    if options.output is not None:
        options.output = str(Path(options.output).expanduser())
        try:
            chosen = registry.find(options.format) if options.format is not None else None
            (chosen or registry.for_path(options.output)).prepare()
            files.check_writable(options.output)
        except (ValueError, OSError) as error:
            raise UsageError(str(error)) from error


def _start(options: Namespace) -> None:
    try:
        # Only where asked for: without the option, `set_native_unwinding` decides.
        native: dict[str, Any] = {"native": True} if options.native else {}
        session.start(
            options.interval,
            memory_limit_mb=options.memory_limit,
            mode=options.mode,
            aggregate=options.aggregate,
            **native,
        )
    except (ValueError, RuntimeError) as error:
        raise UsageError(str(error)) from error


def _calling_cell(shell: Shell) -> FrameType | None:
    frame: FrameType | None = sys._getframe(1)
    while frame is not None:
        if _label_of(shell, frame.f_code.co_filename) is not None:
            return frame
        frame = frame.f_back
    return None


def _label_of(shell: Shell, filename: str) -> str | None:
    return cells.cell_label(filename, shell.compile.format_code_name)


def _finish(shell: Shell, options: Namespace, profile: Profile) -> None:
    """Keep the profile, whatever happens after, then save and show it."""
    names = [LAST_PROFILE] + ([options.name] if options.name is not None else [])
    shell.user_ns.update(dict.fromkeys(names, profile))
    try:
        profile = cells.localise(
            profile,
            label_of=lambda filename: _label_of(shell, filename),
            host=cells.HostCode.of_this_process(entry=__file__),
            cell_threads={threading.get_ident(), threading.get_native_id()},
            source_of=lambda filename, label: cell_source(filename, label, shell),
        )
        shell.user_ns.update(dict.fromkeys(names, profile))
        if options.output is not None:
            profile.save(options.output, format=options.format)
        if not options.quiet:
            output.display(profile, view="speedscope" if options.speedscope else None)
    except Exception:  # noqa: BLE001 - what was run must not be lost to what is shown after it
        shell.showtraceback()
        print(f"spprof: the profile itself is in the variable {names[-1]}.", file=sys.stderr)


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
