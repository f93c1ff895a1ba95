"""`spprof dump`: where all threads of a process are now.

Must not know how the process is reached: `remote` does.
"""

from __future__ import annotations

import argparse
import json
import os
import tempfile
from pathlib import Path
from typing import Any

from .._profile.words import shown
from .._session import remote
from .arguments import add_command
from .failure import Failure
from .terminal import Style, write


def add_to(commands: Any) -> None:
    """Add the command to the parser."""
    parser = add_command(
        commands,
        "dump",
        "print the stacks of all threads of a process that runs already",
        "examples:\n"
        "  spprof dump 4242\n"
        "  spprof dump --json 4242 | jq '.threads[].name'\n\n"
        "Python 3.14 or later, the same there as here, and the same user. The main thread of the\n"
        "process tells it, where it next runs Python code.",
    )
    parser.add_argument("pid", type=int, metavar="PID")
    parser.add_argument("--json", action="store_true", help="the same for programs")
    parser.add_argument(
        "--timeout",
        type=float,
        default=5.0,
        metavar="S",
        help="wait so long until Python code runs there (default: 5)",
    )
    parser.add_argument(
        "--color", choices=["auto", "always", "never"], default="auto", help="(default: auto)"
    )
    parser.set_defaults(command=dump)


def dump(options: argparse.Namespace) -> int:
    """Run the command; returns the exit status."""
    try:
        found = stacks_of(options.pid, options.timeout)
    except (remote.Unreachable, OSError) as error:
        raise Failure(str(error)) from None
    if options.json:
        write(json.dumps(found, indent=1))
    else:
        _print(found, Style(options.color))
    return 0


def stacks_of(pid: int, timeout: float) -> dict[str, Any]:
    """What a process tells of its threads: each with its name and stack, innermost first.

    Parameters
    ----------
    pid : int
    timeout : float
        In seconds.

    Raises
    ------
    Unreachable
        The process cannot be asked, or does not answer in time.
    OSError
        There is no place for its answer.
    """
    remote.check(pid)
    source = Path(__file__).with_name("dump_there.py").read_text(encoding="utf-8")
    with tempfile.TemporaryDirectory(prefix="spprof-dump-") as folder:
        answer = os.path.join(folder, "answer")
        script = os.path.join(folder, "script.py")
        Path(script).write_text(f"{source}\n\nwrite({answer!r})\n", encoding="utf-8")
        remote.run(pid, script)

        def give_up() -> None:
            raise remote.Unreachable(
                f"process {pid} did not answer within {timeout:g} s: its main thread waits "
                "in a system call or in C code, and tells it when Python code runs there "
                "(--timeout waits longer)"
            )

        remote.wait(pid, lambda: os.path.exists(answer), timeout, give_up)
        found: dict[str, Any] = json.loads(Path(answer).read_text(encoding="utf-8"))
    return found


def _print(found: dict[str, Any], style: Style) -> None:
    command = shown(" ".join(found["argv"]), 200)
    write(style.bold(f"process {found['pid']}, Python {found['python']}: {command}"))
    for thread in found["threads"]:
        daemon = ", daemon" if thread["daemon"] else ""
        name = thread["name"] or "a thread that threading does not know"
        write(f"\n{style.bold(shown(name))} ({thread['tid']}{daemon})")
        for function, file, line in thread["stack"]:
            write(f"  {shown(function)}  {style.dim(f'{shown(file, 1000)}:{line}')}")
        if not thread["stack"]:
            write("  runs no Python code")
