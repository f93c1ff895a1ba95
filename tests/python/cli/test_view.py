"""`spprof view`: a loopback server for one page."""

from __future__ import annotations

import json
import os
import re
import select
import shutil
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path

import pytest
from programs import environment

import spprof
from spprof._cli.viewer import _GRACE_SECONDS


def read_line(stream, seconds: float = 20) -> str:
    ready, _, _ = select.select([stream], [], [], seconds)
    assert ready, "nothing was printed"
    return stream.readline()


def get(url: str, **headers: str):
    return urllib.request.urlopen(urllib.request.Request(url, headers=headers), timeout=10)


front_end = pytest.mark.skipif(
    not (Path(spprof.__file__).parent / "static" / "standalone.js").exists(),
    reason="the front end is not built",
)


@front_end
class TestView:
    @pytest.fixture
    def viewer(self, saved):
        def start(*options: str) -> tuple[subprocess.Popen[str], str]:
            child = subprocess.Popen(
                [sys.executable, "-m", "spprof", "view", "--no-browser", *options, "p.spprof"],
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
                env=environment(),
            )
            children.append(child)
            return child, read_line(child.stdout).strip()

        children: list[subprocess.Popen[str]] = []
        yield start
        for child in children:
            child.kill()
            child.communicate()

    def test_serves_the_page_at_an_unguessable_path_only(self, viewer) -> None:
        _, url = viewer()
        match = re.fullmatch(r"(http://127\.0\.0\.1:\d+)/([\w-]{32})/", url)
        assert match is not None
        with get(url) as answer:
            assert b'<div id="spprof-root">' in answer.read()
            assert answer.headers["Cache-Control"] == "no-store"
        for path in ("/", "/favicon.ico", f"/{match[2]}x/", f"/{match[2]}"):
            with pytest.raises(urllib.error.HTTPError, match="404"):
                get(match[1] + path)

    def test_refuses_other_names_for_this_machine(self, viewer) -> None:
        _, url = viewer()
        with pytest.raises(urllib.error.HTTPError, match="403"):
            get(url, Host="evil.example")

    def test_speedscope_gets_the_profile(self, viewer, saved) -> None:
        _, url = viewer("--speedscope")
        page, _, fragment = url.partition("#profileURL=")
        with get(page) as answer:
            assert b"speedscope" in answer.read()
        with get(page.split("/", 3)[0] + "//" + page.split("/", 3)[2] + fragment) as answer:
            document = json.load(answer)
        assert document == saved.to_speedscope("p.spprof")

    @pytest.mark.slow
    def test_ends_when_the_page_is_closed(self, viewer) -> None:
        child, url = viewer()
        with get(url + "alive") as stream:
            assert stream.readline().startswith(b":")
            time.sleep(1)
            assert child.poll() is None
        assert child.wait(timeout=20) == 0

    @pytest.mark.parametrize("options", [(), ("--speedscope",)])
    @pytest.mark.slow
    def test_in_a_browser(self, viewer, saved, options) -> None:
        sync_api = pytest.importorskip("playwright.sync_api")
        path = os.environ.get("SPPROF_CHROMIUM") or shutil.which("chromium")
        unsandboxed = ["--no-sandbox"] if hasattr(os, "geteuid") and os.geteuid() == 0 else []
        child, url = viewer(*options)
        with sync_api.sync_playwright() as playwright:
            try:
                browser = playwright.chromium.launch(executable_path=path, args=unsandboxed)
            except sync_api.Error as error:
                pytest.skip(f"no Chromium: {error.message.splitlines()[0]}")
            page = browser.new_page()
            errors: list[str] = []
            page.on("pageerror", lambda error: errors.append(str(error)))
            asked: list[str] = []
            page.on("request", lambda request: asked.append(request.url))
            page.goto(url)
            if options:
                page.wait_for_function("document.title == 'p.spprof - speedscope'")
            else:
                page.get_by_text(f"{saved.sample_count} samples").first.wait_for()
            page.reload()
            # A page that is gone for longer than this ends the server.
            time.sleep(_GRACE_SECONDS + 1)
            assert child.poll() is None
            assert errors == []
            server = url.split("/", 3)[2]
            kinds = ("data:", "blob:", f"http://{server}/")
            assert [u for u in asked if not u.startswith(kinds)] == []
            browser.close()
        assert child.wait(timeout=20) == 0

    def test_ends_with_ctrl_c(self, viewer) -> None:
        child, _ = viewer()
        child.send_signal(signal.SIGINT)
        assert child.wait(timeout=20) == 0
