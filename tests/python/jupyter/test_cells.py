"""Finding the user's part of a notebook's stacks, on profiles made by hand."""

from __future__ import annotations

import re
from datetime import datetime, timedelta, timezone

import pytest

from spprof import Frame, Profile, Sample
from spprof.jupyter.cells import Cell, HostCode, cell_label, localise

HOST = HostCode(
    kernel=("/lib/IPython/", "/lib/ipykernel/"),
    frames=("/lib/tornado/", "/lib/runpy.py"),
    loop=("/lib/asyncio/",),
    bootstrap=("/lib/threading.py",),
    entry="/lib/spprof/jupyter/magics.py",
)
MAIN, WORKER = 11, 22
ABOVE = [
    "_run_module_as_main /lib/runpy.py",
    "start /lib/ipykernel/kernelapp.py",
    "run_forever /lib/asyncio/base_events.py",
    "_run /lib/asyncio/events.py",
    "execute_request /lib/ipykernel/kernelbase.py",
    "run_cell_async /lib/IPython/core/interactiveshell.py",
]


def cell_of(filename: str) -> Cell | None:
    match = re.fullmatch(r"/tmp/ipykernel_1/(\d+)\.py", filename)
    return Cell(f"In [{match[1]}]") if match else None


def frame(text: str) -> Frame:
    name, _, place = text.rpartition(" ")
    filename, _, line = place.partition(":")
    return Frame(name, filename, int(line or 1))


def localised(*stacks: list[str], thread: int = MAIN, cell_threads=frozenset({MAIN})) -> list[str]:
    """Localise a profile of these stacks (root first, 'name file:line'); return what is left."""
    now = datetime.now(timezone.utc)
    samples = [
        Sample(i, thread, "thread", tuple(frame(text) for text in reversed(stack)))
        for i, stack in enumerate(stacks)
    ]
    before = Profile(now, now + timedelta(seconds=1), 10, samples)
    after = localise(before, cell_of=cell_of, host=HOST, cell_threads=cell_threads)
    return [
        " > ".join(f"{f.function_name} {f.filename}:{f.lineno}" for f in reversed(s.frames))
        for s in after.samples
    ]


def test_what_is_above_the_cell_is_cut_and_cells_are_labelled():
    stack = [
        *ABOVE,
        "<module> /tmp/ipykernel_1/3.py:7",
        "work /tmp/ipykernel_1/2.py:4",
        "sin /m.py",
    ]
    assert localised(stack) == ["In [3] In [3]:7 > work In [2]:4 > sin /m.py:1"]


def test_samples_of_the_kernel_before_and_after_the_cell_are_left_out():
    cell = [*ABOVE, "<module> /tmp/ipykernel_1/3.py:2"]
    assert localised(ABOVE, cell, [*ABOVE, "draw /lib/figures.py"]) == ["In [3] In [3]:2"]


def test_a_cell_is_one_function_however_its_statements_were_named():
    stacks = [
        [*ABOVE, "<cell line: 2> /tmp/ipykernel_1/3.py:2"],
        [*ABOVE, "<module> /tmp/ipykernel_1/3.py:5"],
    ]
    assert localised(*stacks) == ["In [3] In [3]:2", "In [3] In [3]:5"]


def test_a_statement_run_by_the_magic_begins_below_the_magic():
    stack = [
        *ABOVE,
        "<module> /tmp/ipykernel_1/3.py:7",
        "run_line_magic /lib/IPython/core/interactiveshell.py",
        "_run /lib/spprof/jupyter/magics.py",
        "<module> /tmp/ipykernel_1/3.py:7",
        "work /m.py",
    ]
    assert localised(stack, stack[:-2]) == ["In [3] In [3]:7 > work /m.py:1"]


def test_another_magic_between_cell_and_code_is_not_shown():
    stack = [
        *ABOVE,
        "<module> /tmp/ipykernel_1/3.py:2",
        "run_cell_magic /lib/IPython/core/interactiveshell.py",
        "time /lib/IPython/core/magics/execution.py",
        "<module> <timed_exec>:1",
        "work /m.py",
    ]
    assert localised(stack) == ["In [3] In [3]:2 > <module> <timed_exec>:1 > work /m.py:1"]


@pytest.mark.parametrize(
    "below",
    [
        (),
        ("format /lib/IPython/core/formatters.py",),
        ("format /lib/IPython/core/formatters.py", "run /lib/tornado/ioloop.py"),
    ],
)
def test_what_the_host_does_to_show_a_value_is_not_the_cells(below):
    cell = "<module> /tmp/ipykernel_1/3.py:2"
    hook = "__call__ /lib/IPython/core/displayhook.py"
    assert localised([*ABOVE, cell, hook, *below]) == []
    # A program may show something itself.
    by_hand = [*ABOVE, cell, "work /m.py:1", hook, *below]
    assert len(localised(by_hand)) == 1


def test_what_a_value_does_to_be_shown_is_the_cells():
    stack = [
        *ABOVE,
        "<module> /tmp/ipykernel_1/3.py:2",
        "__call__ /lib/IPython/core/displayhook.py",
        "_repr_html_ /lib/pandas/frame.py",
    ]
    assert localised(stack) == [
        "In [3] In [3]:2 > __call__ /lib/IPython/core/displayhook.py:1"
        " > _repr_html_ /lib/pandas/frame.py:1"
    ]


def test_tasks_that_a_cell_awaits_begin_at_the_task():
    task = [*ABOVE[:4], "fetch /tmp/ipykernel_1/2.py:9", "parse /m.py"]
    comm = [*ABOVE[:5], "handle /lib/comm/base_comm.py"]
    assert localised(task, comm) == ["fetch In [2]:9 > parse /m.py:1"]


def test_cells_of_a_notebook_that_is_a_python_file_begin_at_its_module_code():
    stack = ["_bootstrap /lib/threading.py", "run /lib/ipykernel/runner.py", "<module> /app.py:7"]
    server = ["<module> /lib/runpy.py", "main /lib/ipykernel/__main__.py", "_run /web.py"]
    assert localised(stack, thread=WORKER) == ["<module> /app.py:7"]
    assert localised(server, thread=WORKER) == []


@pytest.mark.parametrize(
    ("stack", "kept"),
    [
        (["_bootstrap /lib/threading.py", "work /tmp/ipykernel_1/2.py:3"], True),
        (["_bootstrap /lib/threading.py", "start /lib/tornado/ioloop.py"], True),
        (["_bootstrap /lib/threading.py", "_thread_main /lib/ipykernel/iostream.py"], False),
        (["run /lib/ipykernel/heartbeat.py"], False),
    ],
)
def test_other_threads_stay_whole_and_the_kernels_are_left_out(stack, kept):
    left = localised(stack, thread=WORKER)
    assert bool(left) == kept
    if kept:
        assert left[0].count(" > ") == len(stack) - 1


def test_the_thread_of_the_cell_is_known_by_its_stacks_too():
    stack = [*ABOVE, "<module> /tmp/ipykernel_1/3.py:2"]
    assert localised(ABOVE, stack, cell_threads=frozenset()) == ["In [3] In [3]:2"]


def test_weights_counts_and_facts_of_kept_samples_are_unchanged():
    now = datetime(2025, 1, 2, tzinfo=timezone.utc)
    frames = tuple(frame(t) for t in reversed([*ABOVE, "<module> /tmp/ipykernel_1/3.py:2"]))
    samples = [Sample(5, MAIN, "main", frames, weight_ns=700), Sample(9, MAIN, "main", frames)]
    before = Profile(now, now + timedelta(seconds=3), 10, samples, dropped_count=4)
    after = localise(before, cell_of=cell_of, host=HOST, cell_threads={MAIN})
    assert [s.weight_ns for s in after.samples] == [s.weight_ns for s in before.samples]
    assert (after.sample_count, after.dropped_count) == (2, 4)
    assert (after.start_time, after.end_time) == (before.start_time, before.end_time)


@pytest.mark.parametrize(
    ("filename", "label"),
    [
        ("<ipython-input-12-0a1b2c3d4e5f>", "In [12]"),
        ("/tmp/ipykernel_77/123456.py", "In [3]"),
        ("/tmp/marimo_77/__marimo__cell_Hbol_.py", "cell Hbol"),
        ("/home/me/in.py", None),
        ("<string>", None),
    ],
)
def test_cell_labels_come_from_the_shell_or_from_the_name(filename, label):
    known = {"/tmp/ipykernel_77/123456.py": ("Cell", "In[3]")}
    assert cell_label(filename, known.get) == label
