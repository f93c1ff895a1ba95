"""`spprof convert`: a profile in another format."""

from __future__ import annotations

import argparse
import sys
from typing import Any

from ..formats import registry
from .arguments import add_command, add_format, add_interval, formats_help
from .failure import Failure
from .reading import load
from .terminal import progress


def add_to(commands: Any) -> None:
    """Add the command to the parser."""
    parser = add_command(
        commands,
        "convert",
        "write a profile in another format",
        "examples:\n"
        "  spprof convert profile.spprof profile.pb.gz\n"
        "  spprof convert --to collapsed py-spy.json -\n\n"
        "formats:\n" + formats_help(),
    )
    parser.add_argument("input")
    parser.add_argument("output", help='"-" for standard output')
    add_format(parser, list(registry.FORMATS), "--to")
    add_interval(parser)
    parser.set_defaults(command=convert)


def convert(options: argparse.Namespace) -> int:
    """Run the command; returns the exit status."""
    profile = load(options.input, options)
    try:
        if options.output == "-":
            registry.find(options.format or "speedscope").dump(profile._tables, sys.stdout.buffer)
            sys.stdout.buffer.flush()
        else:
            with progress(f"writing {options.output}"):
                profile.save(options.output, options.format)
    except BrokenPipeError:
        raise
    except (OSError, ValueError) as error:
        raise Failure(str(error)) from None
    return 0
