"""Profiles a run of pytest: one session, each test a region of it, and a word on the slowest.

Must not know how samples are taken, nor be imported where nobody asks for a profile.
"""

from __future__ import annotations

import re
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

import spprof

if TYPE_CHECKING:
    from spprof._profile.labels import RegionStats

# Functions shown of each test, and the least share of its time that is worth a line.
_FUNCTIONS = 3
_LEAST_SHARE = 0.05


class TestProfile:
    """The plugin of one run.

    Raises
    ------
    pytest.UsageError
        An option has no meaning, the folder cannot be written, or tests run in other processes.
    """

    __test__ = False

    def __init__(self, config: pytest.Config) -> None:
        if getattr(config.option, "numprocesses", None):
            raise pytest.UsageError("--spprof profiles this process: give -n0 with it")
        self._slowest: int = config.getoption("--spprof-slowest")
        if self._slowest < 0:
            raise pytest.UsageError(f"--spprof-slowest: not {self._slowest}, a number of tests")
        folder = config.getoption("--spprof-out")
        self._folder = None if folder is None else _writable(Path(folder))
        self._profiler = spprof.Profiler(
            config.getoption("--spprof-interval"),
            mode=config.getoption("--spprof-mode"),
            native=config.getoption("--spprof-native"),
        )
        self._failure: str | None = None

    @pytest.hookimpl(hookwrapper=True)
    def pytest_runtestloop(self) -> Generator[None, object, None]:
        """The session: all tests, but not their collection."""
        try:
            self._profiler.start()
        except (ValueError, RuntimeError) as error:
            raise pytest.UsageError(f"--spprof: {error}") from error
        yield
        if spprof.is_active():
            try:
                self._profiler.stop()
            except RuntimeError:
                self._failure = "a test started a session of its own, which is still running"

    @pytest.hookimpl(hookwrapper=True)
    def pytest_runtest_protocol(self, item: pytest.Item) -> Generator[None, object, None]:
        """A region for each test; those below are in it."""
        with spprof.region(item.nodeid):
            yield

    @pytest.hookimpl(hookwrapper=True)
    def pytest_runtest_setup(self) -> Generator[None, object, None]:
        """Fixtures."""
        with spprof.region("setup"):
            yield

    @pytest.hookimpl(hookwrapper=True)
    def pytest_runtest_call(self) -> Generator[None, object, None]:
        """The test itself."""
        with spprof.region("call"):
            yield

    @pytest.hookimpl(hookwrapper=True)
    def pytest_runtest_teardown(self) -> Generator[None, object, None]:
        """Fixtures, too."""
        with spprof.region("teardown"):
            yield

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        """Say which tests were slowest, and save what is to be saved."""
        profile = self._profiler.profile
        if self._failure is None and profile is None:
            self._failure = "a test ended the session"
        if profile is None:
            terminalreporter.write_line(f"no profile: {self._failure}", yellow=True)
            return
        terminalreporter.section(
            f"slowest tests by spprof ({profile.mode}, {profile.interval_ms:g} ms)"
        )
        slowest = _tests(profile)[: self._slowest]
        if not slowest:
            terminalreporter.write_line("no samples: the tests took less than an interval")
        for test in slowest:
            terminalreporter.write_line(f"{test.total_ns / 1e9:7.2f} s  {test.name}")
            for line in _functions(_of(profile, test)):
                terminalreporter.write_line(line)
        for note in profile.notes:
            terminalreporter.write_line(f"note: {note}", yellow=True)
        if self._folder is not None:
            with _failures_said(terminalreporter):
                names = _save(profile, slowest, self._folder)
                terminalreporter.write_line(f"saved in {self._folder}: {', '.join(names)}")


def _writable(folder: Path) -> Path:
    try:
        folder.mkdir(parents=True, exist_ok=True)
        probe = folder / ".spprof-writable"
        probe.touch()
        probe.unlink()
    except OSError as error:
        raise pytest.UsageError(f"--spprof-out: {folder} cannot be written: {error}") from error
    return folder


def _tests(profile: spprof.Profile) -> list[RegionStats]:
    """The tests' regions, those that took longest first."""
    outermost = [region for region in profile.regions() if len(region.path) == 1]
    return sorted(outermost, key=lambda region: -region.total_ns)


def _of(profile: spprof.Profile, test: RegionStats) -> spprof.Profile:
    # As a pattern, because names of tests have brackets.
    return profile.filter(region=re.compile(re.escape(test.name) + r"\Z"))


def _functions(profile: spprof.Profile) -> Iterator[str]:
    for entry in profile.top(_FUNCTIONS):
        if entry.self_share >= _LEAST_SHARE:
            place = f"{Path(entry.filename).name}:{entry.lineno}"
            yield f"{entry.self_share:17.0%}  {entry.function_name}  {place}"


def _save(profile: spprof.Profile, slowest: list[RegionStats], folder: Path) -> list[str]:
    names = ["tests.spprof"]
    profile.save(folder / names[0])
    for number, test in enumerate(slowest, 1):
        # Names that every file system has room for; the number keeps them apart.
        words = re.sub(r"[^A-Za-z0-9_.-]+", "-", test.name)[-80:].strip("-")
        names.append(f"{number:02}-{words}.spprof")
        _of(profile, test).save(folder / names[-1])
    return names


@contextmanager
def _failures_said(reporter: pytest.TerminalReporter) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        reporter.write_line(f"the profile could not be saved: {error}", red=True)
