"""What the parsers of several commands share.

Must not know what any command does.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from typing import Any

from .._profile import MODES
from ..formats import registry


def add_command(commands: Any, name: str, summary: str, epilog: str) -> argparse.ArgumentParser:
    """Add a command with its help."""
    parser: argparse.ArgumentParser = commands.add_parser(
        name,
        help=summary,
        description=summary[0].upper() + summary[1:] + ".",
        epilog=epilog,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    return parser


def formats_help(readable: bool = False) -> str:
    """A line for each format."""
    lines = [
        f"  {entry.name:11} {' '.join(entry.extensions):25} {entry.summary}"
        for entry in registry.FORMATS.values()
        if entry.readable or not readable
    ]
    return "\n".join(lines)


def add_format(parser: argparse.ArgumentParser, names: list[str], *aliases: str) -> None:
    """Add -f/--format, and older names of it."""
    parser.add_argument(
        "-f",
        "--format",
        *aliases,
        dest="format",
        choices=names,
        metavar="FORMAT",
        help=f"{', '.join(names)} (default: by the ending)",
    )


def add_sampling(parser: argparse.ArgumentParser, interval: Callable[[str], float]) -> None:
    """Add how often is sampled, and by which clock; `interval` reads the former."""
    parser.add_argument(
        "-i",
        "--interval",
        type=interval,
        default=10,
        metavar="MS",
        help="time between samples, 0.1 to 1000 ms (default: 10)",
    )
    parser.add_argument(
        "--mode",
        choices=list(MODES),
        default="cpu",
        help="CPU time, or elapsed time with waiting (default: cpu)",
    )


def add_interval(parser: argparse.ArgumentParser) -> None:
    """Add the option for files that count samples only."""
    parser.add_argument(
        "--interval",
        type=milliseconds,
        metavar="MS",
        help="what one sample stands for, in files that only count them (default: 1)",
    )


def milliseconds(text: str) -> float:
    """A length of time as an argument."""
    number = float(text)
    if not 1e-6 <= number < 1e12:
        raise argparse.ArgumentTypeError(f"a number of milliseconds, not {text}")
    return number


def natural(text: str) -> int:
    """A number of rows as an argument."""
    number = int(text)
    if number < 0:
        raise argparse.ArgumentTypeError(f"a number that is not negative, not {text}")
    return number


def share(text: str) -> float:
    """A share as an argument: ``5%`` or ``5``; returns 0.05."""
    try:
        number = float(text.rstrip().rstrip("%"))
    except ValueError:
        number = -1.0
    if not 0 <= number < 100:
        raise argparse.ArgumentTypeError(f"a number of percent, as 5%, not {text}")
    return number / 100


def port(text: str) -> int:
    """A port of this machine as an argument; 0: a free one."""
    number = int(text)
    if not 0 <= number < 65536:
        raise argparse.ArgumentTypeError(f"a port from 0 to 65535, not {text}")
    return number
