"""What a Pyroscope server gets, and what the program notices where there is none: nothing."""

from __future__ import annotations

import email
import json
import logging
import threading
import time
import urllib.parse
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any

import pytest

import spprof
from spprof._profile.model import loads
from spprof.pyroscope import Pusher, PushError, push


class Server:
    """A server on this machine that keeps what it is sent."""

    def __init__(self) -> None:
        self.got: list[tuple[dict[str, str], dict[str, bytes], Any]] = []
        self.status, self.words = 200, b""
        ours = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                place = urllib.parse.urlsplit(self.path)
                query = dict(urllib.parse.parse_qsl(place.query))
                head = f"Content-Type: {self.headers['Content-Type']}\r\n\r\n".encode()
                form = email.message_from_bytes(head + body)
                parts = {
                    str(part.get_param("name", header="Content-Disposition")): part.get_payload(
                        decode=True
                    )
                    for part in form.walk()
                    if not part.is_multipart()
                }
                ours.got.append(({**query, "path": place.path}, parts, self.headers))
                self.send_response(ours.status)
                self.end_headers()
                self.wfile.write(ours.words)

            def log_message(self, *_: object) -> None:
                pass

        self._server = HTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,))
        self._thread.start()

    def end(self) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


@pytest.fixture
def server() -> Iterator[Server]:
    server = Server()
    yield server
    server.end()


def burn(seconds: float) -> None:
    end = time.thread_time() + seconds
    while time.thread_time() < end:
        sum(range(200))


def test_a_profile_arrives_whole(server: Server, make_profile) -> None:
    profile = make_profile(mode="cpu")
    key = {"Authorization": "Bearer abc"}
    push(profile, server.url + "/", "shop", labels={"region": "eu", "pod": "a-1"}, headers=key)
    ((query, parts, headers),) = server.got
    assert query["path"] == "/ingest"
    assert query["name"] == "shop{region=eu,pod=a-1}"
    assert query["format"] == "pprof"
    assert int(query["from"]) <= profile.start_time.timestamp() < int(query["from"]) + 1
    assert int(query["until"]) - 1 < profile.end_time.timestamp() <= int(query["until"])
    assert headers["Authorization"] == "Bearer abc"
    again = loads(parts["profile"])
    assert again.total_weight_ns == profile.total_weight_ns
    assert {f.function_name for f in again.top(None)} == {
        f.function_name for f in profile.top(None)
    }
    types = json.loads(parts["sample_type_config"])
    assert types["cpu"]["units"] == "nanoseconds"


def test_a_server_that_does_not_take_it_is_named_with_its_words(server, make_profile) -> None:
    server.status, server.words = 422, b"no such tenant" + b"!" * 10_000
    with pytest.raises(PushError, match=rf"^{server.url} does not take .*: 422 no such") as caught:
        push(make_profile(9), server.url, "shop")
    assert len(str(caught.value)) < 400


def test_a_server_that_is_not_there(make_profile) -> None:
    with pytest.raises(PushError, match=r"^http://127\.0\.0\.1:9 cannot be reached: .*refused"):
        push(make_profile(9), "http://127.0.0.1:9", "shop")


@pytest.mark.parametrize(
    ("url", "name", "labels"),
    [
        ("file:///etc/passwd", "shop", {}),
        ("localhost:4040", "shop", {}),
        ("http://", "shop", {}),
        ("http://localhost", "", {}),
        ("http://localhost", "shop{a=b}", {}),
        ("http://localhost", "shop", {"a": "b,c=d"}),
    ],
)
def test_what_cannot_be_meant_is_refused_before_anything_is_sent(
    url: str, name: str, labels: dict[str, str], make_profile
) -> None:
    with pytest.raises(ValueError, match=r"should be that of a server|names and labels"):
        push(make_profile(9), url, name, labels=labels)
    with pytest.raises(ValueError, match=r"should be that of a server|names and labels"):
        Pusher(url, name, labels=labels)


def test_a_program_is_sent_a_while_at_a_time(server: Server) -> None:
    before = threading.active_count()
    with Pusher(server.url, "shop", every_s=0.2, interval_ms=1):
        while len(server.got) < 2:
            burn(0.05)
        burn(0.1)
    assert threading.active_count() == before
    assert not spprof.is_active()
    profiles = [loads(parts["profile"]) for _, parts, _ in server.got]
    assert len(profiles) >= 3  # the last one when it was stopped
    for profile in profiles[:2]:
        burned = [f for f in profile.top(None) if f.function_name == "burn"]
        assert burned[0].total_ns > 0.6 * profile.total_weight_ns
        # It may be met before it has asked not to be.
        ours = sum(t.weight_ns for t in profile.threads if "pyroscope" in t.thread_name)
        assert ours < 0.1 * profile.total_weight_ns


def test_without_a_server_the_program_goes_on(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.WARNING, "spprof.pyroscope")
    with Pusher("http://127.0.0.1:9", "shop", every_s=0.1):
        burn(0.25)
    assert not spprof.is_active()
    assert "http://127.0.0.1:9 cannot be reached" in caplog.text


def test_options_that_there_are_not_are_logged(caplog: pytest.LogCaptureFixture) -> None:
    with Pusher("http://127.0.0.1:9", "shop", interval_ms=-1):
        pass
    assert "no more profiles are sent" in caplog.text
    assert "interval_ms" in caplog.text


def test_a_session_of_the_programs_own_comes_first(server: Server) -> None:
    with spprof.Profiler(1) as profiler:
        with Pusher(server.url, "shop", every_s=0.1):
            burn(0.25)
        assert spprof.is_active()
    assert profiler.profile is not None
    assert profiler.profile.total_weight_ns > 0.2e9
    assert server.got == []
