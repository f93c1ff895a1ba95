"""Profiles sent to a Pyroscope server: one at a time, or of a program all the while it runs.

Nothing is sent unless this is imported and asked for it. Must not know how a profile is recorded,
nor how pprof looks inside.
"""

from __future__ import annotations

import json
import logging
import math
import secrets
import threading
import urllib.parse
from collections.abc import Mapping
from typing import Any

from ._profile.model import Profile
from ._session import session
from .formats.registry import FORMATS

logger = logging.getLogger(__name__)

_MOST_OF_AN_ANSWER = 200  # characters that an error repeats
_RESERVED = frozenset('{}=,"\n')


class PushError(OSError):
    """A profile did not arrive; the message says where and why."""


def push(
    profile: Profile,
    url: str,
    name: str,
    *,
    labels: Mapping[str, str] | None = None,
    headers: Mapping[str, str] | None = None,
    timeout_s: float = 10.0,
) -> None:
    """Send a profile to a Pyroscope server, as pprof: names, files and lines of functions go along.

    Parameters
    ----------
    profile : Profile
    url : str
        Of the server, such as ``http://localhost:4040``; of Grafana Cloud with `headers`.
    name : str
        Of the application.
    labels : mapping of str to str, optional
        By which Pyroscope tells its profiles apart, such as ``{"region": "eu"}``.
    headers : mapping of str to str, optional
        Sent along, such as ``{"Authorization": "Bearer ..."}`` or ``{"X-Scope-OrgID": "..."}``.
    timeout_s : float
        Seconds that each step of the transfer may take.

    Raises
    ------
    PushError
        The server is not there, or does not take it.
    ValueError
        `url` is none of HTTP, or `name` or a label has a character that may not be in it.
    """
    # Together they take as long to import as all the rest of spprof.
    import urllib.error
    import urllib.request
    from http.client import HTTPException

    base = _checked_url(url)
    query = urllib.parse.urlencode(
        {
            "name": _full_name(name, labels or {}),
            "from": math.floor(profile.start_time.timestamp()),
            "until": math.ceil(profile.end_time.timestamp()),
            "format": "pprof",
            "spyName": "spprof",
        }
    )
    kind = profile.mode or "time"
    types = {
        "samples": {"units": "samples", "aggregation": "sum", "sampled": False},
        kind: {"units": "nanoseconds", "aggregation": "sum", "sampled": False},
    }
    parts = {
        "profile": FORMATS["pprof"].dumps(profile._tables),
        "sample_type_config": json.dumps(types).encode(),
    }
    boundary = secrets.token_hex(16)
    request = urllib.request.Request(
        f"{base}/ingest?{query}",
        data=_form(parts, boundary),
        headers={
            **(headers or {}),
            "Content-Type": f"multipart/form-data; boundary={boundary}",
        },
        method="POST",
    )
    try:
        with urllib.request.urlopen(request, timeout=timeout_s) as answer:
            answer.read(_MOST_OF_AN_ANSWER)
    except urllib.error.HTTPError as error:
        with error:
            said = error.read(_MOST_OF_AN_ANSWER).decode("utf-8", "replace").strip()
        raise PushError(f"{base} does not take the profile: {error.code} {said}") from None
    except (OSError, ValueError, HTTPException) as error:
        reason = getattr(error, "reason", error)
        raise PushError(f"{base} cannot be reached: {reason}") from None


class Pusher:
    """Profiles the program for a while at a time, and sends each of these profiles.

    A thread of its own does it. What goes wrong is logged (``spprof.pyroscope``), and nothing else:
    the program goes on. While it has a session of its own, none of these begins; while one of these
    goes on, ``spprof.start()`` says that the profiler is running already.

    Parameters
    ----------
    url, name, labels, headers
        As those of `push`.
    every_s : float
        Seconds of one profile.
    **options
        Of `start`, such as ``interval_ms`` and ``mode``.

    Examples
    --------
    >>> with spprof.pyroscope.Pusher("http://localhost:4040", "shop", labels={"region": "eu"}):
    ...     serve()
    """

    def __init__(
        self,
        url: str,
        name: str,
        *,
        labels: Mapping[str, str] | None = None,
        headers: Mapping[str, str] | None = None,
        every_s: float = 15.0,
        **options: Any,
    ) -> None:
        _checked_url(url)
        _full_name(name, labels or {})
        if not 0.1 <= every_s <= 86_400:
            raise ValueError(f"every_s must be from 0.1 to 86400 seconds, not {every_s!r}")
        self._url, self._name, self._labels, self._headers = url, name, labels, headers
        self._every_s = every_s
        self._options = options
        self._over = threading.Event()
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Begin; returns at once."""
        if self._thread is None:
            self._over.clear()
            self._thread = threading.Thread(target=self._run, name="spprof pyroscope", daemon=True)
            self._thread.start()

    def stop(self) -> None:
        """Send what was recorded so far, and end."""
        thread, self._thread = self._thread, None
        if thread is not None:
            self._over.set()
            thread.join()

    def __enter__(self) -> Pusher:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def _run(self) -> None:
        try:
            while not self._over.is_set():
                self._round()
        except Exception:
            logger.exception("no more profiles are sent")

    def _round(self) -> None:
        try:
            session.start(**self._options)
        except RuntimeError as error:
            logger.info("no profile now: %s", error)
            self._over.wait(self._every_s)
            return
        session.unregister_thread()  # what it does itself is not the program's
        self._over.wait(self._every_s)
        try:
            profile = session.stop()
        except RuntimeError:
            return  # the program has stopped it, and has the profile
        try:
            push(profile, self._url, self._name, labels=self._labels, headers=self._headers)
        except PushError as error:
            logger.warning("%s", error)


def _checked_url(url: str) -> str:
    parts = urllib.parse.urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ValueError(f"url should be that of a server, such as http://localhost:4040: {url!r}")
    return url.rstrip("/")


def _full_name(name: str, labels: Mapping[str, str]) -> str:
    """An application with its labels, as Pyroscope writes them: ``shop{region=eu}``."""
    for text in (name, *labels, *labels.values()):
        if not text or _RESERVED & set(text):
            raise ValueError(f'names and labels are text without {{}}=," and line ends: {text!r}')
    pairs = ",".join(f"{key}={value}" for key, value in labels.items())
    return f"{name}{{{pairs}}}" if pairs else name


def _form(parts: Mapping[str, bytes], boundary: str) -> bytes:
    """Files as a form has them."""
    lines = []
    for name, data in parts.items():
        lines.append(
            f'--{boundary}\r\nContent-Disposition: form-data; name="{name}"; filename="{name}"\r\n'
            "Content-Type: application/octet-stream\r\n\r\n".encode()
        )
        lines += [data, b"\r\n"]
    return b"".join([*lines, f"--{boundary}--\r\n".encode()])
