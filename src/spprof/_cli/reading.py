"""Reading the profile that a command is given.

Must not know what the command does with it.
"""

from __future__ import annotations

import argparse

from .._profile import model
from .failure import Failure
from .terminal import progress


def load(path: str, options: argparse.Namespace) -> model.Profile:
    """Read a profile; what is wrong with the file ends the command."""
    interval = {} if options.interval is None else {"interval_ms": options.interval}
    try:
        with progress(f"reading {path}"):
            return model.load(path, **interval)
    except OSError as error:
        raise Failure(f"{path}: {error.strerror or error}") from None
    except ValueError as error:
        raise Failure(str(error)) from None
