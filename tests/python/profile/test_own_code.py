"""Only my code: what libraries do belongs to the line that called them."""

from __future__ import annotations

import re
from datetime import datetime, timedelta, timezone

import pytest

from spprof import Frame, Profile, Sample
from spprof._profile.own_code import only_own

START = datetime(2026, 5, 1, tzinfo=timezone.utc)
LIB = "/usr/lib/python3.11/"
MAIN, FIT = Frame("main", "/srv/app.py", 4), Frame("fit", "In [3]", 2)
RUN = Frame("Thread.run", LIB + "threading.py", 1)
SORT = Frame("sort", LIB + "site-packages/pandas/frame.py", 7)
KEY = Frame("key", "/srv/app.py", 30)
SUM = Frame("numpy::sum", LIB + "site-packages/numpy/_core/u.so", 0, True)


def profile(*stacks: list[Frame]) -> Profile:
    samples = [Sample(at, 1, "t", stack[::-1], 10) for at, stack in enumerate(stacks)]
    return Profile(START, START + timedelta(seconds=1), 1, samples)


def own(*stacks: list[Frame]) -> list[list[str]]:
    shown = Profile._of(only_own(profile(*stacks)._tables))
    assert shown.total_weight_ns == 10 * len(stacks)
    return [[frame.function_name for frame in sample.frames[::-1]] for sample in shown.samples]


@pytest.mark.parametrize(
    ("stack", "left"),
    [
        ([MAIN, SORT, SUM], ["main"]),
        ([MAIN, SORT, KEY], ["main", "key"]),
        ([MAIN, SORT, KEY, SUM], ["main", "key"]),
        ([RUN, FIT], ["fit"]),
        # Nothing in it is anybody's own: it keeps where it began.
        ([RUN, SORT, SUM], ["Thread.run"]),
        ([Frame("<module>", "<string>", 1), SUM], ["<module>"]),
    ],
)
def test_what_is_left(stack, left) -> None:
    assert own(stack) == [left]


def test_time_goes_to_the_line_that_called() -> None:
    other_line = Frame("main", "/srv/app.py", 9)
    (first, second) = profile([MAIN, SORT], [other_line, SUM]).top(lines=True, mine=True)
    assert {(first.lineno, first.self_ns), (second.lineno, second.self_ns)} == {(4, 10), (9, 10)}


def test_stacks_that_became_equal_are_one() -> None:
    tables = only_own(profile([MAIN, SORT], [MAIN, SUM], [MAIN])._tables)
    assert len(tables.stack_frame) == 1


def test_nothing_to_leave_out() -> None:
    tables = profile([MAIN, FIT])._tables
    assert only_own(tables) is tables


def test_in_table_tree_and_report(tmp_path, capsys) -> None:
    from spprof._cli.main import main

    p = profile([MAIN, SORT, KEY], [MAIN, SORT])
    assert {entry.function_name for entry in p.top(mine=True)} == {"main", "key"}
    assert p.tree(mine=True).find("sort") is None
    assert p.tree().find("sort") is not None
    path = tmp_path / "p.spprof"
    p.save(path)
    for shape in ([], ["--tree"], ["--json"], ["--markdown"]):
        assert main(["report", "--mine", *shape, str(path)]) == 0
        out = capsys.readouterr().out
        table = out.split('"functions"')[-1]
        assert "key" in table
        # Findings may name it still.
        assert not re.search(r'(?:  |`|: ")sort\b', table)
