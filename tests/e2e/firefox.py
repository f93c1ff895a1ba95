"""A Firefox, driven over WebDriver BiDi: as much of the protocol as the tests need."""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import websocket

# As WebDriver calls the keys that write nothing.
TAB, ENTER, SHIFT, ESCAPE = "\ue004", "\ue007", "\ue008", "\ue00c"
END, HOME, PAGE_UP, DOWN = "\ue010", "\ue011", "\ue00e", "\ue015"


def executable() -> str | None:
    """Of SPPROF_FIREFOX, or on PATH."""
    named = os.environ.get("SPPROF_FIREFOX")
    return named or shutil.which("firefox-esr") or shutil.which("firefox")


class Tab:
    """One page of a running Firefox."""

    def __init__(self, address: str) -> None:
        # Firefox refuses connections that say which page they come from.
        self._socket = websocket.create_connection(address, timeout=180, suppress_origin=True)
        self._sent = 0
        self._do("session.new", capabilities={})
        # In the one that is there from the start the address has the focus, and no page ever.
        self._tab = self._do("browsingContext.create", type="tab")["context"]
        self._do("browsingContext.activate", context=self._tab)

    def _do(self, method: str, **params: Any) -> Any:
        self._sent += 1
        self._socket.send(json.dumps({"id": self._sent, "method": method, "params": params}))
        while True:
            message = json.loads(self._socket.recv())
            if message.get("id") == self._sent:
                assert message["type"] == "success", message
                return message["result"]

    def open(self, url: str, width: int = 1200, height: int = 900) -> None:
        size = {"width": width, "height": height}
        self._do("browsingContext.setViewport", context=self._tab, viewport=size)
        self._do("browsingContext.navigate", context=self._tab, url=url, wait="complete")

    def evaluate(self, expression: str) -> Any:
        """The value of an expression, promises awaited; as JSON."""
        answer = self._do(
            "script.evaluate",
            expression=f"(async () => JSON.stringify((await ({expression})) ?? null))()",
            target={"context": self._tab},
            awaitPromise=True,
        )
        assert answer["type"] == "success", answer
        return json.loads(answer["result"]["value"])

    def until(self, expression: str, seconds: float = 30) -> Any:
        """Wait until an expression is true; returns its value."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            value = self.evaluate(expression)
            if value:
                return value
            time.sleep(0.1)
        raise AssertionError(f"not within {seconds} s: {expression}")

    def press(self, *keys: str) -> None:
        actions = [{"type": kind, "value": key} for key in keys for kind in ("keyDown", "keyUp")]
        self._act({"type": "key", "id": "keys", "actions": actions})

    def press_together(self, *keys: str) -> None:
        downs = [{"type": "keyDown", "value": key} for key in keys]
        ups = [{"type": "keyUp", "value": key} for key in reversed(keys)]
        self._act({"type": "key", "id": "keys", "actions": downs + ups})

    def click(self, x: float, y: float) -> None:
        self.drag((x, y), (x, y))

    def drag(self, begin: tuple[float, float], end: tuple[float, float]) -> None:
        (x, y), (to_x, to_y) = begin, end
        actions = [
            {"type": "pointerMove", "x": round(x), "y": round(y)},
            {"type": "pointerDown", "button": 0},
            {"type": "pointerMove", "x": round(to_x), "y": round(to_y)},
            {"type": "pointerUp", "button": 0},
        ]
        self._act({"type": "pointer", "id": "mouse", "actions": actions})

    def _act(self, source: dict[str, Any]) -> None:
        self._do("input.performActions", context=self._tab, actions=[source])

    def close(self) -> None:
        with contextlib.suppress(Exception):
            self._do("browser.close")
        self._socket.close()


@contextlib.contextmanager
def running_firefox(folder: Path) -> Iterator[Tab]:
    path = executable()
    assert path is not None
    log = folder / "firefox.log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            [
                *(path, "--headless", "--no-remote", "--remote-debugging-port=0"),
                *("--profile", str(folder)),
            ],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            env={**os.environ, "HOME": str(folder)},
        )
    try:
        deadline = time.monotonic() + 60
        while (found := re.search(r"BiDi listening on (ws://\S+)", log.read_text())) is None:
            assert process.poll() is None, log.read_text()
            assert time.monotonic() < deadline, log.read_text()
            time.sleep(0.1)
        tab = Tab(f"{found[1]}/session")
        try:
            yield tab
        finally:
            tab.close()
    finally:
        process.terminate()
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
