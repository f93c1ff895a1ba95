"""The graph of a cell while it runs, and of one that took long: in a real kernel."""

from __future__ import annotations

import json
from importlib.metadata import version

import pytest
from kernels import WIDGET, kinds, prepared_kernel, printed

from spprof.jupyter.live import PERIOD_S, next_wait

# Looks sooner than it does for people.
PREPARE = """
import json, threading, time
import spprof
from spprof.formats import container
%load_ext spprof
from spprof.jupyter import live
live.FIRST_S, live.PERIOD_S = 0.2, 0.1

def burn(seconds):
    end = time.thread_time() + seconds
    while time.thread_time() < end:
        pass

def shown():
    from ipywidgets.widgets import widget
    return [each for each in widget._instances.values() if hasattr(each, "folded")]

before = 0
def until_shown():
    end = time.monotonic() + 60
    while len(shown()) == before and time.monotonic() < end:
        burn(0.05)
    burn(0.2)
"""

# Runs until the live graph is there, however busy the machine is.
LIVE = "before = len(shown())\nuntil_shown()\n"


@pytest.fixture(scope="module")
def kernel(tmp_path_factory):
    with prepared_kernel(tmp_path_factory, PREPARE) as kernel:
        yield kernel


@pytest.fixture(autouse=True)
def nothing_runs_after_a_test(kernel):
    yield
    _, outputs = kernel.run(
        "print(spprof.is_active(), [t.name for t in threading.enumerate() if 'spprof' in t.name])"
    )
    assert printed(outputs) == "False []\n"


def captions(outputs):
    """What each message about a graph says above it, in order."""
    states = [c["data"].get("state", {}) for kind, c in outputs if kind.startswith("comm_")]
    return [state["caption"] for state in states if state.get("caption") is not None]


def ran(kernel, cell, status="ok", **how):
    reply, outputs = kernel.run(cell, **how)
    assert reply["status"] == status, outputs
    return outputs


def test_the_graph_appears_while_the_cell_runs_and_its_end_is_in_the_same_widget(kernel):
    outputs = ran(
        kernel,
        """
        %%spprof -i 1
        before = len(shown())
        while len(shown()) == before:  # the first one takes as long as its modules' import
            burn(0.05)
        burn(0.6)
        print('nearly')
        burn(0.1)
        6 * 7
        """,
    )
    assert kinds(outputs) == ["widget", "stream", "execute_result", "picture"]
    said = captions(outputs)
    assert all(each.startswith("running for ") for each in said[:-1])
    assert len(said) > 2
    assert said[-1] == ""
    _, outputs = kernel.run(
        "w = shown()[-1]\nprint(sum(container.decode(w.data).sample_count) == _spprof.sample_count)"
    )
    assert printed(outputs) == "True\n"


def test_what_is_seen_grows_and_is_of_the_cell_alone(kernel):
    outputs = ran(
        kernel,
        """
        %%spprof -i 1
        seen = []
        def look(change):
            tables = container.decode(change.new)
            seen.append((sum(tables.sample_weight), {t["name"] for t in tables.threads},
                         set(tables.strings)))
        before = len(shown())
        while len(shown()) == before:
            burn(0.01)
        shown()[-1].observe(look, "data")
        burn(1.2)
        """,
    )
    assert "widget" in kinds(outputs)
    _, outputs = kernel.run(
        """
        weights = [weight for weight, _, _ in seen]
        print(json.dumps([len(seen), weights == sorted(weights), weights[0] < weights[-1],
                          sorted(set.union(*(names for _, names, _ in seen))),
                          any("ipykernel" in text for _, _, texts in seen for text in texts)]))
        """
    )
    number, grows, more, threads, kernels = json.loads(printed(outputs))
    assert number >= 2
    assert [grows, more, threads, kernels] == [True, True, ["MainThread"], False]


@pytest.mark.parametrize("options", ["--no-live", "-q"])
def test_without_it_the_graph_comes_at_the_end_or_not_at_all(kernel, options):
    outputs = ran(kernel, f"%%spprof -i 1 {options}\nburn(0.4)\nprint('done\\n', end='')")
    assert kinds(outputs) == ["stream", *([] if options == "-q" else ["widget", "picture"])]


def test_a_short_cell_is_shown_once(kernel):
    ran(kernel, "live.FIRST_S = 60")
    outputs = ran(kernel, "%%spprof -i 1\nburn(0.05)\nprint('done\\n', end='')")
    ran(kernel, "live.FIRST_S = 0.2")
    assert kinds(outputs) == ["stream", "widget", "picture"]


def test_an_error_leaves_the_graph_up_to_it(kernel):
    outputs = ran(kernel, f"%%spprof -i 1\n{LIVE}1 / 0", status="error")
    assert kinds(outputs) == ["widget", "error", "picture"]
    assert captions(outputs)[-1] == ""


# The kernel itself may let a sleep end before it is interrupted.
@pytest.mark.parametrize("endless", ["burn(30)", "import asyncio\nawait asyncio.sleep(4)"])
@pytest.mark.slow_unless(endless="burn(30)")
def test_an_interrupt_leaves_the_graph_up_to_it(kernel, endless):
    cell = f"%%spprof -i 1\n{LIVE}print('at work', flush=True)\n{endless}"
    outputs = ran(kernel, cell, status="error", interrupt_at="at work")
    assert kinds(outputs) == ["widget", "stream", "error", "picture"]
    assert captions(outputs)[-1] == ""


def test_a_cell_that_ends_its_session_is_shown_as_far_as_it_went(kernel):
    outputs = ran(kernel, f"%%spprof -i 1\n{LIVE}spprof.stop()\nburn(0.3);")
    assert kinds(outputs)[0] == "widget"
    assert kinds(outputs)[-1] == "picture"
    assert "stream" not in kinds(outputs)


def test_what_captures_outputs_does_not_get_the_graph(kernel):
    outputs = ran(kernel, "%%spprof -i 1\n%%capture captured\nburn(0.5)")
    assert kinds(outputs) == ["widget", "picture"]
    _, outputs = kernel.run("print(len(captured.outputs))")
    assert printed(outputs) == "0\n"


def test_a_slow_cell_offers_its_graph_which_a_button_brings(kernel):
    ran(kernel, "%spprof on --threshold 0.6 -i 1")
    assert kinds(ran(kernel, "x = 1")) == []
    outputs = ran(kernel, "burn(0.3)\ntime.sleep(0.4)")
    assert kinds(outputs) == ["widget"]
    (bundle,) = [c["data"] for kind, c in outputs if kind == "display_data" and WIDGET in c["data"]]
    assert "% in burn; %spprof last " in bundle["text/plain"]
    assert captions(outputs)[0].startswith("spprof: ")
    ran(kernel, "%spprof off")
    _, outputs = kernel.run(
        """
        w = shown()[-1]
        before = len(w.data)
        w._handle_custom_msg({"type": "open"}, [])
        tables = container.decode(w.data)
        print(json.dumps([before, sum(tables.sample_weight), "burn" in tables.strings]))
        """
    )
    before, weight, found = json.loads(printed(outputs))
    assert before == 0
    assert weight == pytest.approx(0.3e9, rel=0.2)
    assert found


def test_graphs_of_a_cell_that_runs_again_are_closed(kernel):
    for cell_id in ("one", "two", "one", "one"):
        ran(kernel, "%%spprof -i 1 --no-live\nburn(0.05)", cell_id=cell_id)
    _, outputs = kernel.run("import gc; gc.collect(); print(len(shown()))")
    before = int(printed(outputs))
    ran(kernel, "x = 1", cell_id="two")
    _, outputs = kernel.run("print(len(shown()))")
    assert printed(outputs) == f"{before - 1}\n"
    ran(kernel, "x = 1", cell_id="one")
    _, outputs = kernel.run("print(len(shown()))")
    assert printed(outputs) == f"{before - 2}\n"


@pytest.mark.skipif(int(version("ipykernel").partition(".")[0]) < 7, reason="no subshells")
@pytest.mark.parametrize("running", ["", "%%spprof -q -i 1\n"], ids=["plain", "profiled"])
def test_now_in_a_subshell_shows_what_runs_beside_it(kernel, running):
    ran(kernel, "stop = False\ndef beside():\n    while not stop: sum(range(1000))")
    with kernel.subshell() as run_beside:
        main = kernel.send(f"{running}beside()")
        status = run_beside("time.sleep(0.3)\n%spprof now 0.3\nkept, stop = _spprof, True")
        assert status == "ok"
        assert kernel.reply_to(main)["status"] == "ok"
    _, outputs = kernel.run(
        "print(sorted({f.function_name for s in kept.samples for f in s.frames if 'beside' in"
        " f.function_name}), any('now' in t.thread_name for t in kept.threads))"
    )
    assert printed(outputs) == "['beside'] False\n"


def test_looks_are_as_seldom_as_it_takes_to_cost_a_hundredth():
    assert next_wait(0.0001) == PERIOD_S
    assert next_wait(0.02) == pytest.approx(2.0)
    assert next_wait(5) == 60
