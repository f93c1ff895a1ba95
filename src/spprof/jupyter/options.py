"""The options of ``%spprof`` and ``%%spprof``: how they are written, and what is refused early.

Must not know how a cell is run, nor what is shown of its profile.
"""

from __future__ import annotations

import keyword
import os
import re
from argparse import SUPPRESS, Namespace
from collections.abc import Mapping

from IPython.core.error import UsageError
from IPython.core.magic_arguments import MagicArgumentParser
from IPython.utils.text import DollarFormatter

from .._profile import MODES
from ..formats import files, registry
from .host import VIEWS

# Marks, in the statement that takes the place of `%%spprof`, that the rest of the cell follows.
BEGIN = "--begin-cell"
LAST_PROFILE = "_spprof"

DOC = """Profile a statement (%spprof) or a cell (%%spprof) and show where its time went.

    %%spprof -i 1 --name fit
    model.fit(X, y)

    %spprof -o sorting.speedscope.json sorted(data, key=str.lower)

The cell runs as it would without the magic: its variables live on, its last expression is shown,
`await` works, and an exception or an interrupt shows its usual traceback, followed by the profile
up to that point. Of the statement the value is returned. Everything after the options of %spprof
is the statement; put -- between them if it begins with a minus sign.

Values of options may come from variables: -i {ms}, -o $name.svg. Defaults are set by
%config SpprofMagics.interval = 1, in the same way mode, native, memory_limit and view, or in
IPython's configuration: c.SpprofMagics.interval = 1.

Frames are labelled by cell ("In [3]"). The profile stays in the variable _spprof.

"""


def parser() -> MagicArgumentParser:
    """What is None was not given: `SpprofMagics` has the defaults."""
    made = MagicArgumentParser("%spprof", add_help=False)
    made.add_argument(
        "-i",
        "--interval",
        type=float,
        metavar="MS",
        help="milliseconds between samples, 0.1 to 1000 (default: 10)",
    )
    made.add_argument(
        "--mode",
        choices=list(MODES),
        help="the time to measure: of the processor, or on the clock, with waiting (default: cpu)",
    )
    made.add_argument(
        "-n",
        "--native",
        action="store_true",
        default=None,
        help="sample C and C++ frames as well as Python's",
    )
    made.add_argument(
        "--aggregate",
        action="store_true",
        help="keep counts only, without timestamps: constant memory for cells of any length",
    )
    made.add_argument(
        "--memory-limit",
        type=float,
        metavar="MIB",
        help="memory for the profile (default: 100); over it timestamps are given up",
    )
    made.add_argument(
        "--processes",
        action="store_true",
        help="the Python processes that the cell makes as well: pools, workers, subprocesses",
    )
    made.add_argument(
        "--cluster",
        metavar="WORKERS",
        help="what workers elsewhere do as well: a Client of Dask, a view of ipyparallel (rc[:]) "
        "or what else spprof.cluster takes",
    )
    made.add_argument("-o", "--output", metavar="FILE", help="save the profile to this file")
    made.add_argument(
        "-f",
        "--format",
        metavar="NAME",
        help=f"format of the file (default: by its extension): {', '.join(registry.FORMATS)}",
    )
    made.add_argument(
        "--name",
        metavar="VAR",
        help=f"keep the Profile in this variable as well as in {LAST_PROFILE}",
    )
    made.add_argument("--view", choices=VIEWS, help=f"the view to open with (default: {VIEWS[0]})")
    made.add_argument(
        "--all-frames",
        action="store_true",
        default=None,
        help="open with calls between calls and the insides of imports, which are folded otherwise",
    )
    made.add_argument("--speedscope", action="store_true", help="the same as --view speedscope")
    made.add_argument(
        "-t",
        "--threads",
        metavar="WHICH",
        help="threads to show: all, cell (its own and those it starts) or a name with wildcards "
        "(default: all; with --mode wall: cell)",
    )
    made.add_argument(
        "--live",
        action="store_true",
        default=None,
        help="in a notebook: show the graph while the cell runs, once it took 2 s (the default)",
    )
    made.add_argument(
        "--no-live", dest="live", action="store_false", help="show it when the cell is over"
    )
    made.add_argument(
        "--compare",
        metavar="WHAT",
        help="show what changed from the last profile (last), or from one in a variable or a file",
    )
    made.add_argument(
        "-r",
        "--repeat",
        type=int,
        metavar="N",
        help="run it N times, for one profile of all runs: more samples of what is short",
    )
    made.add_argument("-q", "--quiet", action="store_true", help="show nothing")
    made.add_argument("-h", "--help", action="store_true", help="show this, and run nothing")
    made.add_argument(BEGIN, action="store_true", help=SUPPRESS)
    return made


# Each option, and whether a value follows it.
_VALUED = {
    name: action.nargs != 0 for action in parser()._actions for name in action.option_strings
}


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


def are_repeating(line: str) -> bool:
    """Whether the options of a cell say that it runs more than once."""
    argv, _ = split_options(line)
    return any(re.match(r"--r|-[nqh]*r", token) for token in argv)


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


def with_values(argv: list[str], names: Mapping[str, object]) -> list[str]:
    """Put values of variables in the place of ``{name}`` and ``$name``; ``{{`` and ``$$`` escape.

    Raises
    ------
    UsageError
        What stands there cannot be evaluated.
    """
    filled = []
    for token in argv:
        try:
            filled.append(DollarFormatter().format(token, **names))
        except Exception as error:
            raise UsageError(f"{token}: {type(error).__name__}: {error}") from error
    return filled


def check(options: Namespace) -> None:
    """Refuse, before anything runs, what would only fail after it."""
    if options.speedscope:
        if options.view not in (None, "speedscope"):
            raise UsageError(f"--speedscope is a view, and so is --view {options.view}")
        options.view = "speedscope"
    if options.repeat is not None and options.repeat < 1:
        raise UsageError(f"--repeat takes a number of runs, 1 or more, not {options.repeat}")
    name = options.name
    if name is not None and (not name.isidentifier() or keyword.iskeyword(name)):
        raise UsageError(f"--name takes the name of a variable, not {options.name!r}")
    if options.format is not None and options.output is None:
        raise UsageError("--format says how --output is written; there is no --output")
    if options.output is not None:
        # Resolved here and now: the cell may change the directory.
        options.output = os.path.abspath(os.path.expanduser(options.output))
        try:
            chosen = registry.find(options.format) if options.format is not None else None
            (chosen or registry.for_path(options.output)).prepare()
            files.check_writable(options.output)
        except (ValueError, OSError) as error:
            raise UsageError(str(error)) from error
