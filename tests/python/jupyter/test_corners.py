"""Cells that run other cells, other magics or code with local names, and fail: in a real kernel."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from datetime import datetime, timezone

import pytest
from kernels import kinds, prepared_kernel, printed

import spprof

PREPARE = """
import asyncio, json, os, time
import spprof
%load_ext spprof

def burn(seconds):
    end = time.thread_time() + seconds
    while time.thread_time() < end:
        pass

def described():
    stacks = [[f"{f.function_name} {f.filename}:{f.lineno}" for f in reversed(s.frames)]
              for s in _spprof.samples]
    print(json.dumps({"stacks": stacks, "weights": [s.weight_ns for s in _spprof.samples],
                      "weight": _spprof.total_weight_ns,
                      "notes": list(_spprof.notes)}))

def source_of(name, profile=None):
    from spprof.formats import container
    from spprof.jupyter.widget import FlameGraphWidget
    widget = FlameGraphWidget(container.encode((profile or _spprof)._tables))
    widget._handle_custom_msg({"type": "source", "file": name}, [])
    print(json.dumps(widget.sources[name]))
"""


@pytest.fixture(scope="module")
def kernel(tmp_path_factory):
    with prepared_kernel(tmp_path_factory, PREPARE) as kernel:
        yield kernel


@pytest.fixture(autouse=True)
def nothing_runs_after_a_test(kernel):
    yield
    _, outputs = kernel.run("print(spprof.is_active())")
    assert printed(outputs) == "False\n"


def traceback_of(outputs):
    (text,) = ["\n".join(c["traceback"]) for kind, c in outputs if kind == "error"]
    return re.sub(r"\x1b\[[0-9;]*m", "", text)


def ran(kernel, cell):
    """Run a cell that must succeed; return its number, outputs and profile."""
    reply, outputs = kernel.run(cell)
    assert reply["status"] == "ok", outputs
    return reply["execution_count"], outputs, kernel.profile()


def share_of(profile, *entries):
    """Share of the time of stacks that have all of these entries: few samples may be many ms."""
    rows = zip(profile["stacks"], profile["weights"])
    found = sum(weight for stack, weight in rows if all(each in stack for each in entries))
    return found / sum(profile["weights"])


def source_of(kernel, name):
    _, outputs = kernel.run(f"source_of({name!r})")
    return json.loads(printed(outputs)).strip()


# ---- the end of a cell ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    "inner",
    [
        'get_ipython().run_cell("")',
        'get_ipython().run_cell("burn(0.02)")',
        'get_ipython().run_cell("1 / 0"); get_ipython().run_cell(" ", silent=True)',
        'get_ipython().run_cell("x = (")',
        'get_ipython().events.trigger("post_execute")',
        'await get_ipython().run_cell_async("burn(0.02)", transformed_cell="burn(0.02)")',
        'await get_ipython().run_cell_async("", transformed_cell="")',
    ],
)
def test_cells_run_by_a_cell_neither_end_its_profile_nor_keep_it_going(kernel, inner):
    number, outputs, profile = ran(kernel, f"%%spprof -i 1\n{inner}\nburn(0.2)\nburn(0.1)")
    assert kinds(outputs)[-2:] == ["widget", "picture"]
    shares = [share_of(profile, f"In [{number}] In [{number}]:{line}") for line in (3, 4)]
    assert shares[0] == pytest.approx(2 * shares[1], rel=0.25)
    assert 0.28e9 < profile["weight"] < 0.6e9


@pytest.mark.slow
def test_notebook_with_an_empty_cell_run_inside(kernel, tmp_path):
    cells = [
        {"cell_type": "code", "id": f"c{i}", "metadata": {}, "source": source, "outputs": []}
        | {"execution_count": None}
        for i, source in enumerate(["burn(0.05)", "", "burn(0.05)"])
    ]
    notebook = {"cells": cells, "metadata": {}, "nbformat": 4, "nbformat_minor": 5}
    (tmp_path / "inner.ipynb").write_text(json.dumps(notebook))
    # What it imports and compiles the first time takes longer than all that is measured here.
    kernel.run(f"%run -i {tmp_path}/inner.ipynb")
    cell = f"%%spprof -i 1\n%run -i {tmp_path}/inner.ipynb\nburn(0.2)"
    number, outputs, profile = ran(kernel, cell)
    assert kinds(outputs) == ["widget", "picture"]
    assert profile["weight"] == pytest.approx(0.3e9, rel=0.3)
    assert share_of(profile, f"In [{number}] In [{number}]:3") > 0.5


def test_what_other_tasks_run_while_a_cell_awaits_does_not_end_it(kernel):
    _, outputs, profile = ran(
        kernel,
        """
        %%spprof -i 1
        asyncio.get_running_loop().call_later(0.05, get_ipython().run_cell, "")
        asyncio.get_running_loop().call_later(0.06, get_ipython().run_cell, "7")
        await asyncio.sleep(0.15)
        burn(0.2)
        """,
    )
    assert kinds(outputs)[-2:] == ["widget", "picture"]
    assert profile["weight"] >= 0.18e9


def test_profile_that_the_cell_stops_itself_is_shown_and_says_so(kernel):
    _, outputs, profile = ran(kernel, "%%spprof -i 1\nburn(0.2)\np = spprof.stop()\nburn(0.1)")
    assert kinds(outputs) == ["widget", "picture"]
    assert profile["weight"] == pytest.approx(0.2e9, rel=0.15)
    assert any("stopped this profile itself" in note for note in profile["notes"])


def test_session_that_the_cell_starts_after_is_left_alone(kernel):
    cell = "%%spprof -i 1 -q\nburn(0.1)\nfirst = spprof.stop()\nspprof.start(interval_ms=1)"
    reply, _ = kernel.run(cell)
    assert reply["status"] == "ok"
    _, outputs = kernel.run("burn(0.1)\nprint(spprof.stop().total_weight_ns > 8e7)")
    assert printed(outputs) == "True\n"


@pytest.mark.parametrize(
    "cell",
    ["%%spprof -i 1000\n1 / 0", "%spprof -i 1000 1 / 0", "%%spprof -i 1000\n%%time\n1 / 0"],
)
def test_no_samples_is_said_after_the_cells_own_error(kernel, cell):
    reply, outputs = kernel.run(cell)
    assert reply["ename"] == "ZeroDivisionError"
    texts = ["error" if kind == "error" else content.get("text", "") for kind, content in outputs]
    (note,) = [at for at, text in enumerate(texts) if "no samples" in text]
    assert texts.index("error") < note


def test_error_that_the_cell_catches_is_followed_by_the_profile_all_the_same(kernel):
    cell = "try:\n    %spprof -i 1 burn(0.1); 1 / 0\nexcept ZeroDivisionError:\n    print('caught')"
    _, outputs, profile = ran(kernel, cell)
    # What is printed may come in several pieces.
    assert [kind for kind in kinds(outputs) if kind != "stream"] == ["widget", "picture"]
    assert profile["weight"] == pytest.approx(0.1e9, rel=0.3)


# ---- which cell, which line ----------------------------------------------------------------------


@pytest.mark.parametrize("magic", ["time", "capture", "prun -q -r"])
def test_above_another_magic_frames_have_the_lines_and_the_text_of_their_cell(kernel, magic):
    cell = f"%%spprof -i 1\n%%{magic}\n\ndef inner():\n    burn(0.2)\ninner()\n"
    number, _, profile = ran(kernel, cell)
    label = f"In [{number}]"
    if not magic.startswith("prun"):
        assert share_of(profile, f"{label} {label}:6", f"inner {label}:5") > 0.9
        assert {stack.count(f"{label} {label}:6") for stack in profile["stacks"]} <= {0, 1}
    else:
        assert share_of(profile, f"{label} {label}:2") > 0.9
    assert not any(f"[{number + 1}" in entry for stack in profile["stacks"] for entry in stack)
    kernel.run("'the next cell'")
    assert source_of(kernel, label) == cell.strip()


def test_cell_magic_called_by_hand_has_the_lines_of_the_cell_or_a_text_of_its_own(kernel):
    body = "burn(0.1)\nburn(0.1)"
    number, _, profile = ran(
        kernel, f"x = 1\nget_ipython().run_cell_magic('spprof', '-i 1 -q', {body!r})"
    )
    label = f"In [{number}, run 1]"
    assert share_of(profile, f"{label} {label}:1") == pytest.approx(0.5, abs=0.1)
    assert share_of(profile, f"{label} {label}:2") == pytest.approx(0.5, abs=0.1)
    kernel.run("'the next cell'")
    assert source_of(kernel, label) == body


def test_what_a_cell_runs_by_run_cell_has_a_text_of_its_own(kernel):
    number, _, profile = ran(
        kernel,
        """
        %%spprof -i 1 -q
        get_ipython().run_cell("\\nburn(0.1)")
        get_ipython().run_cell("burn(0.1)  # again")
        """,
    )
    for run, line, text in ((1, 1, "burn(0.1)"), (2, 1, "burn(0.1)  # again")):
        label = f"In [{number}, run {run}]"
        assert share_of(profile, f"{label} {label}:{line}") == pytest.approx(0.5, abs=0.1)
        assert source_of(kernel, label) == text


def test_functions_of_earlier_magic_bodies_keep_the_lines_of_their_cell(kernel):
    cell = "%%capture\n\ndef early():\n    burn(0.1)\n"
    early = kernel.run(cell)[0]["execution_count"]
    kernel.run("'between'")
    _, _, profile = ran(kernel, "%%spprof -i 1 -q\nearly()")
    assert share_of(profile, f"early In [{early}]:4") > 0.9
    assert source_of(kernel, f"In [{early}]") == cell.strip()


def test_cell_without_history_does_not_take_the_next_cells_number(kernel):
    text = "%%spprof -i 1 -q\n\nburn(0.1)"
    reply = kernel._client.execute_interactive(text, store_history=False, timeout=60)["content"]
    assert reply["status"] == "ok"
    kernel.run("'the next cell'")
    profile = kernel.profile()
    assert share_of(profile, "In [ ] In [ ]:3") > 0.9
    assert source_of(kernel, "In [ ]") == text


def test_blank_lines_above_the_magic_count(kernel):
    text = "\n\n%%spprof -i 1 -q\nburn(0.1)"
    reply = kernel._client.execute_interactive(text, timeout=60)["content"]
    number = reply["execution_count"]
    profile = kernel.profile()
    assert share_of(profile, f"In [{number}] In [{number}]:4") > 0.9


@pytest.mark.parametrize(
    "body", ["    x = 1\n    if x:\n        x += 1\n    x", ">>> x = 2\n>>> x", "\n    2"]
)
def test_body_is_read_as_a_cell_of_its_own(kernel, body):
    text = f"%%spprof -q\n{body}"
    outputs = []
    reply = kernel._client.execute_interactive(
        text, output_hook=lambda m: outputs.append((m["msg_type"], m["content"])), timeout=60
    )["content"]
    assert reply["status"] == "ok", outputs
    (value,) = [c["data"]["text/plain"] for kind, c in outputs if kind == "execute_result"]
    assert value == "2"


# ---- files ---------------------------------------------------------------------------------------


def test_output_is_written_where_it_was_checked(kernel, tmp_path):
    (tmp_path / "before").mkdir()
    (tmp_path / "after").mkdir()
    kernel.run(f"%cd -q {tmp_path}/before")
    ran(kernel, f"%%spprof -i 1 -q -o out.svg\n%cd -q {tmp_path}/after\nburn(0.05)")
    assert [path.name for path in (tmp_path / "before").iterdir()] == ["out.svg"]
    assert list((tmp_path / "after").iterdir()) == []


def test_source_of_a_module_edited_since_is_not_shown(kernel, tmp_path):
    module = tmp_path / "edited_later.py"
    module.write_text("def work(burn):\n    burn(0.1)\n")
    kernel.run(f"import sys; sys.path.insert(0, {str(tmp_path)!r}); import edited_later")
    ran(kernel, "%%spprof -i 1 -q\nedited_later.work(burn)")
    kernel.run("time.sleep(0.05)")
    module.write_text("# another text\n\n\ndef work(burn):\n    burn(0.1)\n")
    assert source_of(kernel, str(module)) == ""
    # It has run neither if it was edited between its import and the profile.
    ran(kernel, "%%spprof -i 1 -q\nedited_later.work(burn)")
    assert source_of(kernel, str(module)) == ""
    ran(kernel, "%%spprof -i 1 -q\nimport importlib\nimportlib.reload(edited_later).work(burn)")
    assert source_of(kernel, str(module)) == module.read_text().strip()


def test_profile_of_another_session_has_no_source_of_this_ones_cells(kernel, tmp_path):
    number, _, _ = ran(kernel, f"%%spprof -i 1 -q -o {tmp_path}/mine.spprof\nburn(0.05)")
    assert source_of(kernel, f"In [{number}]").startswith("%%spprof")
    now = datetime.now(timezone.utc)
    frames = (spprof.Frame("work", f"In [{number}]", 1),)
    foreign = spprof.Profile(now, now, 10, [spprof.Sample(0, 1, "main", frames)])
    foreign.save(tmp_path / "foreign.spprof")
    _, outputs = kernel.run(
        f"source_of('In [{number}]', spprof.load({str(tmp_path / 'foreign.spprof')!r}))"
    )
    assert json.loads(printed(outputs)) == ""


# ---- tracebacks and local names ------------------------------------------------------------------


@pytest.mark.parametrize("magic", ["%%spprof -i 1 -q", "%%time\n%%spprof -q"])
def test_traceback_shows_the_cell_as_it_was_written(kernel, magic):
    reply, outputs = kernel.run(f"{magic}\ny = 2\n1 / 0\nz = 3")
    assert reply["ename"] == "ZeroDivisionError"
    text = traceback_of(outputs)
    assert "begin-cell" not in text
    if not magic.startswith("%%time"):
        assert "run_line_magic" not in text
        assert f"# {magic}" in text
        assert "----> 3 1 / 0" in text


@pytest.mark.parametrize(
    ("statement", "value"),
    [
        ("sum(data[i] for i in r)", 60),
        ("[data[i] for i in r if i in r]", [10, 20, 30]),
        ("(lambda i: data[i])(1)", 20),
        ("max(r, key=lambda i: data[i]); len({i: data[i] for i in r})", 3),
        ("sorted(data, key=lambda x: -x * scale)", [30, 20, 10]),
    ],
)
def test_statement_in_a_function_sees_its_local_names_everywhere(kernel, statement, value):
    reply, outputs = kernel.run(
        f"scale = 2\ndef f(data):\n    r = range(len(data))\n    v = %spprof -q {statement}\n"
        "    return v\nprint(f([10, 20, 30]))"
    )
    assert reply["status"] == "ok", traceback_of(outputs)
    assert printed(outputs) == f"{value}\n"


def test_statement_in_a_function_reads_and_keeps_names(kernel):
    reply, outputs = kernel.run(
        """
        count = 5

        def f(data):
            here = {"made": 0}
            %spprof -q here["made"] = sum(x + count for x in data); total = [here for _ in data]
            return here["made"]

        %spprof -q count = count + sum(1 for _ in range(2))
        print(f([1, 2]), count)
        """
    )
    assert reply["status"] == "ok", traceback_of(outputs)
    assert printed(outputs) == "17 7\n"


def test_statement_in_an_embedded_shell_sees_local_and_global_names(kernel, tmp_path):
    # The embedded shell has no terminal here: it is given its cells as a program would.
    script = tmp_path / "embedding.py"
    script.write_text(
        """
from IPython.terminal.embed import InteractiveShellEmbed

scale = 3

def f(data):
    r = range(len(data))
    shell = InteractiveShellEmbed.instance(history_load_length=0)
    def interact():
        for cell in ("%load_ext spprof",
                     "v = %spprof -q sum(data[i] * scale for i in r)",
                     "%spprof -q w = [data[i] for i in r for _ in r]",
                     "print(v, len(w))"):
            shell.run_cell(cell)
    shell.interact = interact
    shell.mainloop(local_ns=locals(), module=__import__("__main__"))

f([10, 20, 30])
"""
    )
    done = subprocess.run(
        [sys.executable, str(script)],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        env={**os.environ, "IPYTHONDIR": str(tmp_path)},
    )
    assert done.stdout.strip() == "180 9", done.stdout + done.stderr
