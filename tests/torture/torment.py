"""What torments are made of: programs that do what profilers have crashed on. `run.py` runs them.

They are in `torments_inside.py` and `torments_outside.py`. Each is a function of `Torment`; it goes
on until `Torment.over()`, and returns what the undisturbed program would return as well. What is
sampled has names that say who must be the caller: ``leaf__from__middle``. Skips say what is
missing.
"""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import faulthandler
import gc
import json
import os
import signal
import subprocess
import sys
import threading
import time
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any


class Skipped(Exception):
    """The torment cannot be had here; says what is missing."""


class Torment:
    """What a torment may use."""

    def __init__(
        self, seconds: float, patience: float, options: dict[str, Any], folder: Path
    ) -> None:
        self.seconds, self.options, self.folder = seconds, options, folder
        self.patience = patience  # seconds after which what it waits for is said to hang
        self._end = time.monotonic() + seconds
        self._asked = False
        self.samples = 0

    def over(self) -> bool:
        """Whether it has gone on for long enough.

        Not yet when this is asked first: what it imports may have taken all the time, and the
        undisturbed program is no measure where it did nothing at all.
        """
        asked, self._asked = self._asked, True
        return asked and time.monotonic() > self._end

    @property
    def disturbed(self) -> bool:
        """Whether a session is to be run."""
        return self.options["mode"] != "off"

    def start(self) -> None:
        """Start a session as asked for."""
        if self.disturbed:
            import spprof

            spprof.start(
                self.options["interval"], mode=self.options["mode"], native=self.options["native"]
            )

    def stop(self) -> Any:
        """Stop it; returns its profile."""
        if not self.disturbed:
            return None
        import spprof

        profile = spprof.stop()
        self.samples += profile.sample_count
        return profile

    def library(self) -> Any:
        """`torments.cpp`, compiled by `run.py`."""
        path = os.environ.get("TORMENTS_LIBRARY", "")
        if not path:
            raise Skipped("no C++ compiler")
        return ctypes.CDLL(path)

    def child(self, program: str, *, status: int = 0, quiet: bool = True) -> None:
        """Run a program of its own that begins with a session of this kind."""
        begin = "import os, sys, threading, time, signal\n"
        if self.disturbed:
            begin += "import spprof\nspprof.start({interval}, mode={mode!r}, native={native})\n"
            begin = begin.format(**self.options)
        done = subprocess.run(
            [sys.executable, "-c", begin + program],
            capture_output=True,
            text=True,
            timeout=self.patience,
            check=False,
        )
        if done.returncode != status or (quiet and done.stderr):
            raise AssertionError(f"a child ended with {done.returncode}: {done.stderr[-500:]}")


TORMENTS: dict[str, Callable[[Torment], Any]] = {}
OWN_SESSIONS: set[str] = set()  # they start and stop by themselves
PRELOADS: dict[str, str] = {}  # libraries to be loaded before


def torment(
    *, own_sessions: bool = False, preload: str = ""
) -> Callable[[Callable[[Torment], Any]], Callable[[Torment], Any]]:
    """Register a torment."""

    def register(function: Callable[[Torment], Any]) -> Callable[[Torment], Any]:
        name = function.__name__
        TORMENTS[name] = function
        if own_sessions:
            OWN_SESSIONS.add(name)
        if preload:
            PRELOADS[name] = preload
        return function

    return register


# --- work whose callers are known ---


def leaf__from__middle(n: int) -> int:
    return sum(range(n))


def middle__from__root(n: int) -> int:
    return leaf__from__middle(n) + leaf__from__middle(n // 2)


def root(rounds: int = 20) -> int:
    return sum(middle__from__root(50) for _ in range(rounds))


def items__from__consume(n: int) -> Iterator[int]:
    for i in range(n):
        yield leaf__from__items(i)


def leaf__from__items(n: int) -> int:
    return sum(range(n))


def consume() -> int:
    total = 0
    for item in items__from__consume(30):
        total += item
    return total


async def inner__from__outer(n: int) -> int:
    await asyncio.sleep(0)
    return sum(range(n))


async def outer() -> int:
    return await inner__from__outer(40) + await inner__from__outer(20)


def key__from__ordered(n: int) -> int:
    if n == 7:
        raise ValueError(n)
    return -n


def ordered() -> int:
    try:
        sorted(range(20), key=key__from__ordered)
    except ValueError as error:
        return int(error.args[0])
    return 0


def burn(seconds: float) -> None:
    """Known work for so much time."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        root(2)
        consume()


def together(*works: Callable[[], Any]) -> None:
    """Run in a thread each; what one raises is raised."""
    failures: list[BaseException] = []

    def guarded(work: Callable[[], Any]) -> None:
        try:
            work()
        except BaseException as error:  # noqa: BLE001 - raised below
            failures.append(error)

    threads = [threading.Thread(target=guarded, args=(work,)) for work in works]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if failures:
        raise failures[0]


# --- one of them, run and looked at ---


def wrong_names(profile: Any) -> dict[str, int]:
    """Samples in which somebody was called by whom they cannot have been called."""
    wrong: dict[str, int] = {}
    for stack in profile.aggregate().stacks:
        frames = [frame for frame in stack.frames if not frame.is_native]
        for inner, outer in zip(frames, frames[1:]):
            name = inner.function_name.rpartition(".")[2]
            _, says, caller = name.partition("__from__")
            found = outer.function_name.rpartition(".")[2]
            while says and found in ("<genexpr>", "<listcomp>", "<lambda>"):
                found = caller  # these belong to whoever wrote them
            found = found.partition("__from__")[0]
            # Of the two that call each other only one can be in a name.
            callers = ("down", "up", "many_distinct_stacks") if caller == "down" else (caller,)
            if says and found not in callers and not outer.function_name.startswith("["):
                key = f"{name} under {outer.function_name}"
                wrong[key] = wrong.get(key, 0) + stack.count
    return wrong


def _descriptors() -> dict[str, str]:
    """What every open descriptor leads to."""
    found = {}
    for number in os.listdir("/proc/self/fd"):
        with contextlib.suppress(FileNotFoundError):  # the one that lists them
            found[number] = os.readlink(f"/proc/self/fd/{number}")
    return found


def _counts() -> dict[str, int]:
    maps = len(Path("/proc/self/maps").read_text().splitlines())
    return {
        "descriptors": len(os.listdir("/proc/self/fd")),
        "threads": len(os.listdir("/proc/self/task")),
        "mappings": maps,
    }


def main(arguments: list[str]) -> int:
    """Run one; the arguments are those of `one.py`."""
    name, seconds, patience, mode, interval, native, result_file = arguments
    options = {"mode": mode, "interval": float(interval), "native": native == "native"}
    result_path = Path(result_file)
    # Its thread blocks all signals, but not before it runs: one that comes until then, and whose
    # handler jumps, would end the undisturbed program, too.
    before_it = signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
    faulthandler.dump_traceback_later(float(seconds) + float(patience), exit=True)
    signal.pthread_sigmask(signal.SIG_SETMASK, before_it)
    if mode != "off":
        import spprof

        spprof.start(options["interval"], native=options["native"])  # imports what it needs
        spprof.stop()
    before, opened = _counts(), _descriptors()
    given = Torment(float(seconds), float(patience), options, result_path.parent)
    result: dict[str, Any] = {"wrong": {}, "error": "", "skipped": ""}
    begin = time.monotonic()
    own = name in OWN_SESSIONS
    try:
        if not own:
            given.start()
        try:
            result["output"] = repr(TORMENTS[name](given))
        finally:
            profile = None if own else given.stop()
        if profile is not None:
            result["wrong"] = wrong_names(profile)
    except Skipped as missing:
        result["skipped"] = str(missing)
    except BaseException:  # noqa: BLE001 - told to run.py
        result["error"] = traceback.format_exc()[-1500:]
    result["seconds"] = time.monotonic() - begin
    result["samples"] = given.samples
    end = time.monotonic() + 2
    while _counts()["threads"] > before["threads"] and time.monotonic() < end:
        time.sleep(0.01)
    gc.collect()
    after = _counts()
    result["left_open"] = sorted(
        target for number, target in _descriptors().items() if opened.get(number) != target
    )
    result["grown"] = {what: after[what] - before[what] for what in before}
    faulthandler.cancel_dump_traceback_later()
    result_path.write_text(json.dumps(result))
    return 0
