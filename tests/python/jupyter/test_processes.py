"""`%%spprof --processes` in a real kernel: the workers of a cell are in its profile."""

from __future__ import annotations

import pytest

pytest.importorskip("jupyter_client")
pytest.importorskip("ipykernel")
pytest.importorskip("anywidget")

from kernels import kinds, running_kernel

BEGIN = """
import multiprocessing, os, time
%load_ext spprof

def burn(seconds):
    begin = time.process_time()
    while time.process_time() - begin < seconds:
        pass

def work():
    with multiprocessing.get_context("fork").Pool(2) as pool:
        pool.map(burn, [0.2, 0.2], chunksize=1)
"""

LOOK = """
of_workers = [t for t in _spprof.threads if t.thread_name.startswith("ForkPoolWorker-")]
roots = {s.frames[-1].filename for s in _spprof.samples
         if s.thread_name.startswith("ForkPoolWorker-")}
total = sum(t.weight_ns for t in of_workers) / 1e9
print(len(of_workers), *roots, 0.25 < total < 0.45, *_spprof.notes)
"""


def printed(outputs) -> str:
    return "".join(content["text"] for kind, content in outputs if kind == "stream")


def test_workers_are_in_the_profile_of_their_cell(tmp_path) -> None:
    with running_kernel(tmp_path) as kernel:
        kernel.run(BEGIN)
        reply, outputs = kernel.run("%%spprof -i 1 --processes\nwork()")
        assert kinds(outputs) == ["widget", "picture"]
        # Stacks begin at the cell, in a forked worker as well.
        cell = f"In [{reply['execution_count']}]"
        said = printed(kernel.run(LOOK)[1])
        assert said.startswith(f"2 {cell} True"), said
        kernel.run("%%spprof -i 1 -q\nwork()")
        said = printed(kernel.run(LOOK)[1])
        assert said.startswith("0 False"), said
        assert "that is not in this profile: %%spprof --processes" in said
