"""The magics in a real kernel: what the front end receives, in which order, and interrupts."""

from __future__ import annotations

import pytest
from kernels import WIDGET, kinds, prepared_kernel

BURN = """
import asyncio, json, time
%load_ext spprof
from spprof.jupyter import live
live.FIRST_S = 60  # a busy machine takes long for what is short

def burn(seconds):
    end = time.thread_time() + seconds
    while time.thread_time() < end:
        pass

def described():
    threads = [each.name for each in _spprof.threads]
    stacks = [[f"{f.function_name} {f.filename}" for f in reversed(s.frames)]
              for s in _spprof.samples]
    print(json.dumps({"threads": threads, "stacks": stacks, "weight": _spprof.total_weight_ns}))
"""


@pytest.fixture(scope="module")
def kernel(tmp_path_factory):
    with prepared_kernel(tmp_path_factory, BURN) as kernel:
        yield kernel


def test_value_comes_first_then_the_widget_and_its_static_twin(kernel):
    reply, outputs = kernel.run("%%spprof -i 1\nburn(0.2)\n6 * 7")
    assert reply["status"] == "ok"
    assert kinds(outputs) == ["execute_result", "widget", "picture"]
    (widget,) = [c["data"] for kind, c in outputs if kind == "display_data" and WIDGET in c["data"]]
    assert "burn" in widget["text/plain"]


def test_only_the_cell_is_in_the_profile(kernel):
    reply, _ = kernel.run("%%spprof -i 1\nburn(0.3)")
    profile = kernel.profile()
    cell = f"In [{reply['execution_count']}]"
    assert profile["threads"] == ["MainThread"]
    assert {stack[0] for stack in profile["stacks"]} == {f"{cell} {cell}"}
    assert profile["weight"] == pytest.approx(0.3e9, rel=0.1)


def test_what_a_cell_awaits_is_below_it_and_the_kernels_tasks_are_not_there(kernel):
    reply, _ = kernel.run(
        """
        %%spprof --mode wall
        async def nap(seconds):
            await asyncio.sleep(seconds)

        async def forgotten():
            await asyncio.sleep(10)

        left = asyncio.create_task(forgotten())
        await asyncio.gather(nap(0.2), nap(0.1))
        await asyncio.wait_for(nap(0.1), 10)
        left.cancel()
        """
    )
    assert reply["status"] == "ok"
    cell = f"In [{reply['execution_count']}]"
    profile = kernel.profile()
    assert "asyncio tasks of MainThread" in profile["threads"]
    assert {*profile["threads"]} <= {"MainThread", "asyncio tasks of MainThread"}
    assert {stack[0] for stack in profile["stacks"]} == {f"{cell} {cell}", f"forgotten {cell}"}
    ways = [[place.split()[0] for place in stack] for stack in profile["stacks"]]
    below = [way[way.index("nap") :] for way in ways if "nap" in way]
    assert len(below) > 35
    assert all(way == ["nap", "sleep"] for way in below)
    assert len([way for way in ways if way[0] == "forgotten"]) > 25


def test_top_level_await_runs_on_the_kernels_own_loop(kernel):
    reply, outputs = kernel.run(
        """
        %%spprof -i 1
        async def task():
            await asyncio.sleep(0.01)
            burn(0.1)
            return 21

        sum(await asyncio.gather(task(), task()))
        """
    )
    assert reply["status"] == "ok"
    assert kinds(outputs) == ["execute_result", "widget", "picture"]
    (value,) = [c["data"]["text/plain"] for kind, c in outputs if kind == "execute_result"]
    assert value == "42"
    cell = f"In [{reply['execution_count']}]"
    profile = kernel.profile()
    tasks = [stack for stack in profile["stacks"] if stack[0] == f"task {cell}"]
    assert len(tasks) > 0.8 * len(profile["stacks"])
    assert not any("kernel" in stack[0] for stack in profile["stacks"])


def test_error_comes_before_the_profile_and_the_reply_says_error(kernel):
    reply, outputs = kernel.run("%%spprof -i 1\nburn(0.1)\n1 / 0")
    assert reply["status"] == "error"
    assert reply["ename"] == "ZeroDivisionError"
    assert kinds(outputs) == ["error", "widget", "picture"]


@pytest.mark.parametrize(
    "endless", ["burn(30)", "while True:\n    await asyncio.sleep(0.01)"], ids=["busy", "awaiting"]
)
def test_interrupt_ends_the_cell_and_shows_the_profile(kernel, endless):
    cell = f"%%spprof -i 1\nburn(0.3)\nprint('at work', flush=True)\n{endless}"
    reply, outputs = kernel.run(cell, interrupt_at="at work")
    assert reply["status"] == "error"
    assert kinds(outputs) == ["stream", "error", "widget", "picture"]
    assert kernel.profile()["weight"] >= 0.28e9
    reply, _ = kernel.run("import spprof; assert not spprof.is_active()")
    assert reply["status"] == "ok"


def test_displayed_widget_as_last_expression_is_shown_once(kernel):
    kernel.run("%%spprof -i 1 -q --name kept\nburn(0.1)")
    reply, outputs = kernel.run("import spprof; spprof.display(kept)")
    assert kinds(outputs) == ["widget", "picture"]
    _, outputs = kernel.run(f"Out[{reply['execution_count']}]")
    assert kinds(outputs) == ["widget"]
