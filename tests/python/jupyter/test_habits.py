"""What people do in notebooks, in a real kernel, with and without a profile around it."""

from __future__ import annotations

import base64
import json
import re
import struct
import zlib

import pytest
from kernels import kinds, prepared_kernel, printed

READY = """
import json, time
%load_ext spprof

def burn(seconds):
    end = time.thread_time() + seconds
    while time.thread_time() < end:
        pass

def described():
    threads = [each.name for each in _spprof.threads]
    stacks = [[f.function_name for f in reversed(s.frames)] for s in _spprof.samples]
    print(json.dumps({"threads": threads, "stacks": stacks, "weight": _spprof.total_weight_ns}))
"""


@pytest.fixture(scope="module")
def kernel(tmp_path_factory):
    with prepared_kernel(tmp_path_factory, READY) as kernel:
        yield kernel


def told(kernel, expression):
    """What an expression is worth there, as JSON."""
    _, outputs = kernel.run(f"print(json.dumps({expression}))")
    return json.loads(printed(outputs))


def functions(kernel):
    return {name for stack in kernel.profile()["stacks"] for name in stack}


def test_system_exit_is_said_as_ever_and_the_profile_is_of_what_ran(kernel):
    plain, outputs = kernel.run("raise SystemExit(3)")
    (bare,) = [content["evalue"] for kind, content in outputs if kind == "error"]
    reply, outputs = kernel.run("%%spprof -i 1\nburn(0.1)\nraise SystemExit(3)")
    assert (reply["status"], reply["ename"]) == (plain["status"], plain["ename"])
    assert [content["evalue"] for kind, content in outputs if kind == "error"] == [bare]
    assert "widget" in kinds(outputs)
    assert "burn" in functions(kernel)
    assert kernel.run("1")[0]["status"] == "ok"


def test_history_holds_the_cell_as_it_was_written_and_its_value(kernel):
    cell = "%%spprof -i 1\nburn(0.05)\n6 * 7"
    number = kernel.run(cell)[0]["execution_count"]
    assert told(kernel, f"[_i, Out[{number}], _]") == [cell, 42, 42]
    _, outputs = kernel.run(f"%history {number}")
    assert printed(outputs).strip() == cell


@pytest.mark.parametrize("again", ["%rerun {0}", "%macro -q again {0}\nagain"])
def test_a_cell_that_history_runs_again_is_profiled_again(kernel, again):
    kernel.run("runs = 0")
    number = kernel.run("%%spprof -i 1\nruns += 1\nburn(0.1 * runs)")[0]["execution_count"]
    for cell in again.format(number).split("\n"):
        reply, outputs = kernel.run(cell)
        assert reply["status"] == "ok", outputs
    assert "widget" in kinds(outputs)
    assert told(kernel, "runs") == 2
    profile = kernel.profile()
    assert profile["weight"] == pytest.approx(0.2e9, rel=0.15)
    assert {stack[-1] for stack in profile["stacks"]} >= {"burn"}


def test_questions_are_answered_in_the_cell_that_asks(kernel):
    reply, outputs = kernel.run(
        "%%spprof -i 1\nname = input('Who? ')\nburn(0.1)\nname", answer="Ada"
    )
    assert reply["status"] == "ok"
    (value,) = [c["data"]["text/plain"] for kind, c in outputs if kind == "execute_result"]
    assert value == "'Ada'"
    assert "burn" in functions(kernel)


def png(width, height):
    """The smallest picture."""

    def chunk(kind, data):
        checked = kind + data
        return struct.pack(">I", len(data)) + checked + struct.pack(">I", zlib.crc32(checked))

    head = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0))
    rows = zlib.compress(b"".join(b"\0" + bytes(width) for _ in range(height)))
    return b"\x89PNG\r\n\x1a\n" + head + chunk(b"IDAT", rows) + chunk(b"IEND", b"")


def test_pictures_stay_and_what_drawing_them_takes_is_the_cells(kernel):
    kernel.run(
        f"""
        class Figure:
            def _repr_png_(self):
                burn(0.2)
                return {png(2, 2)!r}
        """
    )
    _, outputs = kernel.run("%%spprof -i 1\nFigure()")
    (data,) = [c["data"] for kind, c in outputs if kind == "execute_result"]
    assert base64.b64decode(data["image/png"]) == png(2, 2)
    profile = kernel.profile()
    assert {"Figure._repr_png_", "burn"} <= {name for stack in profile["stacks"] for name in stack}
    assert {re.sub(r"\d+", "N", stack[0]) for stack in profile["stacks"]} == {"In [N]"}


def test_figures_of_matplotlib_come_once_and_after_the_value(kernel):
    pytest.importorskip("matplotlib")
    kernel.run("%matplotlib inline\nimport matplotlib.pyplot as plt")
    cell = "plt.plot(range(10))\nburn(0.1)\nplt.title('t')"
    plain = kinds(kernel.run(cell)[1])
    shown = kinds(kernel.run("%%spprof -i 1\n" + cell)[1])
    assert sorted(shown) == sorted([*plain, "widget", "picture"])


def test_progress_bars_write_as_without(kernel):
    pytest.importorskip("tqdm")
    kernel.run("import tqdm")
    cell = "for _ in tqdm.tqdm(range(4), ascii=True):\n    burn(0.05)"
    reply, outputs = kernel.run("%%spprof -i 1\n" + cell)
    assert reply["status"] == "ok"
    assert "| 4/4 [" in printed(outputs)
    assert "burn" in functions(kernel)


@pytest.mark.parametrize(
    ("package", "cell"),
    [
        (
            "joblib",
            "joblib.Parallel(2, backend='threading')(joblib.delayed(burn)(t) for t in [0.15] * 4)",
        ),
        ("dask", "dask.compute(*map(dask.delayed(burn), [0.15] * 4), scheduler='threads')"),
    ],
)
def test_threads_that_a_library_starts_for_the_cell_are_in_its_profile(kernel, package, cell):
    pytest.importorskip(package)
    kernel.run(f"import {package}\nif {package!r} == 'dask': import dask.threaded")
    reply, outputs = kernel.run(f"%%spprof -i 1\n_ = {cell}")
    assert reply["status"] == "ok", outputs
    profile = kernel.profile()
    burning = sum("burn" in stack for stack in profile["stacks"])
    assert burning > 0.8 * len(profile["stacks"])
    assert profile["weight"] == pytest.approx(0.6e9, rel=0.25)
    # A second cell that uses none of them is not shown their idle pool.
    kernel.run("%%spprof -i 1 --mode wall\nburn(0.1)")
    assert kernel.profile()["threads"] == ["MainThread"]
