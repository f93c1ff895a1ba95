"""`spprof doctor`: whether profiling works here, and all that a report of a fault needs.

Tries what it tells of, in short sessions. Must not know how samples are taken.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import sys
import sysconfig
import threading
import time
from dataclasses import asdict, dataclass
from functools import partial
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any, Callable

from .._profile.words import shown
from .._session import engine, session
from .._session.profiler import Profiler
from .._version import __version__
from ..formats._front_end import STATIC
from .arguments import add_command
from .terminal import Style, write

if TYPE_CHECKING:
    from .._profile.model import Profile

# Each try lasts so long, in seconds: 20 samples at the longest of the intervals below.
_TRY = 0.2
_INTERVALS_MS = (10, 1)
_FRONT_END = ("widget.js", "widget.css", "loader.js", "standalone.js", "standalone.css")
_PACKAGES = (
    *("ipython", "ipywidgets", "anywidget", "ipykernel", "jupyterlab", "notebook", "marimo"),
    *("symbolic", "pandas"),
)


@dataclass(frozen=True)
class Check:
    """One finding: `status` is "ok", "note" for what some can do without, "FAILED", or "is"."""

    name: str
    status: str
    text: str


def add_to(commands: Any) -> None:
    """Add the command to the parser."""
    parser = add_command(
        commands,
        "doctor",
        "try whether profiling works here, and print what a report of a fault needs",
        "Takes a second. Exit status: 0 when everything works that this system can have, 1 when\n"
        "something failed. It prints no name of a user, host or file of yours.\n\n"
        "examples:\n  spprof doctor\n  spprof doctor --json > spprof.json",
    )
    parser.add_argument("--json", action="store_true", help="the same for programs")
    parser.add_argument(
        "--color", choices=["auto", "always", "never"], default="auto", help="(default: auto)"
    )
    parser.set_defaults(command=doctor)


def doctor(options: argparse.Namespace) -> int:
    """Run the command; returns the exit status."""
    checks = examine()
    healthy = all(check.status != "FAILED" for check in checks)
    if options.json:
        write(json.dumps({"healthy": healthy, "checks": [asdict(check) for check in checks]}))
        return 0 if healthy else 1
    style = Style(options.color)
    paint = {"ok": style.good, "note": style.warn, "FAILED": style.bad, "is": style.dim}
    width = max(len(check.name) for check in checks)
    for check in checks:
        status = "" if check.status == "is" else check.status
        write(
            f"{paint[check.status](f'{status:6}')} {check.name:{width}}  {shown(check.text, 500)}"
        )
    write()
    write(style.bold("profiling works here" if healthy else "something FAILED: see above"))
    return 0 if healthy else 1


def examine() -> list[Check]:
    """Every finding, in the order in which they are shown."""
    checks = [
        Check("spprof", "is", __version__),
        Check("python", "is", _python()),
        Check("system", "is", _system()),
        *_limits(),
    ]
    tries: list[tuple[str, Callable[[], Check]]] = [
        *((f"cpu, {ms} ms", partial(_cpu, ms)) for ms in _INTERVALS_MS),
        ("wall, 1 ms", _wall),
        ("native stacks", _native_stack),
        ("native samples", _native_samples),
    ]
    for name, attempt in tries:
        try:
            checks.append(attempt())
        except Exception as error:  # noqa: BLE001 - whatever it is, it is the finding
            checks.append(Check(name, "FAILED", f"{type(error).__name__}: {error}"))
    checks.append(_front_end())
    checks += [_package(name) for name in _PACKAGES]
    return checks


def _python() -> str:
    words = [platform.python_implementation(), platform.python_version()]
    if sysconfig.get_config_var("Py_GIL_DISABLED"):
        enabled = getattr(sys, "_is_gil_enabled", lambda: True)()
        words.append(f"free-threaded, GIL {'on' if enabled else 'off'}")
    jit = getattr(sys, "_jit", None)
    if jit is not None and jit.is_enabled():
        words.append("JIT on")
    words.append(platform.python_compiler())
    return " ".join(words)


def _system() -> str:
    libc = " ".join(filter(None, platform.libc_ver()))
    words = [platform.system(), platform.release(), platform.machine(), libc]
    return f"{' '.join(filter(None, words))}, {os.cpu_count()} processors"


def _limits() -> list[Check]:
    """What confines this process, where Linux tells."""
    try:
        status = Path("/proc/self/status").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return []
    found = dict(line.split(":", 1) for line in status.splitlines() if ":" in line)
    filtered = found.get("Seccomp", "0").strip()
    text = {"0": "no filter", "1": "strict", "2": "a filter of system calls"}.get(
        filtered, filtered
    )
    checks = [Check("seccomp", "is", text)]
    if "SigQ" in found:
        checks.append(Check("pending signals", "is", f"{found['SigQ'].strip()} (used/limit)"))
    return checks


def _burn(seconds: float) -> int:
    """Use the processor, from a function of C that calls one of Python."""
    begin = time.thread_time()
    rounds = 0
    while time.thread_time() - begin < seconds:
        rounds += len(sorted(range(300), key=_key))
    return rounds


def _key(value: int) -> int:
    return -value


def _names(profile: Profile) -> set[str]:
    return {entry.function_name for entry in profile.top(None, all_frames=True)}


def _profiled(work: Callable[[], object], **options: Any) -> Profile:
    with Profiler(**options) as profiler:
        work()
    assert profiler.profile is not None
    return profiler.profile


def _cpu(interval_ms: float) -> Check:
    name = f"cpu, {interval_ms} ms"
    profile = _profiled(lambda: _burn(_TRY), interval_ms=interval_ms)
    due = round(profile.total_weight_ns / 1e6 / interval_ms)
    text = f"{profile.sample_count} samples of {due} due, by {_means(profile.engine)}"
    if "_burn" not in _names(profile):
        return Check(name, "FAILED", f"{text}; the function that ran is not among them")
    few = profile.sample_count < 0.5 * due
    return Check(name, "note" if few or profile.notes else "ok", _noted(text, profile))


def _means(engine_name: str) -> str:
    return {
        "timer": "timers on threads' CPU clocks",
        "ticker": "a ticker and threads' own timers",
    }.get(engine_name, engine_name)


def _noted(text: str, profile: Profile) -> str:
    return "; ".join([text, *profile.notes])


def _wall() -> Check:
    wake = threading.Event()
    sleeper = threading.Thread(target=wake.wait, name="sleeper", daemon=True)
    sleeper.start()

    def work() -> None:
        _burn(_TRY / 2)
        time.sleep(_TRY / 2)

    try:
        profile = _profiled(work, interval_ms=1, mode="wall")
    finally:
        wake.set()
        sleeper.join()
    slept = profile.filter(thread="sleeper", state="waiting").total_weight_ns
    share = slept / (profile.total_duration_ms * 1e6)
    text = f"{profile.sample_count} samples, {share:.0%} of a sleeper's time seen waiting"
    if "_burn" not in _names(profile):
        return Check("wall, 1 ms", "FAILED", f"{text}; the function that ran is not among them")
    fine = share > 0.5 and not profile.notes
    return Check("wall, 1 ms", "ok" if fine else "note", _noted(text, profile))


def _native_stack() -> Check:
    if not session.native_unwinding_available():
        return Check("native stacks", "note", "not on this system: Python frames only")
    stack = engine.capture_native_stack()
    named = sum(bool(symbol) for _, symbol, *_ in stack)
    text = f"{len(stack)} frames of this thread, {named} with a name"
    return Check("native stacks", "ok" if len(stack) > 3 and named else "FAILED", text)


def _native_samples() -> Check:
    if not session.native_unwinding_available():
        return Check("native samples", "note", "not on this system")
    profile = _profiled(lambda: _burn(_TRY), interval_ms=1, native=True)
    # Between the Python function that sorts and the key that it calls there is C code.
    mixed = sum(
        {frame.is_native for frame in sample.frames} == {True, False} for sample in profile.samples
    )
    text = f"{profile.sample_count} samples, {mixed} with frames of both kinds"
    if not mixed:
        return Check("native samples", "FAILED", text)
    return Check("native samples", "note" if profile.notes else "ok", _noted(text, profile))


def _front_end() -> Check:
    missing = [name for name in _FRONT_END if not (STATIC / name).is_file()]
    if missing:
        return Check("front end", "note", f"not built ({', '.join(missing)}): no widget, no pages")
    return Check("front end", "ok", "built")


def _package(name: str) -> Check:
    try:
        return Check(name, "is", metadata.version(name))
    except metadata.PackageNotFoundError:
        return Check(name, "is", "not installed")
