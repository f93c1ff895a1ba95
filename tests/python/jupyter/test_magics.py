"""The magics, in a real shell, with the real profiler."""

from __future__ import annotations

import base64
import json
import re
import signal
import sys
import zlib
from datetime import datetime, timezone
from pathlib import Path

import pytest

pytest.importorskip("IPython")

import shells

import spprof
from spprof.formats import _front_end
from spprof.jupyter import magics, options, output

BURN = """
    import time

    def burn(seconds):
        end = time.thread_time() + seconds
        while time.thread_time() < end:
            pass
"""


class Notebook(shells.Notebook):
    def __getitem__(self, name):
        return self.shell.user_ns[name]

    def __contains__(self, name):
        return name in self.shell.user_ns


@pytest.fixture
def notebook(capsys):
    notebook = Notebook(capsys)
    callbacks = {name: list(each) for name, each in notebook.shell.events.callbacks.items()}
    notebook.run(BURN)
    yield notebook
    assert not spprof.is_active()
    assert notebook.shell.events.callbacks == callbacks
    notebook.end()


def stacks(profile):
    """Every stack as 'function file:line' entries, root first, with its share of all time."""
    shares = {}
    for sample in profile.samples:
        stack = tuple(f"{f.function_name} {f.filename}:{f.lineno}" for f in reversed(sample.frames))
        shares[stack] = shares.get(stack, 0) + sample.weight_ns / profile.total_weight_ns
    return shares


def at(result, line):
    """A cell's own code at a line, as `stacks` has it."""
    return f"In [{result.execution_count}] In [{result.execution_count}]:{line}"


def share_of(profile, text):
    """Share of time of all stacks that have this entry."""
    return sum(share for stack, share in stacks(profile).items() if text in stack)


def test_cell_runs_in_its_own_place(notebook):
    result, _ = notebook.run(
        """
        %%spprof -i 1
        x = 40
        burn(0.2)
        x + 2
        """
    )
    assert result.success
    assert result.result == 42
    assert notebook["x"] == 40
    assert notebook["Out"][result.execution_count] == 42


def test_frames_are_labelled_by_cell_with_the_lines_as_shown(notebook):
    result, _ = notebook.run(
        """
        %%spprof -i 1
        def inner():
            burn(0.3)

        inner()
        burn(0.1)
        """
    )
    profile = notebook["_spprof"]
    n = result.execution_count
    assert share_of(profile, at(result, 5)) == pytest.approx(0.75, abs=0.1)
    assert share_of(profile, f"inner In [{n}]:3") == pytest.approx(0.75, abs=0.1)
    assert share_of(profile, at(result, 6)) == pytest.approx(0.25, abs=0.1)
    assert all(stack[0].startswith(f"In [{n}] In [{n}]:") for stack in stacks(profile))
    assert any("burn In [1]:" in entry for stack in stacks(profile) for entry in stack)


def test_exception_shows_its_traceback_then_the_profile(notebook):
    result, printed = notebook.run(
        """
        %%spprof -i 1
        burn(0.2)
        1 / 0
        """
    )
    assert isinstance(result.error_in_exec, ZeroDivisionError)
    assert "----> 3 1 / 0" in printed
    assert share_of(notebook["_spprof"], at(result, 2)) > 0.9
    assert printed.index("ZeroDivisionError") < printed.index("burn", printed.index("samples"))


@pytest.fixture
def interruptible():
    # Started in the background, a process inherits a SIGINT that is ignored.
    previous = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, previous)


def test_interrupt_shows_the_profile_so_far(notebook, interruptible):
    result, printed = notebook.run(
        """
        %%spprof -i 1
        import signal
        burn(0.2)
        signal.raise_signal(signal.SIGINT)
        never = 1
        """
    )
    assert isinstance(result.error_in_exec, KeyboardInterrupt)
    assert "never" not in notebook
    assert "KeyboardInterrupt" in printed
    assert notebook["_spprof"].total_weight_ns == pytest.approx(0.2e9, rel=0.2)


def test_top_level_await_works_and_its_tasks_are_seen(notebook):
    result, _ = notebook.run(
        """
        %%spprof -i 1
        import asyncio

        async def task():
            await asyncio.sleep(0)
            burn(0.15)
            return 1

        sum(await asyncio.gather(task(), task()))
        """
    )
    assert result.success
    assert result.result == 2
    assert share_of(notebook["_spprof"], f"task In [{result.execution_count}]:6") > 0.9
    assert not [stack[0] for stack in stacks(notebook["_spprof"]) if "IPython" in stack[0]]


def test_threads_of_the_cell_are_in_the_profile(notebook):
    notebook.run(
        """
        %%spprof -i 1
        import threading
        worker = threading.Thread(target=burn, args=(0.2,), name="worker")
        worker.start()
        worker.join()
        """
    )
    threads = {each.name: each for each in notebook["_spprof"].threads}
    assert threads["worker"].weight_ns == pytest.approx(0.2e9, rel=0.2)


def test_cells_run_by_the_cell_do_not_end_its_profile(notebook):
    result, _ = notebook.run(
        """
        %%spprof -i 1
        get_ipython().run_cell("burn(0.1)")
        burn(0.2)
        """
    )
    profile = notebook["_spprof"]
    assert share_of(profile, at(result, 3)) > 0.5


def test_other_magics_combine_either_way(notebook):
    for cell in (
        "%%spprof -i 1\n%%time\nburn(0.1)\nx = 1",
        "%%time\n%%spprof -i 1\nburn(0.1)\nx = 1",
    ):
        notebook.shell.user_ns.pop("_spprof", None)
        result, printed = notebook.run(cell)
        assert result.success
        assert "Wall time" in printed
        assert notebook["_spprof"].total_weight_ns == pytest.approx(0.1e9, rel=0.4)
        entries = [entry for stack in stacks(notebook["_spprof"]) for entry in stack]
        assert any(entry.startswith("burn In [1]:") for entry in entries)
        assert share_of_function(notebook["_spprof"], "run_cell_magic") < 0.2


@pytest.fixture
def rich_notebook(notebook, monkeypatch):
    """A notebook whose front end shows HTML; what was published is in `published`."""
    published = []
    monkeypatch.setattr(output, "in_notebook", lambda: True)
    monkeypatch.setattr(output, "_publish", published.append)
    notebook.published = published
    return notebook


def test_without_anywidget_there_is_a_picture_and_the_way_to_get_it(rich_notebook, monkeypatch):
    monkeypatch.setattr(output, "has_widgets", lambda: False)
    result, printed = rich_notebook.run("%%spprof -i 1 --name kept\nburn(0.1)\n7")
    assert result.result == 7
    assert '%pip install "spprof[jupyter]"' in printed
    (bundle,) = rich_notebook.published
    assert "burn" in svg_in(bundle["text/html"])
    assert rich_notebook["kept"].sample_count > 0


@pytest.mark.slow
def test_static_picture_is_bounded_and_names_no_place_on_this_machine(rich_notebook, monkeypatch):
    monkeypatch.setattr(output, "has_widgets", lambda: False)
    result, printed = rich_notebook.run(
        """
        %%spprof -i 1
        import json

        functions = {}
        for i in range(400):
            exec(f"def function_{i}(inner): return inner()", functions)

        def deep(i, depth=20):
            if depth:
                return functions[f"function_{(i * 37 + depth) % 400}"](lambda: deep(i, depth - 1))
            return len(json.dumps([i] * 5_000, indent=1))

        sum(deep(i) for i in range(400))
        """
    )
    assert result.success, printed
    (bundle,) = rich_notebook.published
    assert len(bundle["text/html"]) < 150_000
    svg = svg_in(bundle["text/html"])
    assert re.search(r"function_\d+", svg)
    assert str(Path(json.__file__).parent) not in svg
    assert str(Path.cwd()) not in svg


def svg_in(html):
    return base64.b64decode(re.search(r"base64,([^\"]+)", html)[1]).decode()


def share_of_function(profile, name):
    return sum(
        share
        for stack, share in stacks(profile).items()
        if any(entry.partition(" ")[0].rpartition(".")[2] == name for entry in stack)
    )


@pytest.mark.skipif(not spprof.native_unwinding_available(), reason="no native frames here")
def test_native_frames_are_below_the_cell_too(notebook):
    result, printed = notebook.run(
        """
        %%spprof -i 1 --native
        def key(value):
            return -value

        for _ in range(40):
            sorted(range(20_000), key=key)
        """
    )
    assert result.success, printed
    profile = notebook["_spprof"]
    cell = f"In [{result.execution_count}]"
    assert {stack[0].partition(":")[0] for stack in stacks(profile)} == {f"{cell} {cell}"}
    inside = [s for s in profile.samples if any(f.function_name == "key" for f in s.frames)]
    between = {f.function_name for s in inside for f in s.frames if f.is_native}
    assert any("sort" in name for name in between)


def test_line_magic_profiles_a_statement_and_returns_its_value(notebook):
    result, _ = notebook.run(
        """
        before = 1
        value = %spprof -i 1 --name line [burn(0.2), "a  b"][-1]
        value
        """
    )
    assert result.result == "a  b"
    profile = notebook["line"]
    assert profile is notebook["_spprof"]
    assert {stack[0] for stack in stacks(profile)} == {at(result, 2)}
    assert share_of(profile, "burn In [1]:5") + share_of(profile, "burn In [1]:6") > 0.8


def test_line_magic_statement_may_assign_and_may_be_silenced(notebook):
    result, _ = notebook.run("%spprof made = burn(0.02) or 5")
    assert result.success
    assert result.result is None
    assert notebook["made"] == 5
    result, _ = notebook.run("%spprof made + 1;")
    assert result.result is None


def test_line_magic_shows_the_users_traceback_only(notebook):
    result, printed = notebook.run("%spprof burn(0.05); 1 / 0")
    assert isinstance(result.error_in_exec, ZeroDivisionError)
    assert "magics.py" not in printed
    assert notebook["_spprof"].sample_count > 0


@pytest.mark.parametrize(
    ("chosen", "message"),
    [
        ("-i 0", "interval_ms"),
        ("-i ten", "invalid float value"),
        ("--mode sideways", "invalid choice"),
        ("--name 1x", "name of a variable"),
        ("--name class", "name of a variable"),
        ("--format collapsed", "there is no --output"),
        ("-o profile.json --format nonsense", "Unknown format"),
        ("-o missing/folder/profile.json", "missing/folder"),
        ("-o profile.png", "no format has this ending"),
        ("--bogus", "unrecognized arguments"),
        ("stray", "only options"),
        ("--view pie", "invalid choice"),
        ("--view table --speedscope", "so is --view table"),
        ("-i {missing}", "missing"),
        ("-o $missing.svg", "missing"),
        ("-i {1/0}", "ZeroDivisionError"),
        ("--help", "with --help the cell is not run"),
    ],
)
def test_what_would_fail_after_the_cell_is_refused_before_it(
    notebook, tmp_path, monkeypatch, chosen, message
):
    monkeypatch.chdir(tmp_path)
    result, printed = notebook.run(f"%%spprof {chosen}\nran = True")
    assert not result.success
    assert message in printed
    assert "ran" not in notebook
    assert "Traceback" not in printed


def test_options_may_be_shortened_as_argparse_has_it():
    for line, argv, statement in (
        ("--int 1 f(2)", ["--int", "1"], "f(2)"),
        ("--int=1 f(2)", ["--int=1"], "f(2)"),
        ("-qi 1 f(2)", ["-qi", "1"], "f(2)"),
        ("-i1 f(2)", ["-i1"], "f(2)"),
        ("-q --mem 5 --agg f(2)", ["-q", "--mem", "5", "--agg"], "f(2)"),
        ("-f svg -o a.b f(2)", ["-f", "svg", "-o", "a.b"], "f(2)"),
        ("--nat f(2)", ["--nat"], "f(2)"),
        ("-- -f(2)", [], "-f(2)"),
    ):
        assert options.split_options(line) == (argv, statement)


def test_shortened_options_work(notebook):
    result, printed = notebook.run("%spprof --int 1 -q burn(0.05) or 5")
    assert result.result == 5, printed
    assert notebook["_spprof"].interval_ms == 1
    _, printed = notebook.run("%spprof --n x 1")  # --native, --name
    assert "ambiguous option" in printed


def test_aggregate_and_memory_limit_are_the_sessions(notebook):
    result, printed = notebook.run(
        """
        %%spprof -i 1 --aggregate --memory-limit 2
        burn(0.1)
        """
    )
    assert result.success, printed
    profile = notebook["_spprof"]
    assert {sample.timestamp_ns for sample in profile.samples} == {None}
    assert profile.total_weight_ns == pytest.approx(0.1e9, rel=0.2)
    assert share_of(profile, "burn In [1]:5") + share_of(profile, "burn In [1]:6") > 0.8
    _, printed = notebook.run("%%spprof --memory-limit 0\n1")
    assert "memory_limit_mb" in printed


def test_page_with_sources_holds_the_cells_code(notebook, tmp_path):
    notebook.run(
        """
        %%spprof -i 1 -q --name kept
        def local():
            burn(0.1)  # here the time goes

        local()
        """
    )
    notebook["kept"].save(tmp_path / "p.html", sources=True)
    cells = embedded_sources(tmp_path / "p.html")
    assert "    burn(0.1)  # here the time goes" in cells["In [2]"].splitlines()
    assert cells["In [2]"].startswith("%%spprof")
    assert "def burn(seconds):" in cells["In [1]"]
    # A profile of another session has an In [2] of its own.
    now = datetime.now(timezone.utc)
    frames = (spprof.Frame("work", "In [2]", 1),)
    foreign = spprof.Profile(now, now, 10, [spprof.Sample(0, 1, "main", frames)])
    foreign.save(tmp_path / "f.html", sources=True)
    assert embedded_sources(tmp_path / "f.html") == {}


def embedded_sources(page):
    match = re.search(r'<script id="spprof-sources"[^>]*>([^<]*)</script>', page.read_text())
    return json.loads(zlib.decompress(base64.b64decode(match[1])))


def test_running_profile_is_left_alone(notebook):
    spprof.start()
    try:
        _, printed = notebook.run("%%spprof\nran = True")
        assert "already running" in printed
        assert "ran" not in notebook
        assert spprof.is_active()
    finally:
        spprof.stop()


def test_profile_is_saved_as_asked(notebook, tmp_path):
    path = tmp_path / "a b.speedscope.json"
    notebook.run(f"%%spprof -i 1 -o '{path}'\nburn(0.1)")
    names = {f["name"] for f in json.loads(path.read_text())["shared"]["frames"]}
    assert any("burn" in name for name in names)
    assert not any("run_code" in name for name in names)
    path = tmp_path / "folded"
    notebook.run(f"%%spprof -i 1 -o {path} --format collapsed\nburn(0.1)")
    assert "In [3] (In [3]:" in path.read_text()


def test_terminal_shows_a_summary(notebook):
    _, printed = notebook.run("%%spprof -i 1\nburn(0.2)")
    assert "burn" in printed
    _, printed = notebook.run("%%spprof -i 1 -q\nburn(0.1)")
    assert printed == ""


def test_cell_without_samples_says_so(notebook):
    result, printed = notebook.run("%%spprof -i 1000\n1 + 1")
    assert result.result == 2
    assert "no samples" in printed
    assert notebook["_spprof"].sample_count == 0


def test_profile_survives_a_display_that_fails(notebook, monkeypatch):
    def fail(profile, view=None):
        raise OSError("no screen")

    monkeypatch.setattr(output, "display", fail)
    result, printed = notebook.run("%%spprof -i 1 --name kept\nburn(0.1)\n7")
    assert result.result == 7
    assert notebook["kept"].sample_count > 0
    assert "no screen" in printed
    assert "the profile itself is in the variable kept" in printed


def test_values_of_options_come_from_variables_and_the_statement_is_not_touched(notebook, tmp_path):
    notebook.run(f"ms, folder, dollars = 2, {str(tmp_path)!r}, 3")
    notebook.run("%%spprof -i {ms} -o $folder/a{ms+1}.svg -q\nburn(0.05)")
    assert notebook["_spprof"].interval_ms == 2
    assert [path.name for path in tmp_path.iterdir()] == ["a3.svg"]
    result, printed = notebook.run("%spprof -q -i $ms {'$dollars': f'{dollars}'}")
    assert result.result == {"$dollars": "3"}, printed
    result, _ = notebook.run("def f(ms):\n    %spprof -q -i {ms} burn(0.02)\nf(4)")
    assert notebook["_spprof"].interval_ms == 4


def test_defaults_are_configurable_and_options_win(notebook, monkeypatch):
    views = []
    monkeypatch.setattr(output, "display", lambda profile, view=None: views.append(view))
    notebook.run("%config SpprofMagics.interval = 1\n%config SpprofMagics.mode = 'wall'")
    notebook.run("%config SpprofMagics.view = 'table'")
    notebook.run("%%spprof\nburn(0.05)")
    assert (notebook["_spprof"].interval_ms, notebook["_spprof"].mode) == (1, "wall")
    notebook.run("%%spprof -i 5 --mode cpu --view flame\nburn(0.05)")
    assert (notebook["_spprof"].interval_ms, notebook["_spprof"].mode) == (5, "cpu")
    assert views == ["table", "flame"]
    _, printed = notebook.run("%config SpprofMagics")
    assert "SpprofMagics.memory_limit" in printed
    notebook.run("%config SpprofMagics.mode = 'sideways'\n%spprof burn(0.02)")
    assert notebook["_spprof"].mode == "wall"
    notebook.shell.extension_manager.unload_extension("spprof")
    assert not [c for c in notebook.shell.configurables if type(c).__name__ == "SpprofMagics"]


@pytest.mark.parametrize("magic", ["%spprof --help", "%%spprof --help", "%%spprof -h\nran = 1"])
def test_help_is_shown_and_runs_nothing(notebook, magic):
    notebook.run(magic)
    _, printed = notebook.run(magic)
    assert "--interval MS" in printed
    assert "begin-cell" not in printed
    assert "ran" not in notebook.shell.user_ns


@pytest.mark.parametrize("repeat", ["-r 5", "--repeat=5", "--rep {runs}", "-qr5"])
def test_repeated_cell_is_one_profile_of_all_runs(notebook, repeat):
    notebook.run("count, runs = 0, 5")
    result, printed = notebook.run(f"%%spprof -i 1 {repeat}\ncount += 1\nburn(0.03)\ncount * 10")
    assert result.success, printed
    assert result.result == 50
    assert notebook["_spprof"].total_weight_ns == pytest.approx(0.15e9, rel=0.3)
    samples = notebook["_spprof"].samples
    burning = [s for s in samples if s.frames[0].function_name == "burn"]
    assert len(burning) > 0.8 * len(samples)
    assert {s.frames[-1].lineno for s in burning} == {3}


def test_repeated_statement_is_one_profile_of_all_runs(notebook):
    notebook.run("count = []")
    result, _ = notebook.run("%spprof -i 1 -q --repeat 4 (count.append(burn(0.03)), len(count))[1]")
    assert result.result == 4
    assert notebook["_spprof"].total_weight_ns == pytest.approx(0.12e9, rel=0.3)


def test_what_cannot_be_repeated_is_said(notebook):
    _, printed = notebook.run("%%spprof -r 0\nburn(0.01)")
    assert "--repeat takes a number of runs, 1 or more, not 0" in printed
    result, _ = notebook.run("%%spprof -r 3 -q\n1 / 0")
    assert isinstance(result.error_in_exec, ZeroDivisionError)
    assert not spprof.is_active()


def test_all_frames_opens_with_nothing_folded(notebook, rich_notebook):
    rich_notebook.run("%%spprof -i 1 -q\nburn(0.05)")
    assert spprof.display(rich_notebook["_spprof"]).all_frames is False
    assert spprof.display(rich_notebook["_spprof"], all_frames=True).all_frames is True


@pytest.mark.skipif(not spprof.native_unwinding_available(), reason="no native frames here")
def test_short_option_for_native_frames(notebook):
    notebook.run("%spprof -n -i 1 -q sorted(range(2_000_000), key=lambda x: -x)[0]")
    assert any(f.is_native for s in notebook["_spprof"].samples for f in s.frames)


def test_speedscope_is_a_view(notebook, monkeypatch):
    views = []
    monkeypatch.setattr(output, "display", lambda profile, view=None: views.append(view))
    notebook.run("%%spprof -i 1 --speedscope\nburn(0.05)")
    notebook.run("%%spprof -i 1\nburn(0.05)")
    assert views == ["speedscope", None]


def test_unknown_views_and_options_are_refused_with_those_that_exist(notebook):
    notebook.run("%%spprof -i 1 -q\nburn(0.05)")
    with pytest.raises(ValueError, match="Unknown view 'pie': use one of icicle, flame"):
        spprof.display(notebook["_spprof"], view="pie")
    with pytest.raises(ValueError, match="Unknown theme 'sepia': use one of auto, light, dark"):
        spprof.display(notebook["_spprof"], theme="sepia")
    with pytest.raises(TypeError, match="no option 'zoom': use view, search, theme"):
        spprof.display(notebook["_spprof"], zoom=2)


def test_options_of_display_are_the_widgets_first_state(rich_notebook):
    rich_notebook.run("%%spprof -i 1 -q\nburn(0.05)")
    profile = rich_notebook["_spprof"]
    widget = spprof.display(profile, view="table", search="burn", theme="dark")
    assert (widget.view, widget.search, widget.theme) == ("table", "burn", "dark")


def test_without_the_built_front_end_there_is_a_picture_and_the_reason(
    rich_notebook, monkeypatch, capsys
):
    rich_notebook.run("%%spprof -i 1 -q\nburn(0.05)")

    def missing(name):
        raise FileNotFoundError("the front end is not built")

    monkeypatch.setattr(_front_end, "asset", missing)
    monkeypatch.delitem(sys.modules, "spprof.jupyter.widget", raising=False)
    assert spprof.display(rich_notebook["_spprof"]) is None
    (bundle,) = rich_notebook.published
    assert "burn" in svg_in(bundle["text/html"])
    assert "cannot be shown: the front end is not built" in capsys.readouterr().err


def test_profile_taken_without_the_magic_begins_at_its_cells_as_well(rich_notebook, monkeypatch):
    monkeypatch.setattr(output, "has_widgets", lambda: False)
    monkeypatch.setattr(output, "shell", lambda: rich_notebook.shell)
    result, printed = rich_notebook.run(
        """
        import spprof
        with spprof.Profiler(interval_ms=1) as profiler:
            burn(0.2)
        spprof.display(profiler.profile)
        """
    )
    assert result.success, printed
    (bundle,) = rich_notebook.published
    svg = svg_in(bundle["text/html"])
    assert "In [2]" in svg
    assert "run_code" not in svg
    # What was measured is not touched by how it is shown.
    names = {f.function_name for s in rich_notebook["profiler"].profile.samples for f in s.frames}
    assert any("run_code" in name for name in names)


def test_profile_of_another_program_is_shown_whole(rich_notebook, monkeypatch):
    monkeypatch.setattr(output, "has_widgets", lambda: False)
    now = datetime.now(timezone.utc)
    frames = (spprof.Frame("leaf", "/b.py", 1), spprof.Frame("main", "/lib/IPython/core/x.py", 1))
    foreign = spprof.Profile(now, now, 10, [spprof.Sample(0, 1, "main", frames)])
    spprof.display(foreign)
    (bundle,) = rich_notebook.published
    assert "main" in svg_in(bundle["text/html"])


def test_difference_is_shown_as_one(rich_notebook, monkeypatch):
    monkeypatch.setattr(output, "has_widgets", lambda: False)
    rich_notebook.run("%%spprof -i 1 -q --name before\nburn(0.1)")
    rich_notebook.run(
        """
        %%spprof -i 1 -q --name after
        def more(seconds):
            burn(seconds)

        burn(0.1)
        more(0.2)
        """
    )
    spprof.display(spprof.diff(rich_notebook["before"], rich_notebook["after"]))
    (bundle,) = rich_notebook.published
    assert bundle["text/plain"] == str(spprof.diff(rich_notebook["before"], rich_notebook["after"]))
    assert "more" in svg_in(bundle["text/html"])


def test_help_names_every_option(notebook):
    text = notebook.shell.find_line_magic("spprof").__doc__
    for option in (
        "--interval",
        "--mode",
        "--native",
        "--output",
        "--format",
        "--name",
        "--aggregate",
        "--memory-limit",
        "-f NAME",
    ):
        assert option in text
    assert "begin-cell" not in text


def test_unfinished_cell_in_a_terminal_is_not_run_early(notebook):
    check = notebook.shell.input_transformer_manager.check_complete
    assert check("%%spprof\n")[0] == "incomplete"
    assert check("%%spprof\nx = 1")[0] == "incomplete"
    assert check("%%spprof\nx = 1\n\n")[0] == "complete"


def test_unloading_takes_everything_away(notebook):
    notebook.shell.extension_manager.unload_extension("spprof")
    _, printed = notebook.run("%%spprof\n1")
    assert "not found" in printed
    notebook.shell.extension_manager.load_extension("spprof")
    notebook.shell.extension_manager.reload_extension("spprof")
    assert notebook.shell.input_transformers_cleanup.count(magics.run_cell_in_place) == 1
