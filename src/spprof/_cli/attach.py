"""`spprof attach`: a profile of a process that runs already.

Must not know how the process is reached: `attaching` does.
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .._profile import text
from .._session import session
from .._session.options import Options
from .._session.remote import Unreachable
from ..formats import files, registry
from .arguments import add_command, add_format, add_sampling, milliseconds
from .failure import Failure
from .terminal import Style, write

if TYPE_CHECKING:
    from .._profile.model import Profile
    from .._session.attaching import Attachment

_LOOK_S, _LIVE_S = 0.1, 2.0
_LIVE_ROWS = 15


def add_to(commands: Any) -> None:
    """Add the command to the parser."""
    parser = add_command(
        commands,
        "attach",
        "profile a process that runs already",
        "examples:\n"
        "  spprof attach 4242                     until Ctrl-C\n"
        "  spprof attach 4242 --seconds 10 -o p.html\n"
        "  spprof attach 4242 live                the same, and where the time goes meanwhile\n"
        "  spprof attach 4242 start               begin and leave it to itself;\n"
        "  spprof attach 4242 stop                ... and have its profile later\n\n"
        "Python 3.14 or later, the same there as here, and the same user. The process begins\n"
        "where its main thread next runs Python code; processes that it makes from then on are\n"
        "in the profile too. A notebook's kernel can be attached to while a cell runs.",
    )
    parser.add_argument("pid", type=int, metavar="PID")
    parser.add_argument(
        "action", nargs="?", choices=["start", "stop", "live"], metavar="start|stop|live"
    )
    parser.add_argument(
        "-o", "--output", metavar="FILE", help="where to save it (default: attached-PID.spprof)"
    )
    add_format(parser, list(registry.FORMATS))
    parser.add_argument(
        "--seconds", type=float, metavar="S", help="so long at most (default: until Ctrl-C)"
    )
    add_sampling(parser, milliseconds)
    parser.add_argument("--native", action="store_true", help="C and C++ frames too")
    parser.add_argument(
        "--memory-limit",
        type=float,
        default=100,
        metavar="MiB",
        help="memory for the profile, there (default: 100)",
    )
    parser.set_defaults(command=attach)


def attach(options: argparse.Namespace) -> int:
    """Run the command; returns the exit status."""
    try:
        return _attach(options)
    except (Unreachable, ValueError, TypeError, OSError) as error:
        raise Failure(str(error)) from None


def _attach(options: argparse.Namespace) -> int:
    from .._session.attaching import Attachment

    output = Path(options.output or f"attached-{options.pid}.spprof")
    if options.action != "start":
        files.check_writable(output)
    if options.action == "stop":
        _save(Attachment.find(options.pid).stop(), output, options.format)
        return 0
    asked = Options(
        options.interval,
        memory_limit_mb=options.memory_limit,
        mode=options.mode,
        native=options.native,
    )
    attached = Attachment.begin(
        options.pid,
        asked,
        session.check(asked),
        stays=options.action == "start",
        waiting=lambda: print(
            f"Process {options.pid} has not begun yet: its main thread waits in a system call, or "
            "in C code. It begins when Python code runs there; Ctrl-C takes the wish back.",
            file=sys.stderr,
            flush=True,
        ),
    )
    if options.action == "start":
        write(f"process {options.pid} is profiled until `spprof attach {options.pid} stop`")
        return 0
    try:
        _watch(attached, options)
    except KeyboardInterrupt:
        print(file=sys.stderr)
    finally:
        profile = attached.stop()
        _save(profile, output, options.format)
    return 0


def _watch(attached: Attachment, options: argparse.Namespace) -> None:
    """Wait until the time is over, or the process; show what it does meanwhile where asked to."""
    how_long = "until Ctrl-C" if options.seconds is None else f"for {options.seconds:g} s"
    print(f"Process {options.pid} is profiled {how_long}.", file=sys.stderr, flush=True)
    begin = time.monotonic()
    next_look = begin + _LIVE_S
    style = Style("auto")
    while not attached.has_ended():
        left = _LOOK_S
        if options.seconds is not None:
            left = min(left, begin + options.seconds - time.monotonic())
        if left <= 0:
            return
        time.sleep(left)
        if options.action == "live" and time.monotonic() >= next_look:
            profile = attached.look()
            if profile is not None:
                _show(profile, style)
            next_look = time.monotonic() + _LIVE_S


def _show(profile: Profile, style: Style) -> None:
    if style.terminal:
        sys.stdout.write("\x1b[H\x1b[2J")
    write(text.summary(profile._tables, _LIVE_ROWS))
    write()
    sys.stdout.flush()


def _save(profile: Profile, output: Path, format: str | None) -> None:
    try:
        if format is None:
            profile.save(output)
        else:
            profile.save(output, format=format)
    except OSError as error:
        kept = registry.keep(profile._tables, output)
        more = f"; it is kept in {kept}" if kept is not None else ""
        raise Failure(f"the profile was not saved: {error}{more}") from None
    write(str(profile))
    write(f"saved to {output}")
