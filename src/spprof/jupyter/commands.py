"""The commands of ``%spprof``: which there are, and how they are told from a statement.

Must not know what they do.
"""

from __future__ import annotations

import re
import shlex
from argparse import Namespace
from collections.abc import Mapping

from IPython.core.error import UsageError
from IPython.core.magic_arguments import MagicArgumentParser

from .._profile import MODES

DOC = """
Commands, in place of a statement (profile a variable of such a name with --):

    %spprof on           profile every cell from the next one on, and show nothing: a cell over
                         --threshold SECONDS (default: 2) offers its graph; -i, -m, -n, -t as below;
                         --report FILE.html writes the report when the kernel ends
    %spprof off          no more; what was taken stays
    %spprof history      what each cell cost, and how that changed since its text last ran
    %spprof last [N]     the profile of the last cell, or of cell N
    %spprof now [SECONDS] what runs at this moment, from a subshell or another thread: the session
                         that is running as far as it is, else one of some seconds (default: 1)
    %spprof compare 3 5  how cell 5 differs from cell 3
    %spprof report FILE  the whole notebook as one HTML page: which cells cost what, and why

"""

# A statement may begin with the same word: `last = f()`, `report(x)`.
_WORDS = ("on", "off", "history", "last", "now", "compare", "report")
# The name of a file may begin with much of this, but not with a space behind it.
_GOES_ON_AS_STATEMENT = re.compile(r"[=(\[]|[+*/%@&|^<>.,:;-]+(\s|=)")
_ALONE = re.compile(r"\s*%spprof[ \t]+(?P<line>[^\n]*?)\s*")


def split(line: str) -> tuple[str, str] | None:
    """The command and what follows it; None where the line is no command."""
    word, _, rest = line.strip().partition(" ")
    rest = rest.strip()
    return (word, rest) if word in _WORDS and not _GOES_ON_AS_STATEMENT.match(rest) else None


def is_command(cell: str) -> bool:
    """Whether a cell is nothing but a command."""
    match = _ALONE.fullmatch(cell)
    return match is not None and split(match["line"]) is not None


def on_parser() -> MagicArgumentParser:
    """The options of ``%spprof on``; what is None was not given."""
    made = MagicArgumentParser("%spprof on", add_help=False)
    made.add_argument("-i", "--interval", type=float, metavar="MS")
    made.add_argument("-m", "--mode", choices=list(MODES))
    made.add_argument("-n", "--native", action="store_true", default=None)
    made.add_argument("-t", "--threads", metavar="WHICH")
    made.add_argument("--threshold", type=float, metavar="SECONDS")
    made.add_argument("--report", metavar="FILE")
    return made


def parse_on(line: str, defaults: Mapping[str, object]) -> Namespace:
    """The options of ``%spprof on``, with `defaults` in the place of those not given."""
    try:
        chosen: Namespace = on_parser().parse_args(shlex.split(line))
    except ValueError as error:  # a quotation mark without its like
        raise UsageError(f"%spprof on {line}: {error}") from error
    for name, value in defaults.items():
        if getattr(chosen, name, None) is None:
            setattr(chosen, name, value)
    if not chosen.threshold >= 0:
        raise UsageError(f"--threshold takes seconds, 0 or more, not {chosen.threshold:g}")
    return chosen


def seconds(line: str) -> float:
    """How long ``%spprof now`` is to look, where no session runs."""
    try:
        value = float(line or 1)
    except ValueError:
        value = -1
    if not 0 < value <= 3600:
        raise UsageError(f"%spprof now takes seconds, up to 3600, not {line!r}")
    return value


def numbers(command: str, line: str, counts: tuple[int, ...]) -> list[int]:
    """The cells that a command names, as many as it takes."""
    words = line.split()
    if len(words) not in counts or not all(re.fullmatch(r"\d+", word) for word in words):
        many = " or ".join(map(str, counts))
        raise UsageError(f"%spprof {command} takes {many} numbers of cells, not {line!r}")
    return [int(word) for word in words]
