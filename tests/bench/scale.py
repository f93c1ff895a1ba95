"""Memory, time and size of every output for a profile of a million samples.

    python tests/bench/scale.py [--samples 1000000] [--stacks 5000] [--threads 4]
    python tests/bench/scale.py --live 120        # a real session: memory, and the time of stop()

Times are the best of three; "ratio" is to `json.dumps` of the same sample columns as lists, which
says how fast this machine is. "memory" is what Python allocates at most while saving, on top of
the profile, as a multiple of the profile's own columns.
"""

from __future__ import annotations

import argparse
import json
import random
import sys
import tempfile
import time
import tracemalloc
from array import array
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any, Callable

import spprof
from spprof._profile import tables as columns
from spprof.formats import FORMATS, container


def build(samples: int, stacks: int, threads: int) -> spprof.Profile:
    """A profile with no two neighbouring samples alike: nothing is saved by run-length coding."""
    rng = random.Random(5)
    b = columns.Builder()
    files = [f"/srv/app/package/module_{i}.py" for i in range(60)]
    funcs = [
        b.func(f"Class{i % 50}.method_{i}", files[i % 60], i + 1)
        if i % 5
        else b.func(f"ns::function_{i}(int)", "/usr/lib/libwork.so", 0, columns.NATIVE)
        for i in range(1500)
    ]
    leaves: list[int] = []
    pool = [b.stack(-1, b.frame(b.func("<module>", files[0], 1), 3))]
    depth = {pool[0]: 1}
    while len(leaves) < stacks:
        parent = pool[rng.randrange(max(0, len(pool) - 400), len(pool))]
        if depth[parent] > 40:
            continue
        known = len(depth)
        child = b.stack(parent, b.frame(rng.choice(funcs), rng.randrange(1, 400)))
        if len(depth) == known:
            depth[child] = depth[parent] + 1
            pool.append(child)
        leaves.append(child)
    t: Any = b.tables
    for i in range(threads):
        b.thread(1000 + i, f"worker-{i}", 77)
    t.sample_thread = array("I", [i % threads for i in range(samples)])
    t.sample_stack = array("I", [rng.choice(leaves) for _ in range(samples)])
    t.sample_time = array("q", [i // threads * 1_000_000 for i in range(samples)])
    t.sample_last = array("q", t.sample_time)
    t.sample_count = array("I", [1]) * samples
    t.sample_weight = array("q", [1_000_000 + rng.randrange(-9000, 9000) for _ in range(samples)])
    t.sample_state = array("B", bytes(samples))
    start = datetime(2026, 1, 1, tzinfo=timezone.utc)
    end = start + timedelta(milliseconds=samples // threads)
    t.meta = columns.Meta.between(start, end, interval_ns=1_000_000, mode="cpu", engine="timer")
    return spprof.Profile._of(t)


def live(seconds: float, interval_ms: float, stacks: int) -> None:
    """Profile a program with about `stacks` distinct stacks for some seconds of CPU time."""
    width = max(2, round(stacks ** (1 / 3)))
    levels: dict[str, Any] = {"outer": [], "middle": [], "inner": []}
    code = []
    for i in range(width):
        code.append(f"def outer_{i}(j, k):\n    middle[j](k)\nouter.append(outer_{i})\n")
        code.append(f"def middle_{i}(k):\n    inner[k]()\nmiddle.append(middle_{i})\n")
        code.append(f"def inner_{i}():\n    sum(range(3000))\ninner.append(inner_{i})\n")
    exec("".join(code), levels)
    rng = random.Random(3)
    spprof.start(interval_ms=interval_ms, memory_limit_mb=1000)
    until = time.thread_time() + seconds
    while time.thread_time() < until:
        levels["outer"][rng.randrange(width)](rng.randrange(width), rng.randrange(width))
    stats = spprof.stats()
    begin = time.perf_counter()
    profile = spprof.stop()
    took = time.perf_counter() - begin
    assert stats is not None
    count = profile.sample_count
    size = sum(memoryview(profile._tables.column(name)).nbytes for name in columns.COLUMN_TYPES)
    print(
        f"{count} samples at {interval_ms:g} ms, {profile.aggregate().unique_stack_count} distinct "
        f"stacks, {profile._tables.rows} rows, {profile.dropped_count} dropped"
    )
    print(f"while running  {stats.memory_bytes / count:6.1f} bytes a sample, buffers included")
    print(f"profile        {size / count:6.1f} bytes a sample")
    print(f"stop()         {took:6.3f} s")


def best_of(n: int, function: Callable[[], Any]) -> float:
    """Shortest time of `n` calls, in seconds."""
    times = []
    for _ in range(n):
        begin = time.perf_counter()
        function()
        times.append(time.perf_counter() - begin)
    return min(times)


def time_of_json(tables: columns.Tables) -> float:
    """Seconds that `json.dumps` takes for the sample columns as lists."""
    plain = [list(tables.column(n)) for n in columns.COLUMN_TYPES if n.startswith("sample.")]
    return best_of(3, lambda: json.dumps(plain))


def peak_of(function: Callable[[], Any]) -> int:
    """Bytes that Python allocates at most during a call, beyond what it had before."""
    tracemalloc.start()
    function()
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    return peak


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--samples", type=int, default=1_000_000)
    parser.add_argument("--stacks", type=int, default=5_000)
    parser.add_argument("--threads", type=int, default=4)
    parser.add_argument("--live", type=float, metavar="SECONDS", help="a real session instead")
    parser.add_argument("--interval", type=float, default=0.1, help="of --live, in ms")
    options = parser.parse_args()
    if options.live:
        live(options.live, options.interval, options.stacks)
        return

    profile = build(options.samples, options.stacks, options.threads)
    tables = profile._tables
    size = sum(memoryview(tables.column(name)).nbytes for name in columns.COLUMN_TYPES)
    reference = time_of_json(tables)
    print(f"Python {sys.version.split()[0]}, {sys.platform}")
    print(
        f"{profile.sample_count} samples, {options.stacks} distinct stacks, "
        f"{len(profile.threads)} threads; columns {size / 1e6:.1f} MB, "
        f"{size / profile.sample_count:.1f} bytes a sample"
    )
    print(f"json.dumps of the sample columns: {reference:.2f} s\n")
    print(f"{'':24} {'time':>8} {'ratio':>7} {'memory':>8} {'size':>10}")

    def line(name: str, function: Callable[[], Any], path: Path | None = None) -> None:
        seconds = best_of(3, function)
        memory = peak_of(function) / size
        written = f"{path.stat().st_size / 1e6:8.1f}MB" if path is not None else ""
        print(f"{name:24} {seconds:7.2f}s {seconds / reference:6.2f}x {memory:7.2f}x {written:>10}")

    line("aggregate", profile.aggregate)
    line("top", profile.top)
    line("tree", profile.tree)
    line("threads", lambda: profile.threads)
    line("filter one thread", lambda: profile.filter(thread="worker-1"))
    line("to_collapsed", profile.to_collapsed)
    line("to_speedscope", profile.to_speedscope)
    line("encode for display", lambda: container.encode(tables, for_display=True))
    with tempfile.TemporaryDirectory() as folder:
        for entry in FORMATS.values():
            path = Path(folder) / f"profile{entry.extensions[0]}"
            line(f"save {entry.name}", lambda p=path: profile.save(p), path)  # type: ignore[misc]
            if entry.readable:
                line(f"load {entry.name}", lambda p=path: spprof.load(p))  # type: ignore[misc]


if __name__ == "__main__":
    main()
