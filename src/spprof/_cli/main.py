"""The command line: `spprof run, attach, dump, view, report, convert, diff, doctor, completion`.

Knows which commands there are and how they fail; each is a file beside this one.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from importlib import import_module

from .._profile.words import shown
from .._version import __version__
from .failure import Failure

_DESCRIPTION = "Profile Python programs and look at profiles."

_EXAMPLES = """\
examples:
  spprof run train.py --epochs 3        run a script under the profiler
  spprof run -o app.html -m package     run a module, save a page to share
  spprof run --mode wall -m http.server see where it waits
  spprof attach 4242                    profile a process that runs already
  spprof dump 4242                      the stacks of all its threads
  spprof view train.spprof              look at it in the browser
  spprof report train.spprof            ... or in the terminal
  spprof convert train.spprof out.svg   another format, by its ending
  spprof diff before.spprof after.spprof
  spprof doctor                         whether profiling works here

exit status: 0 on success, 1 when a file cannot be read or written, 2 for wrong usage;
`spprof run` ends as the program does, `spprof diff --fail-above` with 3 where it is slower."""

# Modules of this package; the one that is asked for is imported alone.
_COMMANDS = (
    *("run", "attach", "dump", "view", "report", "convert", "diff", "doctor", "completion"),
)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line.

    Parameters
    ----------
    arguments : sequence of str, optional
        Without it those of the process.

    Returns
    -------
    int
        The exit status.
    """
    if arguments is None:
        arguments = sys.argv[1:]
    first = arguments[0] if arguments else ""
    # A completion script knows all of them.
    alone = first in _COMMANDS and first != "completion"
    options = parser((first,) if alone else _COMMANDS).parse_args(arguments)
    try:
        status: int = options.command(options)
        if first != "run":
            sys.stdout.flush()
    except Failure as failure:
        print(f"spprof: error: {shown(str(failure), 1000)}", file=sys.stderr)
        return 1
    except BrokenPipeError:
        # The reader (`| head`) has had enough. Python would complain when it closes stdout itself.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    return status


def parser(wanted: Sequence[str] = _COMMANDS) -> argparse.ArgumentParser:
    """The parser of these commands, or of the whole command line."""
    made = argparse.ArgumentParser(
        prog="spprof",
        description=_DESCRIPTION,
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    made.add_argument("--version", action="version", version=f"spprof {__version__}")
    commands = made.add_subparsers(metavar="command", required=True)
    for name in wanted:
        import_module(f".{name}", __package__).add_to(commands)
    return made
