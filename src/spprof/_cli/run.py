"""`spprof run`: a program under the profiler, its profile saved when it ends.

Python itself runs the program, in the process of this command, so that nothing differs for it;
the profiler gets in by a `sitecustomize` (see `startup`) and stands by (see `inside`).
"""

from __future__ import annotations

import argparse
import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

from .._session import session
from .._session.options import Options
from ..formats import files, registry
from .arguments import add_command, add_format, add_sampling, formats_help
from .failure import Failure


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
        "by SIGTERM or SIGHUP. It is not after os._exit(), os.exec*() and SIGKILL. Child\n"
        "processes are in it with --processes, however they end.",
    )
    parser.usage = "spprof run [options] (script | -m module | -c code) [arguments]"
    parser.add_argument(
        "-o", "--output", metavar="FILE", help="where to save the profile (default: NAME.spprof)"
    )
    add_format(parser, list(registry.FORMATS))
    add_sampling(parser, float)
    parser.add_argument(
        "--memory-limit",
        type=float,
        default=100,
        metavar="MiB",
        help="memory for the profile; beyond it timestamps are given up (default: 100)",
    )
    parser.add_argument(
        "--aggregate", action="store_true", help="keep counts only: constant memory for long runs"
    )
    parser.add_argument("--native", action="store_true", help="C and C++ frames too")
    parser.add_argument(
        "--processes", action="store_true", help="the Python processes that the program makes too"
    )
    parser.add_argument("-q", "--quiet", action="store_true", help="print no summary")
    rest = argparse.REMAINDER
    for option, what in (("-m", "module"), ("-c", "code")):
        parser.add_argument(
            option, dest="program", nargs=rest, action=_ProgramAction, metavar=(what, "...")
        )
    parser.add_argument("program", nargs=rest, action=_ProgramAction, help=argparse.SUPPRESS)
    parser.set_defaults(command=run, parser=parser, kind=None, program=[])


def run(options: argparse.Namespace) -> int:
    """Have Python run the program, with the profiler in it; returns only where it cannot."""
    if not options.program or options.program == ["--"]:
        options.parser.error("what should be run? A script, -m module, or -c code")
    target, *arguments = [part for i, part in enumerate(options.program) if i or part != "--"]
    name = {"script": Path(target).stem, "-m": target.rpartition(".")[2], "-c": "command"}
    # Absolute, as the program may change the directory.
    output = Path.cwd() / (options.output or f"{name[options.kind].strip('-') or 'profile'}.spprof")
    session_options = {
        "interval_ms": options.interval,
        "memory_limit_mb": options.memory_limit,
        "mode": options.mode,
        "aggregate": options.aggregate,
        "native": options.native,
        "processes": options.processes,
    }
    _check_before(Options(**session_options), output, options.format)
    request = {
        "options": session_options,
        "output": str(output),
        "format": options.format,
        "quiet": options.quiet,
        "kind": options.kind,
        "program_path": _program_path(options.kind, target),
    }
    first = [] if options.kind == "script" else [options.kind]
    # Where there is nothing to profile, Python says so by itself.
    missing = options.kind == "script" and not _is_there(target)
    return _become([*first, target, *arguments], None if missing else json.dumps(request))


def _check_before(options: Options, output: Path, format: str | None) -> None:
    """Refuse, before anything runs, what would only fail after it."""
    try:
        session.check(options)
        files.check_writable(output)
        chosen = registry.for_path(output) if format is None else registry.find(format)
        chosen.prepare()
    except (OSError, RuntimeError, ValueError) as error:
        raise Failure(str(error)) from None


def _is_there(path: str) -> bool:
    """Whether there is such a script, as far as can be said without running it."""
    if path == "-" or os.path.isdir(path):
        return True
    try:
        with open(path, "rb"):
            return True
    except OSError:
        return False


def _is_safe() -> bool:
    """Whether Python puts nothing of the program's first on its path."""
    return bool(getattr(sys.flags, "safe_path", sys.flags.isolated))


def _program_path(kind: str, target: str) -> list[str]:
    """What Python puts first on the path for the program."""
    if _is_safe():
        return []
    if kind != "script" or target == "-":
        return [os.getcwd()]
    real = os.path.realpath(target)
    is_archive = os.path.isdir(real) or not target.endswith((".py", ".pyc"))
    return [real, os.path.dirname(real)] if is_archive else [os.path.dirname(real)]


def _interpreter_flags() -> list[str]:
    """The options that Python itself was given, before those of `spprof`."""
    given: list[str] | None = getattr(sys, "orig_argv", None)
    if given is None:  # until 3.9
        inherited: list[str] = subprocess._args_from_interpreter_flags()  # type: ignore[attr-defined]
        return inherited
    flags: list[str] = []
    rest = iter(given[1:])
    for part in rest:
        if not part.startswith("-") or part == "-":
            break
        if part.startswith("--"):
            flags += [part, next(rest, "")] if part == "--check-hash-based-pycs" else [part]
            continue
        letters = re.match("-[^cmWX]*", part)
        before = letters[0] if letters is not None else "-"
        end = part[len(before) :]
        if end[:1] in ("c", "m"):  # what follows is no option of Python's
            return flags + ([before] if before != "-" else [])
        flags.append(part)
        if len(end) == 1:
            flags.append(next(rest, ""))
    return flags


def _become(arguments: list[str], request: str | None) -> int:
    """Become Python running the program; it starts the profiler first (see `startup`)."""
    flags = _interpreter_flags()
    if sys.flags.no_site or not sys.executable:
        raise Failure("spprof run needs Python's site module: run it without -S")
    environment = dict(os.environ)
    if request is not None and sys.flags.ignore_environment:
        # Python would not look for us either: without what it ignores, there is nothing to ignore.
        flags = [flag for flag in flags if flag not in ("-I", "-E")]
        if sys.flags.isolated:
            flags += ["-s", *(["-P"] if sys.version_info >= (3, 11) else [])]
        environment = {k: v for k, v in environment.items() if not k.startswith("PYTHON")}
    if request is not None:
        package = Path(__file__).resolve().parents[1]
        before = environment.get("PYTHONPATH")
        if before is not None:
            environment["SPPROF_RUN_PYTHONPATH"] = before
        startup = str(package / "_cli" / "startup")
        environment["PYTHONPATH"] = os.pathsep.join([startup, *([before] if before else [])])
        environment["SPPROF_RUN_PACKAGE"] = str(package.parent)
        environment["SPPROF_RUN"] = request
    command = [sys.executable, *flags, *arguments]
    sys.stdout.flush()
    sys.stderr.flush()
    if os.name != "nt":  # where exec would leave the caller behind
        os.execve(sys.executable, command, environment)
    return _call(command, environment)


def _call(command: list[str], environment: dict[str, str]) -> int:
    """Run the program and wait for it; what ends it from the console is for it alone."""
    for name in ("SIGINT", "SIGBREAK"):
        number = getattr(signal, name, None)
        if number is not None:
            signal.signal(number, signal.SIG_IGN)
    return subprocess.call(command, env=environment)
