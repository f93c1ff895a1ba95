"""`spprof diff`: what changed between two profiles, printed or saved."""

from __future__ import annotations

import argparse
import sys
from typing import Any

from .._profile import model, text
from .._profile.significance import RUN_NOISE
from .._profile.words import shown
from ..formats import registry
from .arguments import add_command, add_format, add_interval, share
from .failure import Failure
from .reading import load
from .terminal import Style, progress, write

# Exit status where --fail-above finds something; 1 and 2 are taken.
TOO_SLOW = 3


def add_to(commands: Any) -> None:
    """Add the command to the parser."""
    known = [entry.name for entry in registry.FORMATS.values() if entry.differences]
    parser = add_command(
        commands,
        "diff",
        "print what changed between two profiles",
        "examples:\n"
        "  spprof diff before.spprof after.spprof\n"
        "  spprof diff before.spprof after.spprof -o change.svg\n"
        "  spprof diff --before a.spprof b.spprof c.spprof --after d.spprof e.spprof f.spprof\n"
        "  spprof diff --fail-above 5% main.spprof branch.spprof\n\n"
        "formats of -o: " + ", ".join(known) + "\n\n"
        "exit status: 0; with --fail-above 3 where something takes longer than allowed, beyond\n"
        "noise (of equal programs in at most 5 % of comparisons); 1 when a file cannot be read or\n"
        "written; 2 for wrong usage",
    )
    parser.add_argument("file", nargs="*", help="a profile before and one after")
    for side in ("before", "after"):
        parser.add_argument(
            f"--{side}",
            nargs="+",
            metavar="FILE",
            help=f"several runs {side}: they tell how runs differ",
        )
    parser.add_argument("-o", "--output", metavar="FILE", help="save it instead of printing it")
    add_format(parser, known)
    parser.add_argument(
        "--fail-above",
        type=share,
        metavar="PERCENT",
        help="exit with status 3 where the run, or a function in it, takes so much more of the "
        "run's time than before, beyond noise",
    )
    parser.add_argument(
        "--by",
        choices=["time", "share"],
        default="time",
        help="share: --fail-above looks at functions' shares only, for runs of any length "
        "(default: time)",
    )
    parser.add_argument(
        "--noise",
        type=share,
        metavar="PERCENT",
        help="by how much the times of equal runs differ (standard deviation; default: "
        f"{RUN_NOISE:.0%}); several runs of a side tell by themselves".replace("%", "%%"),
    )
    parser.add_argument(
        "--color", choices=["auto", "always", "never"], default="auto", help="(default: auto)"
    )
    add_interval(parser)
    parser.set_defaults(command=diff, usage_error=parser.error)


def diff(options: argparse.Namespace) -> int:
    """Run the command; returns the exit status."""
    if options.format is not None and options.output is None:
        raise Failure("-f/--format says how -o/--output FILE is written: name a file, too")
    before, after = ([load(path, options) for path in side] for side in _sides(options))
    try:
        difference = model.diff(before, after, noise=options.noise)
        if options.output is None:
            style = Style(options.color)
            paint = {"head": style.bold, "more": style.bad, "less": style.good, "noise": style.dim}
            for line, kind in text.difference_lines(difference._found):
                write(paint[kind](line) if kind else line)
        else:
            with progress(f"writing {options.output}"):
                difference.save(options.output, options.format)
    except (OSError, ValueError) as error:
        raise Failure(str(error)) from None
    return _judged(difference, options)


def _sides(options: argparse.Namespace) -> tuple[list[str], list[str]]:
    """The files of each side."""
    if options.before is None and options.after is None:
        if len(options.file) == 2:
            return [options.file[0]], [options.file[1]]
        options.usage_error("two files, one before and one after, or --before and --after")
    if options.file or not options.before or not options.after:
        options.usage_error("--before FILE ... and --after FILE ... stand for all files")
    return options.before, options.after


def _judged(difference: model.ProfileDiff, options: argparse.Namespace) -> int:
    """Say on standard error what takes too long; returns the exit status."""
    if options.fail_above is None:
        return 0
    of = "of the whole" if options.by == "share" else "of the run's time before"
    found = difference.slower(options.fail_above, options.by)
    for entry, growth in found:
        name = "the whole run" if entry is None else shown(entry.functions[0])
        print(
            f"spprof: {name}: +{growth:.1%} {of}, more than {options.fail_above:.1%} and beyond "
            "noise",
            file=sys.stderr,
        )
    if any(entry is None for entry, _ in found) and not difference._found.tests.several:
        print(
            f"spprof: one run a side does not tell how runs differ; {difference.noise:.0%} is "
            "taken (--noise; several runs of a side tell)",
            file=sys.stderr,
        )
    return TOO_SLOW if found else 0
