"""The torture suite: hostile programs under the profiler, compared with themselves without it.

    python tests/torture/run.py --seconds 60
    python tests/torture/run.py --seconds 3600 --only fork --mode wall --interval 0.1 --native
    python3.14 tests/torture/run.py --seconds 1800

The torments run under the interpreter that runs this, which must have spprof.

Every torment (`torment.py`) runs in a process of its own, first undisturbed, then in turn with the
clocks (cpu, wall), intervals (1 and 0.1 ms), with native frames and without, until the time is
over; each at least once. Prints a table: crashes are runs that ended or answered otherwise than the
undisturbed program; wrong names are samples in which a function stands under somebody who cannot
have called it; leaks are descriptors, threads and mappings that stayed. Exit status 1 when there
was any. What is too much for the machine is nobody's fault: after a fault the undisturbed program
is run once more, and where it fails just then, too, the run counts for nothing and is told.
"""

from __future__ import annotations

import argparse
import concurrent.futures
import contextlib
import itertools
import json
import os
import platform
import shutil
import signal
import subprocess
import sys
import sysconfig
import tempfile
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torment
import torments_inside  # noqa: F401 - they register themselves
import torments_outside  # noqa: F401

HERE = Path(__file__).resolve().parent
# Beyond the time that a torment is to go on, and so many times what the undisturbed program took
# beyond it on this machine: a hang. Where programs queue for the processors, as much longer.
PATIENCE_S = 45
PATIENCE_TIMES = 10
LONGEST_QUEUE = 20
MORE = 1.2  # times the queue that a run was begun in: then it could not be known
SPARE_MAPPINGS = 60  # arenas of malloc, stacks that the C library keeps: not ours to count


@dataclass
class Sum:
    """What became of a torment so far."""

    runs: int = 0
    seconds: float = 0.0
    samples: int = 0
    crashes: int = 0
    wrong: int = 0
    hangs: int = 0
    leaks: int = 0
    too_much: int = 0  # runs that failed when the undisturbed program did, too
    skipped: str = ""
    undisturbed: dict[str, Any] = field(default_factory=dict)
    failures: list[str] = field(default_factory=list)

    @property
    def faults(self) -> int:
        return self.crashes + self.wrong + self.hangs + self.leaks

    def patience(self, seconds: float) -> float:
        """Seconds beyond `seconds` after which a run is said to hang."""
        beyond = max(0.0, self.undisturbed.get("seconds", 0) - seconds)
        return PATIENCE_S * queue() + PATIENCE_TIMES * beyond


def build(folder: Path) -> str:
    """Path of the library of machine code; "" where there is no compiler."""
    compiler = os.environ.get("CXX") or shutil.which("c++") or shutil.which("g++")
    if not compiler:
        return ""
    target = folder / "torments.so"
    command = [compiler, "-std=c++17", "-O1", "-shared", "-fPIC", "-pthread"]
    subprocess.run([*command, str(HERE / "torments.cpp"), "-o", str(target)], check=True)
    return str(target)


def environment_of(name: str, library: str) -> dict[str, str] | None:
    """Environment of a torment; None where what it needs to be preloaded is not there."""
    environment = {**os.environ, "TORMENTS_LIBRARY": library}
    preload = torment.PRELOADS.get(name)
    if preload:
        environment["LD_PRELOAD"] = preload
        # Some can be preloaded only: there is no room for their thread-local storage later.
        tried = subprocess.run(["/bin/true"], env=environment, capture_output=True, check=False)
        if tried.stderr:
            return None
    return environment


def run_once(
    name: str,
    mode: str,
    interval: float,
    native: bool,
    seconds: float,
    library: str,
    patience: float,
) -> dict[str, Any]:
    """One run in a process of its own: its result, with "status" and "hung"."""
    environment = environment_of(name, library)
    if environment is None:
        return {"skipped": f"{torment.PRELOADS[name]} is not installed"}
    with tempfile.TemporaryDirectory(prefix="torment-") as folder:
        result = Path(folder) / "result.json"
        arguments = [name, str(seconds), str(patience), mode, str(interval)]
        arguments.append("native" if native else "python")
        with (Path(folder) / "errors").open("w+b") as errors:
            process = subprocess.Popen(
                [sys.executable, str(HERE / "one.py"), *arguments, str(result)],
                stdin=subprocess.DEVNULL,
                stdout=errors,
                stderr=errors,
                env=environment,
                start_new_session=True,
            )
            try:
                # The watchdog inside knows more: it is first.
                status = process.wait(seconds + 2 * patience)
                hung = False
            except subprocess.TimeoutExpired:
                status, hung = -1, True
            finally:
                # Whatever it started, and did not wait for.
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(process.pid, signal.SIGKILL)
                process.wait()
            errors.seek(0)
            said = errors.read().decode(errors="replace")
        found: dict[str, Any] = {}
        if result.exists():
            found = json.loads(result.read_text())
        # The watchdog inside writes where every thread is before it ends the process.
        hung = hung or "Timeout (" in said
        return {**found, "status": status, "hung": hung, "said": said[-2500:]}


def queue() -> float:
    """How many programs there are to a processor: 1 where there is no queue."""
    return min(LONGEST_QUEUE, max(1.0, os.getloadavg()[0] / (os.cpu_count() or 1)))


def fails(found: dict[str, Any]) -> bool:
    """Whether a run of the undisturbed program did not end as it should."""
    return bool(found["hung"] or found["status"] or found.get("error", "no result"))


def judge(total: Sum, found: dict[str, Any], what: str) -> None:
    """Add a run to its torment."""
    total.runs += 1
    total.seconds += found.get("seconds", 0.0)
    total.samples += found.get("samples", 0)
    if found["hung"]:
        total.hangs += 1
        total.failures.append(f"{what}: hangs\n{found['said']}")
        return
    error = found.get("error", "no result")
    expected = total.undisturbed
    if found["status"] != expected.get("status") or error:
        total.crashes += 1
        total.failures.append(f"{what}: status {found['status']}\n{error}{found['said']}")
        return
    if found.get("output") != expected.get("output"):
        total.crashes += 1
        total.failures.append(f"{what}: {found.get('output')} instead of {expected.get('output')}")
    if found["wrong"]:
        total.wrong += sum(found["wrong"].values())
        total.failures.append(f"{what}: {found['wrong']}")
    grown, usual = found["grown"], expected["grown"]
    spare = {"descriptors": 0, "threads": 0, "mappings": SPARE_MAPPINGS}
    leaked = {
        thing: grown[thing] - usual[thing]
        for thing in grown
        if grown[thing] > max(usual[thing], 0) + spare[thing]
    }
    if leaked:
        total.leaks += 1
        total.failures.append(f"{what}: left behind {leaked}, open: {found['left_open']}")


def surroundings() -> str:
    """The interpreter and the machine, in one line."""
    free_threaded = bool(sysconfig.get_config_var("Py_GIL_DISABLED"))
    load = os.getloadavg()[0]
    return (
        f"Python {platform.python_version()}{'t' if free_threaded else ''}, "
        f"{platform.system()} {platform.release()} {platform.machine()}, "
        f"{os.cpu_count()} processors, load {load:.0f}"
    )


def print_table(totals: dict[str, Sum]) -> None:
    """The table of docs/RELIABILITY.md."""
    print("| torment | runs | time | samples | crashes | wrong names | hangs | leaks |")
    print("|---|---|---|---|---|---|---|---|")
    for name, total in totals.items():
        if total.skipped:
            print(f"| {name} | skipped: {total.skipped} | | | | | | |")
            continue
        print(
            f"| {name} | {total.runs} | {total.seconds:.0f} s | {total.samples} | {total.crashes} "
            f"| {total.wrong} | {total.hangs} | {total.leaks} |"
        )


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--seconds", type=float, default=60, help="for all of it, about")
    parser.add_argument("--only", default="", help="torments whose name has this in it")
    parser.add_argument("--mode", choices=("cpu", "wall"))
    parser.add_argument("--interval", type=float, metavar="MS")
    parser.add_argument("--native", action="store_true", default=None)
    parser.add_argument("--no-native", dest="native", action="store_false")
    parser.add_argument("--each", type=float, default=0.5, help="seconds of one run")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1)
    options = parser.parse_args()
    kinds = [
        (mode, interval, native)
        for interval, mode, native in itertools.product(
            [options.interval] if options.interval else [0.1, 1],
            [options.mode] if options.mode else ["cpu", "wall"],
            [options.native] if options.native is not None else [True, False],
        )
    ]
    names = [name for name in torment.TORMENTS if options.only in name]
    if not names:
        print(f"no torment has {options.only!r} in its name")
        return 2
    begin = time.monotonic()
    totals = {name: Sum() for name in names}
    guard = threading.Lock()

    def run(name: str, number: int) -> None:
        total = totals[name]
        with guard:
            late = number >= 0 and time.monotonic() - begin > options.seconds
            if total.skipped or (late and total.runs + total.too_much):
                return
        if number < 0:
            patience = total.patience(options.each)
            found = run_once(name, "off", 1, False, options.each, library, patience)
        else:
            mode, interval, native = kinds[number % len(kinds)]
            patience = total.patience(options.each)
            found = run_once(name, mode, interval, native, options.each, library, patience)
            more = total.patience(options.each)
            if found.get("hung") and more > MORE * patience:
                print(f"... {name}: the queue grew meanwhile, so it runs once more", flush=True)
                found = run_once(name, mode, interval, native, options.each, library, more)
            what = f"{name}, {mode}, {interval} ms, {'native' if native else 'python'}"
            if not found.get("skipped"):
                trial = Sum(undisturbed=total.undisturbed)
                judge(trial, found, what)
                if trial.faults:
                    print(f"FAULT {trial.failures[0]}", flush=True)
                    again = run_once(name, "off", 1, False, options.each, library, patience)
                    if fails(again) or again["output"] != total.undisturbed["output"]:
                        print(f"... the undisturbed program fails, too: {again}", flush=True)
                        with guard:
                            total.too_much += 1
                        return
        with guard:
            if found.get("skipped"):
                total.skipped = found["skipped"]
            elif number < 0:
                total.undisturbed = found
                if fails(found):
                    reason = str(found.get("error") or found).strip().splitlines()[-1]
                    total.skipped = f"fails without spprof, too: {reason}"
            else:
                judge(total, found, what)

    with tempfile.TemporaryDirectory(prefix="torments-") as folder:
        library = build(Path(folder))
        with concurrent.futures.ThreadPoolExecutor(options.jobs) as pool:
            list(pool.map(run, names, [-1] * len(names)))
            for turn in itertools.count():
                list(pool.map(run, names, [turn + place for place in range(len(names))]))
                if time.monotonic() - begin > options.seconds:
                    break
    print_table(totals)
    for total in totals.values():
        for failure in total.failures[:5]:
            print(f"\n{failure}")
    for name, total in totals.items():
        if total.skipped:
            print(f"!!! {name} SKIPPED: {total.skipped}")
    faults = sum(total.faults for total in totals.values())
    runs = sum(total.runs for total in totals.values())
    too_much = sum(total.too_much for total in totals.values())
    if too_much:
        print(f"{too_much} runs failed when the undisturbed program did, too: not counted")
    print(
        f"{runs} runs of {len(names)} torments in {time.monotonic() - begin:.0f} s under "
        f"{surroundings()}, {options.jobs} at a time: {faults} faults"
    )
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
