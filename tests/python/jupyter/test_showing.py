"""What shows itself as a cell's last expression: in a real kernel, and where nothing can show."""

from __future__ import annotations

import re
import subprocess
import sys

import pytest
from kernels import kinds, prepared_kernel, running_kernel

from spprof._profile import findings, rows, tables
from spprof._profile.model import Profile, loads
from spprof.formats import svg
from spprof.jupyter import output

PROFILES = """
import time, spprof

def burn(seconds):
    end = time.thread_time() + seconds
    while time.thread_time() < end:
        pass

def outer():
    burn(0.1)
    burn(0.05)

def taken(interval_ms=1):
    with spprof.Profiler(interval_ms) as profiler:
        outer()
    return profiler.profile

p, q = taken(), taken()
"""


@pytest.fixture(scope="module")
def kernel(tmp_path_factory):
    with prepared_kernel(tmp_path_factory, PROFILES) as kernel:
        yield kernel


def bundles(outputs):
    shown = [c for kind, c in outputs if kind in ("display_data", "execute_result")]
    return [content["data"] for content in shown]


@pytest.mark.parametrize("expression", ["p", "p.aggregate()", "p.filter(function='burn')"])
def test_profile_as_last_expression_is_a_widget_with_its_picture_and_text(kernel, expression):
    reply, outputs = kernel.run(expression)
    assert reply["status"] == "ok"
    assert kinds(outputs) == ["widget", "picture"]
    widget, picture = bundles(outputs)
    # What is shown begins at the cell: samples of the kernel's own threads are not counted.
    assert re.match(r"\d+ samples \(every 1 ms", widget["text/plain"])
    assert "burn" in widget["text/plain"]
    assert 'src="data:image/svg+xml;base64,' in picture["text/html"]


def test_difference_as_last_expression_is_a_widget_with_its_picture_and_text(kernel):
    _, outputs = kernel.run("spprof.diff(p, q)")
    assert kinds(outputs) == ["widget", "picture"]
    text = bundles(outputs)[0]["text/plain"]
    assert re.match(r"\d+\.\d m?s before, \d+\.\d m?s after", text)


def test_profile_that_was_shown_is_in_the_kernels_own_memory_of_outputs(kernel):
    reply, _ = kernel.run("p")
    _, outputs = kernel.run(f"Out[{reply['execution_count']}] is p")
    assert bundles(outputs)[0]["text/plain"] == "True"


def test_profiles_inside_of_something_stay_text(kernel):
    _, outputs = kernel.run("[p, spprof.diff(p, q)]")
    assert kinds(outputs) == ["execute_result"]
    text = bundles(outputs)[0]["text/plain"]
    assert re.match(r"\[<Profile: \d+ samples, .*,\s+<ProfileDiff: [\d.]+x the time>\]$", text)


def test_print_stays_text(kernel):
    _, outputs = kernel.run("print(p, p.tree(), p.top(), spprof.diff(p, q), sep='\\n')")
    assert kinds(outputs) == ["stream"]
    text = "".join(content["text"] for kind, content in outputs if kind == "stream")
    assert text.count("  function") == 3
    assert not re.search(r"<(div|details|table|Profile|CallNode)", text)


@pytest.mark.parametrize("expression", ["p.tree()", "p.tree().find('outer')"])
def test_tree_and_node_as_last_expression_are_tables_that_open_with_their_text(kernel, expression):
    _, outputs = kernel.run(expression)
    assert kinds(outputs) == ["execute_result"]
    (bundle,) = bundles(outputs)
    assert set(bundle) == {"text/html", "text/plain"}
    assert "<details open><summary>" in bundle["text/html"]
    assert "<script" not in bundle["text/html"]
    assert re.search(r"^ *100\.0% +0\.0%  (all|outer)$", bundle["text/plain"], re.MULTILINE)


def test_top_as_last_expression_is_a_table_with_its_text(kernel):
    _, outputs = kernel.run("p.top(3)")
    (bundle,) = bundles(outputs)
    assert bundle["text/html"].count("<tr>") == 4
    heading, first, *_ = bundle["text/plain"].splitlines()
    assert heading.split() == ["self", "total", "function"]
    assert "burn" in first


def test_without_samples_there_is_a_sentence(kernel):
    _, outputs = kernel.run("p.filter(function='nobody')")
    assert kinds(outputs) == ["stream"]


def test_without_widgets_there_is_a_picture_and_nothing_raises(tmp_path):
    blocked = "import sys; sys.modules['anywidget'] = sys.modules['ipywidgets'] = None\n"
    with running_kernel(tmp_path) as kernel:
        kernel.run(blocked + PROFILES)
        for expression in ("p", "p.aggregate()", "spprof.diff(p, q)"):
            reply, outputs = kernel.run(expression)
            assert reply["status"] == "ok"
            assert {*kinds(outputs)} == {"picture", "stream"}  # which may come in pieces
            (bundle,) = bundles(outputs)
            assert "burn" in bundle["text/plain"]
            assert "data:image/svg+xml;base64," in bundle["text/html"]
        _, outputs = kernel.run("p.tree()")
        assert "<details" in bundles(outputs)[0]["text/html"]


def test_core_asks_for_no_notebook_until_a_notebook_asks(tmp_path):
    code = (
        "import sys, spprof\n"
        "with spprof.Profiler(1) as profiler: sum(range(3_000_000))\n"
        "profile = profiler.profile\n"
        "texts = str(profile), str(profile.tree()), str(profile.top()), repr(profile)\n"
        "html = profile.tree()._repr_html_(), profile.top()._repr_html_()\n"
        "asked = {'spprof.jupyter', 'IPython', 'ipywidgets', 'anywidget'} & set(sys.modules)\n"
        "print(sorted(asked)); profile._ipython_display_()\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr
    nothing, *summary = done.stdout.splitlines()
    assert nothing == "[]"
    assert "samples" in summary[0]


def very_large_profile():
    """200,000 stacks: half of the time is in one of two calls, a tenth in a single row."""
    builder = tables.Builder()
    files = [builder.func(f"f{i}", "/srv/app.py", i) for i in range(500)]
    both = [builder.stack(tables.ROOT, builder.frame(files[i], i)) for i in (1, 2)]
    rows = []
    for index in range(200_000):
        caller = both[index % 2]
        rows.append(builder.stack(caller, builder.frame(files[3 + index % 497], index)))
    t = builder.tables
    builder.thread(1, "MainThread")
    weight = 10_000
    for index, stack in enumerate(rows):
        t.sample_thread.append(0)
        t.sample_stack.append(stack)
        t.sample_time.append(index * weight)
        t.sample_last.append(index * weight)
        t.sample_count.append(1)
        t.sample_weight.append(weight if index else 20_000 * weight)
        t.sample_state.append(0)
    return Profile._of(t)


@pytest.mark.slow
def test_picture_and_words_of_a_very_large_profile_do_not_go_through_all_of_it(monkeypatch):
    profile = very_large_profile()
    looked_at = []
    for module, name in ((svg, "dump"), (findings, "findings")):
        whole = getattr(module, name)

        def seen(t, *args, _whole=whole, **kwargs):
            looked_at.append(len(t.stack_frame))
            return _whole(t, *args, **kwargs)

        monkeypatch.setattr(module, name, seen)
    picture = output._picture(profile, 100_000).decode()
    data, whole = output._encoded(profile)
    words = output._in_words(profile)
    assert len(looked_at) == 2
    assert max(looked_at) < 20_000
    # What is said of all of it is exact.
    weight = 219_999 * 10_000
    assert profile.total_weight_ns == weight
    assert "200000 samples" in picture
    assert "200000 samples" in words
    assert loads(data).total_weight_ns == weight
    # And the shares are those of all of it: two callers, the one with the single heavy row.
    shares = [float(text) for text in re.findall(r"f[12] [^\n]*\n([\d.]+)%", picture)]
    assert sorted(shares) == pytest.approx([45.45, 54.55], abs=1)


def test_what_stands_for_all_weighs_as_much_and_has_the_same_shares():
    t = very_large_profile()._tables
    part = rows.representative(t, 1_000)
    assert part.rows <= 1_000
    assert sum(part.sample_weight) == pytest.approx(sum(t.sample_weight), rel=0.001)
    # A single row with a tenth of the time is there, with a tenth of the time.
    assert max(part.sample_weight) / sum(part.sample_weight) == pytest.approx(1 / 11, abs=0.002)
    assert rows.representative(t, t.rows) is t
