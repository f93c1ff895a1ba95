"""What native stacks cost at start() and stop(), and in memory: a small and a large process.

    python tests/bench/native_start.py [--large PYTHON] [--before SRC]

The small process runs in this interpreter, the large one in PYTHON, which has as many as possible
of TensorFlow, JAX, numba, pyarrow and scikit-learn. Each has four sessions of a second at 1 ms, and
calls into everything it imported meanwhile; before them comes a second without a session. "memory"
is what the process had more of its own behind stop(), the profile and what stays for later sessions
included; "with files'" counts pages of loaded libraries, too, that were read for the first time:
they are those of the file, shared with other processes, and the kernel may drop them at any time.
"said" is what stats() says. `--before` names the `src` of another build to measure
beside this one, with the same programs. Source lines are looked up when the profile is first
looked at, which is behind stop() and in none of the figures; the CPU time of the core is what a
busy machine does not spoil.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from pathlib import Path

import workloads

SOURCE = Path(__file__).resolve().parents[2] / "src"

SMALL = ("numpy", "pandas", "scikit-learn")
LARGE = ("numpy", "pandas", "scikit-learn", "tensorflow", "jax", "numba", "pyarrow", "polars")

# A caller for each package: a little of what it does in C, again and again.
PROGRAM = r"""
import contextlib, json, os, statistics, sys, time
os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
names = sys.argv[1].split(",")
calls = []

def caller(name):
    def add(make):
        with contextlib.suppress(ImportError):
            if name in names:
                calls.append((name, make()))
        return make
    return add

@caller("numpy")
def make_numpy():
    import numpy as np
    a = np.random.default_rng(1).random((120, 120))
    return lambda: np.linalg.svd(a @ a)

@caller("pandas")
def make_pandas():
    import pandas as pd
    frame = pd.DataFrame({"k": list(range(50)) * 40, "v": range(2000)})
    return lambda: frame.groupby("k").mean().merge(frame, on="k", how="inner")

@caller("scikit-learn")
def make_sklearn():
    import numpy as np
    from sklearn.ensemble import RandomForestClassifier
    x = np.random.default_rng(2).random((300, 8))
    model = RandomForestClassifier(5, max_depth=5)
    return lambda: model.fit(x, x[:, 0] > 0.5).predict(x)

@caller("tensorflow")
def make_tensorflow():
    import tensorflow as tf
    a = tf.random.uniform((64, 64))
    return lambda: tf.linalg.svd(tf.nn.softmax(a @ a))

@caller("jax")
def make_jax():
    import jax, jax.numpy as jnp
    f = jax.jit(lambda x: jnp.tanh(x @ x).sum())
    x = jnp.ones((200, 200))
    return lambda: f(x).block_until_ready()

@caller("numba")
def make_numba():
    import numba
    @numba.njit
    def total(n):
        s = 0.0
        for i in range(n):
            s += i % 7
        return s
    total(3)
    return lambda: total(20000)

@caller("pyarrow")
def make_pyarrow():
    import pyarrow as pa, pyarrow.compute as pc
    table = pa.table({"a": list(range(5000)), "b": [str(i % 17) for i in range(5000)]})
    return lambda: table.group_by("b").aggregate([("a", "sum")]).sort_by("a_sum")

@caller("polars")
def make_polars():
    import polars as pl
    frame = pl.DataFrame({"a": list(range(5000)), "b": [i % 17 for i in range(5000)]})
    return lambda: frame.group_by("b").agg(pl.col("a").sum()).sort("a")

for _, call in calls:
    call()  # what is loaded or compiled at a first call is here

import spprof
from spprof import _native

# The process's own memory; and all of it, with what it touched of mapped files.
def resident():
    with open("/proc/self/smaps_rollup") as file:
        sizes = dict(line.split()[:2] for line in file.readlines()[1:])
    return int(sizes["Anonymous:"]) * 1024 / 1e6, int(sizes["Rss:"]) * 1024 / 1e6

def work():
    end = time.monotonic() + 1
    while time.monotonic() < end:
        for _, call in calls:
            call()

core = []
def timed_stop(*arguments, _stop=_native.stop):
    begin = time.perf_counter(), time.thread_time()
    try:
        return _stop(*arguments)
    finally:
        core.append(((time.perf_counter() - begin[0]) * 1e3, (time.thread_time() - begin[1]) * 1e3))
_native.stop = timed_stop

with open("/proc/self/maps") as file:
    loaded = len({line.split()[-1] for line in file if " r-xp " in line and "/" in line})
alone = resident()
work()
alone = [now - then for now, then in zip(resident(), alone)]
sessions = []
for _ in range(4):
    before = resident()
    begin = time.perf_counter()
    spprof.start(1, native=True)
    started = time.perf_counter()
    work()
    memory = spprof.stats().memory_bytes / 1e6
    stopping = time.perf_counter()
    profile = spprof.stop()
    stopped = time.perf_counter()
    after_stop = resident()
    native = {f for s in profile.samples for f in s.frames if f.is_native}
    sessions.append({
        "start": (started - begin) * 1e3, "stop": (stopped - stopping) * 1e3,
        "core": core[-1][0], "core_cpu": core[-1][1],
        "own": after_stop[0] - before[0], "all": after_stop[1] - before[1], "memory": memory,
        "samples": profile.sample_count, "frames": len(native),
        "unnamed": sum("+0x" in f.function_name for f in native),
    })
packages = [name for name, _ in calls]
print(json.dumps(dict(loaded=loaded, alone=alone, packages=packages, sessions=sessions)))
"""


def measure(python: str, source: Path, names: tuple[str, ...]) -> list[list[str]]:
    """One process; its first session, and the median of the later ones."""
    environment = {**os.environ, "PYTHONPATH": str(source), "OPENBLAS_NUM_THREADS": "1"}
    command = [python, "-c", PROGRAM, ",".join(names)]
    ran = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    if ran.returncode != 0:
        raise SystemExit(ran.stderr)
    result = json.loads(ran.stdout.splitlines()[-1])
    rows = []
    first, *later = result["sessions"]
    own, everything = (f"{size:.1f}" for size in result["alone"])
    head = [f"{result['loaded']} objects"]
    rows.append([*head, "none", *["-"] * 4, own, everything, *["-"] * 4])
    middle = {key: sorted(s[key] for s in later)[len(later) // 2] for key in first}
    for which, session in (("first", first), ("later", middle)):
        rows.append(
            [
                *head,
                which,
                f"{session['start']:.1f}",
                f"{session['stop']:.1f}",
                f"{session['core']:.1f}",
                f"{session['core_cpu']:.1f}",
                f"{session['own']:.1f}",
                f"{session['all']:.1f}",
                f"{session['memory']:.1f}",
                str(session["samples"]),
                str(session["frames"]),
                str(session["unnamed"]),
            ]
        )
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--large", metavar="PYTHON", help="an interpreter with the large packages")
    parser.add_argument("--before", metavar="SRC", type=Path, help="another build to compare with")
    options = parser.parse_args()
    rows = []
    for name, python, packages in (
        ("small", sys.executable, SMALL),
        ("large", options.large, LARGE),
    ):
        for build, source in (("before", options.before), ("now", SOURCE)):
            if python and source:
                rows += [[name, build, *row] for row in measure(python, source, packages)]
    head = [
        "process",
        "build",
        "loaded",
        "session",
        "start, ms",
        "stop, ms",
        "of it core",
        "its CPU",
    ]
    head += ["memory, MB", "with files', MB", "said, MB", "samples", "functions", "unnamed"]
    print(workloads.table(head, rows))


if __name__ == "__main__":
    main()
