"""`%spprof on` and the commands that look at what it took, in a real shell."""

from __future__ import annotations

import re
import signal

import pytest

pytest.importorskip("IPython")

import shells

import spprof
from spprof.jupyter import commands

BURN = """
    import time, spprof

    def burn(seconds):
        end = time.thread_time() + seconds
        while time.thread_time() < end:
            pass
"""


class Notebook(shells.Notebook):
    def history(self):
        """The lines of `%spprof history`, by cell."""
        result, _ = self.run("%spprof history")
        return {
            line.split("]")[0].strip() + "]": line for line in str(result.result).splitlines()[1:]
        }

    def last(self, number=""):
        """The profile of a cell."""
        _, printed = self.run(f"%spprof last {number}")
        assert "UsageError" not in printed
        return self.shell.user_ns["_spprof"]


def made(capsys, **traits):
    notebook = Notebook(capsys, **traits)
    notebook.run(BURN)
    return notebook


@pytest.fixture
def notebook(capsys):
    notebook = made(capsys)
    callbacks = {name: list(each) for name, each in notebook.shell.events.callbacks.items()}
    notebook.run("%spprof on -i 1 --threshold 30")
    yield notebook
    notebook.run("%spprof off")
    assert not spprof.is_active()
    assert notebook.shell.events.callbacks == callbacks
    notebook.end()


def seconds(profile):
    """CPU time of a profile: other than the number of samples it is exact."""
    return profile.total_weight_ns / 1e9


def entries(profile):
    return {f"{f.function_name} {f.filename}" for s in profile.samples for f in s.frames}


def outermost(profile):
    return {s.frames[-1].function_name for s in profile.samples}


def test_every_cell_is_profiled_and_shows_nothing(notebook):
    first, printed = notebook.run("burn(0.1)")
    second, _ = notebook.run("burn(0.2)\n6 * 7")
    assert printed == ""
    assert second.result == 42
    assert "_spprof" not in notebook.shell.user_ns
    profile = notebook.last(first.execution_count)
    assert seconds(profile) == pytest.approx(0.1, rel=0.3)
    assert outermost(profile) == {f"In [{first.execution_count}]"}
    assert seconds(notebook.last()) == pytest.approx(0.2, rel=0.3)
    lines = notebook.history()
    assert list(lines) == [f"In [{n.execution_count}]" for n in (first, second)]
    assert all(re.search(r"burn \(\d+%\)$", line) for line in lines.values())


def test_looking_at_it_later_shows_what_looking_at_once_would_have(notebook):
    result, _ = notebook.run("def inner():\n    burn(0.1)\n\ninner()")
    for _ in range(3):
        notebook.run("x = 1")
    profile = notebook.last(result.execution_count)
    cell = f"In [{result.execution_count}]"
    assert {f"inner {cell}", f"{cell} {cell}", "burn In [1]"} <= entries(profile)
    assert outermost(profile) == {cell}


def test_the_change_against_the_last_run_of_the_same_text(notebook):
    notebook.run("seconds = 0.02")
    first, _ = notebook.run("time.sleep(seconds)")
    notebook.run("seconds = 0.3")
    again, _ = notebook.run("time.sleep(seconds)")
    lines = notebook.history()
    assert " x" not in lines[f"In [{first.execution_count}]"]
    assert float(re.search(r" x([\d.]+) ", lines[f"In [{again.execution_count}]"])[1]) > 2


def test_a_cell_over_the_threshold_gets_one_line(notebook):
    notebook.run("%spprof on -i 1 --threshold 0.6")
    _, quick = notebook.run("x = 1")
    slow, printed = notebook.run("print('mine')\nburn(0.05)\ntime.sleep(0.6)")
    assert quick == ""
    mine, line = printed.splitlines()
    assert mine == "mine"
    assert re.fullmatch(
        rf"spprof: [\d.]+ m?s, \d+% in burn; %spprof last {slow.execution_count} shows it",
        line,
    )


def test_compare_shows_the_difference_of_two_cells(notebook):
    notebook.run("def other():\n    burn(0.1)\n")
    before, _ = notebook.run("burn(0.1)")
    after, _ = notebook.run("burn(0.1); other()")
    _, printed = notebook.run(f"%spprof compare {before.execution_count} {after.execution_count}")
    ratio = re.search(r"before, .* after \(([\d.]+)x\)", printed)
    assert float(ratio[1]) == pytest.approx(2, rel=0.2)
    assert isinstance(notebook.shell.user_ns["_spprof"], spprof.ProfileDiff)


def test_an_error_and_an_interrupt_keep_the_profile_up_to_them(notebook):
    failed, _ = notebook.run("burn(0.1)\n1 / 0")
    stopped, _ = notebook.run(
        "import signal\nburn(0.1)\nsignal.raise_signal(signal.SIGINT)\nburn(9)"
    )
    after, _ = notebook.run("burn(0.1)")
    lines = notebook.history()
    assert lines[f"In [{failed.execution_count}]"].endswith("[ZeroDivisionError]")
    assert lines[f"In [{stopped.execution_count}]"].endswith("[KeyboardInterrupt]")
    for each in (failed, stopped, after):
        assert seconds(notebook.last(each.execution_count)) == pytest.approx(0.1, rel=0.3)


@pytest.mark.parametrize("signal_at", ["start", "stop"])
def test_an_interrupt_of_the_profiler_itself_leaves_it_usable(notebook, monkeypatch, signal_at):
    from spprof._session import engine

    original = getattr(engine, signal_at)

    def interrupted(*args):
        monkeypatch.undo()
        signal.raise_signal(signal.SIGINT)
        return original(*args)

    monkeypatch.setattr(engine, signal_at, interrupted)
    notebook.run("burn(0.05)")
    after, _ = notebook.run("burn(0.1)")
    assert seconds(notebook.last(after.execution_count)) == pytest.approx(0.1, rel=0.3)


def test_cells_within_a_cell_belong_to_it(notebook):
    outer, _ = notebook.run(
        """
        shell = get_ipython()
        shell.run_cell("burn(0.1)")
        shell.run_cell("")
        shell.run_cell("x = (")
        shell.run_cell("1 / 0", silent=True)
        shell.events.trigger("post_execute")
        burn(0.1)
        """
    )
    assert list(notebook.history()) == [f"In [{outer.execution_count}]"]
    assert seconds(notebook.last()) == pytest.approx(0.2, rel=0.3)


def test_a_cell_that_asks_for_a_profile_has_its_own(notebook):
    asked, printed = notebook.run("%%spprof -i 2 --name mine\nburn(0.2)")
    assert "samples" in printed
    assert notebook.shell.user_ns["mine"].interval_ms == 2
    assert notebook.last(asked.execution_count).interval_ms == 2
    part, _ = notebook.run("burn(0.05)\n%spprof -q -i 2 burn(0.1)")
    assert notebook.last(part.execution_count).interval_ms == 2
    after, _ = notebook.run("burn(0.1)")
    assert notebook.last(after.execution_count).interval_ms == 1
    assert len(notebook.history()) == 3


@pytest.mark.parametrize(
    "own",
    [
        "spprof.start(5)\nburn(0.1)\nmine = spprof.stop()",
        "with spprof.Profiler(5) as p: burn(0.1)\nmine = p.profile",
        "@spprof.profile(interval_ms=5)\ndef f(): burn(0.1)\nf(); mine = f.last_profile",
    ],
)
def test_sessions_of_the_users_own_take_over(notebook, own):
    result, printed = notebook.run(f"burn(0.1)\n{own}\nburn(0.1)")
    assert result.success, printed
    assert notebook.shell.user_ns["mine"].interval_ms == 5
    assert seconds(notebook.shell.user_ns["mine"]) == pytest.approx(0.1, rel=0.3)
    # Up to there the cell was profiled.
    kept = notebook.last(result.execution_count)
    assert kept.interval_ms == 1
    assert seconds(kept) == pytest.approx(0.1, rel=0.3)
    assert any("stopped this profile itself" in note for note in kept.notes)


def test_a_session_over_several_cells_is_left_alone(notebook):
    notebook.run("spprof.start(5)")
    beside, printed = notebook.run("burn(0.1)")
    assert printed == ""
    notebook.run("mine = spprof.stop()")
    assert seconds(notebook.shell.user_ns["mine"]) == pytest.approx(0.1, rel=0.3)
    _, printed = notebook.run(f"%spprof last {beside.execution_count}")
    assert "there is no profile of" in printed
    assert f"In [{beside.execution_count}]" in notebook.history()
    after, _ = notebook.run("burn(0.05)")
    assert seconds(notebook.last(after.execution_count)) == pytest.approx(0.05, rel=0.3)


def test_awaiting_cells(notebook):
    result, _ = notebook.run(
        """
        import asyncio
        async def task():
            await asyncio.sleep(0.01)
            burn(0.1)
        await asyncio.gather(task(), task())
        """
    )
    profile = notebook.last(result.execution_count)
    assert seconds(profile) == pytest.approx(0.2, rel=0.3)
    assert "task" in outermost(profile)
    assert "burn In [1]" in entries(profile)


def test_autoreload_in_between(notebook, tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(str(tmp_path))
    module = tmp_path / "reloaded_by_a_test.py"
    module.write_text("def value(): return 1\n")
    notebook.run("%load_ext autoreload\n%autoreload 2\nimport reloaded_by_a_test as m")
    module.write_text("def value(): return 22\n")
    result, printed = notebook.run("burn(0.1)\nm.value()")
    assert result.result == 22, printed
    assert seconds(notebook.last(result.execution_count)) == pytest.approx(0.1, rel=0.3)
    notebook.run("%autoreload 0")
    notebook.shell.extension_manager.unload_extension("autoreload")
    for name in ("pre_run_cell", "post_execute"):
        for callback in list(notebook.shell.events.callbacks[name]):
            if "autoreload" in getattr(callback, "__module__", ""):
                notebook.shell.events.unregister(name, callback)


def test_on_twice_and_off_twice(notebook):
    notebook.run("%spprof on -i 2")
    notebook.run("%spprof on -i 4")
    result, _ = notebook.run("burn(0.1)")
    assert notebook.last(result.execution_count).interval_ms == 4
    notebook.run("%spprof off")
    notebook.run("%spprof off")
    notebook.run("burn(0.01)")
    assert list(notebook.history()) == [f"In [{result.execution_count}]"]


def test_off_in_the_middle_of_a_cell(notebook):
    _, printed = notebook.run("burn(0.05)\n%spprof off\nprint(spprof.is_active())")
    assert printed == "False\n"


def test_the_report_is_a_page_of_all_cells(notebook, tmp_path):
    number = notebook.run("burn(0.1)  # the slow one")[0].execution_count
    notebook.run("x = 1")
    path = tmp_path / "costs.html"
    _, printed = notebook.run(f"%spprof report {path}")
    assert "costs.html has 2 cells" in printed
    html = path.read_text("utf-8")
    assert f"Most of all In [{number}]" in html
    assert "burn(0.1)  # the slow one" in html
    assert html.count("<img ") >= 1


@pytest.mark.parametrize(
    ("line", "complaint"),
    [
        ("on -i 0", "interval_ms must be from 0.1"),
        ("on --threshold -1", "--threshold takes seconds"),
        ("on --report page.txt", "should end in .html"),
        ("report /no/such/folder/page.html", "there is no directory"),
        ("compare 1", "takes 2 numbers of cells, not '1'"),
        ("last first", "takes 0 or 1 numbers"),
        ("last 999", "no cell [999] has run"),
        ("history of mine", "takes nothing more"),
    ],
)
def test_what_is_refused_says_why(notebook, line, complaint):
    notebook.run("x = 1")
    _, printed = notebook.run(f"%spprof {line}")
    assert "UsageError" in printed
    assert complaint in printed


@pytest.mark.parametrize(
    ("line", "split"),
    [
        ("on", ("on", "")),
        ("on -i 1 -n", ("on", "-i 1 -n")),
        ("last 3", ("last", "3")),
        ("report ./a b.html", ("report", "./a b.html")),
        ("report /tmp/a.html", ("report", "/tmp/a.html")),
        ("last = f()", None),
        ("last += 1", None),
        ("report(x)", None),
        ("report (x)", None),
        ("last - 1", None),
        ("last.x", None),
        ("-i 1 last", None),
        ("lasting", None),
    ],
)
def test_commands_are_told_from_statements(line, split):
    assert commands.split(line) == split


def test_only_a_command_alone_is_left_out_of_the_history():
    assert commands.is_command("%spprof last\n")
    assert commands.is_command("  %spprof   history")
    assert not commands.is_command("x = 1\n%spprof last")
    assert not commands.is_command("%spprof f()")
    assert not commands.is_command("%spprof")


def test_configuration_switches_it_on(capsys, tmp_path):
    notebook = made(capsys, always=True, interval=1.0, report=str(tmp_path / "r.html"))
    result, _ = notebook.run("burn(0.1)")
    assert seconds(notebook.last(result.execution_count)) == pytest.approx(0.1, rel=0.3)
    notebook.shell.extension_manager.unload_extension("spprof")
    assert not spprof.is_active()
    notebook.shell.history_manager.end_session()


ASK_FROM_A_THREAD = """
    import threading
    def ask():
        time.sleep(0.2)
        get_ipython().run_line_magic("spprof", "now 0.1")
    asking = threading.Thread(target=ask)
    asking.start()
    burn(0.5)
    asking.join()
"""


def test_now_shows_the_running_cell_from_another_thread(notebook):
    result, printed = notebook.run(ASK_FROM_A_THREAD)
    assert "samples" in printed
    seen = notebook.shell.user_ns["_spprof"]
    whole = notebook.last(result.execution_count)
    assert 0 < seconds(seen) < seconds(whole)
    assert "burn In [1]" in entries(seen)
    assert not any("ask " in entry for entry in entries(seen))


def test_now_looks_for_a_while_where_no_session_runs(notebook):
    notebook.run("%spprof off")
    notebook.run(ASK_FROM_A_THREAD)
    seen = notebook.shell.user_ns["_spprof"]
    assert not spprof.is_active()
    assert 0 < seen.total_duration_ms < 400
    assert "burn In [1]" in entries(seen)


THREADS = """
    import threading
    def idle(name):
        go_on = threading.Event()
        def waits():
            go_on.wait()
        thread = threading.Thread(target=waits, name=name)
        thread.start()
        return go_on, thread
"""


@pytest.mark.parametrize(
    ("options", "shown"),
    [
        ("--mode wall", {"MainThread", "its own"}),
        ("--mode wall -t cell", {"MainThread", "its own"}),
        ("--mode wall -t all", {"MainThread", "its own", "older pool"}),
        ("--mode wall --threads 'older*'", {"older pool"}),
    ],
)
def test_which_threads_are_shown(notebook, options, shown):
    notebook.run("%spprof off")
    notebook.run(THREADS)
    notebook.run("older = idle('older pool')")
    notebook.run(f"%%spprof -q -i 5 {options}\nown = idle('its own')\ntime.sleep(0.2)")
    profile = notebook.shell.user_ns["_spprof"]
    notebook.run("for go_on, thread in (older, own): go_on.set(); thread.join()")
    assert {each.thread_name for each in profile.threads if each.sample_count} == shown
