"""What `%spprof on` and the live graph cost a notebook.

    python tests/bench/notebook.py [CELLS] [SECONDS]

Runs so many cells (60 of 0.5 s unless told otherwise) of plain work in IPython's shell, by turns
with profiling on and off, cell by cell, and prints the ratio of the time that the same work took.
Then what a start and a stop of an empty cell take, what the history keeps in memory, and, of a
long cell, what looking at it while it runs takes of a processor.
"""

from __future__ import annotations

import statistics
import sys
import time
from collections.abc import Callable
from typing import Any

from IPython.core.interactiveshell import InteractiveShell
from traitlets.config import Config

from spprof._session import session
from spprof._session.options import Options
from spprof.jupyter import cells, live, output
from spprof.jupyter.running import Execution, Threads, localiser

WORK = """
import json, random
data = [{"key": i, "text": "x" * (i % 50), "values": list(range(i % 20))} for i in range(300)]

def parse():
    return json.loads(json.dumps(data))

def work(times):
    for _ in range(times):
        sorted(parse(), key=lambda each: each["text"])
"""


def shell_with(threshold: float) -> Any:
    """A shell that profiles all cells."""
    config = Config()
    config.HistoryManager.hist_file = ":memory:"
    shell = InteractiveShell(config=config)
    shell.extension_manager.load_extension("spprof")
    shell.run_cell(WORK, store_history=True)
    shell.run_line_magic("spprof", f"on --threshold {threshold}")
    return shell


def timed(shell: Any, cell: str, clock: Callable[[], float] = time.process_time) -> float:
    """Seconds that a cell takes, from before IPython sees it until it is done with it."""
    began = clock()
    shell.run_cell(cell, store_history=True)
    return clock() - began


def always_on(count: int, seconds: float) -> None:
    """Print the ratio of cells with profiling on to cells without."""
    shell = shell_with(threshold=1e9)
    kept = shell.magics_manager.registry["SpprofMagics"]._kept
    kept._always.end()
    once = min(timed(shell, "work(20)") for _ in range(5)) / 20
    cell = f"work({max(1, round(seconds / once))})"
    times: dict[bool, list[float]] = {True: [], False: []}
    for _ in range(count):
        for on in (True, False):
            if on:
                kept._always.begin()
            times[on].append(timed(shell, cell))
            if on:
                kept._always.end()
    off = statistics.median(times[False])
    pairs = statistics.median(a / b for a, b in zip(times[True], times[False]))
    print(f"{count} cells of {off:.3f} s of CPU time: {pairs - 1:+.2%} (median of pairs)")
    history = kept._history
    print(f"history: {len(history)} runs, not looked at yet: {history.kept_bytes / 1024:.0f} KiB")


def empty_cells(count: int = 100) -> None:
    """Print what a start and a stop cost."""
    shell = shell_with(threshold=1e9)
    on = [timed(shell, "pass", time.perf_counter) * 1e3 for _ in range(count)]
    shell.run_line_magic("spprof", "off")
    off = [timed(shell, "pass", time.perf_counter) * 1e3 for _ in range(count)]
    medians = statistics.median(on), statistics.median(off)
    print(
        f"an empty cell: {medians[0]:.2f} ms with profiling, {medians[1]:.2f} ms without: "
        f"{medians[0] - medians[1]:.2f} ms a cell"
    )


def looks(seconds: float = 3.0) -> None:
    """Print what one look at a running cell takes, and so its share of a processor."""
    for interval_ms in (10.0, 1.0):
        shell = shell_with(threshold=1e9)
        shell.run_line_magic("spprof", "off")
        session.begin(Options(interval_ms), stacklevel=1)
        shell.run_cell(
            f"import time\nend = time.time() + {seconds}\nwhile time.time() < end: work(1)"
        )
        localise = localiser(shell, Execution(shell), Threads(None, "cpu"))
        spent = []
        for _ in range(9):
            began = time.thread_time()
            output._encoded(localise(session.snapshot()))
            spent.append(time.thread_time() - began)
        profile = session.end()
        look = statistics.median(spent)
        wait = live.next_wait(look)
        assert profile is not None
        print(
            f"a look at {profile.sample_count} samples: {look * 1e3:.1f} ms, every {wait:.2f} s: "
            f"{look / (wait + look):.2%} of a processor"
        )


def main() -> None:
    """Print all figures."""
    assert cells  # what the first look imports is not what it costs
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 60
    seconds = float(sys.argv[2]) if len(sys.argv) > 2 else 0.5
    always_on(count, seconds)
    empty_cells()
    looks()


if __name__ == "__main__":
    main()
