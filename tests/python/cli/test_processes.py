"""`spprof run --processes`: what a program's workers did, and how they ended."""

from __future__ import annotations

import os

import pytest
from programs import python, run, shares, write

import spprof

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")

POOL = """
import multiprocessing, sys
import burn
if __name__ == "__main__":
    with multiprocessing.get_context("{}").Pool(2) as pool:
        pool.map(burn.burn, [0.2, 0.2], chunksize=1)
    print("done")
    sys.exit(3)
"""


@pytest.mark.parametrize("method", ["fork", "spawn"])
@pytest.mark.slow_unless(method="fork")
def test_the_workers_of_a_pool_are_in_the_profile(here, method) -> None:
    write(here / "a.py", POOL.format(method))
    done = run("--processes", "a.py")
    assert (done.returncode, done.stdout) == (3, "done\n")
    assert "saved: " in done.stderr
    assert shares("a.spprof")["inner"] > 0.5
    lanes = {thread.thread_name for thread in spprof.load("a.spprof").threads}
    name = f"{method.capitalize()}PoolWorker-"
    assert any(lane.startswith(name) for lane in lanes)
    reported = python("-m", "spprof", "report", "a.spprof").stdout
    listed = reported.partition("processes:\n")[2].partition("\n\n")[0].splitlines()
    assert sum(name in line and "of CPU time here" in line for line in listed) == 2
    assert any("a.py (" in line for line in listed)


@pytest.mark.slow
def test_without_it_the_note_names_the_option(here) -> None:
    write(here / "a.py", POOL.format("fork"))
    done = run("a.py")
    assert "of CPU time that is not in this profile: --processes\n" in done.stderr
    assert "processes:" not in done.stderr
