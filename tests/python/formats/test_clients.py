"""Saved files opened by the programs they are for, asking those what they see.

Each is skipped, saying so, where its program is not there: Go for pprof, npm for the Firefox
Profiler's command line, a Chromium for Speedscope, the SVG and the HTML page.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest

import spprof

ROOT = Path(__file__).resolve().parents[3]
STATIC = Path(spprof.__file__).parent / "static"


@pytest.fixture
def profile(make_profile):
    return make_profile(600, seed=7)


def by_function(profile, *, lines: bool = False) -> dict[tuple[str, str], tuple[float, float]]:
    """Self and total time in seconds by name and file; names are unique to a file here."""
    return {
        (s.function_name, s.filename): (s.self_ns / 1e9, s.total_ns / 1e9)
        for s in profile.top(None, lines=lines)
    }


# go tool pprof

UNITS = {"ns": 1e-9, "us": 1e-6, "ms": 1e-3, "s": 1.0, "mins": 60.0}


def seconds(text: str) -> float:
    match = re.fullmatch(r"([\d.]+)([a-z]*)", text)
    assert match is not None, text
    return float(match[1]) * (UNITS[match[2]] if match[2] else 0)


@pytest.fixture
def pprof(tmp_path):
    if shutil.which("go") is None:
        pytest.skip("Go is not installed (Debian: golang-go)")

    def run(profile, *options: str) -> str:
        profile.save(tmp_path / "p.pb.gz")
        done = subprocess.run(
            [
                *("go", "tool", "pprof", "-nodecount=10000", "-nodefraction=0"),
                *options,
                str(tmp_path / "p.pb.gz"),
            ],
            capture_output=True,
            text=True,
            env={**os.environ, "PPROF_TMPDIR": str(tmp_path), "HOME": str(tmp_path)},
            check=True,
        )
        assert "error" not in done.stderr.lower()
        return done.stdout

    return run


class TestPprof:
    ROW = re.compile(r" *(\S+) +([\d.]+)% +[\d.]+% +(\S+) +([\d.]+)%  (.*)")

    def rows(self, text: str) -> list[tuple[str, ...]]:
        return [m.groups() for line in text.splitlines() if (m := self.ROW.fullmatch(line))]

    def test_functions_shares_and_files(self, profile, pprof) -> None:
        out = pprof(profile, "-top", "-filefunctions", "-unit=ns")
        rows = self.rows(out)
        assert len(rows) == len(profile.top(None))
        expected = {
            f"{s.function_name} {s.filename}": (s.self_ns, s.total_ns) for s in profile.top(None)
        }
        seen = {name: (flat, cum) for flat, _, cum, _, name in rows}
        assert {
            name: (round(seconds(flat) * 1e9), round(seconds(cum) * 1e9))
            for name, (flat, cum) in seen.items()
        } == expected
        for flat, share, _, _, _ in rows:
            whole = profile.total_weight_ns / 1e9
            assert float(share) == pytest.approx(seconds(flat) / whole * 100, abs=0.01)

    def test_lines(self, profile, pprof) -> None:
        out = pprof(profile, "-top", "-lines", "-unit=ns")
        seen = {name: round(seconds(flat) * 1e9) for flat, _, _, _, name in self.rows(out)}
        expected = {}
        for s in profile.top(None, lines=True):
            if not s.is_native:
                expected[f"{s.function_name} {s.filename}:{s.lineno}"] = s.self_ns
        assert expected.items() <= seen.items()

    def test_samples_threads_and_modules(self, profile, pprof) -> None:
        out = pprof(profile, "-top", "-sample_index=samples")
        assert f"Total samples = {profile.sample_count} " in out or (
            f"{profile.sample_count} total" in out
        )
        raw = pprof(profile, "-raw")
        assert "thread:[MainThread]" in raw
        assert "thread_id:[100]" in raw
        assert "/usr/lib/libfast.so c0ffee" in raw
        assert "the timer was refused" in raw
        (focused,) = re.findall(
            r"of ([\d.]+)ns total",
            pprof(profile, "-top", "-unit=ns", "-tagfocus=thread=MainThread"),
        )
        assert int(float(focused)) == profile.total_weight_ns
        whole = pprof(profile, "-top", "-unit=ns", "-tagfocus=thread=MainThread")
        accounted = re.findall(r"accounting for ([\d.]+)ns", whole)
        main = profile.filter(thread="MainThread").total_weight_ns
        assert int(float(accounted[0])) == main


# The Firefox Profiler


@pytest.fixture(scope="session")
def profiler_cli(tmp_path_factory) -> Path:
    """The Firefox Profiler's own processing, as a command."""
    if shutil.which("npm") is None:
        pytest.skip("npm is not installed")
    folder = tmp_path_factory.mktemp("clients")
    for name in ("package.json", "package-lock.json"):
        shutil.copy(ROOT / "tests" / "clients" / name, folder)
    installed = subprocess.run(
        ["npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund"],
        cwd=folder,
        capture_output=True,
        text=True,
    )
    if installed.returncode:
        pytest.skip(f"the npm registry did not deliver: {installed.stderr[-300:]}")
    return folder / "node_modules/@firefox-devtools/profiler-cli/dist/profiler-cli.js"


@pytest.fixture
def firefox_profiler(profiler_cli, tmp_path):
    """Opens a file in the Firefox Profiler; returns what answers questions about it."""
    command = ["node", str(profiler_cli)]
    env = {**os.environ, "HOME": str(tmp_path), "PROFILER_CLI_SESSION_DIR": str(tmp_path / "s")}
    (tmp_path / "s").mkdir()
    # Its `load` gives the daemon half a second to start, which a busy machine takes longer for.
    daemons: list[subprocess.Popen[bytes]] = []

    def open_file(path: Path):
        daemon = subprocess.Popen([*command, "--daemon", str(path), "--session", "test"], env=env)
        daemons.append(daemon)
        # A question asked before it is ready would make the client forget the session.
        log = tmp_path / "s" / "test.log"
        until = time.monotonic() + 60
        while not (log.exists() and "Profile loaded successfully" in log.read_text()):
            assert daemon.poll() is None, log.read_text()
            assert time.monotonic() < until, "the daemon does not get ready"
            time.sleep(0.1)

        def ask(*question: str) -> dict[str, Any]:
            done = subprocess.run(
                [*command, *question, "--session", "test", "--json"],
                capture_output=True,
                text=True,
                env=env,
            )
            assert done.returncode == 0, done.stdout + done.stderr
            return json.loads(done.stdout)

        return ask

    yield open_file
    for daemon in daemons:
        daemon.terminate()
        daemon.wait(timeout=30)


@pytest.mark.slow
class TestFirefoxProfiler:
    @pytest.mark.parametrize("compress", [False, True])
    def test_functions_and_threads(self, profile, firefox_profiler, tmp_path, compress) -> None:
        profile.save(tmp_path / "p.gecko.json", compress=compress)
        ask = firefox_profiler(tmp_path / "p.gecko.json")
        handles = {t["name"]: t["threadHandle"] for t in ask("thread", "list")["threads"]}
        assert set(handles) == {t.name for t in profile.threads}
        for thread in profile.threads:
            only = profile.filter(thread=thread.thread_id)
            options = ["--thread", handles[thread.name], "--include-idle", "--limit", "0"]
            found = ask("thread", "functions", *options)
            seen = {
                f["name"]: (f["selfSamples"] / 1e3, f["totalSamples"] / 1e3)
                for f in found["functions"]
            }
            expected = {name: times for (name, _), times in by_function(only).items()}
            assert found["weightType"] == "tracing-ms"
            assert seen.keys() == expected.keys()
            for name, times in expected.items():
                assert seen[name] == pytest.approx(times, abs=1e-6), name

    def test_cpu_time_of_threads(self, make_profile, firefox_profiler, tmp_path) -> None:
        profile = make_profile(mode="cpu")
        profile.save(tmp_path / "p.gecko.json")
        ask = firefox_profiler(tmp_path / "p.gecko.json")
        used = {t["name"]: t["cpuMs"] for t in ask("thread", "list")["threads"]}
        # A thread's first sample has no time before it to be seen in.
        for thread in profile.threads:
            assert used[thread.name] == pytest.approx(thread.weight_ns / 1e6, rel=0.1)


# In a browser


@pytest.fixture(scope="module")
def chromium():
    sync_api = pytest.importorskip("playwright.sync_api")
    path = os.environ.get("SPPROF_CHROMIUM") or shutil.which("chromium")
    # Chromium's sandbox refuses to run as root, which containers are.
    unsandboxed = ["--no-sandbox"] if hasattr(os, "geteuid") and os.geteuid() == 0 else []
    with sync_api.sync_playwright() as playwright:
        try:
            browser = playwright.chromium.launch(executable_path=path, args=unsandboxed)
        except sync_api.Error as error:
            pytest.skip(f"no Chromium: {error.message.splitlines()[0]}")
        yield browser
        browser.close()


@pytest.fixture
def page(chromium):
    page = chromium.new_page(viewport={"width": 1250, "height": 700})
    errors: list[str] = []
    page.on("pageerror", lambda error: errors.append(str(error)))
    yield page
    page.close()
    assert errors == []


class TestSpeedscope:
    """The importer of the npm package, in the application that is bundled from it."""

    @pytest.fixture
    def sandwich(self, page, tmp_path):
        if not (STATIC / "speedscope" / "index.html").exists():
            pytest.skip("the front end, and Speedscope with it, is not built")

        def read(profile, name: str) -> dict[str, tuple[str, str]]:
            profile.save(tmp_path / name)
            page.goto((STATIC / "speedscope" / "index.html").as_uri())
            page.wait_for_selector("input[type=file]", state="attached")
            page.set_input_files("input[type=file]", str(tmp_path / name))
            page.get_by_text("Sandwich").click()
            page.get_by_text("Symbol Name").wait_for()
            rows = page.evaluate(
                "[...document.querySelectorAll('tr')].map(r => [...r.cells].map(c => c.innerText))"
            )
            return {row[2].strip(): (row[0].strip(), row[1].strip()) for row in rows[1:]}

        return read

    def texts(self, stats, *, samples: bool) -> tuple[float, float]:
        if samples:
            return stats.total_samples, stats.self_samples
        return stats.total_ns / 1e9, stats.self_ns / 1e9

    def number(self, text: str) -> float:
        amount = text.split(" ")[0].replace(",", "")
        match = re.fullmatch(r"(?:(\d+):)?([\d.]+)(ns|µs|ms|s)?", amount)
        assert match is not None, text
        units = {None: 1.0, "ns": 1e-9, "µs": 1e-6, "ms": 1e-3, "s": 1.0}
        return 60 * float(match[1] or 0) + float(match[2]) * units[match[3]]

    @pytest.mark.parametrize("name", ["p.speedscope.json", "p.pb.gz", "p.collapsed"])
    @pytest.mark.slow
    def test_roots_and_times(self, make_profile, sandwich, name) -> None:
        # Speedscope shows one thread at a time.
        profile = make_profile(600, seed=7, threads=1)
        seen = sandwich(profile, name)
        samples = name == "p.collapsed"
        assert len(seen) == len(profile.top(None))
        for stats in profile.top(None):
            shown = stats.function_name.replace(";", "%3B") if samples else stats.function_name
            if samples and stats.is_native:
                shown += f" ({stats.filename})"
            elif samples:
                shown += f" ({stats.filename}:{stats.lineno})"
            expected = self.texts(stats, samples=samples)
            found = tuple(self.number(text) for text in seen[shown])
            assert found == pytest.approx(expected, rel=0.01, abs=0.006), shown

    @pytest.mark.slow
    def test_threads_busiest_first_shown(self, profile, sandwich, page) -> None:
        seen = sandwich(profile, "p.json")
        busiest = max(profile.threads, key=lambda t: t.weight_ns)
        assert page.get_by_text(f"{busiest.name} ({busiest.thread_id}) (").count() == 1
        whole = self.number(seen["<module>"][0])
        assert whole == pytest.approx(busiest.weight_ns / 1e9, rel=0.01)


class TestSvg:
    def test_search_and_zoom(self, profile, page, tmp_path) -> None:
        profile.save(tmp_path / "p.svg", min_share=0)
        page.goto((tmp_path / "p.svg").as_uri())
        page.fill("input", r"op\d+\(")
        message = page.text_content(".m") or ""
        tables = profile._tables
        within = profile.filter(function="std::*").total_weight_ns / profile.total_weight_ns
        shown = re.fullmatch(r"(\d+) frames match, ([\d.]+)% of the time", message)
        assert shown is not None
        assert float(shown[2]) == pytest.approx(within * 100, abs=0.1)
        assert page.locator(".frames > g.hit").count() == int(shown[1])
        assert len(tables.stack_frame) > int(shown[1]) > 0
        page.fill("input", "")
        assert page.locator(".frames > g.hit").count() == 0

        second = page.locator(".frames > g").nth(3)
        second.click()
        rect = second.locator("rect")
        assert float(rect.get_attribute("width") or 0) == pytest.approx(1184, abs=0.1)
        page.keyboard.press("Escape")
        assert float(rect.get_attribute("width") or 0) < 1184

    @pytest.mark.slow
    def test_readable_without_scripts(self, profile, chromium, tmp_path) -> None:
        profile.save(tmp_path / "p.svg")
        context = chromium.new_context(java_script_enabled=False)
        page = context.new_page()
        page.goto((tmp_path / "p.svg").as_uri())
        assert page.locator("text", has_text="<module>").count() == 1
        assert page.locator("input").count() == 0
        context.close()


@pytest.mark.skipif(not (STATIC / "standalone.js").exists(), reason="the front end is not built")
class TestHtml:
    def test_draws_and_searches_without_network(self, profile, page, tmp_path) -> None:
        profile.save(tmp_path / "p.html")
        asked: list[str] = []
        page.on("request", lambda request: asked.append(request.url))
        page.goto((tmp_path / "p.html").as_uri())
        page.get_by_role("searchbox").first.fill("op7")
        share = profile.filter(function="*op7(*").total_weight_ns / profile.total_weight_ns
        page.get_by_text(f"{share * 100:.0f} % in 1 function").wait_for(timeout=10_000)
        outside = [u for u in asked if not u.startswith(("file:", "blob:", "data:"))]
        assert outside == []

    def test_shows_what_changed(self, make_profile, page, tmp_path) -> None:
        before, after = make_profile(seed=1), make_profile(seed=2)
        spprof.diff(before, after).save(tmp_path / "d.html")
        page.goto((tmp_path / "d.html").as_uri())
        page.get_by_text("Colour: change").first.wait_for(state="attached", timeout=10_000)
        seconds = f"{after.total_weight_ns / 1e9:.2f} s"
        assert seconds in page.evaluate("document.body.innerText")
