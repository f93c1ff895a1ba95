"""Opening an address in the browser without telling it to whoever lists this machine's processes.

The browser is given a private file that leads to the address. Must not know what is shown.
"""

from __future__ import annotations

import html
import os
import tempfile
import webbrowser
from pathlib import Path

_PAGE = """<!DOCTYPE html>
<meta charset="utf-8">
<meta name="referrer" content="no-referrer">
<meta http-equiv="refresh" content="0; url={url}">
<title>spprof</title>
<p>This page leads to <a href="{url}">the profile</a>.</p>
"""


class Redirect:
    """A file that leads to an address; for its owner only, and gone once it was closed.

    Parameters
    ----------
    url : str
    """

    def __init__(self, url: str) -> None:
        # The directory is its owner's alone; it goes with this object, or at exit.
        self._folder = tempfile.TemporaryDirectory(prefix="spprof-")
        self.path = Path(self._folder.name) / "open.html"
        descriptor = os.open(self.path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            file.write(_PAGE.format(url=html.escape(url)))

    def open(self) -> bool:
        """Open it; False where there is no browser."""
        return webbrowser.open(self.path.as_uri())

    def close(self) -> None:
        """Remove the file."""
        self._folder.cleanup()
