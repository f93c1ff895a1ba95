"""`pytest --spprof`: tests are regions of one profile, the slowest are told, nobody else pays."""

from __future__ import annotations

import subprocess
import sys

import pytest

import spprof

pytest_plugins = ["pytester"]

PROGRAM = """
import time
import pytest

def burn(seconds):
    end = time.thread_time() + seconds
    while time.thread_time() < end:
        sum(range(100))

def parse():
    burn(0.15)

@pytest.fixture
def made():
    burn(0.1)
    yield
    burn(0.05)

@pytest.mark.parametrize("how", ["a[b]", "c"])
def test_parse(how):
    if how == "a[b]":
        parse()

def test_with_fixture(made):
    pass
"""


@pytest.fixture(autouse=True)
def no_other_plugins(monkeypatch) -> None:
    """What else is installed takes longer to load than the tests run."""
    monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")


@pytest.fixture
def run(pytester):
    """Run the program's tests in a process of their own, as a user does."""
    pytester.makepyfile(test_program=PROGRAM)

    def run(*options: str) -> pytest.RunResult:
        return pytester.runpytest_subprocess("-p", "pytest_spprof", *options, timeout=60)

    return run


def test_the_slowest_tests_and_their_functions(run, pytester) -> None:
    result = run("--spprof-out", "profiles", "--spprof-mode", "cpu", "--spprof-slowest", "2")
    result.assert_outcomes(passed=3)
    result.stdout.fnmatch_lines(
        [
            "*slowest tests by spprof (cpu, 1 ms)*",
            "* s  test_program.py::test_*",
            "*%  burn  test_program.py:*",
            "saved in profiles: tests.spprof, 01-*, 02-*",
        ]
    )
    assert "test_parse[c]" not in result.stdout.str()
    profile = spprof.load(pytester.path / "profiles" / "tests.spprof")
    times = {region.path: region.total_ns / 1e6 for region in profile.regions()}
    parse, fixture = "test_program.py::test_parse[a[b]]", "test_program.py::test_with_fixture"
    assert times[(parse,)] == pytest.approx(150, rel=0.3)
    assert times[(parse, "call")] > 0.9 * times[(parse,)]
    assert times[(fixture, "setup")] == pytest.approx(100, rel=0.3)
    assert times[(fixture, "teardown")] == pytest.approx(50, rel=0.4)
    first, _ = sorted(set(pytester.path.glob("profiles/0*")))
    # Of that test alone.
    assert {r.path[0] for r in spprof.load(first).regions()} in ({parse}, {fixture})


def test_waiting_counts_on_the_clock(pytester) -> None:
    pytester.makepyfile(test_waits="import time\ndef test_waits(): time.sleep(0.3)")
    result = pytester.runpytest_subprocess("-p", "pytest_spprof", "--spprof", timeout=60)
    result.assert_outcomes(passed=1)
    result.stdout.fnmatch_lines(["*(wall, 1 ms)*", "*test_waits.py::test_waits", "*%  test_waits*"])
    assert not list(pytester.path.glob("*.spprof"))


def test_failing_and_interrupted_tests_keep_their_profile(pytester) -> None:
    source = PROGRAM + "\ndef test_z():\n    burn(0.1)\n    raise KeyboardInterrupt\n"
    pytester.makepyfile(
        test_program=source.replace("def test_with", "def test_a(): assert 0\ndef test_with")
    )
    result = pytester.runpytest_subprocess("-p", "pytest_spprof", "--spprof", timeout=60)
    assert result.ret == pytest.ExitCode.INTERRUPTED
    result.stdout.fnmatch_lines(["*slowest tests*", "*test_program.py::test_z*"])


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("--spprof", "--spprof-interval", "0"), "interval_ms"),
        (("--spprof", "--spprof-slowest=-1"), "not -1, a number of tests"),
        (("--spprof-out", "test_program.py"), "test_program.py cannot be written"),
    ],
)
def test_what_makes_no_sense_is_refused_before_any_test(run, options, said) -> None:
    result = run(*options)
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    assert said in result.stderr.str() + result.stdout.str()
    assert "passed" not in result.stdout.str()


def test_a_test_that_ends_the_session_is_said(pytester) -> None:
    pytester.makepyfile(test_ends="import spprof\ndef test_ends():\n    spprof.stop()")
    result = pytester.runpytest_subprocess("-p", "pytest_spprof", "--spprof", timeout=60)
    result.assert_outcomes(passed=1)
    # What there was up to then is shown all the same.
    result.stdout.fnmatch_lines(["*slowest tests by spprof*"])


def test_who_does_not_ask_pays_nothing(run) -> None:
    result = run("-q")
    result.assert_outcomes(passed=3)
    assert "spprof" not in result.stdout.str()
    code = "import sys, pytest_spprof; print([m for m in sys.modules if m.startswith('spprof')])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"
