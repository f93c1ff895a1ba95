"""`spprof run`: a program under the profiler, its profile saved when it ends.

Must not know how a program is run: `runner` does.
"""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

from .._profile.tables import MODES
from ..formats import files, registry
from .arguments import add_command, formats_help
from .failure import Failure
from .terminal import progress

if TYPE_CHECKING:
    from .._profile.model import Profile


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


def add_to(commands: Any) -> None:
    """Add the command to the parser."""
    parser = add_command(
        commands,
        "run",
        "run a program under the profiler",
        "examples:\n"
        "  spprof run script.py --its-own option\n"
        "  spprof run -o prof.html -i 1 -m package.module argument\n"
        "  spprof run --mode wall --native server.py\n\n"
        "formats, by the ending of -o or by --format:\n" + formats_help() + "\n\n"
        "The program has its own arguments, signals, standard streams and exit status. The\n"
        "profile is saved when it ends: normally, by an exception, by sys.exit(), by Ctrl-C or\n"
        "by SIGTERM or SIGHUP. It is not after os._exit(), os.exec*() and SIGKILL.",
    )
    parser.usage = "spprof run [options] (script | -m module | -c code) [arguments]"
    parser.add_argument(
        "-o", "--output", metavar="FILE", help="where to save the profile (default: NAME.spprof)"
    )
    parser.add_argument(
        "-f", "--format", choices=list(registry.FORMATS), help="format (default: by FILE's ending)"
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
        choices=list(MODES),
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
    parser.set_defaults(command=run, parser=parser, kind=None, program=[])


def run(options: argparse.Namespace) -> int:
    """Run the command; returns the exit status."""
    # Imported here: the other commands need no sampling, and work where it does not.
    from .._session import session
    from . import runner

    if not options.program or options.program == ["--"]:
        options.parser.error("what should be run? A script, -m module, or -c code")
    target, *arguments = [part for i, part in enumerate(options.program) if i or part != "--"]
    try:
        prepare = {"script": runner.script, "-m": runner.module, "-c": runner.command}
        program = prepare[options.kind](target, arguments)
    except runner.CannotRun as error:
        print(f"spprof run: {error}", file=sys.stderr)
        return 2
    except SyntaxError as error:
        sys.excepthook(SyntaxError, error.with_traceback(None), None)
        return 1

    name = {"script": Path(target).stem, "-m": target.rpartition(".")[2], "-c": "command"}
    # Absolute, as the program may change the directory.
    output = Path.cwd() / (options.output or f"{name[options.kind] or 'profile'}.spprof")
    try:
        files.check_writable(output)
    except OSError as error:
        raise Failure(str(error)) from None

    def start() -> None:
        try:
            session.start(
                options.interval,
                memory_limit_mb=options.memory_limit,
                mode=options.mode,
                aggregate=options.aggregate,
                native=options.native,
            )
        except (ValueError, RuntimeError) as error:
            raise Failure(str(error)) from None

    # The program may close or replace the streams of the process.
    terminal = sys.stderr

    def finish(profile: Profile | None) -> None:
        if profile is None:
            _say("the program stopped the profiler itself; nothing was saved", terminal)
            return
        try:
            with progress(f"saving {output.name}", terminal):
                profile.save(output, options.format)
        except OSError as error:
            _say(f"the profile was not saved: {error}", terminal)
            return
        if not options.quiet:
            _say(f"{profile}\n\nsaved: {output}\nview:  spprof view {_short(output)}", terminal)

    return runner.run(program, start, finish)


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
