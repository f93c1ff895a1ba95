"""`spprof report`: where the time went, in the terminal.

Must not know how figures are made: `queries` does, and `text` how they are written.
"""

from __future__ import annotations

import argparse
import shutil
from typing import TYPE_CHECKING, Any

from .._profile import text
from .arguments import add_command, add_interval
from .reading import load
from .terminal import Style

if TYPE_CHECKING:
    from .._profile.model import Profile


def add_to(commands: Any) -> None:
    """Add the command to the parser."""
    parser = add_command(
        commands,
        "report",
        "print where the time went",
        "examples:\n"
        "  spprof report profile.spprof\n"
        "  spprof report -n 40 --by total --lines profile.spprof\n"
        "  spprof report --tree --thread MainThread profile.spprof",
    )
    parser.add_argument("file")
    parser.add_argument("-n", type=int, default=20, metavar="N", help="so many rows (default: 20)")
    parser.add_argument("--by", choices=["self", "total"], default="self", help="order of rows")
    parser.add_argument("--lines", action="store_true", help="a row for each line of code")
    parser.add_argument("--tree", action="store_true", help="the call tree instead of a table")
    parser.add_argument("--thread", help="only threads of this name (wildcards) or id")
    parser.add_argument("--function", help="only samples with this function (wildcards)")
    parser.add_argument("--module", help="only samples with this module")
    parser.add_argument(
        "--color", choices=["auto", "always", "never"], default="auto", help="(default: auto)"
    )
    add_interval(parser)
    parser.set_defaults(command=report)


def report(options: argparse.Namespace) -> int:
    """Run the command; returns the exit status."""
    profile = load(options.file, options)
    if options.thread is not None:
        by_id = options.thread.isdigit()
        profile = profile.filter(thread=int(options.thread) if by_id else options.thread)
    profile = profile.filter(function=options.function, module=options.module)
    style = Style(options.color)
    if options.tree:
        _print_tree(profile, style)
        return 0
    tables = profile._tables
    print(style.bold(text.headline(tables)))
    width = shutil.get_terminal_size((120, 25)).columns
    print(style.dim(f"\n{'self':>9} {'':>6} {'total':>9} {'':>6}  function"))
    for entry in profile.top(options.n, options.by, lines=options.lines):
        place = text.short_place(entry.filename, entry.lineno)
        numbers = (
            f"{text.format_ns(entry.self_ns):>9} {entry.self_share:6.1%} "
            f"{text.format_ns(entry.total_ns):>9} {entry.total_share:6.1%}"
        )
        room = max(20, width - len(numbers) - len(place) - 4)
        name = entry.function_name
        if style.terminal and len(name) > room:
            name = name[: room - 1] + "…"
        name = style.native(name) if entry.is_native else style.bold(name)
        share = entry.self_share if options.by == "self" else entry.total_share
        print(f"{style.heat(numbers, share)}  {name}  {style.dim(place)}")
    threads = text.thread_lines(tables, options.n)
    if threads:
        print("\nthreads:\n" + "\n".join(threads))
    for note in text.notes(tables):
        print(style.warn(f"note: {note}"))
    return 0


def _print_tree(profile: Profile, style: Style) -> None:
    root = profile.tree()
    whole = root.total_ns or 1
    print(style.dim(f"{'total':>7} {'self':>7}"))
    for depth, node in root.walk():
        # What is below a two-hundredth of the whole hides the rest.
        if node.total_ns / whole < 0.005:
            continue
        numbers = f"{node.total_ns / whole:7.1%} {node.self_ns / whole:7.1%}"
        name = style.native(node.function_name) if node.is_native else node.function_name
        place = style.dim(text.short_place(node.filename, node.lineno))
        print(f"{style.heat(numbers, node.self_ns / whole)}  {'  ' * depth}{name}  {place}")
