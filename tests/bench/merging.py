"""What merging many profiles costs, as a multiple of reading them.

    python tests/bench/merging.py [profiles [rows]]

Makes files of one profile each in a temporary folder (rows: sample rows that cannot be one run),
reads all of them, and merges them. Prints seconds of CPU time, and the most memory of the process.
"""

from __future__ import annotations

import os
import random
import resource
import sys
import tempfile
import time
from array import array
from pathlib import Path

import spprof
from spprof._profile.tables import Builder, Meta


def make(path: Path, rows: int, seed: int) -> None:
    """A profile of 2,000 stacks in 4 threads of a process of its own."""
    chance = random.Random(seed)
    builder = Builder()
    frames = [
        builder.frame(builder.func(f"function_{n}", f"/srv/module_{n % 40}.py", n), n + 3)
        for n in range(400)
    ]
    # Some stacks are of this process only, as code that only one of them runs.
    frames += [builder.frame(builder.func(f"own_{seed}_{n}", "/srv/own.py", n)) for n in range(20)]
    stacks = [builder.stack_of(chance.choices(frames, k=12)) for _ in range(2000)]
    threads = [builder.thread(seed * 10 + n, f"Thread-{n}", seed) for n in range(4)]
    t = builder.tables
    columns = {
        "sample_thread": array("I", (threads[row % 4] for row in range(rows))),
        "sample_stack": array("I", chance.choices(stacks, k=rows)),
        "sample_time": array("q", range(0, rows * 1_000_000, 1_000_000)),
        "sample_last": array("q", range(0, rows * 1_000_000, 1_000_000)),
        "sample_count": array("I", [1]) * rows,
        "sample_weight": array("q", [1_000_000]) * rows,
        "sample_state": array("B", [8]) * rows,
    }
    meta = Meta(duration_ns=rows * 1_000_000, interval_ns=1_000_000, mode="cpu")
    spprof.Profile._of(t.same_stacks(meta=meta, **columns)).save(path)


def main() -> None:
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 8
    rows = int(sys.argv[2]) if len(sys.argv) > 2 else 200_000
    with tempfile.TemporaryDirectory() as folder:
        paths = [Path(folder) / f"{n}.spprof" for n in range(count)]
        for n, path in enumerate(paths, 1):
            pid = os.fork()  # what making them takes is no memory of ours
            if pid == 0:
                make(path, rows, n)
                os._exit(0)
            os.waitpid(pid, 0)
        begin = time.process_time()
        profiles = [spprof.load(path) for path in paths]
        read = time.process_time() - begin
        held = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        begin = time.process_time()
        merged = spprof.merge(*profiles)
        took = time.process_time() - begin
        most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    assert merged.sample_count == count * rows
    print(f"{count} profiles of {rows:,} sample rows each")
    print(f"reading {read:.2f} s, merging {took:.2f} s: {took / read:.2f} times as long")
    print(f"memory: {held:.0f} MB read, {most:.0f} MB at most")


if __name__ == "__main__":
    main()
