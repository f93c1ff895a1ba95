"""`spprof diff`: what changed between two profiles, printed or saved."""

from __future__ import annotations

import argparse
from typing import Any

from .._profile import model
from ..formats import registry
from .arguments import add_command, add_format, add_interval
from .failure import Failure
from .reading import load
from .terminal import progress, write


def add_to(commands: Any) -> None:
    """Add the command to the parser."""
    known = [entry.name for entry in registry.FORMATS.values() if entry.differences]
    parser = add_command(
        commands,
        "diff",
        "print what changed between two profiles",
        "examples:\n"
        "  spprof diff before.spprof after.spprof\n"
        "  spprof diff before.spprof after.spprof -o change.svg\n\n"
        "formats of -o: " + ", ".join(known),
    )
    parser.add_argument("before")
    parser.add_argument("after")
    parser.add_argument("-o", "--output", metavar="FILE", help="save it instead of printing it")
    add_format(parser, known)
    add_interval(parser)
    parser.set_defaults(command=diff)


def diff(options: argparse.Namespace) -> int:
    """Run the command; returns the exit status."""
    if options.format is not None and options.output is None:
        raise Failure("-f/--format says how -o/--output FILE is written: name a file, too")
    before, after = load(options.before, options), load(options.after, options)
    try:
        difference = model.diff(before, after)
        if options.output is None:
            write(str(difference))
            return 0
        with progress(f"writing {options.output}"):
            difference.save(options.output, options.format)
    except (OSError, ValueError) as error:
        raise Failure(str(error)) from None
    return 0
