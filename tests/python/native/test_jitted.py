"""What numba and JAX compile while the program runs has its name, under the Python line that calls
it. For where they are installed: they are no dependencies of the tests."""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys

import pytest

import spprof

pytestmark = pytest.mark.skipif(
    not spprof.native_unwinding_available(), reason="no native unwinding on this system"
)

MEASURE = """
import json, threading, time, spprof
caller()
def measure():
    spprof.start(1, native=True)
    end = time.process_time() + 2  # whatever else the machine has to do
    while time.process_time() < end:
        caller()
    figures = spprof.stats()
    profile = spprof.stop()
    # Of the samples in generated code: is it named, and on the calling thread under whom?
    named = under = elsewhere = nameless = 0
    for sample in profile.samples:
        generated = [f for f in sample.frames if f.is_native and not f.filename]
        if not generated:
            continue
        if any(EXPECTED not in f.function_name for f in generated):
            nameless += 1
        elif sample.thread_name != "MainThread":
            elsewhere += 1
        else:
            named += 1
            python = [f.function_name.split(".")[-1] for f in sample.frames if not f.is_native]
            under += python[:1] == ["caller"]
    return named, under, elsewhere, nameless, figures.mismatched_samples
print(json.dumps([measure(), measure()]))
"""
NUMBA = """
import numba
@numba.njit
def kernel(n):
    total = 0.0
    for i in range(n):
        total += i % 7
    return total
def caller():
    kernel(300_000)
EXPECTED = "kernel"
"""
# What computes nothing runs on the calling thread, the rest on threads of XLA's own. It names a
# kernel after the operations in it.
JAX = """
import os
os.environ["JAX_PLATFORMS"] = "cpu"
import jax, jax.numpy as jnp
@jax.jit
def kernel(x):
    return jnp.rot90(x)
data = jnp.ones((1000, 300))
def caller():
    kernel(data).block_until_ready()
EXPECTED = "fusion"
"""


@pytest.mark.parametrize(("package", "program"), [("numba", NUMBA), ("jax", JAX)])
def test_compiled_functions_are_named_under_their_caller(package: str, program: str) -> None:
    if importlib.util.find_spec(package) is None:
        pytest.skip(f"{package} is not installed: what it compiles was not looked at")
    ran = subprocess.run(
        [sys.executable, "-c", program + MEASURE],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert ran.returncode == 0, ran.stderr
    first, later = json.loads(ran.stdout.splitlines()[-1])
    for named, under, elsewhere, nameless, _ in (first, later):
        print(f"{package}: {under} under their caller of {named}, {elsewhere} on other threads")
        assert named > 100
        assert under >= 0.95 * named
        assert nameless <= 0.05 * (named + elsewhere)
    # Until it is known who makes such code, the stacks below it are uncertain.
    assert later[4] == 0
