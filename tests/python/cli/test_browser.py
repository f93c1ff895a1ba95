"""How a browser is led to a profile: by a file that nobody else can read."""

from __future__ import annotations

import json
import re
import stat
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest
from programs import environment

import spprof
from spprof._cli.browser import Redirect

# Stands in for a browser: notes how it was called, follows the file, holds the page open a moment.
BROWSER = """
import html, json, os, re, sys, time, urllib.parse, urllib.request
path = urllib.parse.urlparse(sys.argv[1]).path
url = html.unescape(re.search('url=(.*?)"', open(path, encoding="utf-8").read())[1])
page = urllib.request.urlopen(url, timeout=10).read()
modes = [os.stat(each).st_mode for each in (path, os.path.dirname(path))]
# Written whole before the server hears of the page.
with open(sys.argv[2] + ".part", "w") as note:
    json.dump({"command": sys.argv[:2], "url": url, "modes": modes, "size": len(page)}, note)
os.rename(sys.argv[2] + ".part", sys.argv[2])
alive = urllib.request.urlopen(url.partition("#")[0] + "alive", timeout=10)
alive.readline()
time.sleep(1)
"""

front_end = pytest.mark.skipif(
    not (Path(spprof.__file__).parent / "static" / "standalone.js").exists(),
    reason="the front end is not built",
)


@pytest.fixture
def with_browser(tmp_path) -> dict[str, str]:
    script = tmp_path / "browser.py"
    script.write_text(BROWSER)
    command = f"{sys.executable} {script} %s {tmp_path / 'note.json'} &"
    return {**environment(), "BROWSER": command}


def run(arguments: Sequence[str], env: dict[str, str], folder: Path) -> str:
    done = subprocess.run(
        [sys.executable, *arguments],
        env=env,
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@front_end
@pytest.mark.parametrize(
    "arguments",
    [
        ("-m", "spprof", "view", "p.spprof"),
        ("-m", "spprof", "view", "--speedscope", "p.spprof"),
        ("-c", "import spprof; spprof.load('p.spprof').open()"),
        ("-c", "import spprof; p = spprof.load('p.spprof'); p.diff(p).open()"),
        ("-c", "import spprof; spprof.load('p.spprof').aggregate().open(speedscope=True)"),
    ],
)
@pytest.mark.slow_unless(arguments=("-c", "import spprof; spprof.load('p.spprof').open()"))
def test_the_address_is_not_in_the_browsers_command_line(
    arguments, saved, with_browser, tmp_path
) -> None:
    run(arguments, with_browser, tmp_path)
    note = json.loads((tmp_path / "note.json").read_text())
    token = re.match(r"http://127\.0\.0\.1:\d+/([\w-]{32})/", note["url"])[1]
    assert token not in " ".join(note["command"])
    assert note["command"][1].startswith("file:///")
    assert [stat.S_IMODE(mode) for mode in note["modes"]] == [0o600, 0o700]
    assert note["size"] > 10_000
    # And it is gone.
    assert not Path(note["command"][1][len("file://") :]).parent.exists()


@front_end
def test_without_a_browser_the_address_is_printed(saved, tmp_path) -> None:
    # What stands for a browser here cannot be started.
    env = {**environment(), "BROWSER": "/nonexistent/browser", "PATH": "", "DISPLAY": ""}
    printed = run(["-c", "import spprof; spprof.load('p.spprof').open()"], env, tmp_path)
    assert re.search(r"no browser here; the profile is shown at http://127\.0\.0\.1:\d+/", printed)


def test_an_address_is_text_in_the_file_that_leads_there() -> None:
    redirect = Redirect('http://127.0.0.1:1/x/#a="><script>&')
    text = redirect.path.read_text(encoding="utf-8")
    assert "<script>" not in text
    assert "#a=&quot;&gt;&lt;script&gt;&amp;" in text
    redirect.close()
    redirect.close()
    assert not redirect.path.parent.exists()
