"""What is remembered of a notebook's cells, on profiles made by hand."""

from __future__ import annotations

from datetime import datetime, timezone

import pytest

from spprof import Frame, Profile, Sample
from spprof.jupyter.history import History, Run, bytes_of, change_in_words, history_lines
from spprof.jupyter.report import history_html, page

NOW = datetime(2024, 1, 1, tzinfo=timezone.utc)


def taken(rows=10, function="work"):
    """A profile in which each sample is a row, three of four in `function`."""
    frames = [Frame(name, "In [1]", 1) for name in (function, function, function, "rest")]
    samples = [
        Sample(i, 1, "MainThread", (frames[i % 4], Frame("In [1]", "In [1]", i % 2)))
        for i in range(rows)
    ]
    return Profile(NOW, NOW, 10, samples)


def run_of(text="f()", number=1, wall=1.0, profile=None, **more):
    return Run(text, number, wall_ns=int(wall * 1e9), cpu_ns=0, profile=profile, **more)


def test_a_profile_is_localised_once_and_only_when_somebody_looks():
    asked = []

    def localise(profile):
        asked.append(profile)
        return profile.filter(function="work")

    run = run_of(profile=taken(), localise=localise)
    history = History()
    history.add(run)
    assert asked == []
    assert run.samples == 8
    assert run.top == ("work", 1.0, "CPU time")
    assert run.profile.sample_count == 8
    assert len(asked) == 1


def test_change_is_against_the_last_run_of_the_same_text():
    history = History()
    runs = [
        run_of("f()", 1, 1.0),
        run_of("g()", 2, 9.0),
        run_of(" f()\n", 3, 1.5),
        run_of("f()", 4, 6.0),
    ]
    for run in runs:
        history.add(run)
    assert [history.change(run) for run in runs] == [None, None, 0.5, 3.0]
    assert [change_in_words(history.change(run)) for run in runs] == ["", "", "+50 %", "x4.0"]
    assert change_in_words(-0.25) == "-25 %"


def test_cells_are_found_by_number_the_latest_first():
    history = History()
    first, uncounted, again = (
        run_of(number=3),
        run_of(number=None),
        run_of(number=3, profile=taken()),
    )
    for run in (first, again, uncounted):
        history.add(run)
    assert history.cell(3) is again
    assert history.cell(4) is None
    assert history.last() is again  # the latest with a profile
    assert uncounted.title == "In [ ]"


def test_over_the_bound_the_oldest_profiles_are_thinned_then_dropped_and_lines_stay():
    size = bytes_of(taken(4000))
    thin = bytes_of(taken(4000).aggregate()._for_output())
    assert thin < size / 20
    history = History(kept_bytes=2 * size + size // 2)
    runs = [run_of(number=i, profile=taken(4000)) for i in range(4)]
    for run in runs:
        history.add(run)
        assert history.kept_bytes <= 2 * size + size // 2
    assert [run.thinned for run in runs] == [True, True, False, False]
    assert [run.profile.sample_count for run in runs] == [4000] * 4
    assert {sample.timestamp_ns for sample in runs[0].profile.samples} == {None}
    small = History(kept_bytes=thin * 3 // 2)
    for run in runs:
        small.add(run)
    # The latest stays whatever it takes.
    assert [run.has_profile for run in runs] == [False, False, False, True]
    assert [run.samples for run in small] == [4000] * 4
    assert [run.top for run in small] == [("work", 0.75, "CPU time")] * 4


def test_lines_are_bounded_too():
    history = History(kept_runs=3)
    for number in range(5):
        history.add(run_of(number=number))
    assert [run.number for run in history] == [2, 3, 4]


def test_lines_say_what_a_cell_cost():
    history = History()
    history.add(run_of("f()", 7, 2.5, taken()))
    history.add(run_of("f()", 8, 5.0, None, failure="KeyboardInterrupt"))
    heading, first, second = history_lines(history)
    assert heading.split() == ["cell", "wall", "CPU", "change", "samples", "top", "function"]
    assert first.split() == ["In", "[7]", "2.50", "s", "0", "µs", "10", "work", "(80%)"]
    assert second.split() == ["In", "[8]", "5.00", "s", "0", "µs", "x2.0", "[KeyboardInterrupt]"]


@pytest.mark.parametrize("hostile", ["<script>x</script>", 'a"b&c'])
def test_the_report_names_cells_and_reasons_and_shows_foreign_names_as_text(hostile):
    history = History()
    history.add(run_of(f"# {hostile}\nf('{hostile}')", 7, 9.0, taken(40, hostile), failure=hostile))
    history.add(run_of("g()", 8, 1.0, taken()))
    html = page(history)
    assert hostile not in html.replace("<script>", "", 0).split("</style>")[-1]
    assert "2 cells took 10.00 s" in html
    assert "Most of all In [7]: 90% of the time; of its CPU time 75% in" in html
    assert html.index('id="run-0">In [7]') < html.index('id="run-1">In [8]')
    assert html.count("data:image/svg+xml") == 2
    assert "<script" not in html
    assert '<a href="#run-1">In [8]</a>' in html
    assert "href" not in history_html(history)
