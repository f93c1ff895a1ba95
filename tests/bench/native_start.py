"""What native stacks cost at start() and stop(), and in memory: a small and a large process.

    python tests/bench/native_start.py [--large PYTHON] [--before SRC]

The small process runs in this interpreter, the large one in PYTHON, which has as many as possible
of TensorFlow, JAX, numba, pyarrow and scikit-learn. Each has four sessions of a second at 1 ms, and
calls into everything it imported meanwhile. `--before` names the `src` of another build to measure
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

def resident():
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 1e6

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
sessions = []
for _ in range(4):
    before = resident()
    begin = time.perf_counter()
    spprof.start(1, native=True)
    started = time.perf_counter()
    after_start = resident()
    end = time.monotonic() + 1
    while time.monotonic() < end:
        for _, call in calls:
            call()
    memory = spprof.stats().memory_bytes / 1e6
    stopping = time.perf_counter()
    profile = spprof.stop()
    stopped = time.perf_counter()
    after_stop = resident()
    native = {f for s in profile.samples for f in s.frames if f.is_native}
    sessions.append({
        "start": (started - begin) * 1e3, "stop": (stopped - stopping) * 1e3,
        "core": core[-1][0], "core_cpu": core[-1][1],
        "added": after_stop - before, "at_start": after_start - before, "memory": memory,
        "samples": profile.sample_count, "frames": len(native),
        "unnamed": sum("+0x" in f.function_name for f in native),
    })
print(json.dumps({"loaded": loaded, "packages": [n for n, _ in calls], "sessions": sessions}))
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
    middle = {key: sorted(s[key] for s in later)[len(later) // 2] for key in first}
    for which, session in (("first", first), ("later", middle)):
        rows.append(
            [
                f"{result['loaded']} objects",
                which,
                f"{session['start']:.1f}",
                f"{session['stop']:.1f}",
                f"{session['core']:.1f}",
                f"{session['core_cpu']:.1f}",
                f"{session['added']:.1f}",
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
    head += ["RSS added, MB", "said, MB", "samples", "functions", "unnamed"]
    print(workloads.table(head, rows))


if __name__ == "__main__":
    main()
