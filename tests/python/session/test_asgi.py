"""Requests of an ASGI application: whose time is whose while one loop serves all of them."""

from __future__ import annotations

import asyncio
import time

import pytest

import spprof
from spprof.asgi import Middleware


def burn(seconds: float) -> None:
    end = time.thread_time() + seconds
    while time.thread_time() < end:
        sum(range(100))


async def app(scope, receive, send) -> None:
    if scope["type"] == "lifespan":
        send("started")
        return
    for _ in range(10):
        burn(0.01 if scope["path"].startswith("/slow") else 0.002)
        await asyncio.sleep(0)
    send(scope["path"])


def served(*scopes, **options) -> tuple[spprof.Profile, list[str]]:
    sent: list[str] = []

    async def main() -> None:
        served_app = Middleware(app, **options)
        await asyncio.gather(*(served_app(scope, None, sent.append) for scope in scopes))

    with spprof.Profiler(interval_ms=1) as profiler:
        asyncio.run(main())
    return profiler.profile, sent


def http(path: str) -> dict[str, str]:
    return {"type": "http", "method": "GET", "path": path}


def test_each_request_has_its_own_time() -> None:
    slow, quick = http("/slow"), http("/quick")
    profile, sent = served(slow, quick, {"type": "lifespan"}, {"type": "websocket", "path": "/ws"})
    assert set(sent) == {"/slow", "/quick", "/ws", "started"}
    times = {(r.labels["method"], r.labels["path"]): r.own_ns / 1e9 for r in profile.regions()}
    assert set(times) == {("GET", "/slow"), ("GET", "/quick"), ("WEBSOCKET", "/ws")}
    assert times["GET", "/slow"] == pytest.approx(0.1, abs=0.04)
    assert times["GET", "/slow"] > 2 * times["GET", "/quick"]


def test_paths_of_a_kind_are_one() -> None:
    profile, _ = served(
        http("/slow/1"), http("/slow/2"), path=lambda scope: scope["path"].rpartition("/")[0]
    )
    assert {r.labels["path"] for r in profile.regions()} == {"/slow"}


def test_what_the_application_raises_arrives() -> None:
    async def broken(scope, receive, send) -> None:
        raise KeyError(scope["path"])

    with pytest.raises(KeyError, match="/x"):
        asyncio.run(Middleware(broken)(http("/x"), None, None))
