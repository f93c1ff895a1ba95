"""`spprof view`: a profile in the browser, until its page is closed.

Must not know how it is served: `viewer` does.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from .arguments import add_command, add_interval, formats_help, port
from .browser import Redirect
from .failure import Failure
from .reading import load
from .terminal import progress, write


def add_to(commands: Any) -> None:
    """Add the command to the parser."""
    parser = add_command(
        commands,
        "view",
        "look at a profile in the browser",
        "examples:\n"
        "  spprof view profile.spprof\n"
        "  spprof view --speedscope py-spy.json\n\n"
        "The page comes from this machine alone and the command ends when it is closed.\n\n"
        "files that can be read:\n" + formats_help(readable=True),
    )
    parser.add_argument("file")
    parser.add_argument(
        "--speedscope", action="store_true", help="in the bundled Speedscope instead"
    )
    parser.add_argument("--port", type=port, default=0, help="loopback port (default: a free one)")
    parser.add_argument("--no-browser", action="store_true", help="print the address only")
    add_interval(parser)
    parser.set_defaults(command=view)


def view(options: argparse.Namespace) -> int:
    """Run the command; returns the exit status."""
    from .viewer import Viewer

    profile = load(options.file, options)
    title = Path(options.file).name
    try:
        with progress(f"preparing {title}"):
            viewer = Viewer(profile, title, speedscope=options.speedscope, port=options.port)
    except OSError as error:
        raise Failure(str(error)) from None
    redirect = Redirect(viewer.url)
    try:
        shown = not options.no_browser and redirect.open()
        write(viewer.url if not shown else f"{title} is shown in the browser: {viewer.url}")
        print("This ends when the page is closed, or with Ctrl-C.", flush=True)
        viewer.serve()
    except KeyboardInterrupt:
        print()
    finally:
        redirect.close()
    return 0
