"""The command line: `spprof run, view, report, convert, diff`.

Must not know how samples are taken nor how formats look inside.
"""

from __future__ import annotations

import argparse
import os
import shutil
import sys
import threading
import time
import webbrowser
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

from . import _queries, formats
from ._version import __version__

if TYPE_CHECKING:
    from ._model import Profile

_DESCRIPTION = "Profile Python programs and look at profiles."

_EXAMPLES = """\
examples:
  spprof run train.py --epochs 3        run a script under the profiler
  spprof run -o app.html -m package     run a module, save a page to share
  spprof run --mode wall -m http.server see where it waits
  spprof view train.spprof              look at it in the browser
  spprof report train.spprof            ... or in the terminal
  spprof convert train.spprof out.svg   another format, by its ending
  spprof diff before.spprof after.spprof

exit status: 0 on success, 1 when a file cannot be read or written, 2 for wrong usage;
`spprof run` ends as the program does."""


class _Failure(Exception):
    """Ends the command with status 1; the message is for the user."""


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
    options = _parser().parse_args(arguments)
    try:
        status: int = options.command(options)
        if options.command is not _run:
            sys.stdout.flush()
    except _Failure as failure:
        print(f"spprof: error: {failure}", file=sys.stderr)
        return 1
    except BrokenPipeError:
        # The reader (`| head`) has had enough. Python would complain when it closes stdout itself.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    return status


# Options


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="spprof",
        description=_DESCRIPTION,
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"spprof {__version__}")
    commands = parser.add_subparsers(metavar="command", required=True)
    _add_run(commands)
    _add_view(commands)
    _add_report(commands)
    _add_convert(commands)
    _add_diff(commands)
    _add_completion(commands)
    return parser


def _add(commands: Any, name: str, summary: str, epilog: str) -> argparse.ArgumentParser:
    parser: argparse.ArgumentParser = commands.add_parser(
        name,
        help=summary,
        description=summary[0].upper() + summary[1:] + ".",
        epilog=epilog,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    return parser


def _formats_help(readable: bool = False) -> str:
    lines = [
        f"  {entry.name:11} {' '.join(entry.extensions):25} {entry.summary}"
        for entry in formats.FORMATS.values()
        if entry.readable or not readable
    ]
    return "\n".join(lines)


class _ProgramAction(argparse.Action):
    """Takes everything that is left: it belongs to the program, options or not."""

    def __call__(
        self,
        parser: argparse.ArgumentParser,
        namespace: argparse.Namespace,
        values: Any,
        option_string: str | None = None,
    ) -> None:
        if not values:
            if option_string is not None:
                parser.error(f"argument {option_string}: expected one argument")
            return
        namespace.kind = option_string or "script"
        namespace.program = values


def _add_run(commands: Any) -> None:
    parser = _add(
        commands,
        "run",
        "run a program under the profiler",
        "examples:\n"
        "  spprof run script.py --its-own option\n"
        "  spprof run -o prof.html -i 1 -m package.module argument\n"
        "  spprof run --mode wall --native server.py\n\n"
        "formats, by the ending of -o or by --format:\n" + _formats_help() + "\n\n"
        "The program has its own arguments, signals, standard streams and exit status. The\n"
        "profile is saved when it ends: normally, by an exception, by sys.exit(), by Ctrl-C or\n"
        "by SIGTERM or SIGHUP. It is not after os._exit(), os.exec*() and SIGKILL.",
    )
    parser.usage = "spprof run [options] (script | -m module | -c code) [arguments]"
    parser.add_argument(
        "-o", "--output", metavar="FILE", help="where to save the profile (default: NAME.spprof)"
    )
    parser.add_argument(
        "-f", "--format", choices=list(formats.FORMATS), help="format (default: by FILE's ending)"
    )
    parser.add_argument(
        "-i",
        "--interval",
        type=float,
        default=10,
        metavar="MS",
        help="time between samples, 0.1 to 1000 ms (default: 10)",
    )
    parser.add_argument(
        "--mode",
        choices=["cpu", "wall"],
        default="cpu",
        help="CPU time, or elapsed time with waiting (default: cpu)",
    )
    parser.add_argument(
        "--memory-limit",
        type=float,
        default=100,
        metavar="MB",
        help="memory for the profile; beyond it timestamps are given up (default: 100)",
    )
    parser.add_argument(
        "--aggregate", action="store_true", help="keep counts only: constant memory for long runs"
    )
    parser.add_argument("--native", action="store_true", help="C and C++ frames too")
    parser.add_argument("-q", "--quiet", action="store_true", help="print no summary")
    rest = argparse.REMAINDER
    for option, what in (("-m", "module"), ("-c", "code")):
        parser.add_argument(
            option, dest="program", nargs=rest, action=_ProgramAction, metavar=(what, "...")
        )
    parser.add_argument("program", nargs=rest, action=_ProgramAction, help=argparse.SUPPRESS)
    parser.set_defaults(command=_run, parser=parser, kind=None, program=[])


def _add_view(commands: Any) -> None:
    parser = _add(
        commands,
        "view",
        "look at a profile in the browser",
        "examples:\n"
        "  spprof view profile.spprof\n"
        "  spprof view --speedscope py-spy.json\n\n"
        "The page comes from this machine alone and the command ends when it is closed.\n\n"
        "files that can be read:\n" + _formats_help(readable=True),
    )
    parser.add_argument("file")
    parser.add_argument(
        "--speedscope", action="store_true", help="in the bundled Speedscope instead"
    )
    parser.add_argument("--port", type=int, default=0, help="loopback port (default: a free one)")
    parser.add_argument("--no-browser", action="store_true", help="print the address only")
    _add_interval(parser)
    parser.set_defaults(command=_view)


def _add_report(commands: Any) -> None:
    parser = _add(
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
    _add_interval(parser)
    parser.set_defaults(command=_report)


def _add_convert(commands: Any) -> None:
    parser = _add(
        commands,
        "convert",
        "write a profile in another format",
        "examples:\n"
        "  spprof convert profile.spprof profile.pb.gz\n"
        "  spprof convert --to collapsed py-spy.json -\n\n"
        "formats:\n" + _formats_help(),
    )
    parser.add_argument("input")
    parser.add_argument("output", help='"-" for standard output')
    parser.add_argument("--to", choices=list(formats.FORMATS), help="(default: by the ending)")
    _add_interval(parser)
    parser.set_defaults(command=_convert)


def _add_diff(commands: Any) -> None:
    known = [entry.name for entry in formats.FORMATS.values() if entry.differences]
    parser = _add(
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
    _add_interval(parser)
    parser.set_defaults(command=_diff)


def _add_completion(commands: Any) -> None:
    parser = _add(
        commands,
        "completion",
        "print a shell's completion script",
        'examples:\n  eval "$(spprof completion bash)"   in ~/.bashrc\n'
        '  eval "$(spprof completion zsh)"    in ~/.zshrc',
    )
    parser.add_argument("shell", choices=["bash", "zsh"])
    parser.set_defaults(command=_completion)


def _add_interval(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--interval",
        type=float,
        metavar="MS",
        help="what one sample stands for, in files that only count them (default: 1)",
    )


# Commands


def _run(options: argparse.Namespace) -> int:
    # Imported here: the other commands need no sampling, and work where it does not.
    from . import _runner, _session

    if not options.program or options.program == ["--"]:
        options.parser.error("what should be run? A script, -m module, or -c code")
    target, *arguments = [part for i, part in enumerate(options.program) if i or part != "--"]
    try:
        prepare = {"script": _runner.script, "-m": _runner.module, "-c": _runner.command}
        program = prepare[options.kind](target, arguments)
    except _runner.CannotRun as error:
        print(f"spprof run: {error}", file=sys.stderr)
        return 2
    except SyntaxError as error:
        sys.excepthook(SyntaxError, error.with_traceback(None), None)
        return 1

    name = {"script": Path(target).stem, "-m": target.rpartition(".")[2], "-c": "command"}
    # Absolute, as the program may change the directory.
    output = Path.cwd() / (options.output or f"{name[options.kind] or 'profile'}.spprof")
    try:
        formats.check_writable(output)
    except OSError as error:
        raise _Failure(str(error)) from None

    def start() -> None:
        try:
            _session.start(
                options.interval,
                memory_limit_mb=options.memory_limit,
                mode=options.mode,
                aggregate=options.aggregate,
                native=options.native,
            )
        except (ValueError, RuntimeError) as error:
            raise _Failure(str(error)) from None

    # The program may close or replace the streams of the process.
    terminal = sys.stderr

    def finish(profile: Profile | None) -> None:
        if profile is None:
            _say("the program stopped the profiler itself; nothing was saved", terminal)
            return
        try:
            with _progress(f"saving {output.name}", terminal):
                profile.save(output, options.format)
        except OSError as error:
            _say(f"the profile was not saved: {error}", terminal)
            return
        if not options.quiet:
            _say(f"{profile}\n\nsaved: {output}\nview:  spprof view {_short(output)}", terminal)

    return _runner.run(program, start, finish)


def _say(text: str, stream: TextIO) -> None:
    try:
        print(f"spprof: {text}", file=stream)
    except ValueError:
        # The program closed the stream; its descriptor may still be open.
        os.write(2, f"spprof: {text}\n".encode("utf-8", "replace"))


def _short(path: Path) -> str:
    try:
        return str(path.relative_to(Path.cwd()))
    except (ValueError, OSError):
        return str(path)


def _load(path: str, options: argparse.Namespace) -> Profile:
    interval = {} if options.interval is None else {"interval_ms": options.interval}
    try:
        with _progress(f"reading {path}"):
            return formats.load(path, **interval)
    except OSError as error:
        raise _Failure(f"{path}: {error.strerror or error}") from None
    except ValueError as error:
        raise _Failure(str(error)) from None


def _view(options: argparse.Namespace) -> int:
    from ._viewer import Viewer

    profile = _load(options.file, options)
    title = Path(options.file).name
    try:
        with _progress(f"preparing {title}"):
            viewer = Viewer(profile, title, speedscope=options.speedscope, port=options.port)
    except OSError as error:
        raise _Failure(str(error)) from None
    try:
        shown = not options.no_browser and webbrowser.open(viewer.url)
        print(viewer.url if not shown else f"{title} is shown in the browser: {viewer.url}")
        print("This ends when the page is closed, or with Ctrl-C.", flush=True)
        viewer.serve()
    except KeyboardInterrupt:
        print()
    return 0


def _report(options: argparse.Namespace) -> int:
    profile = _load(options.file, options)
    if options.thread is not None:
        by_id = options.thread.isdigit()
        profile = profile.filter(thread=int(options.thread) if by_id else options.thread)
    profile = profile.filter(function=options.function, module=options.module)
    style = _Style(options.color)
    if options.tree:
        _print_tree(profile, style)
        return 0
    head, *rest = _queries.summary(profile, n=0).splitlines()
    print(style.bold(head))
    width = shutil.get_terminal_size((120, 25)).columns
    print(style.dim(f"\n{'self':>9} {'':>6} {'total':>9} {'':>6}  function"))
    for entry in profile.top(options.n, options.by, lines=options.lines):
        place = _queries.short_place(entry.filename, entry.lineno)
        numbers = (
            f"{_queries.format_ns(entry.self_ns):>9} {entry.self_share:6.1%} "
            f"{_queries.format_ns(entry.total_ns):>9} {entry.total_share:6.1%}"
        )
        room = max(20, width - len(numbers) - len(place) - 4)
        name = entry.function_name
        if style.terminal and len(name) > room:
            name = name[: room - 1] + "…"
        name = style.native(name) if entry.is_native else style.bold(name)
        share = entry.self_share if options.by == "self" else entry.total_share
        print(f"{style.heat(numbers, share)}  {name}  {style.dim(place)}")
    threads = [line for line in rest if not line.lstrip().startswith(("self", "note:"))]
    if threads:
        print("\n" + "\n".join(threads))
    for line in rest:
        if line.startswith("note:"):
            print(style.warn(line))
    return 0


def _print_tree(profile: Profile, style: _Style) -> None:
    root = profile.tree()
    whole = root.total_ns or 1
    print(style.dim(f"{'total':>7} {'self':>7}"))
    for depth, node in root.walk():
        # What is below a two-hundredth of the whole hides the rest.
        if node.total_ns / whole < 0.005:
            continue
        numbers = f"{node.total_ns / whole:7.1%} {node.self_ns / whole:7.1%}"
        name = style.native(node.function_name) if node.is_native else node.function_name
        place = style.dim(_queries.short_place(node.filename, node.lineno))
        print(f"{style.heat(numbers, node.self_ns / whole)}  {'  ' * depth}{name}  {place}")


def _convert(options: argparse.Namespace) -> int:
    profile = _load(options.input, options)
    try:
        if options.output == "-":
            formats.find(options.to or "speedscope").dump(profile, sys.stdout.buffer)
            sys.stdout.buffer.flush()
        else:
            with _progress(f"writing {options.output}"):
                profile.save(options.output, options.to)
    except BrokenPipeError:
        raise
    except OSError as error:
        raise _Failure(str(error)) from None
    return 0


def _diff(options: argparse.Namespace) -> int:
    from ._model import diff

    difference = diff(_load(options.before, options), _load(options.after, options))
    if options.output is None:
        print(difference)
        return 0
    try:
        with _progress(f"writing {options.output}"):
            difference.save(options.output)
    except (OSError, ValueError) as error:
        raise _Failure(str(error)) from None
    return 0


_BASH = """\
_spprof() {
    local word=${COMP_WORDS[COMP_CWORD]} command=${COMP_WORDS[1]}
    if ((COMP_CWORD == 1)); then
        COMPREPLY=($(compgen -W "%(commands)s --help --version" -- "$word"))
        return
    fi
    case $command in
%(cases)s
    esac
    if [[ $word == -* ]]; then
        COMPREPLY=($(compgen -W "$options" -- "$word"))
    else
        COMPREPLY=($(compgen -f -- "$word"))
    fi
}
complete -o filenames -F _spprof spprof
"""


def _completion(options: argparse.Namespace) -> int:
    parser = _parser()
    (subparsers,) = [
        action for action in parser._actions if isinstance(action, argparse._SubParsersAction)
    ]
    cases = []
    for name, command in subparsers.choices.items():
        words = " ".join(s for action in command._actions for s in action.option_strings)
        cases.append(f'        {name}) local options="{words}" ;;')
    if options.shell == "zsh":
        print("autoload -U +X bashcompinit && bashcompinit")
    print(_BASH % {"commands": " ".join(subparsers.choices), "cases": "\n".join(cases)}, end="")
    return 0


# The terminal


class _Style:
    """Colours, where the output is a terminal that wants them (https://no-color.org)."""

    def __init__(self, wish: str) -> None:
        self.terminal = sys.stdout.isatty()
        automatic = self.terminal and not os.environ.get("NO_COLOR") and _is_capable()
        self._on = wish == "always" or (wish == "auto" and automatic)

    def _paint(self, code: str, text: str) -> str:
        return f"\x1b[{code}m{text}\x1b[0m" if self._on and text else text

    def bold(self, text: str) -> str:
        return self._paint("1", text)

    def dim(self, text: str) -> str:
        return self._paint("2", text)

    def native(self, text: str) -> str:
        return self._paint("36", text)

    def warn(self, text: str) -> str:
        return self._paint("33", text)

    def heat(self, text: str, share: float) -> str:
        if share >= 0.2:
            return self._paint("31", text)
        return self._paint("33", text) if share >= 0.05 else text


def _is_capable() -> bool:
    return os.environ.get("TERM", "") not in ("", "dumb")


@contextmanager
def _progress(what: str, stream: TextIO | None = None) -> Iterator[None]:
    """Say on a terminal what is being done, once it has taken a second."""
    stream = stream or sys.stderr
    try:
        shown = stream.isatty()
    except ValueError:
        shown = False
    if not shown:
        yield
        return
    done = threading.Event()
    began = time.monotonic()

    def show() -> None:
        if done.wait(1):
            return
        while not done.wait(0.5):
            stream.write(f"\rspprof: {what} ... {time.monotonic() - began:.0f} s")
            stream.flush()
        stream.write("\r\x1b[K")
        stream.flush()

    shower = threading.Thread(target=show, name="spprof progress", daemon=True)
    try:
        shower.start()
    except RuntimeError:
        # From 3.12 on no thread starts once the interpreter is ending.
        yield
        return
    try:
        yield
    finally:
        done.set()
        shower.join()
