"""Other people's test suites under the profiler: do they say the same as without it?

    python tests/torture/suites.py                  all six, of some minutes each
    python tests/torture/suites.py frozenlist       only what has this in its name
    python tests/torture/suites.py --interval 0.1 --mode wall

By hand, since it needs a package index: packages come from there as wheels, their tests as sdists,
into a virtual environment that is thrown away. The interpreter that runs this must have spprof.
Each suite runs without, with, and without again. A test that says something else with spprof, and
the same both times without, is a fault; exit status 1 when there was any. One that does not even
agree with itself is told, and is no fault.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
import time
import xml.etree.ElementTree as ElementTree
from dataclasses import dataclass
from pathlib import Path

LONGEST_S = 1800  # of one run of a suite


@dataclass(frozen=True)
class Suite:
    """A package, what it is made of, and how its tests are run from its sdist."""

    package: str
    kind: str
    needs: tuple[str, ...] = ()
    tests: tuple[str, ...] = ("tests",)


SUITES = (
    Suite("pluggy", "pure Python", tests=("testing",)),
    Suite("idna", "pure Python"),
    Suite("frozenlist", "Cython"),
    Suite("boost-histogram", "pybind11", ("pytest-benchmark", "cloudpickle", "hypothesis")),
    Suite("bcrypt", "Rust"),
    Suite("aiosqlite", "asyncio", tests=("aiosqlite/tests/smoke.py",)),
)


class Unreachable(Exception):
    """A package that cannot be had here."""


@dataclass
class Outcome:
    """What a run of a suite said."""

    status: int
    seconds: float
    tests: dict[str, str]  # by name: passed, failed, error or skipped

    def count(self, word: str) -> int:
        return sum(outcome == word for outcome in self.tests.values())


def pip(python: Path, *arguments: str) -> None:
    command = [str(python), "-m", "pip", "--disable-pip-version-check", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise Unreachable(done.stderr.strip()[-300:])


def virtual_environment(folder: Path) -> Path:
    """An interpreter of its own, which finds this interpreter's spprof."""
    subprocess.run([sys.executable, "-m", "venv", str(folder)], check=True)
    python = folder / "bin" / "python"
    import spprof

    (site,) = folder.glob("lib/python*/site-packages")
    # A link: of what else is beside spprof nothing must be found.
    (site / "spprof").symlink_to(Path(spprof.__file__).parent, target_is_directory=True)
    pip(python, "install", "-q", "pytest")
    return python


def sdist_of(suite: Suite, python: Path, folder: Path) -> Path:
    """The unpacked sdist of the version that is installed."""
    tell = "import sys, importlib.metadata as m; print(m.version(sys.argv[1]))"
    command = [str(python), "-c", tell, suite.package]
    asked = subprocess.run(command, capture_output=True, text=True, check=True)
    version = asked.stdout.strip()
    wanted = f"{suite.package}=={version}"
    pip(
        python,
        "download",
        "-q",
        "--no-deps",
        f"--no-binary={suite.package}",
        "-d",
        str(folder),
        wanted,
    )
    (archive,) = folder.glob(f"{suite.package.replace('-', '?')}-*.tar.gz")
    with tarfile.open(archive) as opened:
        if sys.version_info >= (3, 12):
            opened.extractall(folder, filter="data")
        else:
            opened.extractall(folder)
    return folder / archive.name[: -len(".tar.gz")]


def run(python: Path, source: Path, suite: Suite, profiler: list[str]) -> Outcome:
    """Run the tests of an unpacked sdist, against the installed package."""
    report = source.parent / f"{source.name}.xml"
    report.unlink(missing_ok=True)
    command = [str(python), *profiler, "-m", "pytest", "-q", "-p", "no:cacheprovider"]
    # Without the package's own options: they name plugins (coverage, xdist) that change who runs.
    command += ["-o", "addopts=", "--import-mode=importlib", f"--junitxml={report}", *suite.tests]
    begin = time.monotonic()
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    done = subprocess.run(
        command,
        cwd=source,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        env={**environment, "PYTHONHASHSEED": "0"},
        timeout=LONGEST_S,
        check=False,
    )
    tests: dict[str, str] = {}
    if report.exists():
        for case in ElementTree.parse(report).getroot().iter("testcase"):
            outcome = "passed"
            for word, tag in (("failed", "failure"), ("error", "error"), ("skipped", "skipped")):
                if case.find(tag) is not None:
                    outcome = word
            tests[f"{case.get('classname')}::{case.get('name')}"] = outcome
    if not tests:
        raise Unreachable(f"no test ran: {done.stdout.decode(errors='replace')[-600:]}")
    return Outcome(done.returncode, time.monotonic() - begin, tests)


def differences(before: Outcome, profiled: Outcome, after: Outcome) -> tuple[list[str], list[str]]:
    """Tests that say something else with the profiler; those that do not agree with themselves."""
    other: list[str] = []
    unsteady: list[str] = []
    for test in sorted({*before.tests, *profiled.tests, *after.tests}):
        words = [outcome.tests.get(test, "missing") for outcome in (before, profiled, after)]
        if words[0] != words[2]:
            unsteady.append(f"{test}: {words[0]}, then {words[2]}")
        elif words[1] != words[0]:
            other.append(f"{test}: {words[0]}, with spprof {words[1]}")
    if before.status == after.status != profiled.status and not unsteady:
        other.append(f"exit status {before.status}, with spprof {profiled.status}")
    return other, unsteady


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("only", nargs="?", default="", help="packages with this in their name")
    parser.add_argument("--interval", type=float, default=1.0, metavar="MS")
    parser.add_argument("--mode", choices=("cpu", "wall"), default="cpu")
    parser.add_argument("--no-native", action="store_true")
    options = parser.parse_args()
    suites = [suite for suite in SUITES if options.only in suite.package]
    if not suites:
        print(f"no package has {options.only!r} in its name")
        return 2
    faults: list[str] = []
    missing = 0
    print("| package | of | tests | passed | skipped | failed | without | with spprof | differ |")
    print("|---|---|---|---|---|---|---|---|---|", flush=True)
    with tempfile.TemporaryDirectory(prefix="suites-") as name:
        folder = Path(name)
        python = virtual_environment(folder / "venv")
        profile = folder / "profile.spprof"
        profiler = ["-m", "spprof", "run", "-q", "-o", str(profile)]
        profiler += ["-i", str(options.interval), "--mode", options.mode]
        profiler += [] if options.no_native else ["--native"]
        for suite in suites:
            place = folder / suite.package
            place.mkdir()
            try:
                pip(python, "install", "-q", suite.package, *suite.needs)
                source = sdist_of(suite, python, place)
                # What is installed is tested, not what lies beside the tests.
                for built in (suite.package.replace("-", "_"), "src"):
                    if not any(test.startswith(f"{built}/") for test in suite.tests):
                        shutil.rmtree(source / built, ignore_errors=True)
                before = run(python, source, suite, [])
                if not before.count("passed"):
                    raise Unreachable("none of its tests passes here, without spprof")
                profiled = run(python, source, suite, profiler)
                after = run(python, source, suite, [])
            except (Unreachable, subprocess.TimeoutExpired, OSError, ValueError) as reason:
                missing += 1
                print(f"!!! {suite.package} SKIPPED: {reason}", flush=True)
                continue
            other, unsteady = differences(before, profiled, after)
            if not profile.exists():
                other.append("no profile was saved")
            profile.unlink(missing_ok=True)
            faults += [f"{suite.package}: {line}" for line in other]
            print(
                f"| {source.name} | {suite.kind} | {len(before.tests)} | {before.count('passed')} "
                f"| {before.count('skipped')} | {before.count('failed') + before.count('error')} "
                f"| {before.seconds:.0f} s | {profiled.seconds:.0f} s | {len(other)} |",
                flush=True,
            )
            for line in unsteady:
                print(f"unsteady without spprof, too: {line}")
    for line in faults:
        print(f"FAULT {line}")
    print(f"{len(suites) - missing} suites, {missing} skipped, {len(faults)} faults")
    return 1 if faults or missing == len(suites) else 0


if __name__ == "__main__":
    sys.exit(main())
