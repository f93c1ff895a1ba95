"""Showing a profile in the browser from a loopback server: `spprof view` and `Profile.open`.

Must not know command line options, nor how samples are taken. Only someone who knows the
unguessable path gets an answer; nothing listens on any other interface than loopback.
"""

from __future__ import annotations

import json
import secrets
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from .._profile.model import Profile
from ..formats import html
from ..formats._front_end import asset
from .browser import Redirect

# How long after the last page went away the server ends: time enough to reload it.
_GRACE_SECONDS = 3.0

# A page holds this connection open while it is shown; the server sees it close.
_ALIVE = "new EventSource({path});"


# How long `Profile.open` waits for a browser that has yet to start.
_PATIENCE_SECONDS = 20.0


def show(profile: Profile, *, speedscope: bool = False) -> None:
    """See `Profile.open`."""
    viewer = Viewer(profile, "", speedscope=speedscope)
    threading.Thread(target=viewer.serve, name="spprof viewer", daemon=True).start()
    redirect = Redirect(viewer.url)
    try:
        if redirect.open():
            # A program that ends at once would take the page away from a browser that starts.
            viewer.wait_until_seen(_PATIENCE_SECONDS)
        else:
            print(f"There is no browser here; the profile is shown at {viewer.url}")
    finally:
        redirect.close()


class Viewer:
    """A server for one profile.

    Parameters
    ----------
    profile : Profile
    title : str
    speedscope : bool
        Show it in the bundled Speedscope instead of spprof's own views.
    port : int
        0 for any free one.

    Raises
    ------
    FileNotFoundError
        The front end is not built.
    OSError
        The port is taken.
    """

    def __init__(
        self, profile: Profile, title: str, *, speedscope: bool = False, port: int = 0
    ) -> None:
        self._root = f"/{secrets.token_urlsafe(24)}/"
        alive = _ALIVE.format(path=json.dumps(self._root + "alive"))
        self._pages: dict[str, tuple[str, bytes]] = {}
        if speedscope:
            self._add("speedscope.json", "application/json", _speedscope_document(profile, title))
            self._add("", "text/html; charset=utf-8", _speedscope_page(alive))
        else:
            # The page stays on this machine, so that it may show the sources which are on it.
            page = html.page(
                profile._tables, title=title or None, sources=True, script=alive, connect="'self'"
            )
            self._add("", "text/html; charset=utf-8", b"".join(page))
        self._server = _Server(("127.0.0.1", port), _Handler)
        self._server.viewer = self
        address = f"http://127.0.0.1:{self._server.server_address[1]}{self._root}"
        self.url = f"{address}#profileURL={self._root}speedscope.json" if speedscope else address
        self._lock = threading.Lock()
        self._open = 0
        self._seen = threading.Event()
        self._closed_at = 0.0

    def _add(self, name: str, kind: str, content: bytes) -> None:
        self._pages[self._root + name] = kind, content

    def serve(self) -> None:
        """Answer requests until the page was closed; returns then."""
        threading.Thread(target=self._end_when_closed, daemon=True).start()
        self._server.serve_forever(poll_interval=0.2)
        self._server.server_close()

    def wait_until_seen(self, seconds: float) -> bool:
        """Wait until a page is shown, at most so long; whether one was."""
        return self._seen.wait(seconds)

    def close(self) -> None:
        """Make `serve` return."""
        self._server.shutdown()

    def _end_when_closed(self) -> None:
        while True:
            time.sleep(0.2)
            with self._lock:
                gone = self._seen.is_set() and not self._open
                if gone and time.monotonic() - self._closed_at > _GRACE_SECONDS:
                    break
        self.close()

    def opened(self) -> None:
        """A page is being shown."""
        with self._lock:
            self._open += 1
        self._seen.set()

    def closed(self) -> None:
        """A page is no longer shown."""
        with self._lock:
            self._open -= 1
            self._closed_at = time.monotonic()

    def page(self, path: str) -> tuple[str, bytes] | None:
        """Content type and content at a path; None where there is nothing."""
        return self._pages.get(path)

    @property
    def alive_path(self) -> str:
        """Where pages keep a connection open."""
        return self._root + "alive"

    def is_for_us(self, host: str | None) -> bool:
        """Whether a Host header names loopback: a rebound name of a foreign site does not."""
        port = self._server.server_address[1]
        return host in (f"127.0.0.1:{port}", f"localhost:{port}")


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    viewer: Viewer


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: _Server

    def do_GET(self) -> None:
        viewer = self.server.viewer
        path = self.path.split("?", 1)[0]
        found = viewer.page(path)
        if not viewer.is_for_us(self.headers.get("Host")):
            self.send_error(403)
        elif path == viewer.alive_path:
            self._stay()
        elif found is None:
            self.send_error(404)
        else:
            kind, content = found
            self.send_response(200)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(content)))
            self.send_header("Cache-Control", "no-store")
            self.send_header("X-Content-Type-Options", "nosniff")
            self.send_header("Referrer-Policy", "no-referrer")
            self.send_header("Cross-Origin-Resource-Policy", "same-origin")
            self.end_headers()
            self.wfile.write(content)

    def _stay(self) -> None:
        viewer = self.server.viewer
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream")
        self.send_header("Cache-Control", "no-store")
        self.send_header("Connection", "close")
        self.end_headers()
        viewer.opened()
        try:
            while True:
                # A comment of the event stream; writing it is how a closed page is noticed.
                self.wfile.write(b": still there\n\n")
                time.sleep(0.5)
        except OSError:
            self.close_connection = True
        finally:
            viewer.closed()

    def log_message(self, format: str, *args: Any) -> None:
        return None  # the terminal belongs to the user


def _speedscope_document(profile: Profile, title: str) -> bytes:
    return json.dumps(profile.to_speedscope(title or None), separators=(",", ":")).encode("ascii")


def _speedscope_page(alive: str) -> bytes:
    page = asset("speedscope/index.html")
    return page.replace(b"</body>", f"<script>{alive}</script></body>".encode("ascii"))
