"""`spprof report`: where the time went, in the terminal.

Must not know how figures are made: `queries` does, and `text` how they are written.
"""

from __future__ import annotations

import argparse
import json
import shutil
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from .._profile import digest, outline, text
from .._profile.names import short
from .._profile.tables import CAUSES
from .._profile.words import LONGEST, format_ns, short_place, shown
from .arguments import add_command, add_interval, natural
from .reading import load
from .terminal import Style, write

if TYPE_CHECKING:
    from .._profile.model import Profile
    from .._profile.queries import CallNode, FunctionStats

# Few rows of functions are asked for to see these, not to hide the threads.
_FEWEST_THREADS = 10


def add_to(commands: Any) -> None:
    """Add the command to the parser."""
    parser = add_command(
        commands,
        "report",
        "print where the time went",
        "examples:\n"
        "  spprof report profile.spprof\n"
        "  spprof report -n 40 --by total --lines profile.spprof\n"
        "  spprof report --tree --thread MainThread profile.spprof\n"
        "  spprof report --json profile.spprof | jq .findings",
    )
    parser.add_argument("file")
    parser.add_argument(
        "-n",
        type=natural,
        metavar="N",
        help="so many rows (default: 20; in a tree all with 0.5 %% of the time)",
    )
    parser.add_argument(
        "--by",
        choices=["self", "total"],
        help="order of rows (default: self; in a tree, of what a function calls: total)",
    )
    parser.add_argument("--lines", action="store_true", help="a row for each line of code")
    form = parser.add_mutually_exclusive_group()
    form.add_argument(
        "--json",
        action="store_true",
        help="the same for programs: docs/USAGE.md lists the keys",
    )
    form.add_argument("--markdown", action="store_true", help="the same as Markdown")
    form.add_argument("--tree", action="store_true", help="the call tree instead of a table")
    parser.add_argument(
        "--by-region",
        action="store_true",
        help="the program's regions (spprof.region) instead of its functions",
    )
    parser.add_argument(
        "--all-frames",
        action="store_true",
        help="also what is folded otherwise: calls between calls, and what imports do",
    )
    parser.add_argument(
        "--mine",
        action="store_true",
        help="without libraries: what they do belongs to the line that called them",
    )
    parser.add_argument(
        "--full-names",
        action="store_true",
        help="C++ and Rust with types and parameters, Cython as it is in the file",
    )
    parser.add_argument("--process", help="only processes of this name (wildcards) or pid")
    parser.add_argument("--thread", help="only threads of this name (wildcards) or id")
    parser.add_argument("--function", help="only samples with this function (wildcards)")
    parser.add_argument("--module", help="only samples with this module")
    parser.add_argument(
        "--state",
        choices=["running", "waiting"],
        help="only where threads ran, or waited",
    )
    parser.add_argument("--region", help="only samples in this region (wildcards)")
    parser.add_argument("--waits-for", choices=CAUSES, help="only where threads wait for this")
    parser.add_argument(
        "--from",
        dest="start_ms",
        type=float,
        metavar="MS",
        help="only from here on, from the start",
    )
    parser.add_argument("--until", dest="end_ms", type=float, metavar="MS", help="only until here")
    parser.add_argument(
        "--color", choices=["auto", "always", "never"], default="auto", help="(default: auto)"
    )
    add_interval(parser)
    parser.set_defaults(command=report)


def report(options: argparse.Namespace) -> int:
    """Run the command; returns the exit status."""
    profile = load(options.file, options)
    if options.process is not None:
        of = int(options.process) if options.process.isdigit() else options.process
        profile = profile.filter(process=of)
    if options.thread is not None:
        by_id = options.thread.isdigit()
        profile = profile.filter(thread=int(options.thread) if by_id else options.thread)
    profile = profile.filter(
        function=options.function,
        module=options.module,
        state=options.state,
        region=options.region,
        waits_for=options.waits_for,
        start_ms=options.start_ms,
        end_ms=options.end_ms,
    )
    style = Style(options.color)
    if options.json or options.markdown:
        _write_digest(profile, options)
    elif options.by_region:
        _print_regions(profile, style, options)
    elif options.tree:
        _print_tree(profile, style, options)
    else:
        _print_table(profile, style, options)
    return 0


def _write_digest(profile: Profile, options: argparse.Namespace) -> None:
    found = digest.digest(
        profile._tables,
        20 if options.n is None else options.n,
        options.by or "self",
        lines=options.lines,
        all_frames=options.all_frames,
        mine=options.mine,
    )
    if options.json:
        # Halves of characters in names have no UTF-8: escaped, they pass through everywhere.
        write(json.dumps(found, indent=1))
    else:
        write(digest.markdown(profile._tables, found))


def _called(of: FunctionStats | CallNode, full_names: bool) -> str:
    return shown(of.function_name if full_names else short(of.function_name, of.is_native))


def _print_table(profile: Profile, style: Style, options: argparse.Namespace) -> None:
    tables = profile._tables
    n, by = 20 if options.n is None else options.n, options.by or "self"
    write(style.bold(text.headline(tables)))
    said = text.finding_line(tables)
    if said:
        write(said)
    width = shutil.get_terminal_size((120, 25)).columns
    entries = profile.top(
        n, by, lines=options.lines, all_frames=options.all_frames, mine=options.mine
    )
    ranges = outline.intervals(entries)
    wide = any(map(any, ranges))
    gap = " " * 8 if wide else ""
    write(style.dim(f"\n{'self':>9} {'':>6}{gap} {'total':>9} {'':>6}{gap}  function"))
    for entry, (own, total) in zip(entries, ranges):
        place = short_place(entry.filename, entry.lineno)
        numbers = (
            f"{format_ns(entry.self_ns):>9} {entry.self_share:6.1%}{f' {own:7}' if wide else ''} "
            f"{format_ns(entry.total_ns):>9} {entry.total_share:6.1%}"
            f"{f' {total:7}' if wide else ''}"
        )
        room = max(20, width - len(numbers) - len(place) - 4) if style.terminal else LONGEST
        name = _called(entry, options.full_names)
        if len(name) > room and not options.full_names:
            name = name[: room - 1] + "…"
        name = style.native(name) if entry.is_native else style.bold(name)
        share = entry.self_share if by == "self" else entry.total_share
        write(f"{style.heat(numbers, share)}  {name}  {style.dim(place)}")
    if wide:
        write(style.dim(f"({outline.INTERVALS})"))
    what_else = text.what_else_lines(tables)
    if what_else:
        write("\n".join(["", *what_else]))
    processes = text.process_lines(tables, max(n, _FEWEST_THREADS))
    if processes:
        write("\n".join(["\nprocesses:", *processes]))
    threads = text.thread_lines(tables, max(n, _FEWEST_THREADS))
    if threads:
        write("\n".join(["\nthreads:", *threads]))
    for note in text.notes(tables):
        write(style.warn(f"note: {note}"))


def _print_regions(profile: Profile, style: Style, options: argparse.Namespace) -> None:
    write(style.bold(text.headline(profile._tables)))
    found = profile.regions()
    if not found:
        write("no sample is in a region: spprof.region(name) names parts of a program")
        return
    write(style.dim(f"\n{'own':>9} {'':>6} {'total':>9} {'':>6}  region"))
    for region in found[: options.n]:
        numbers = (
            f"{format_ns(region.own_ns):>9} {region.own_share:6.1%} "
            f"{format_ns(region.total_ns):>9} {region.total_share:6.1%}"
        )
        given = "".join(f" {key}={value}" for key, value in region.labels.items())
        name = "  " * (len(region.path) - 1) + style.bold(shown(region.name))
        write(f"{style.heat(numbers, region.own_share)}  {name}{style.dim(shown(given))}")


def _print_tree(profile: Profile, style: Style, options: argparse.Namespace) -> None:
    n, by = options.n, options.by or "total"
    root = profile.tree(lines=options.lines, all_frames=options.all_frames, mine=options.mine)
    whole = root.total_ns or 1

    def own(node: CallNode) -> int:
        return node.self_ns if by == "self" else node.total_ns

    chosen = _chosen(root, n, own)
    write(style.dim(f"{'total':>7} {'self':>7}"))
    pending = [(0, root)]
    while pending:
        depth, node = pending.pop()
        if id(node) not in chosen:
            continue
        numbers = f"{node.total_ns / whole:7.1%} {node.self_ns / whole:7.1%}"
        name = _called(node, options.full_names)
        name = style.native(name) if node.is_native else name
        place = style.dim(short_place(node.filename, node.lineno))
        heat = style.heat(numbers, node.self_ns / whole)
        write(f"{heat}  {'  ' * depth}{name}  {place}".rstrip())
        pending += [(depth + 1, child) for child in sorted(node.children, key=own)]


def _chosen(root: CallNode, n: int | None, own: Callable[[CallNode], int]) -> set[int]:
    """Ids of the nodes to show: the `n` with most time, and their callers."""
    nodes = [node for _, node in root.walk()]
    if n is None:
        # What is below a two-hundredth of the whole hides the rest.
        return {id(node) for node in nodes if node.total_ns >= 0.005 * root.total_ns}
    callers = {id(child): node for node in nodes for child in node.children}
    chosen: set[int] = set()
    for node in sorted(nodes, key=own, reverse=True)[:n]:
        above: CallNode | None = node
        while above is not None and id(above) not in chosen:
            chosen.add(id(above))
            above = callers.get(id(above))
    return chosen
