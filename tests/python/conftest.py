"""Profiles with known content for the tests of the model, the formats and the command line."""

from __future__ import annotations

import random
import signal
import sys
from collections.abc import Iterator
from datetime import datetime, timedelta, timezone
from typing import Callable

import pytest

from spprof import Profile
from spprof._profile import tables as columns

START = datetime(2026, 1, 2, 3, 4, 5, 678901, tzinfo=timezone.utc)
MODULE = "/usr/lib/libfast.so"


def build_profile(
    rows: int = 400,
    *,
    seed: int = 1,
    threads: int = 3,
    stacks: int = 40,
    mode: str = "wall",
) -> Profile:
    """A profile as the native module delivers one: runs, measured weights, states, native frames.

    Function names are unique to a file and a first line, so that formats which know only one line
    of a frame can tell them apart.
    """
    rng = random.Random(seed)
    b = columns.Builder()
    names = ["MainThread", "Thread-1 (worker)", "pool: a;b 12"]
    thread_ids = [b.thread(100 + i, names[i % 3], 4242) for i in range(threads)]
    files = ["/home/me/app/main.py", "/usr/lib/python3.11/json/decoder.py", "<frozen os>", "In [3]"]
    known = []
    for _ in range(stacks):
        frames = [b.frame(b.func("<module>", files[0], 1), rng.randrange(1, 4))]
        for _ in range(rng.randrange(1, 15)):
            k = rng.randrange(16)
            if k % 4 == 3:
                func = b.func(f"std::vector<int>::op{k}(int, a;b)", MODULE, 0, columns.NATIVE)
                frames.append(b.frame(func, 0, 0x1000 + k * 16 + rng.randrange(3)))
            else:
                name = ["run", "Class.method", "<lambda>"][k % 3]
                first = k * 10 + 1
                func = b.func(f"{name}_{k}", files[k % 4], first)
                frames.append(b.frame(func, first + rng.randrange(3)))
        known.append(b.stack_of(frames))
    now = 0
    for _ in range(rows):
        count = rng.choice([1, 1, 1, 1, 2, 5])
        b.row(
            rng.choice(thread_ids),
            rng.choice(known),
            time=now,
            last=now + (count - 1) * 10_000_000,
            count=count,
            weight=count * 10_000_000 + rng.randrange(-5_000_000, 5_000_000),
            state=(columns.WAITING if mode == "wall" and rng.random() < 0.2 else 0)
            | rng.choice([columns.GIL_HELD, columns.GIL_NOT_HELD]),
        )
        now += count * 10_000_000
    b.tables.meta = columns.Meta.between(
        START,
        START + timedelta(microseconds=now // 1000),
        interval_ns=10_000_000,
        dropped_count=3,
        python_version="3.11.7",
        platform="linux",
        mode=mode,
        engine="ticker",
        notes=("the timer was refused",),
        modules=({"path": MODULE, "build_id": "c0ffee"},),
    )
    return Profile._of(b.tables)


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """``@pytest.mark.slow_unless(interval=1)``: a test with each other interval is slow."""
    for item in items:
        for marker in item.iter_markers("slow_unless"):
            given = item.callspec.params  # type: ignore[attr-defined]
            for name, fast in marker.kwargs.items():
                # A parameter that there is not is a KeyError: nobody is slow by mistake.
                if given[name] not in (fast if isinstance(fast, set) else {fast}):
                    item.add_marker("slow")


not_run: list[pytest.Item] = []


def pytest_deselected(items: list[pytest.Item]) -> None:
    """Remember the slow ones that were left out."""
    not_run.extend(item for item in items if item.get_closest_marker("slow"))


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Say what a plain `pytest` leaves out."""
    if not_run:
        terminalreporter.write_line(f"{len(not_run)} slow tests not run: pytest -m slow")


@pytest.fixture
def make_profile() -> Callable[..., Profile]:
    """`build_profile`."""
    return build_profile


@pytest.fixture(autouse=True, scope="session")
def as_in_the_foreground() -> None:
    """Undo what a shell does to programs in the background; children would inherit it."""
    signal.signal(signal.SIGINT, signal.default_int_handler)
    for name in ("SIGHUP", "SIGQUIT"):
        number = getattr(signal, name, None)
        if number is not None and signal.getsignal(number) == signal.SIG_IGN:
            signal.signal(number, signal.SIG_DFL)


@pytest.fixture(autouse=True, scope="session")
def whether_there_is_a_gil(
    record_testsuite_property: Callable[[str, object], None],
) -> Iterator[None]:
    """Whoever reads the report can tell what ran without it: any import may turn it on."""
    yield
    enabled = getattr(sys, "_is_gil_enabled", lambda: True)()
    record_testsuite_property("gil", "on" if enabled else "off")
